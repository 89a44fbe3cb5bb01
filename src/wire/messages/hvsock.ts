/** Connections of hvsock: a guest asks for a host service, the host answers with an offer or with a refusal. */
import { guid, u32 } from '../struct.ts';
import { MessageType, message } from './message.ts';

/** Also accepted from 5.2 on: Linux always sends it. Source: Linux `include/linux/hyperv.h`, `struct vmbus_channel_tl_connect_request`. */
export const TlConnectRequest = message('TlConnectRequest', MessageType.TlConnectRequest, 40, {
  guestEndpointId: guid(8),
  hostServiceId: guid(24),
});

/** From 5.2. Source: OpenVMM `vmbus_core` `protocol.rs`, `TlConnectRequest2`. */
export const TlConnectRequest2 = message('TlConnectRequest2', MessageType.TlConnectRequest, 56, {
  guestEndpointId: guid(8),
  hostServiceId: guid(24),
  siloId: guid(40),
});

/** Sent on failure only; success is an offer. Source: OpenVMM `vmbus_core` `protocol.rs`, `TlConnectResult`. */
export const TlConnectResult = message('TlConnectResult', MessageType.TlConnectResult, 44, {
  guestEndpointId: guid(8),
  hostServiceId: guid(24),
  status: u32(40), // NTSTATUS
});
