/** What to do about a broken rule. */
const ADVICE: Readonly<Record<string, string>> = {
  'K-018':
    'Wait at PASSIVE: leave the packet callback first (scheduler.passive), or set incoming processing at PASSIVE.',
  'K-021': 'Set the handle to null when you clean the channel up.',
  'K-022': 'Await VmbChannelDisable before VmbChannelCleanup.',
  'K-028': 'Answer with at most the largest packet that the channel was configured for.',
  'K-097': 'Remember the wish and carry it out when the callback has returned.',
  'K-107':
    'Complete every packet that ProcessPacket was given, in Suspend at the latest; pause and disable wait for it.',
  'K-125': 'Await VmbChannelDeleteGpadl for each GPADL inside EvtVmbChannelClosed.',
  'K-132':
    'Call VmbPacketFree once for each packet whose routine you replaced or that you never sent, and drop the handle.',
  'K-135': 'Wait for the completion routine; it may free or change the packet.',
  'K-136': 'Drop a packet from VmbPacketInitialize; only those from VmbPacketAllocate are freed.',
  'K-151': 'See what the peer did with the packet: it took it, or never looked, and did not complete it.',
  'K-154': 'Send it again from its completion routine, or take another packet.',
  'K-189': 'Leave pages alone from the send to the completion routine; the peer may read them at any moment.',
  'K-211': 'Use a timeout of 0 without WAIT at DISPATCH, or send a packet with a completion routine.',
  'K-221': 'Complete or fail each packet on one path only, and forget its handle there.',
  'K-233': 'Decide about the level inside ProcessPacket.',
  'K-241': 'Copy what you need before VmbChannelPacketComplete, or complete later.',
  'K-245':
    'Ask for the data without READ_ONLY if you write to it; otherwise the guest changed pages that are in flight.',
  'K-260': 'Tell the server to unmap first, and delete when it said that it has.',
  'K-261': 'Delete each GPADL once, on the channel that created it.',
  'K-262': 'Unmap once for each VmbChannelMapGpadl that succeeded.',
};

export function adviceOn(rule: string): string {
  return ADVICE[rule] ?? 'See the rule, and the two call sites.';
}
