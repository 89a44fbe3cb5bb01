import { DataDirection } from '../../../wire/storvsc.ts';
import type { ScsiCommand } from './command.ts';

/**
 * A private copy of what the initiator sends with a command.
 * @param byteCount from the CDB, or what the command needs
 * @returns `undefined` if the buffer is shorter, or offered for reading only
 */
export function parameterList(command: ScsiCommand, byteCount: number): Uint8Array | undefined {
  if (command.dataBytes < byteCount || command.direction === DataDirection.Read) return undefined;
  const list = new Uint8Array(byteCount);
  command.data?.read(0, list);
  return list;
}
