import { describe, expect, test } from 'vitest';
import { encodeGpadl, GpadlBody, GpadlHeader } from '../../../src/wire/messages/index.ts';
import { wholePages } from '../../peers/scripted-guest.ts';
import { bytesOf } from '../bytes.ts';
import { someHost, someOfferedChannel, someOpenChannel } from './some-host.ts';

const FAILURE = 0x8000_ffff;

/** Range data of one range, as the wire has it. */
function rangeData(byteCount: number, byteOffset: number, pfns: readonly number[]): Uint8Array {
  const words = new Uint32Array([byteCount, byteOffset, ...pfns.flatMap((pfn) => [pfn, 0])]);
  return new Uint8Array(words.buffer);
}

function header(
  channelId: number,
  gpadlId: number,
  rangeBytes: number,
  rangeCount: number,
  data: Uint8Array = new Uint8Array(0),
) {
  const message = new Uint8Array(GpadlHeader.size + data.length);
  message.set(GpadlHeader.encode({ channelId, gpadlId, rangeBytes, rangeCount }));
  message.set(data, GpadlHeader.size);
  return message;
}

function body(gpadlId: number, data: Uint8Array): Uint8Array {
  const message = new Uint8Array(GpadlBody.size + data.length);
  message.set(GpadlBody.encode({ messageNumber: 0, gpadlId }));
  message.set(data, GpadlBody.size);
  return message;
}

describe('creating', () => {
  test('the worked example: 40 pages in a header and one body, then GpadlCreated', () => {
    const { guest, offer } = someHost();
    for (let n = 1; n <= 4; n++) offer(n);
    const { device: fifth, offer: channel } = offer(5);
    guest.connect();
    const [first, second] = encodeGpadl(5, 0xe1e10, wholePages(40)) as [Uint8Array, Uint8Array];

    guest.send(first);
    expect(guest.received).toEqual([]);
    guest.send(second);

    expect(guest.received).toEqual([bytesOf('0a 00 00 00 00 00 00 00  05 00 00 00  10 1e 0e 00  00 00 00 00')]);
    expect(fifth.calls).toEqual(['gpadlCreated 925200 40']);
    expect(channel.gpadl(0xe1e10)).toMatchObject({
      pageCount: 40,
      ranges: [{ byteCount: 0x28000, byteOffset: 0, pfns: wholePages(40)[0]?.pfns }],
    });
  });

  test('the largest list of one range: 8190 pages', () => {
    const { guest, channel } = someOfferedChannel();

    guest.createGpadl(1, 1, wholePages(8190));

    expect(guest.takeAll()).toMatchObject([{ name: 'GpadlCreated', status: 0 }]);
    expect(channel.gpadl(1)?.pageCount).toBe(8190);
  });

  test('two lists grow at the same time, other messages between', () => {
    const { guest, channel } = someOfferedChannel();
    const [one, two] = [encodeGpadl(1, 1, wholePages(60)), encodeGpadl(1, 2, wholePages(60, 0x8000))];

    for (const [index, message] of one.entries()) {
      guest.send(message);
      guest.modify(1, 0);
      guest.send(two[index] as Uint8Array);
    }

    const created = guest.takeAll().filter(({ name }) => name === 'GpadlCreated');
    expect(created).toMatchObject([
      { gpadlId: 1, status: 0 },
      { gpadlId: 2, status: 0 },
    ]);
    expect(channel.gpadl(2)?.ranges).toMatchObject(wholePages(60, 0x8000));
  });

  test('several ranges, the first late in its page', () => {
    const { guest, channel } = someOfferedChannel();
    const ranges = [
      { byteCount: 5000, byteOffset: 100, pfns: [7, 9] },
      { byteCount: 1, byteOffset: 4095, pfns: [4] },
    ];

    guest.createGpadl(1, 1, ranges);

    expect(channel.gpadl(1)?.ranges).toMatchObject(ranges);
  });

  test('no bytes and no range make a GPADL at once', () => {
    const { guest, channel } = someOfferedChannel();

    guest.send(header(1, 1, 0, 0));

    expect(guest.takeAll()).toMatchObject([{ name: 'GpadlCreated', status: 0 }]);
    expect(channel.gpadl(1)).toMatchObject({ pageCount: 0, ranges: [] });
  });

  test('a length that is no multiple of 8 loses its low bits', () => {
    const { guest } = someOfferedChannel();

    guest.send(header(1, 1, 23, 1, rangeData(4096, 0, [5])));

    expect(guest.take()).toMatchObject({ name: 'GpadlCreated', status: 0 });
  });

  test('a device may refuse the pages', () => {
    const { guest, device, channel, bus } = someOfferedChannel();
    device.acceptsGpadls = false;

    guest.createGpadl(1, 1);

    expect(guest.take()).toMatchObject({ name: 'GpadlCreated', status: FAILURE });
    expect(channel.gpadl(1)).toBeUndefined();
    expect(bus.inspect().gpadls).toEqual({ count: 0, inProgress: 0, pageCount: 0 });
  });

  test.each([
    ['a byte count of 0', rangeData(0, 0, [5])],
    ['an offset beyond the page', rangeData(4096, 4096, [5])],
    ['a sum that overflows', rangeData(0xffff_ffff, 1, [5])],
    ['too few page numbers', rangeData(4097, 0, [5])],
  ])('%s fails the list, and nothing of it is kept', (_, data) => {
    const { guest, bus, dropped } = someOfferedChannel();

    guest.send(header(1, 1, data.length, 1, data));

    expect(guest.take()).toMatchObject({ name: 'GpadlCreated', status: FAILURE });
    expect(bus.inspect().gpadls).toEqual({ count: 0, inProgress: 0, pageCount: 0 });
    expect(dropped).toHaveLength(1);
  });

  test('an invalid list that ends in a body is answered too', () => {
    const { guest, bus } = someOfferedChannel();

    guest.send(header(1, 1, 24, 1, rangeData(4096 * 2, 4095, [])));
    guest.send(body(1, bytesOf('05 00 00 00 00 00 00 00 06 00 00 00 00 00 00 00')));

    expect(guest.takeAll()).toMatchObject([{ name: 'GpadlCreated', gpadlId: 1, status: FAILURE }]);
    expect(bus.inspect().gpadls.count).toBe(0);
  });

  test('more ranges than the words can hold fail before a body comes', () => {
    const { guest, bus } = someOfferedChannel();

    guest.send(header(1, 1, 0xfff8, 0xffff));

    expect(guest.take()).toMatchObject({ name: 'GpadlCreated', status: FAILURE });
    expect(bus.inspect().gpadls.inProgress).toBe(0);
  });
});

