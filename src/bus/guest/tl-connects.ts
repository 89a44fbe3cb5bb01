/**
 * Connects to host services (hvsock) that wait for their answer: an offer, or a refusal.
 *
 * Source: Linux `net/vmw_vsock/hyperv_transport.c`; OpenVMM `vmbus_client` `hvsock.rs`.
 */
import { PeerError, UsageError } from '../../errors.ts';
import { canonicalGuid, ZERO_GUID } from '../../wire/guid.ts';
import { TlConnectRequest, TlConnectRequest2, TlConnectResult } from '../../wire/messages/index.ts';
import {
  NT_SUCCESS,
  type NtStatus,
  STATUS_CANCELLED,
  STATUS_DEVICE_NOT_CONNECTED,
  STATUS_NOT_SUPPORTED,
  STATUS_SUCCESS,
} from '../../wire/ntstatus.ts';
import { VmbusVersion } from '../../wire/versions.ts';
import type { GuestConnection } from './connection-moves.ts';
import type { GuestOffer } from './guest-offer.ts';

export interface TlConnectTarget {
  /** Chosen by the caller, fresh for each connect. */
  readonly endpointId: string;
  readonly serviceId: string;
  /** Sent from 5.2. Default: all zero. */
  readonly siloId?: string;
}

export type TlDone = (status: NtStatus, offer: GuestOffer | undefined) => void;

interface TlContext {
  connection(): GuestConnection | undefined;
  send(message: Uint8Array): void;
}

export class TlConnects {
  readonly #context: TlContext;
  readonly #pending = new Map<string, TlDone>();

  constructor(context: TlContext) {
    this.#context = context;
  }

  connect(target: TlConnectTarget, done: TlDone): void {
    const key = keyOf(target.endpointId, target.serviceId);
    const connection = this.#context.connection();
    if (connection === undefined) {
      done(STATUS_DEVICE_NOT_CONNECTED, undefined);
      return;
    }
    if (connection.version < VmbusVersion.WIN10) {
      done(STATUS_NOT_SUPPORTED, undefined);
      return;
    }
    if (this.#pending.has(key)) throw new UsageError('ERR_STATE', `hvsock connect ${key} waits already`);
    const fields = { guestEndpointId: target.endpointId, hostServiceId: target.serviceId };
    const message =
      connection.version < VmbusVersion.V5_2
        ? TlConnectRequest.encode(fields)
        : TlConnectRequest2.encode({ ...fields, siloId: target.siloId ?? ZERO_GUID });
    this.#pending.set(key, done);
    this.#context.send(message);
  }

  cancel(target: TlConnectTarget): void {
    this.#end(keyOf(target.endpointId, target.serviceId), STATUS_CANCELLED, undefined);
  }

  offered(offer: GuestOffer): void {
    this.#end(keyOf(offer.instanceId, offer.interfaceId), STATUS_SUCCESS, offer);
  }

  /** @throws PeerError `ERR_MESSAGE` if nobody waits, or the status is none of failure */
  refused(message: Uint8Array): void {
    const { guestEndpointId, hostServiceId, status } = TlConnectResult.parse(message);
    const key = keyOf(guestEndpointId, hostServiceId);
    if (!this.#pending.has(key)) throw new PeerError('ERR_MESSAGE', `no hvsock connect ${key} waits`);
    // Success is an offer; a result that claims it breaks the protocol.
    if (NT_SUCCESS(status)) throw new PeerError('ERR_MESSAGE', `hvsock connect ${key} has a result of success`);
    this.#end(key, status, undefined);
  }

  endAll(): void {
    for (const key of [...this.#pending.keys()]) this.#end(key, STATUS_DEVICE_NOT_CONNECTED, undefined);
  }

  inspect(): string[] {
    return [...this.#pending.keys()];
  }

  #end(key: string, status: NtStatus, offer: GuestOffer | undefined): void {
    const done = this.#pending.get(key);
    this.#pending.delete(key);
    done?.(status, offer);
  }
}

/** @throws UsageError `ERR_ARGUMENT` for what is no GUID */
function keyOf(endpointId: string, serviceId: string): string {
  return `${canonicalGuid(endpointId)}/${canonicalGuid(serviceId)}`;
}
