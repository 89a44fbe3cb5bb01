/** The devices that a channel hangs between. */
import { channelOf } from '../objects/channel-object.ts';
import { createDeviceObject, type DeviceObject } from '../objects/device-object.ts';
import type { VmbChannel } from '../objects/handles.ts';

/**
 * Undocumented: the device given to `VmbChannelAllocate`.
 *
 * Source: WDK `vmbuskernelmodeclientlibapi.h` lists VmbChannelGetParentDeviceObject (V2) by name only.
 */
export function VmbChannelGetParentDeviceObject(channel: VmbChannel): DeviceObject {
  return channelOf(channel).device;
}

/**
 * Undocumented: the VMBus device that the channel is bound to: that of the offer which a client has found, or which a
 * server makes. The same object as long as it is the same device.
 *
 * @returns `null` while there is none
 * Source: WDK `vmbuskernelmodeclientlibapi.h` lists VmbChannelGetTargetDeviceObject (V2) by name only.
 */
export function VmbChannelGetTargetDeviceObject(channel: VmbChannel): DeviceObject | null {
  const object = channelOf(channel);
  const { instanceId } = object.endpoint;
  if (instanceId === null) return null;
  const interfaceId = object.isServer
    ? object.serverIdentity()?.interfaceId
    : (object.target ?? object.primary?.target ?? object.device).interfaceId;
  const { vmbus } = object.isServer ? { vmbus: object.server.vmbus ?? object.device.vmbus } : object.device;
  const known = object.targetDevice;
  if (known?.instanceId === instanceId && known.interfaceId === interfaceId && known.vmbus === vmbus) return known;
  object.targetDevice = createDeviceObject({
    vmbus,
    instanceId,
    ...(interfaceId === undefined ? {} : { interfaceId }),
    name: `VMBus device ${instanceId}`,
  });
  return object.targetDevice;
}
