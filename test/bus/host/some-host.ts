/** The ordinary host for tests: one device, a guest that speaks raw messages, everything written down. */
import {
  HostBus,
  type HostBusEvents,
  type HostBusOptions,
  type HostDevice,
  type HostOffer,
  type HostOpenRequest,
  type OfferParams,
} from '../../../src/bus/host/index.ts';
import type { GpaRange } from '../../../src/wire/gpa-range.ts';
import { ScriptedGuest } from '../../peers/scripted-guest.ts';
import { instanceNumber, SCSI_INTERFACE } from '../../peers/scripted-host.ts';

/** A device that notes what it is asked and answers at once, unless told not to. */
export class NotingDevice implements HostDevice {
  readonly calls: string[] = [];
  readonly opens: HostOpenRequest[] = [];
  offer: HostOffer | undefined;
  /** What it answers to an open; undefined: nothing yet. */
  openAnswer: boolean | undefined = true;
  answersClose = true;
  acceptsGpadls = true;
  acceptsVps = true;

  openRequested(open: HostOpenRequest): void {
    this.calls.push('openRequested');
    this.opens.push(open);
    if (this.openAnswer !== undefined) this.offer?.opened(this.openAnswer);
  }

  closeRequested(): void {
    this.calls.push('closeRequested');
    if (this.answersClose) this.offer?.closed();
  }

  released(): void {
    this.calls.push('released');
  }

  gpadlCreated(gpadlId: number, ranges: readonly GpaRange[]): boolean {
    this.calls.push(`gpadlCreated ${gpadlId} ${ranges.map(({ pfns }) => pfns.length).join('+')}`);
    return this.acceptsGpadls;
  }

  gpadlTornDown(gpadlId: number): void {
    this.calls.push(`gpadlTornDown ${gpadlId}`);
  }

  targetVpChanged(targetVp: number): boolean {
    this.calls.push(`targetVpChanged ${targetVp}`);
    return this.acceptsVps;
  }
}

export interface SomeHost {
  readonly bus: HostBus;
  readonly guest: ScriptedGuest;
  /** Why messages were dropped. */
  readonly dropped: string[];
  readonly events: string[];
  /** Offers one more device. Its instance id is the number given. */
  offer(n: number, params?: Partial<OfferParams>): { device: NotingDevice; offer: HostOffer };
}

export function someHost(options: HostBusOptions = {}, handlers: HostBusEvents = {}): SomeHost {
  const guest = new ScriptedGuest();
  const dropped: string[] = [];
  const events: string[] = [];
  const bus = new HostBus(
    guest.port,
    {
      connected: (version, features) => events.push(`connected ${version.toString(16)} ${features.toString(16)}`),
      disconnected: () => events.push('disconnected'),
      dropped: (reason) => dropped.push(reason),
      ...handlers,
    },
    options,
  );
  guest.attach((message, connectionId) => bus.receive(message, connectionId));
  const offer = (n: number, params: Partial<OfferParams> = {}) => {
    const device = new NotingDevice();
    device.offer = bus.offer({ interfaceId: SCSI_INTERFACE, instanceId: instanceNumber(n), ...params }, device);
    return { device, offer: device.offer };
  };
  return { bus, guest, dropped, events, offer };
}

/** As `someHost`, connected at 5.3, with device 1 offered as channel 1 and nothing left to take. */
export function someOfferedChannel(options: HostBusOptions = {}, handlers: HostBusEvents = {}) {
  const host = someHost(options, handlers);
  const { device, offer } = host.offer(1);
  host.guest.connect();
  return { ...host, device, channel: offer };
}

/** As `someOfferedChannel`, with the channel open over GPADL 1 (8 pages, downstream at page 4). */
export function someOpenChannel(options: HostBusOptions = {}, handlers: HostBusEvents = {}) {
  const host = someOfferedChannel(options, handlers);
  host.guest.createGpadl(1, 1);
  host.guest.open(1);
  host.guest.takeAll();
  host.device.calls.length = 0;
  return host;
}
