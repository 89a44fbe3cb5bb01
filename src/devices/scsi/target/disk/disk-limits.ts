/** Block descriptors in one UNMAP: its list then has 64 KiB, less than any transfer. As OpenVMM `scsidisk` has it. */
export const MAX_UNMAP_DESCRIPTORS = 4096;
