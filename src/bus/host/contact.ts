/**
 * Reading and judging an InitiateContact: which version and features the connection gets, and the exact answer.
 *
 * Source: OpenVMM `vmbus_server` `channels.rs` (`handle_initiate_contact`); Linux `drivers/hv/connection.c`
 * (`vmbus_negotiate_version`) for what guests send and expect.
 */
import { hex } from '../../errors.ts';
import { PAGE_BYTES } from '../../memory/page.ts';
import {
  ConnectionState,
  InitiateContact,
  InitiateContact2,
  InitiateContactLegacy,
  VMBUS_SINT,
} from '../../wire/messages/index.ts';
import { FeatureFlag, formatVersion, VmbusVersion } from '../../wire/versions.ts';
import { MessageConnection } from '../control-port.ts';
import { type MonitorPages, pagesFault, pagesOrNone } from '../monitor-pages.ts';
import { encodeSupportedVersion, encodeUnsupportedVersion } from './version-response.ts';

/** An InitiateContact; fields that its version does not have hold their defaults. */
export interface ContactRequest {
  readonly version: number;
  /** Virtual processor that gets the host's messages; 0 below 3.0. */
  readonly targetMessageVp: number;
  readonly targetSint: number;
  readonly targetVtl: number;
  /** Interrupt page shared by all channels, below 2.4 only; 0 for none. */
  readonly interruptPageGpa: bigint;
  /** `FeatureFlag` bits; 0 below 6.0. */
  readonly requestedFeatures: number;
  readonly monitorPages: MonitorPages;
  /** Present when the guest asked for the client id feature. */
  readonly clientId: string | undefined;
  readonly isTrusted: boolean;
}

/** What was agreed; lives until unload, reset or the next contact. */
export interface HostConnection {
  readonly version: number;
  /** Negotiated `FeatureFlag` bits. */
  readonly features: number;
  readonly targetMessageVp: number;
  readonly interruptPageGpa: bigint;
  /** The pages in use, whoever supplied them. */
  readonly monitorPages: MonitorPages | undefined;
  readonly hasServerMonitorPages: boolean;
  readonly clientId: string | undefined;
  readonly isTrusted: boolean;
}

export interface ContactPolicy {
  /** Versions that the host speaks. */
  readonly versions: readonly number[];
  /** `FeatureFlag` bits that the host supports. */
  readonly features: number;
  readonly vtl: number;
  /** Virtual processors of the guest; undefined when nobody knows. */
  readonly vpCount: number | undefined;
  /** Message connection that VersionResponse names from 5.0. */
  readonly messageConnectionId: number;
  readonly serverMonitorPages: MonitorPages | undefined;
  /** The message connection that only trusted code can post to, if there is one. */
  readonly trustedConnectionId: number | undefined;
}

export type ContactVerdict =
  /** Not for us, or undeliverable: no answer, nothing changes. */
  | { readonly is: 'dropped'; readonly reason: string }
  /** Answered without touching the connection that exists. */
  | { readonly is: 'answered'; readonly reason: string; readonly response: Uint8Array }
  /** The connection that exists ends, then this is the answer. */
  | { readonly is: 'refused'; readonly reason: string; readonly response: Uint8Array }
  | { readonly is: 'accepted'; readonly connection: HostConnection; readonly response: Uint8Array };

/**
 * @param message at least 40 bytes
 * @param connectionId message connection that it was posted to
 * @throws PeerError `ERR_SHORT` when it asks for the client id feature but carries no id
 */
export function parseContact(message: Uint8Array, connectionId: number, policy: ContactPolicy): ContactRequest {
  const legacy = InitiateContactLegacy.parse(message);
  const { version } = legacy;
  const fields = InitiateContact.parse(message);
  const isTrusted = policy.trustedConnectionId !== undefined && connectionId === policy.trustedConnectionId;
  // Other connections have no way to say where else the answer should go.
  const isMulticlient = isTrusted || connectionId === MessageConnection.Multiclient;
  const requestedFeatures = version >= VmbusVersion.COPPER ? fields.features : 0;
  const hasClientId = (requestedFeatures & FeatureFlag.ClientId) !== 0;
  return {
    version,
    targetMessageVp: version >= VmbusVersion.WIN8_1 ? legacy.targetVp : 0,
    targetSint: isMulticlient && version >= VmbusVersion.V5_0 ? fields.targetSint : VMBUS_SINT,
    targetVtl: isMulticlient && version >= VmbusVersion.V5_1 ? fields.targetVtl : policy.vtl,
    interruptPageGpa: version < VmbusVersion.WIN8 ? legacy.interruptPageGpa : 0n,
    requestedFeatures,
    monitorPages: {
      parentToChildGpa: legacy.parentToChildMonitorGpa,
      childToParentGpa: legacy.childToParentMonitorGpa,
    },
    clientId: hasClientId ? InitiateContact2.parse(message).clientId : undefined,
    isTrusted,
  };
}

