/** Asking for a version, and reading the host's answer. */
import { PeerError } from '../../errors.ts';
import {
  ConnectionState,
  InitiateContact,
  InitiateContact2,
  InitiateContactLegacy,
  VersionResponse,
  VersionResponse2,
  VersionResponse3,
  VersionResponseLegacy,
  VersionResponseShort,
  VMBUS_SINT,
} from '../../wire/messages/index.ts';
import { FeatureFlag, formatVersion, VmbusVersion } from '../../wire/versions.ts';
import { MessageConnection } from '../control-port.ts';
import type { MonitorPages } from '../monitor-pages.ts';
import type { GuestConnection, GuestConnectionEvent } from './connection-moves.ts';

/** What the guest says about itself. */
export interface ContactOffer {
  /** `FeatureFlag` bits to ask for at 6.0. */
  readonly features: number;
  readonly targetMessageVp: number;
  readonly targetVtl: number;
  /** Interrupt page shared by all channels, for hosts below 2.4; 0 for none. */
  readonly interruptPageGpa: bigint;
  readonly monitorPages: MonitorPages | undefined;
  /** Sent with feature ClientId. */
  readonly clientId: string | undefined;
}

/** The message connection to ask on. */
export function contactConnection(version: number): number {
  return version >= VmbusVersion.V5_0 ? MessageConnection.Multiclient : MessageConnection.Legacy;
}

/** Source: Linux `drivers/hv/connection.c`, `vmbus_negotiate_version`. */
export function encodeContact(version: number, offer: ContactOffer): Uint8Array {
  const common = {
    version,
    targetVp: offer.targetMessageVp,
    parentToChildMonitorGpa: offer.monitorPages?.parentToChildGpa ?? 0n,
    childToParentMonitorGpa: offer.monitorPages?.childToParentGpa ?? 0n,
  };
  if (version < VmbusVersion.V5_0) {
    const interruptPageGpa = version < VmbusVersion.WIN8 ? offer.interruptPageGpa : 0n;
    return InitiateContactLegacy.encode({ ...common, interruptPageGpa });
  }
  const features = version >= VmbusVersion.COPPER ? offer.features : 0;
  const newer = { ...common, targetSint: VMBUS_SINT, targetVtl: offer.targetVtl, features };
  if ((features & FeatureFlag.ClientId) === 0 || offer.clientId === undefined) return InitiateContact.encode(newer);
  return InitiateContact2.encode({ ...newer, clientId: offer.clientId });
}

/**
 * What the answer to our question means.
 * @param version the version that we asked for
 * @param message at least 9 bytes; at least 16 from 5.0
 * @throws PeerError `ERR_SHORT` if it accepts but lacks fields that the version has
 */
export function readVersionResponse(message: Uint8Array, version: number, offer: ContactOffer): GuestConnectionEvent {
  if (VersionResponseShort.parse(message).versionSupported === 0) return { is: 'versionRefused' };
  const hasState = message.length >= VersionResponseLegacy.size && version >= VmbusVersion.WIN8;
  const connectionState = hasState ? VersionResponseLegacy.parse(message).connectionState : ConnectionState.Successful;
  if (connectionState !== ConnectionState.Successful) {
    const what = `the host takes version ${formatVersion(version)} but fails: connection state ${connectionState}`;
    return { is: 'contactFailed', error: new PeerError('ERR_REFUSED', what) };
  }
  const connection: GuestConnection = {
    version,
    features: 0,
    messageConnectionId: MessageConnection.Legacy,
    monitorPages: offer.monitorPages,
  };
  if (version < VmbusVersion.V5_0) return { is: 'accepted', connection };
  const { messageConnectionId } = VersionResponse.parse(message);
  if (version < VmbusVersion.COPPER) return { is: 'accepted', connection: { ...connection, messageConnectionId } };

  // A host may not give what was not asked for.
  const features = (VersionResponse2.parse(message).features & offer.features) >>> 0;
  const agreed = { ...connection, messageConnectionId, features };
  if ((features & FeatureFlag.ServerSpecifiedMonitorPages) === 0) return { is: 'accepted', connection: agreed };
  const pages = VersionResponse3.parse(message);
  if (pages.childToParentMonitorGpa === 0n) {
    return { is: 'contactFailed', error: new PeerError('ERR_MESSAGE', 'the host supplies monitor pages at address 0') };
  }
  const monitorPages = {
    parentToChildGpa: pages.parentToChildMonitorGpa,
    childToParentGpa: pages.childToParentMonitorGpa,
  };
  return { is: 'accepted', connection: { ...agreed, monitorPages } };
}
