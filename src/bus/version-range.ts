/** Which protocol versions one end speaks. */
import { UsageError } from '../errors.ts';
import { ALL_VERSIONS, formatVersion, isKnownVersion } from '../wire/versions.ts';

export interface VersionRange {
  /** Default: the newest that we know. */
  readonly newestVersion?: number;
  /** Default: 0.13. */
  readonly oldestVersion?: number;
}

/**
 * Newest first.
 * @throws UsageError `ERR_ARGUMENT` for a limit that is no version of the protocol, or an empty range
 */
export function versionsIn(range: VersionRange): readonly number[] {
  for (const limit of [range.newestVersion, range.oldestVersion]) {
    if (limit !== undefined && !isKnownVersion(limit)) {
      throw new UsageError('ERR_ARGUMENT', `${formatVersion(limit)} is not a version of the protocol`);
    }
  }
  const { newestVersion = Number.POSITIVE_INFINITY, oldestVersion = 0 } = range;
  const versions = ALL_VERSIONS.filter((version) => version >= oldestVersion && version <= newestVersion);
  if (versions.length === 0) throw new UsageError('ERR_ARGUMENT', 'the oldest version is newer than the newest');
  return versions;
}
