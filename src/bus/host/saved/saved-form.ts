/** A saved bus as bytes: one chunk, as state makes sense as a whole only. */
import { badSavedState, ChunkReader, ChunkWriter, decodeWith, encodeWith } from '../../../wire/saved/index.ts';
import { FeatureFlag, formatVersion } from '../../../wire/versions.ts';
import { type HostConnectionState, liveConnection } from '../connection-moves.ts';
import type { ContactPolicy } from '../contact.ts';
import { type SavedHostBus, savedHostBus } from './saved-bus.ts';

/** `kind` of the one chunk. */
export const HOST_BUS_CHUNK = 0x100;

export function encodeSavedBus(saved: SavedHostBus): Uint8Array {
  return new ChunkWriter().next({ kind: HOST_BUS_CHUNK, payload: encodeWith(savedHostBus, saved), isLast: true });
}

/** @throws PeerError `ERR_SAVED_STATE`, or `ERR_GPA_RANGE` for page lists that are none */
export function decodeSavedBus(bytes: Uint8Array): SavedHostBus {
  const [chunk, ...more] = new ChunkReader().read(bytes);
  if (chunk?.kind !== HOST_BUS_CHUNK || !chunk.isLast || more.length > 0) throw badSavedState('this is no host bus');
  return decodeWith(savedHostBus, chunk.payload);
}

/** @throws PeerError `ERR_SAVED_STATE` if this host would not have agreed to such a connection */
export function checkConnection(state: HostConnectionState, policy: ContactPolicy): void {
  const connection = liveConnection(state);
  if (connection === undefined) return;
  const { version, features, targetMessageVp } = connection;
  if (!policy.versions.includes(version)) throw badSavedState(`version ${formatVersion(version)} is not spoken here`);
  const serverPages = policy.serverMonitorPages === undefined ? 0 : FeatureFlag.ServerSpecifiedMonitorPages;
  const missing = (features & ~(policy.features | serverPages)) >>> 0;
  if (missing !== 0) throw badSavedState(`features 0x${missing.toString(16)} are not supported here`);
  if (policy.vpCount !== undefined && targetMessageVp >= policy.vpCount) {
    throw badSavedState(`messages go to VP ${targetMessageVp}; the guest has ${policy.vpCount}`);
  }
}
