/**
 * SCSI over VMBus: the host's controller (`StorVsp` with a `ScsiController` of `DiskUnit`s over back ends) and the guest's
 * driver (`StorVsc`, `openDisk`).
 */
export * from './block-backend.ts';
export { FileBackend, type FileBackendOptions, openFileBackend } from './file-backend.ts';
export { MemoryBackend, type MemoryBackendOptions } from './memory-backend.ts';
export { CdUnit, type CdUnitOptions } from './target/cd/cd-unit.ts';
export { type Answered, ScsiCommand } from './target/command.ts';
export { type ScsiAddress, ScsiController } from './target/controller.ts';
export { DiskUnit, type DiskUnitOptions } from './target/disk/disk-unit.ts';
export type { LogicalUnit } from './target/logical-unit.ts';
export { cdbBytesOf, Opcode, opcodeName, ServiceAction16 } from './target/opcodes.ts';
export { formatSense, parseSense, SENSE, type Sense, SenseKey } from './target/sense.ts';
export { type DiskFacts, type Provisioning, reportLuns } from './vsc/disk-facts.ts';
export type { BlockRun, BlockStatus } from './vsc/disk-trim.ts';
export { runCommand, sendCommand } from './vsc/run-command.ts';
export { type IoOptions, openDisk, ScsiDisk, type WriteOptions, type ZeroOptions } from './vsc/scsi-disk.ts';
export { ScsiError } from './vsc/scsi-error.ts';
export { ScsiIo } from './vsc/scsi-io.ts';
export { StorVsc, type StorVscOptions } from './vsc/storvsc.ts';
export { StorVsp, type StorVspOptions } from './vsp/storvsp.ts';