describe('tearing down', () => {
  test('an unused list goes at once, and its id can be used again', () => {
    const { guest, device } = someOfferedChannel();
    guest.createGpadl(1, 1);
    guest.takeAll();

    guest.teardownGpadl(1, 1);
    guest.createGpadl(1, 1);

    expect(guest.takeAll()).toMatchObject([
      { name: 'GpadlTorndown', gpadlId: 1 },
      { name: 'GpadlCreated', gpadlId: 1, status: 0 },
    ]);
    expect(device.calls).toEqual(['gpadlCreated 1 8', 'gpadlTornDown 1', 'gpadlCreated 1 8']);
  });

  test('a mapped list goes when the last mapping does', () => {
    const { guest, channel } = someOfferedChannel();
    guest.createGpadl(1, 1);
    guest.takeAll();
    channel.mapGpadl(1);
    channel.mapGpadl(1);

    guest.teardownGpadl(1, 1);
    channel.unmapGpadl(1);
    expect(guest.received).toEqual([]);
    channel.unmapGpadl(1);

    expect(guest.takeAll()).toEqual([{ name: 'GpadlTorndown', gpadlId: 1 }]);
  });

  test('a list that is being torn down takes no new mapping', () => {
    const { guest, channel } = someOfferedChannel();
    guest.createGpadl(1, 1);
    channel.mapGpadl(1);

    guest.teardownGpadl(1, 1);

    expect(channel.mapGpadl(1)).toBeUndefined();
    expect(channel.gpadl(1)).toBeUndefined();
    expect(() => channel.unmapGpadl(1)).not.toThrow();
    expect(() => channel.unmapGpadl(1)).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
  });

  test('a device that unmaps when it is told frees the list in the same breath', () => {
    const { guest, channel, device } = someOfferedChannel();
    guest.createGpadl(1, 1);
    guest.takeAll();
    channel.mapGpadl(1);
    device.gpadlTornDown = (id) => channel.unmapGpadl(id);

    guest.teardownGpadl(1, 1);

    expect(guest.takeAll()).toEqual([{ name: 'GpadlTorndown', gpadlId: 1 }]);
  });

  test('the rings stay mapped through a close that the device has not confirmed', () => {
    const { guest, device, channel } = someOpenChannel();
    device.answersClose = false;

    guest.teardownGpadl(1, 1);
    guest.close(1);
    expect(guest.received).toEqual([]);
    channel.closed();

    expect(guest.takeAll()).toEqual([{ name: 'GpadlTorndown', gpadlId: 1 }]);
  });

  test('after a release the lists of the channel go without messages, and its id when the last mapping goes', () => {
    const { guest, channel, bus, offer } = someOfferedChannel();
    guest.createGpadl(1, 1);
    guest.createGpadl(1, 2);
    channel.mapGpadl(2);
    guest.takeAll();

    guest.release(1);
    const { offer: second } = offer(2);
    channel.unmapGpadl(2);
    const { offer: third } = offer(3);

    expect(guest.takeAll().map(({ name }) => name)).toEqual(['OfferChannel', 'OfferChannel']);
    expect([second.relid, third.relid]).toEqual([2, 1]);
    expect(bus.inspect().gpadls.count).toBe(0);
  });
});
