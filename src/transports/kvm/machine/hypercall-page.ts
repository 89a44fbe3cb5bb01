/**
 * The page that the guest calls to reach the hypervisor: `out 0xe6, eax; ret`.
 *
 * The code in it is ours to choose. An `out` leaves KVM_RUN as an I/O exit, which every KVM has, with the registers
 * beside it; `vmcall` would end in KVM's own hypercall code.
 *
 * Source: Hyper-V TLFS, "Hypercall Interface"; Intel SDM, OUT (opcode E7 ib).
 */

/** The I/O port that stands for a hypercall; nothing on this board uses it. */
export const HYPERCALL_PORT = 0xe6;

const OUT_IMM8_EAX = 0xe7;
const RET = 0xc3;
const INT3 = 0xcc;

/** @param page the guest's page, all of it */
export function writeHypercallPage(page: Uint8Array): void {
  page.fill(INT3);
  page[0] = OUT_IMM8_EAX;
  page[1] = HYPERCALL_PORT;
  page[2] = RET;
}
