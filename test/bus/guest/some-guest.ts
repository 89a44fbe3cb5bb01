/** The ordinary guest for tests: a bus, a host that speaks raw messages, everything written down. */
import { GuestBus, type GuestBusOptions } from '../../../src/bus/guest/index.ts';
import { VmbusVersion } from '../../../src/wire/versions.ts';
import { wholePages } from '../../peers/scripted-guest.ts';
import { ScriptedHost } from '../../peers/scripted-host.ts';

export function someGuest(options: GuestBusOptions = {}) {
  const host = new ScriptedHost();
  const dropped: string[] = [];
  const events: string[] = [];
  const bus = new GuestBus(
    host.port,
    {
      connected: (version, features) => events.push(`connected ${version.toString(16)} ${features.toString(16)}`),
      connectFailed: (error) => events.push(`connectFailed ${error.code}`),
      offered: (offer) => events.push(`offered ${offer.relid}`),
      allOffersDelivered: () => events.push('allOffersDelivered'),
      rescinded: (offer) => events.push(`rescinded ${offer.relid}`),
      disconnected: () => events.push('disconnected'),
      dropped: (reason) => dropped.push(reason),
    },
    options,
  );
  host.attach((message) => bus.receive(message));
  return { bus, host, dropped, events };
}

/** As `someGuest`, connected at 5.3 unless the options say otherwise, with nothing left to take. */
export function someConnectedGuest(options: GuestBusOptions = {}) {
  const guest = someGuest({ newestVersion: VmbusVersion.IRON, ...options });
  guest.bus.connect();
  guest.host.accept();
  guest.host.allOffersDelivered();
  guest.host.takeAll();
  guest.events.length = 0;
  return guest;
}

/** As `someConnectedGuest`, with channel 1 offered. `ends` notes every callback. */
export function someGuestChannel(options: GuestBusOptions = {}) {
  const guest = someConnectedGuest(options);
  guest.host.offer({ channelId: 1 });
  guest.events.length = 0;
  const ends: string[] = [];
  const ended =
    (what: string) =>
    (status?: number): void => {
      ends.push(status === undefined ? what : `${what} ${status.toString(16)}`);
    };
  return { ...guest, ends, ended };
}

/** As `someGuestChannel`, with a created ring GPADL of 8 pages. */
export function someGuestWithRing(options: GuestBusOptions = {}) {
  const guest = someGuestChannel(options);
  const ringGpadlId = guest.bus.createGpadl(1, wholePages(8), () => {});
  guest.host.gpadlCreated(1, ringGpadlId);
  guest.host.takeAll();
  const openRequest = { ringGpadlId, downstreamPageOffset: 4, targetVp: 0 };
  return { ...guest, ringGpadlId, openRequest };
}

/** As `someGuestWithRing`, with the channel open. */
export function someOpenGuestChannel(options: GuestBusOptions = {}) {
  const guest = someGuestWithRing(options);
  guest.bus.open(1, guest.openRequest, () => {});
  guest.host.openResult(1);
  guest.host.takeAll();
  return guest;
}
