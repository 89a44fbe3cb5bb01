/** Which verifier a bus gets. */
import { UsageError } from '../errors.ts';
import type { ChannelWatch, VerifierMaker } from './watch.ts';

/** `true` takes the transport's, `false` none; without it the transport decides (`VMBUS_VERIFIER=1`). */
export type VerifierOption = boolean | ChannelWatch;

/** @throws UsageError `ERR_ARGUMENT` for `true` over a transport that has none: make one and hand it in */
export function verifierOf(option: VerifierOption | undefined, maker: VerifierMaker | undefined): ChannelWatch | null {
  if (typeof option === 'object') return option;
  const isWanted = option ?? maker?.isWanted ?? false;
  if (!isWanted) return null;
  if (maker === undefined) {
    throw new UsageError('ERR_ARGUMENT', 'verifier: true, but the transport has none; hand in a `new Verifier(...)`');
  }
  return maker.make();
}
