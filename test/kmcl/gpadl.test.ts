import { describe, expect, test } from 'vitest';
import {
  endpointOf,
  MmGetSystemAddressForMdlSafe,
  NT_SUCCESS,
  out,
  STATUS_INVALID_BUFFER_SIZE,
  STATUS_INVALID_DEVICE_REQUEST,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER_2,
  STATUS_INVALID_PARAMETER_3,
  STATUS_INVALID_PARAMETER_4,
  STATUS_INVALID_PARAMETER_5,
  STATUS_NOT_FOUND,
  STATUS_SUCCESS,
  VmbChannelCreateGpadlFromBuffer,
  VmbChannelCreateGpadlFromMdl,
  VmbChannelDeleteGpadl,
  VmbChannelDisable,
  VmbChannelMapGpadl,
  VmbChannelUnmapGpadl,
  type VmbClientChannel,
  type VmbServerChannel,
} from '../../src/kmcl/index.ts';
import { GuestMemory, Mdl } from '../../src/memory/index.ts';
import { type TwoEndpoints, twoEndpoints } from './two-endpoints.ts';

const READ_ONLY = 1;

/** A promise's value once everything has run; `'waiting'` before. */
function watch<T>(promise: Promise<T>): { value: T | 'waiting' } {
  const seen: { value: T | 'waiting' } = { value: 'waiting' };
  promise.then((value) => {
    seen.value = value;
  });
  return seen;
}

async function create(t: TwoEndpoints, mdl: Mdl, flags = 0, offset = 0, length = 0): Promise<number> {
  const handle = out<number>();
  const status = watch(VmbChannelCreateGpadlFromMdl(t.client, flags, mdl, offset, length, handle));
  await t.settle();
  if (status.value !== STATUS_SUCCESS) throw new Error(`status ${status.value}`);
  return handle.value;
}

async function statusOf(t: TwoEndpoints, promise: Promise<number>): Promise<number | 'waiting'> {
  const seen = watch(promise);
  await t.settle();
  return seen.value;
}

function map(t: TwoEndpoints, handle: number, flags = 0): Mdl {
  const mdl = out<Mdl>();
  expect(VmbChannelMapGpadl(t.server, flags, handle, mdl)).toBe(STATUS_SUCCESS);
  return mdl.value;
}

