/** The device that a channel belongs to: in Windows a PDEVICE_OBJECT, here the bus it hangs on and what it is. */
import type { GuestVmbus, HostVmbus } from '../../channel/index.ts';
import type { Guid } from '../../wire/guid.ts';

export interface DeviceObjectOptions {
  /**
   * The bus: a `GuestVmbus` for client channels, a `HostVmbus` (one guest) for server channels. A server channel may
   * name another one with `VmbServerChannelInitSetVmbusHandle`.
   */
  readonly vmbus?: GuestVmbus | HostVmbus | undefined;
  /** Interface GUID of the VMBus device that this is; the target of a client channel that sets no other. */
  readonly interfaceId?: Guid;
  /** Instance GUID of that device; any instance of the interface without it. */
  readonly instanceId?: Guid;
  /** For messages and `inspect()`. */
  readonly name?: string;
}

/** `DEVICE_OBJECT`, as far as KMCL cares. */
export interface DeviceObject {
  readonly vmbus: GuestVmbus | HostVmbus | undefined;
  readonly interfaceId: Guid | undefined;
  readonly instanceId: Guid | undefined;
  readonly name: string;
}

/** Makes the device object that `VmbChannelAllocate` and `queryInterface` ask for. */
export function createDeviceObject(options: DeviceObjectOptions = {}): DeviceObject {
  return Object.freeze({
    vmbus: options.vmbus,
    interfaceId: options.interfaceId,
    instanceId: options.instanceId,
    name: options.name ?? 'device',
  });
}
