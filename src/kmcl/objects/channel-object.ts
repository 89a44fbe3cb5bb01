/** What stands behind a `VMBCHANNEL`: the endpoint underneath, and what the driver configured. */
import {
  type ChannelDriver,
  ChannelEndpoint,
  type GpadlAccess,
  type HostVmbus,
  type IncomingPacket,
  type OfferTarget,
} from '../../channel/index.ts';
import type { Guid } from '../../wire/guid.ts';
import { type NtStatus, STATUS_SUCCESS } from '../../wire/ntstatus.ts';
import type {
  EvtVmbChannelPnpFailure,
  EvtVmbChannelProcessingComplete,
  EvtVmbChannelProcessPacket,
  EvtVmbChannelRestorePacket,
  EvtVmbChannelSavePacket,
  VmbChannelStateChangeCallbacks,
} from '../callbacks.ts';
import { VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT } from '../callbacks.ts';
import { VMBUS_CHANNEL_PROCESS_PACKET_FLAG_EXTERNAL_DATA } from '../constants.ts';
import type { BounceBuffers } from './bounce-buffers.ts';
import { BugCheck, bugCheck } from './bug-check.ts';
import type { DeviceObject } from './device-object.ts';
import type { VmbChannel, VmbPacketCompletion } from './handles.ts';
import type { PacketObject } from './packet-object.ts';
import type { RestoreContext } from './restore-context.ts';
import type { SaveContext } from './save-context.ts';

/** What a server channel says of itself in its offer. */
export interface ServerIdentity {
  readonly interfaceId: Guid;
  readonly instanceId: Guid;
}

/** The server-only part of a channel's configuration. */
export interface ServerSettings {
  identity: ServerIdentity | null;
  /** The bus chosen with `VmbServerChannelInitSetVmbusHandle`, or the device's. */
  vmbus: HostVmbus | null;
  flags: number;
  mmioMegabytes: number;
  mmioMegabytesOptional: number;
  targetVtl: number;
  savePacket: EvtVmbChannelSavePacket | null;
  restorePacket: EvtVmbChannelRestorePacket | null;
}

export class ChannelObject implements ChannelDriver {
  readonly endpoint: ChannelEndpoint;
  readonly isServer: boolean;
  readonly device: DeviceObject;
  readonly handle: VmbChannel;
  /** False from `VmbChannelCleanup` on. */
  isAlive = true;
  /** `VmbChannelSetPointer`. */
  pointer: unknown = null;
  friendlyName = '';
  /** The bits given to `VmbChannelInitSetFlags`. */
  flags = 0;
  processPacket: EvtVmbChannelProcessPacket;
  processingComplete: EvtVmbChannelProcessingComplete | null = null;
  stateChange: Readonly<VmbChannelStateChangeCallbacks> = VMB_CHANNEL_STATE_CHANGE_CALLBACKS_INIT();
  pnpFailure: EvtVmbChannelPnpFailure | null = null;
  /** 0 for a device's primary channel; sub-channels count from 1. */
  subchannelIndex = 0;
  /** Client: the offer to look for, when `VmbClientChannelInitSetTargetPnp` named one. */
  target: OfferTarget | null = null;
  readonly server: ServerSettings = {
    identity: null,
    vmbus: null,
    flags: 0,
    mmioMegabytes: 0,
    mmioMegabytesOptional: 0,
    targetVtl: 0,
    savePacket: null,
    restorePacket: null,
  };
  /** Packets freed and waiting to be allocated again: the lookaside list. */
  readonly freePackets: PacketObject[] = [];
  /** Packets from `VmbPacketAllocate` that are not back yet, and how many there may be. */
  packetsOut = 0;
  maxPacketsOut = Number.POSITIVE_INFINITY;
  /** Bytes of the driver's own in each outgoing packet. */
  inlineContextBytes = 0;
  /** Bounce buffers of a client; `null` while no pool was asked for. */
  bounce: BounceBuffers | null = null;
  /** The channel whose sub-channel this is, and the sub-channels of this one by their index. */
  primary: ChannelObject | null = null;
  readonly subchannels = new Map<number, ChannelObject>();
  /** What `VmbChannelGetTargetDeviceObject` gave last. */
  targetDevice: DeviceObject | null = null;
  /** Server: a save, or a restore, under way. */
  saving: SaveContext | null = null;
  restoring: RestoreContext | null = null;
  /** Server: what was restored and is not taken up yet. */
  restored: { readonly wasOpen: boolean } | null = null;
  /** Client: GPADLs that the driver created and did not delete yet. */
  readonly gpadls = new Map<number, GpadlAccess>();

