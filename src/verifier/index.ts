/** The verifier: watches drivers and names the rule that they break. */
export type { ChannelWatch, Finding, FindingEvent } from '../channel/index.ts';
export { formatFinding } from './finding-text.ts';
export { Verifier, type VerifierOptions } from './verifier.ts';
