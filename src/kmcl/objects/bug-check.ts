/** What would have stopped Windows: a driver broke a rule that no status can report. */
import type { ChannelEndpoint } from '../../channel/index.ts';
import { VmbusError } from '../../errors.ts';

/**
 * Thrown by a KMCL function when its caller has a bug: a packet completed twice, a handle used after its end, a blocking
 * call at DISPATCH. It is not meant to be caught by a driver. `code` is always `ERR_BUG_CHECK`.
 */
export class BugCheck extends VmbusError {
  /** The broken rule, as in this package's list of KMCL rules: `K-221`. */
  readonly rule: string;

  /**
   * @param rule number of the rule, `K-…`
   * @param message what was found and what the rule asks for
   */
  constructor(rule: string, message: string) {
    super('ERR_BUG_CHECK', `${rule}: ${message}`);
    this.rule = rule;
  }
}

/**
 * The bug check to throw; a verifier that watches the channel makes it a finding first.
 * @param subject the packet, or the id of the GPADL, that the call was about
 */
export function bugCheck(
  channel: ChannelEndpoint,
  rule: string,
  message: string,
  subject: object | number | null = null,
): BugCheck {
  channel.watch?.misuse(channel, rule, message, subject);
  return new BugCheck(rule, message);
}
