/**
 * The guest's part of the initialisation: BEGIN, version queries from the newest down, properties, END.
 *
 * Source: Linux `drivers/scsi/storvsc_drv.c`, storvsc_channel_init.
 */
import { PeerError } from '../../../errors.ts';
import { PAGE_BYTES } from '../../../memory/page.ts';
import { ntStatusName, STATUS_SUCCESS } from '../../../wire/ntstatus.ts';
import {
  formatStorVersion,
  STOR_PROPERTY_MULTI_CHANNEL,
  StorProperties,
  StorProtocolVersion,
  StorVersion,
  SubChannelRequest,
  VSTOR_FLAG_REQUEST_COMPLETION,
  VSTOR_PACKET_BYTES,
  VSTOR_PAYLOAD_AT,
  VstorHeader,
  VstorOperation,
  vstorPacketBytes,
} from '../../../wire/storvsc.ts';

/** Sends one vstor packet and gives a copy of its completion. @throws (rejects) if none will come */
export type Exchange = (packet: Uint8Array) => Promise<Uint8Array>;

export interface Negotiated {
  /** One of `StorVersion`. */
  readonly version: number;
  /** Largest transfer that the host takes, bytes: whole pages, one or more. */
  readonly maxTransferBytes: number;
  /** Sub-channels that the host would open; 0 from a host that has none. */
  readonly maxSubChannelCount: number;
}

/**
 * @param versions to offer, in order of preference
 * @throws PeerError `ERR_REFUSED` if the host takes none of them, or refuses a step; `ERR_MESSAGE` for a nonsense answer
 */
export async function negotiate(exchange: Exchange, versions: readonly number[]): Promise<Negotiated> {
  requireStatus(await ask(exchange, VstorOperation.BeginInitialization, VSTOR_PACKET_BYTES), 'BEGIN_INITIALIZATION');
  const version = await agreeOnVersion(exchange, versions);
  const packetBytes = vstorPacketBytes(version);
  const answer = requireStatus(await ask(exchange, VstorOperation.QueryProperties, packetBytes), 'QUERY_PROPERTIES');
  StorProperties.check(answer.length - VSTOR_PAYLOAD_AT, 'the answer to QUERY_PROPERTIES');
  const properties = StorProperties.parse(answer, VSTOR_PAYLOAD_AT);
  const maxTransferBytes = properties.maxTransferBytes - (properties.maxTransferBytes % PAGE_BYTES);
  if (maxTransferBytes === 0) {
    throw new PeerError(
      'ERR_MESSAGE',
      `the host takes transfers of at most ${properties.maxTransferBytes} bytes, not even one page`,
    );
  }
  requireStatus(await ask(exchange, VstorOperation.EndInitialization, packetBytes), 'END_INITIALIZATION');
  // Sub-channels need the flag and the version; Linux looks at both.
  const hasSubChannels = (properties.flags & STOR_PROPERTY_MULTI_CHANNEL) !== 0 && version >= StorVersion.WIN8;
  return { version, maxTransferBytes, maxSubChannelCount: hasSubChannels ? properties.maxSubChannelCount : 0 };
}

/**
 * Asks for sub-channels, after the initialisation as Linux does; the host offers them then.
 * @param count 1 or more, at most what the properties allow
 * @returns false if the host refuses: the disk works without
 * @throws PeerError `ERR_MESSAGE` for a nonsense answer
 * Source: Linux `drivers/scsi/storvsc_drv.c`, handle_multichannel_storage.
 */
export async function requestSubChannels(exchange: Exchange, version: number, count: number): Promise<boolean> {
  const payload = SubChannelRequest.encode({ subChannelCount: count });
  const answer = await ask(exchange, VstorOperation.CreateSubChannels, vstorPacketBytes(version), payload);
  return VstorHeader.parse(answer).status === STATUS_SUCCESS;
}

async function agreeOnVersion(exchange: Exchange, versions: readonly number[]): Promise<number> {
  for (const version of versions) {
    const payload = StorProtocolVersion.encode({ majorMinor: version, revision: 0 });
    const answer = await ask(exchange, VstorOperation.QueryProtocolVersion, vstorPacketBytes(version), payload);
    // Any refusal means: try the next. Linux does not look at which it is either.
    if (VstorHeader.parse(answer).status === STATUS_SUCCESS) return version;
  }
  const asked = versions.map(formatStorVersion).join(', ');
  throw new PeerError('ERR_REFUSED', `the host speaks none of the storage versions ${asked}`);
}

async function ask(
  exchange: Exchange,
  operation: number,
  packetBytes: number,
  payload?: Uint8Array,
): Promise<Uint8Array> {
  const packet = new Uint8Array(packetBytes);
  VstorHeader.write(packet, 0, { operation, flags: VSTOR_FLAG_REQUEST_COMPLETION, status: 0 });
  if (payload !== undefined) packet.set(payload, VSTOR_PAYLOAD_AT);
  const answer = await exchange(packet);
  VstorHeader.check(answer.length, 'a storage completion');
  const answered = VstorHeader.parse(answer).operation;
  if (answered !== VstorOperation.CompleteIo) {
    throw new PeerError('ERR_MESSAGE', `the host answered operation ${operation} with operation ${answered}`);
  }
  return answer;
}

function requireStatus(answer: Uint8Array, step: string): Uint8Array {
  const { status } = VstorHeader.parse(answer);
  if (status !== STATUS_SUCCESS) {
    throw new PeerError('ERR_REFUSED', `the host refused ${step} with ${ntStatusName(status)}`, { status });
  }
  return answer;
}
