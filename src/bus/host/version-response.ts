/**
 * The forms of VersionResponse that a host sends.
 *
 * | bytes | when |
 * | --- | --- |
 * | 16, body all zero | the version is not supported (whatever was asked), or a failure below 2.4 |
 * | 16 | success, or failure from 2.4, below 6.0 |
 * | 20 | 6.0 without monitor pages of the host, and every failure of 6.0 |
 * | 40 | 6.0 with monitor pages of the host |
 *
 * Source: OpenVMM `vmbus_server` `channels.rs` (`send_version_response`).
 */
import {
  type ConnectionState,
  VersionResponse,
  VersionResponse2,
  VersionResponse3,
  VersionResponseLegacy,
} from '../../wire/messages/index.ts';
import { VmbusVersion } from '../../wire/versions.ts';
import type { MonitorPages } from '../monitor-pages.ts';

export interface SupportedVersion {
  readonly version: number;
  readonly connectionState: ConnectionState;
  /** Where the guest posts later messages, from 5.0. */
  readonly messageConnectionId: number;
  /** Negotiated features; 0 below 6.0. */
  readonly features: number;
  /** Pages that the host supplies; only with feature bit 6. */
  readonly serverMonitorPages: MonitorPages | undefined;
}

export function encodeUnsupportedVersion(): Uint8Array {
  return VersionResponseLegacy.encode({ versionSupported: 0, connectionState: 0, selectedVersion: 0 });
}

export function encodeSupportedVersion(answer: SupportedVersion): Uint8Array {
  const { version, messageConnectionId, features, serverMonitorPages } = answer;
  const outcome = { versionSupported: 1, connectionState: answer.connectionState };
  if (version < VmbusVersion.V5_0) return VersionResponseLegacy.encode({ ...outcome, selectedVersion: version });
  if (version < VmbusVersion.COPPER) return VersionResponse.encode({ ...outcome, messageConnectionId });
  if (serverMonitorPages === undefined) return VersionResponse2.encode({ ...outcome, messageConnectionId, features });
  return VersionResponse3.encode({
    ...outcome,
    messageConnectionId,
    features,
    parentToChildMonitorGpa: serverMonitorPages.parentToChildGpa,
    childToParentMonitorGpa: serverMonitorPages.childToParentGpa,
  });
}
