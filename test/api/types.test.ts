/** The types say what is legal: what only one end may do is not there at the other. The type check fails with these. */
import { expect, expectTypeOf, test } from 'vitest';
import type { GuestChannel, HostChannel, MappedGpadl, Packet, ScatterReader } from '../../src/api/index.ts';
import * as root from '../../src/index.ts';
import type { ScatterView } from '../../src/memory/index.ts';
import { twoEnds } from './two-ends.ts';

type GuestOnly = 'createGpadl' | 'mmioSpace' | 'interruptLatency100ns';
type HostOnly = 'opened' | 'mapGpadl' | 'interfaceId' | 'subchannelIndex';

test('guests share memory, hosts map it, and neither offers the other’s calls', async () => {
  expectTypeOf<Exclude<keyof GuestChannel, keyof HostChannel>>().toEqualTypeOf<GuestOnly>();
  expectTypeOf<Exclude<keyof HostChannel, keyof GuestChannel>>().toEqualTypeOf<HostOnly>();

  const { client, server } = await twoEnds();
  expect(['createGpadl' in server, 'mapGpadl' in client, 'opened' in client]).toEqual([false, false, false]);
});

test('only a guest’s requests name pages, and in one way at a time', async () => {
  type GuestRequest = NonNullable<Parameters<GuestChannel['request']>[1]>;
  type HostRequest = NonNullable<Parameters<HostChannel['request']>[1]>;

  expectTypeOf<{ pfns: number[] }>().toExtend<GuestRequest>();
  expectTypeOf<{ pfns: number[]; ranges: [] }>().not.toExtend<GuestRequest>();
  expectTypeOf<keyof HostRequest>().toEqualTypeOf<'signal' | 'timeoutMs'>();
  expectTypeOf<ReturnType<HostChannel['transaction']>>().not.toHaveProperty('sendPfns');

  const { server } = await twoEnds();
  expect('sendPfns' in server.transaction(() => {})).toBe(false);
});

test('what was asked for to be read cannot be written', () => {
  const readPacket = (packet: Packet) => packet.externalData({ isReadOnly: true });
  const writePacket = (packet: Packet) => packet.externalData();
  const readGpadl = (channel: HostChannel) => channel.mapGpadl(1, { isReadOnly: true });

  expectTypeOf(readPacket).returns.resolves.toEqualTypeOf<ScatterReader>();
  expectTypeOf(writePacket).returns.resolves.toEqualTypeOf<ScatterView>();
  expectTypeOf(readGpadl).returns.toEqualTypeOf<MappedGpadl<ScatterReader>>();
  expectTypeOf<ScatterReader>().not.toHaveProperty('write');
});

test('the package’s front door has the face and the errors, and no constructors to be called by mistake', () => {
  expect(Object.keys(root).sort()).toEqual([
    'AddressError',
    'AssertionError',
    'Bus',
    'ERROR_CODES',
    'PeerError',
    'SystemError',
    'UsageError',
    'VmbusError',
  ]);
});
