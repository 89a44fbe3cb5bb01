import { describe, expect, test } from 'vitest';
import { negotiate } from '../../../../src/devices/scsi/vsc/negotiate.ts';
import { ALL_STOR_VERSIONS, StorProperties, VstorHeader } from '../../../../src/wire/storvsc.ts';

interface Scripted {
  /** Versions that the host speaks. */
  versions?: readonly number[];
  maxTransferBytes?: number;
  /** Operation that every completion carries. */
  operation?: number;
  /** Operation that is refused, and how. */
  refuse?: { operation: number; status: number };
  /** Longest completion, bytes. */
  completionBytes?: number;
}

/** A host by the book that notes what it is asked. */
function someHost(script: Scripted = {}) {
  const { versions = ALL_STOR_VERSIONS, maxTransferBytes = 0x40000, operation = 1, completionBytes = 64 } = script;
  const asked: string[] = [];
  const exchange = async (packet: Uint8Array): Promise<Uint8Array> => {
    const request = VstorHeader.parse(packet);
    const version = (packet[12] as number) | ((packet[13] as number) << 8);
    asked.push(`${request.operation}${request.operation === 9 ? `:${version.toString(16)}` : ''}/${packet.length}`);
    const answer = new Uint8Array(packet.length);
    let status = script.refuse?.operation === request.operation ? script.refuse.status : 0;
    if (request.operation === 9 && !versions.includes(version)) status = 0xc0000059;
    VstorHeader.write(answer, 0, { operation, flags: 0, status });
    if (request.operation === 10) {
      StorProperties.write(answer, 12, { maxSubChannelCount: 2, flags: 1, maxTransferBytes });
    }
    return answer.subarray(0, completionBytes);
  };
  return { asked, exchange };
}

test('the newest version is asked first, and packets of 64 bytes go with it', async () => {
  const { asked, exchange } = someHost();

  const negotiated = await negotiate(exchange, ALL_STOR_VERSIONS);

  expect(negotiated).toEqual({ version: 0x602, maxTransferBytes: 0x40000, maxSubChannelCount: 2 });
  expect(asked).toEqual(['7/64', '9:602/64', '10/64', '8/64']);
});

test('refused versions are followed by the next older one, down to packets of 48 bytes', async () => {
  const { asked, exchange } = someHost({ versions: [0x402] });

  const negotiated = await negotiate(exchange, ALL_STOR_VERSIONS);

  expect(negotiated.version).toBe(0x402);
  expect(asked).toEqual(['7/64', '9:602/64', '9:600/64', '9:501/64', '9:402/48', '10/48', '8/48']);
});

test('the largest transfer is cut to whole pages', async () => {
  const { exchange } = someHost({ maxTransferBytes: 0x1fff });

  expect((await negotiate(exchange, ALL_STOR_VERSIONS)).maxTransferBytes).toBe(0x1000);
});

describe('the guest gives up', () => {
  test.each([
    ['when the host speaks none of its versions', { versions: [0x777] }, 'ERR_REFUSED'],
    ['when BEGIN is refused', { refuse: { operation: 7, status: 0xc0000184 } }, 'ERR_REFUSED'],
    ['when the properties are refused', { refuse: { operation: 10, status: 0xc0000001 } }, 'ERR_REFUSED'],
    ['when END is refused', { refuse: { operation: 8, status: 0xc0000001 } }, 'ERR_REFUSED'],
    ['when the host allows less than a page', { maxTransferBytes: 4095 }, 'ERR_MESSAGE'],
    ['when a completion completes nothing', { operation: 7 }, 'ERR_MESSAGE'],
    ['when a completion is cut inside its header', { completionBytes: 8 }, 'ERR_SHORT'],
    ['when the properties are cut', { completionBytes: 24 }, 'ERR_SHORT'],
  ])('%s', async (_when, script, code) => {
    await expect(negotiate(someHost(script).exchange, ALL_STOR_VERSIONS)).rejects.toMatchObject({ code });
  });
});