/** Pure. Whether the pages can really be used is for the caller to find out; see `contactFailed`. */
export function judgeContact(request: ContactRequest, policy: ContactPolicy): ContactVerdict {
  const { version, targetMessageVp } = request;
  if (request.targetVtl !== policy.vtl) {
    return { is: 'dropped', reason: `contact for VTL ${request.targetVtl}; this host serves VTL ${policy.vtl}` };
  }
  if (policy.vpCount !== undefined && targetMessageVp >= policy.vpCount) {
    const reason = `contact wants its messages on VP ${targetMessageVp}; the guest has ${policy.vpCount}`;
    return { is: 'dropped', reason };
  }
  if (request.targetSint !== VMBUS_SINT) {
    const reason = `contact wants its messages on SINT ${request.targetSint}; allowed is ${VMBUS_SINT}`;
    return { is: 'answered', reason, response: encodeUnsupportedVersion() };
  }
  if (!policy.versions.includes(version)) {
    const reason = `contact asks for version ${formatVersion(version)} (${hex(version)}), which is not supported`;
    return { is: 'refused', reason, response: encodeUnsupportedVersion() };
  }
  const fault = contactFault(request);
  if (fault !== undefined) return contactFailed(request, policy, fault);

  const features = negotiateFeatures(request, policy);
  const hasServerMonitorPages = (features & FeatureFlag.ServerSpecifiedMonitorPages) !== 0;
  const connection: HostConnection = {
    version,
    features,
    targetMessageVp,
    interruptPageGpa: request.interruptPageGpa,
    monitorPages: hasServerMonitorPages ? policy.serverMonitorPages : pagesOrNone(request.monitorPages),
    hasServerMonitorPages,
    clientId: request.clientId,
    isTrusted: request.isTrusted,
  };
  const response = encodeSupportedVersion({
    version,
    connectionState: ConnectionState.Successful,
    messageConnectionId: policy.messageConnectionId,
    features,
    serverMonitorPages: hasServerMonitorPages ? policy.serverMonitorPages : undefined,
  });
  return { is: 'accepted', connection, response };
}

/** The verdict on a contact of a supported version that fails for another reason, such as unusable pages. */
export function contactFailed(request: ContactRequest, policy: ContactPolicy, fault: string): ContactVerdict {
  const reason = `contact fails: ${fault}`;
  // Guests below 2.4 know no failure code; to them the version is not supported.
  if (request.version < VmbusVersion.WIN8) return { is: 'refused', reason, response: encodeUnsupportedVersion() };
  const response = encodeSupportedVersion({
    version: request.version,
    connectionState: ConnectionState.FailedUnknownFailure,
    messageConnectionId: policy.messageConnectionId,
    features: negotiateFeatures(request, policy),
    serverMonitorPages: undefined,
  });
  return { is: 'refused', reason, response };
}

/** Requested and supported; unknown bits go silently. */
function negotiateFeatures(request: ContactRequest, policy: ContactPolicy): number {
  let supported = policy.features & ~FeatureFlag.ServerSpecifiedMonitorPages;
  if (policy.serverMonitorPages !== undefined) supported |= FeatureFlag.ServerSpecifiedMonitorPages;
  if (!request.isTrusted) supported &= ~FeatureFlag.ConfidentialChannels;
  return (request.requestedFeatures & supported) >>> 0;
}

function contactFault(request: ContactRequest): string | undefined {
  const { interruptPageGpa } = request;
  if (interruptPageGpa % BigInt(PAGE_BYTES) !== 0n) {
    return `interrupt page 0x${interruptPageGpa.toString(16)} is not page aligned`;
  }
  return pagesFault(request.monitorPages);
}