describe('create', () => {
  test('K-248 VmbChannelCreateGpadlFromBuffer returns only after the peer has acknowledged', async () => {
    const t = await twoEndpoints();
    const handle = out<number>();
    const buffer = t.memory.bytes(900 * 4096 + 100, 5000);

    const status = watch(VmbChannelCreateGpadlFromBuffer(t.client, 0, buffer, 5000, handle));
    await new Promise((resolve) => setImmediate(resolve));
    expect(status.value).toBe('waiting');
    expect(handle.isEmpty).toBe(true);
    await t.settle();

    expect(status.value).toBe(STATUS_SUCCESS);
    expect(map(t, handle.value)).toMatchObject({ pfns: [900, 901], byteOffset: 100, byteCount: 5000 });
  });

  test('K-249 the server can map the handle as soon as create has returned', async () => {
    const t = await twoEndpoints();

    const handle = await create(t, Mdl.fromPfns(t.memory, [900]));

    expect(VmbChannelMapGpadl(t.server, 0, handle, out<Mdl>())).toBe(STATUS_SUCCESS);
  });

  test('K-250 the buffer stays shared until it is deleted', async () => {
    const t = await twoEndpoints();
    const buffer = t.memory.bytes(900 * 4096, 4096);
    const handle = out<number>();
    const created = VmbChannelCreateGpadlFromBuffer(t.client, 0, buffer, 4096, handle);
    await t.settle();
    await created;
    const view = MmGetSystemAddressForMdlSafe(map(t, handle.value));

    buffer[0] = 77;
    view.write(1, Uint8Array.of(88));

    expect(view.toBytes()[0]).toBe(77);
    expect(buffer[1]).toBe(88);
  });

  test('K-251 a data length of 0 covers all from the offset to the end of the chain', async () => {
    const t = await twoEndpoints();
    const chain = Mdl.chain(Mdl.fromPfns(t.memory, [900], 0, 1000), Mdl.fromPfns(t.memory, [800], 8, 500));

    const mdl = map(t, await create(t, chain, 0, 600, 0));

    expect(mdl).toMatchObject({ pfns: [900], byteOffset: 600, byteCount: 400 });
    expect(mdl.next).toMatchObject({ pfns: [800], byteOffset: 8, byteCount: 500 });
  });

  test('K-252 VmbChannelCreateGpadlFromMdl takes a chain', async () => {
    const t = await twoEndpoints();
    const pieces = [900, 800, 850].map((pfn) => Mdl.fromPfns(t.memory, [pfn]));

    const handle = await create(t, Mdl.chain(...pieces));

    expect(Mdl.totalBytes(map(t, handle))).toBe(3 * 4096);
  });

  test('K-253 when the peer refuses, create gives an error and no handle', async () => {
    const t = await twoEndpoints();
    const handle = out<number>();
    // This page is not in the guest's memory, so the host does not take it.
    const mdl = Mdl.fromPfns(t.memory, [2 ** 30]);

    const status = await statusOf(t, VmbChannelCreateGpadlFromMdl(t.client, 0, mdl, 0, 0, handle));

    expect(NT_SUCCESS(Number(status))).toBe(false);
    expect(handle.isEmpty).toBe(true);
  });

  test('K-263 before Opened and after Closed it fails', async () => {
    const statuses: (number | 'waiting')[] = [];
    const mdl = (): Mdl => Mdl.fromPfns(GuestMemory.allocate(1), [0]);
    const t = await twoEndpoints({
      setUpClient: (channel) => {
        VmbChannelCreateGpadlFromMdl(channel, 0, mdl(), 0, 0, out<number>()).then((status) => statuses.push(status));
      },
    });

    const disabled = VmbChannelDisable(t.client);
    await t.settle();
    await disabled;
    statuses.push(await statusOf(t, VmbChannelCreateGpadlFromMdl(t.client, 0, mdl(), 0, 0, out<number>())));

    expect(statuses).toEqual([STATUS_INVALID_DEVICE_STATE, STATUS_INVALID_DEVICE_STATE]);
  });

  test('K-264 flags outside 0x1 are refused by create and map', async () => {
    const t = await twoEndpoints();
    const mdl = Mdl.fromPfns(t.memory, [900]);
    const buffer = t.memory.page(900);

    expect(await VmbChannelCreateGpadlFromMdl(t.client, 2, mdl, 0, 0, out<number>())).toBe(STATUS_INVALID_PARAMETER_2);
    expect(await VmbChannelCreateGpadlFromBuffer(t.client, 2, buffer, 8, out<number>())).toBe(
      STATUS_INVALID_PARAMETER_2,
    );
    expect(VmbChannelMapGpadl(t.server, 2, 1, out<Mdl>())).toBe(STATUS_INVALID_PARAMETER_2);
  });

  test('K-265 8190 pages fit one GPADL of a single range, 8191 do not', async () => {
    const t = await twoEndpoints({ memory: GuestMemory.allocate(8300) });
    const pages = (count: number): Mdl =>
      Mdl.fromPfns(
        t.memory,
        Array.from({ length: count }, (_, index) => 100 + index),
      );

    expect(map(t, await create(t, pages(8190))).pfns).toHaveLength(8190);
    const status = await statusOf(t, VmbChannelCreateGpadlFromMdl(t.client, 0, pages(8191), 0, 0, out<number>()));

    expect(status).toBe(STATUS_INVALID_BUFFER_SIZE);
  });

  test('arguments are checked by position', async () => {
    const t = await twoEndpoints();
    const mdl = Mdl.fromPfns(t.memory, [900]);
    const fromMdl = (offset: number, length: number): Promise<number> =>
      VmbChannelCreateGpadlFromMdl(t.client, 0, mdl, offset, length, out<number>());
    const fromBuffer = (buffer: Uint8Array, count: number): Promise<number> =>
      VmbChannelCreateGpadlFromBuffer(t.client, 0, buffer, count, out<number>());

    expect(await fromMdl(4096, 0)).toBe(STATUS_INVALID_PARAMETER_4);
    expect(await fromMdl(0, 4097)).toBe(STATUS_INVALID_PARAMETER_5);
    expect(await fromBuffer(new Uint8Array(10), 10)).toBe(STATUS_INVALID_PARAMETER_3);
    expect(await fromBuffer(t.memory.page(900), 0)).toBe(STATUS_INVALID_PARAMETER_4);
    expect(await fromBuffer(t.memory.page(900), 4097)).toBe(STATUS_INVALID_PARAMETER_4);
    const server = t.server as unknown as VmbClientChannel;
    expect(await VmbChannelCreateGpadlFromMdl(server, 0, mdl, 0, 0, out<number>())).toBe(STATUS_INVALID_DEVICE_REQUEST);
  });
});

