/** Every transport brings a verifier along; the process's environment says whether it is on unless told otherwise. */
import type { ChannelWatch, Scheduler, VerifierMaker } from '../channel/index.ts';
import { Verifier } from '../verifier/index.ts';

/**
 * One verifier for all ends that share this maker, made when the first of them wants it.
 * @param scheduler whose clock its histories show
 */
export function verifierMaker(scheduler: Scheduler): VerifierMaker {
  let verifier: ChannelWatch | undefined;
  return {
    isWanted: process.env['VMBUS_VERIFIER'] === '1',
    make: () => {
      verifier ??= new Verifier({ scheduler });
      return verifier;
    },
  };
}