  constructor(device: DeviceObject, isServer: boolean) {
    this.device = device;
    this.isServer = isServer;
    // The opaque type has no members; what makes it a handle is that this package made it.
    this.handle = this as unknown as VmbChannel;
    this.processPacket = (_channel, packet) => this.#completeEmpty(packet);
    this.endpoint = new ChannelEndpoint(isServer ? 'host' : 'guest', this);
    this.endpoint.watch = device.vmbus?.verifier ?? null;
  }

  /** The identity of a server's offer: its own, or that of its primary channel. */
  serverIdentity(): ServerIdentity | null {
    return this.server.identity ?? this.primary?.serverIdentity() ?? null;
  }

  opened(): NtStatus | Promise<NtStatus> {
    return this.stateChange.EvtChannelOpened?.(this.handle) ?? STATUS_SUCCESS;
  }

  started(): void | Promise<void> {
    return this.stateChange.EvtChannelStarted?.(this.handle);
  }

  postStarted(): void | Promise<void> {
    return this.stateChange.EvtChannelPostStarted?.(this.handle);
  }

  suspend(): void | Promise<void> {
    return this.stateChange.EvtChannelSuspend?.(this.handle);
  }

  closed(): void | Promise<void> {
    return this.stateChange.EvtChannelClosed?.(this.handle);
  }

  afterClosed(): void {
    const leftOver = [...this.gpadls.keys()];
    if (leftOver.length === 0) return;
    this.gpadls.clear();
    const message = `${leftOver.length} GPADL(s) were not deleted when EvtVmbChannelClosed returned`;
    for (const gpadlId of leftOver) this.endpoint.watch?.misuse(this.endpoint, 'K-125', message, gpadlId);
    throw new BugCheck('K-125', message);
  }

  openFailed(status: NtStatus): void {
    this.pnpFailure?.(this.handle, status);
  }

  packet(packet: IncomingPacket): void {
    const flags = packet.hasExternalData ? VMBUS_CHANNEL_PROCESS_PACKET_FLAG_EXTERNAL_DATA : 0;
    this.processPacket(this.handle, completionHandle(packet), packet.payload, packet.payloadBytes, flags);
  }

  batchEnd(packetCount: number): void {
    this.processingComplete?.(this.handle, packetCount);
  }

  /** The default `ProcessPacket`: nobody looks at it, but whoever waits for it is answered. */
  #completeEmpty(packet: VmbPacketCompletion): void {
    const incoming: unknown = packet;
    this.endpoint.complete(incoming as IncomingPacket, null, 0);
  }
}

/** The handle of an incoming packet. */
export function completionHandle(packet: IncomingPacket): VmbPacketCompletion {
  return packet as unknown as VmbPacketCompletion;
}

/** The channel behind a handle; `undefined` for anything that is no live channel. */
export function findChannel(handle: VmbChannel): ChannelObject | undefined {
  return handle instanceof ChannelObject && handle.isAlive ? handle : undefined;
}

/** The channel behind a handle. @throws BugCheck K-021 for a handle that is none, or was cleaned up */
export function channelOf(handle: VmbChannel): ChannelObject {
  const channel = findChannel(handle);
  if (channel !== undefined) return channel;
  const message = 'the channel handle is not live: never allocated or cleaned up';
  if (handle instanceof ChannelObject) throw bugCheck(handle.endpoint, 'K-021', message);
  throw new BugCheck('K-021', message);
}

/** The channel behind a handle if it may still be configured: live and Disabled. */
export function findConfigurable(handle: VmbChannel): ChannelObject | undefined {
  const channel = findChannel(handle);
  return channel?.endpoint.isDisabled === true ? channel : undefined;
}

export function isUint32(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff;
}

export function isUint16(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xffff;
}