describe('map', () => {
  test('K-254 the MDL has the bytes, offset and length of the GPADL', async () => {
    const t = await twoEndpoints();
    const handle = await create(t, Mdl.fromPfns(t.memory, [900, 950], 40, 5000));

    expect(map(t, handle)).toMatchObject({ pfns: [900, 950], byteOffset: 40, byteCount: 5000, next: null });
  });

  test('K-255 mapping twice without unmapping fails', async () => {
    const t = await twoEndpoints();
    const handle = await create(t, Mdl.fromPfns(t.memory, [900]));
    map(t, handle);

    expect(VmbChannelMapGpadl(t.server, 0, handle, out<Mdl>())).toBe(STATUS_INVALID_DEVICE_STATE);
  });

  test('K-256 mapping a read-only GPADL for writing fails', async () => {
    const t = await twoEndpoints();
    const handle = await create(t, Mdl.fromPfns(t.memory, [900]), READ_ONLY);

    expect(VmbChannelMapGpadl(t.server, 0, handle, out<Mdl>())).toBe(STATUS_INVALID_PARAMETER_2);
  });

  test('K-257 mapping a read-only GPADL for reading succeeds', async () => {
    const t = await twoEndpoints();
    const handle = await create(t, Mdl.fromPfns(t.memory, [900]), READ_ONLY);

    expect(VmbChannelMapGpadl(t.server, READ_ONLY, handle, out<Mdl>())).toBe(STATUS_SUCCESS);
  });

  test('K-258 a read-only mapping does not by itself prevent writes', async () => {
    const t = await twoEndpoints();
    const handle = await create(t, Mdl.fromPfns(t.memory, [900]), READ_ONLY);

    MmGetSystemAddressForMdlSafe(map(t, handle, READ_ONLY)).write(0, Uint8Array.of(9));

    expect(t.memory.page(900)[0]).toBe(9);
  });

  test('K-259 mapping an unknown handle fails', async () => {
    const t = await twoEndpoints();

    expect(VmbChannelMapGpadl(t.server, 0, 12_345, out<Mdl>())).toBe(STATUS_NOT_FOUND);
  });

  test('K-262 after unmapping the same GPADL can be mapped again, and the old MDL is dead', async () => {
    const t = await twoEndpoints();
    const handle = await create(t, Mdl.fromPfns(t.memory, [900]));
    const first = map(t, handle);

    VmbChannelUnmapGpadl(t.server, handle);

    expect(first.isValid).toBe(false);
    expect(map(t, handle).isValid).toBe(true);
    VmbChannelUnmapGpadl(t.server, handle);
    expect(() => VmbChannelUnmapGpadl(t.server, handle)).toThrow(expect.objectContaining({ rule: 'K-262' }));
  });

  test('a client may not map', async () => {
    const t = await twoEndpoints();

    expect(VmbChannelMapGpadl(t.client as unknown as VmbServerChannel, 0, 1, out<Mdl>())).toBe(
      STATUS_INVALID_DEVICE_REQUEST,
    );
  });
});

describe('delete', () => {
  test('K-260 it waits while the GPADL is mapped and returns after unmap', async () => {
    const t = await twoEndpoints();
    const handle = await create(t, Mdl.fromPfns(t.memory, [900]));
    map(t, handle);

    const deleted = watch(VmbChannelDeleteGpadl(t.client, handle).then(() => 'done' as const));
    await t.settle();
    expect(deleted.value).toBe('waiting');
    VmbChannelUnmapGpadl(t.server, handle);
    await t.settle();

    expect(deleted.value).toBe('done');
  });

  test('K-261 without a mapping it returns after the acknowledgement, and a second one is a bug check', async () => {
    const t = await twoEndpoints();
    const handle = await create(t, Mdl.fromPfns(t.memory, [900]));

    const deleted = watch(VmbChannelDeleteGpadl(t.client, handle).then(() => 'done' as const));
    await new Promise((resolve) => setImmediate(resolve));
    expect(deleted.value).toBe('waiting');
    await t.settle();

    expect(deleted.value).toBe('done');
    expect(VmbChannelMapGpadl(t.server, 0, handle, out<Mdl>())).toBe(STATUS_NOT_FOUND);
    await expect(VmbChannelDeleteGpadl(t.client, handle)).rejects.toMatchObject({ rule: 'K-261' });
  });

  test('mappings that are left when the channel closes do not keep the guest’s pages', async () => {
    const handle = out<number>();
    const t = await twoEndpoints({
      clientCallbacks: {
        EvtChannelClosed: (channel) => VmbChannelDeleteGpadl(channel as VmbClientChannel, handle.value),
      },
    });
    handle.value = await create(t, Mdl.fromPfns(t.memory, [900]));
    const mdl = map(t, handle.value);

    const disabled = VmbChannelDisable(t.client);
    await t.settle();
    // The client waits in Closed for the server, which still has it mapped.
    expect(endpointOf(t.client).stage).toBe('closing');
    VmbChannelUnmapGpadl(t.server, handle.value);
    await t.settle();
    await disabled;

    expect(mdl.isValid).toBe(false);
    expect(endpointOf(t.client).stage).toBe('disabled');
  });
});
