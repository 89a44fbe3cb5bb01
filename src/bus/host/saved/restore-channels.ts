/** From tables to plain data and back. What is put back has no device until one takes it up. */
import type { GpaRange } from '../../../wire/gpa-range.ts';
import { badSavedState } from '../../../wire/saved/index.ts';
import { type ChannelEvent, isVisible } from '../channel-moves.ts';
import { type ChannelTable, type HostChannel, keyOf } from '../channel-table.ts';
import type { GpadlTable } from '../gpadl-table.ts';
import type { HostDevice } from '../host-device.ts';
import type { SavedGpadl, SavedHostBus } from './saved-bus.ts';

/** Whether the pages of a GPADL can be reached. */
export type PagesCheck = (ranges: readonly GpaRange[]) => boolean;

/** The channels of a bus, as far as a restore needs them. */
export interface RestorableChannels {
  readonly table: ChannelTable;
  readonly gpadls: GpadlTable;
  /** Restored channels that no device has taken up yet. */
  readonly unclaimed: Set<HostChannel>;
  deviceEvent(channel: HostChannel, event: ChannelEvent): void;
}

/** Until a channel has one. */
const NO_DEVICE: HostDevice = { openRequested: () => {}, closeRequested: () => {} };

/** What the guest knows; what it does not know, the devices offer again. */
export function saveChannels(table: ChannelTable, gpadls: GpadlTable): Pick<SavedHostBus, 'channels' | 'gpadls'> {
  const known = table.all().filter(({ state }) => isVisible(state));
  return {
    channels: known.map(({ params, state, relid, monitorId }) => ({ params, state, relid, monitorId })),
    gpadls: known.flatMap(({ relid }) => gpadls.ofChannel(relid)).map((gpadl) => gpadls.save(gpadl)),
  };
}

/** @throws PeerError for what cannot be; the tables are of no use then */
export function restoreChannels(
  saved: Pick<SavedHostBus, 'channels' | 'gpadls'>,
  into: RestorableChannels,
  isUsable: PagesCheck,
  isOffering: () => boolean,
): void {
  for (const { params, state, relid, monitorId } of saved.channels) {
    if (!isVisible(state)) throw badSavedState(`channel ${relid} is ${state.at}`);
    const channel: HostChannel = {
      params,
      key: keyOf(params),
      device: NO_DEVICE,
      state,
      relid,
      monitorId,
      ring: undefined,
    };
    channel.device = caretaker(channel, into, isUsable, isOffering);
    into.table.restore(channel);
    if (state.at !== 'revoked') into.unclaimed.add(channel);
  }
  // Ids in progress must be unique; those that are complete need not be, and so come first.
  const isAssembling = ({ state }: SavedGpadl): number => (state.at === 'assembling' ? 1 : 0);
  for (const gpadl of [...saved.gpadls].sort((a, b) => isAssembling(a) - isAssembling(b))) {
    if (into.table.withRelid(gpadl.relid) === undefined || !isUsable(gpadl.ranges)) {
      throw badSavedState(`GPADL ${gpadl.id} of channel ${gpadl.relid}`);
    }
    into.gpadls.restore(gpadl);
  }
}

/** Stands in for the device that has not come yet: uses nothing, so lets go at once. */
function caretaker(
  channel: HostChannel,
  into: RestorableChannels,
  isUsable: PagesCheck,
  isOffering: () => boolean,
): HostDevice {
  return {
    openRequested: () => {},
    closeRequested: () => into.deviceEvent(channel, { is: 'deviceClosed', isOffering: isOffering() }),
    gpadlCreated: (_id, ranges) => isUsable(ranges),
    released: () => {
      if (into.unclaimed.delete(channel)) into.deviceEvent(channel, { is: 'revoked', isConnected: false });
    },
  };
}
