/** The protocol of save and restore: who may call what, when, and what comes back. */
import { describe, expect, test } from 'vitest';
import { currentIrql, Irql } from '../../src/channel/index.ts';
import {
  type EvtVmbChannelSavePacket,
  out,
  STATUS_BUFFER_OVERFLOW,
  STATUS_BUFFER_TOO_SMALL,
  STATUS_CANCELLED,
  STATUS_DATA_ERROR,
  STATUS_INVALID_BUFFER_SIZE,
  STATUS_INVALID_DEVICE_REQUEST,
  STATUS_INVALID_DEVICE_STATE,
  STATUS_INVALID_PARAMETER_1,
  STATUS_INVALID_PARAMETER_2,
  STATUS_INVALID_PARAMETER_3,
  STATUS_IO_TIMEOUT,
  STATUS_MORE_PROCESSING_REQUIRED,
  STATUS_SUCCESS,
  VmbChannelCleanup,
  VmbChannelDisable,
  VmbChannelInitSetMaximumPacketSize,
  VmbChannelPacketComplete,
  VmbChannelPause,
  VmbChannelRestoreFromBuffer,
  VmbChannelSaveBegin,
  VmbChannelSaveContinue,
  VmbChannelSaveEnd,
  VmbChannelStart,
  type VmbPacket,
  VmbPacketAllocate,
  VmbPacketFree,
  VmbPacketRestore,
  VmbPacketSend,
  type VmbServerChannel,
  VmbServerChannelInitSetSaveRestorePacketCallbacks,
  VmbServerChannelInitSetSaveRestorePacketCallbacksEx,
  VmbServerChannelInitSetTargetInterfaceId,
} from '../../src/kmcl/index.ts';
import {
  moveHost,
  nameCallbacks,
  newServer,
  restoreChannel,
  type Saveable,
  saveable,
  saveChannel,
  sendNamed,
  stageOf,
  WAIT,
} from './saving.ts';
import { expectSuccess, INTERFACE_ID, nth, somePacket } from './two-endpoints.ts';

async function pausedServer(names: readonly string[] = [], onSave?: EvtVmbChannelSavePacket): Promise<Saveable> {
  const t = await saveable({
    setUpServer: (server) => {
      if (onSave === undefined) return;
      VmbServerChannelInitSetSaveRestorePacketCallbacks(server, onSave, () => STATUS_SUCCESS);
    },
  });
  sendNamed(t, names);
  await t.settle();
  const paused = VmbChannelPause(t.server);
  await t.settle();
  await paused;
  return t;
}

function saveContinue(
  server: VmbServerChannel,
  size: number,
): { status: number; filled: number; required: number; bytes: Uint8Array } {
  const filled = { value: -1 };
  const required = { value: -1 };
  const buffer = new Uint8Array(size);
  const status = VmbChannelSaveContinue(server, buffer, size, filled, required);
  return {
    status,
    filled: filled.value,
    required: required.value,
    bytes: buffer.subarray(0, Math.max(0, filled.value)),
  };
}

describe('the order of calls', () => {
  test('K-266 begin, continue until success, end; a second begin, or one on a channel that runs, is refused', async () => {
    const t = await saveable();

    expect(VmbChannelSaveBegin(t.server)).toBe(STATUS_INVALID_DEVICE_STATE);
    const paused = VmbChannelPause(t.server);
    await t.settle();
    await paused;
    expect(VmbChannelSaveBegin(t.server)).toBe(STATUS_SUCCESS);
    expect(VmbChannelSaveBegin(t.server)).toBe(STATUS_INVALID_DEVICE_STATE);
    expect(saveContinue(t.server, 4096).status).toBe(STATUS_SUCCESS);
    expect(saveContinue(t.server, 4096).status).toBe(STATUS_INVALID_DEVICE_STATE);
    VmbChannelSaveEnd(t.server);

    expect(saveContinue(t.server, 4096).status).toBe(STATUS_INVALID_DEVICE_STATE);
  });

  test('K-266 a channel can be saved again, with the same bytes', async () => {
    const t = await pausedServer(['one']);

    const first = saveChannel(t.server);
    const second = saveChannel(t.server);

    expect(second).toEqual(first);
  });

  test('K-267 continue before begin is STATUS_INVALID_DEVICE_STATE and touches no output', async () => {
    const t = await pausedServer();

    expect(saveContinue(t.server, 4096)).toMatchObject({
      status: STATUS_INVALID_DEVICE_STATE,
      filled: -1,
      required: -1,
    });
  });

  test('a channel that starts in the middle of a save ends it', async () => {
    const t = await pausedServer();
    expectSuccess(VmbChannelSaveBegin(t.server));

    VmbChannelStart(t.server);
    await t.settle();

    expect(saveContinue(t.server, 4096).status).toBe(STATUS_INVALID_DEVICE_STATE);
    VmbChannelSaveEnd(t.server);
    expect(stageOf(t.server)).toBe('active');
  });

  test('a completion routine at DISPATCH may not begin a save of its channel', async () => {
    const t = await saveable();
    const statuses: number[] = [];
    const packet = somePacket(t.server, () => statuses.push(VmbChannelSaveBegin(t.server)));
    const paused = VmbChannelPause(t.server);
    await t.settle();
    await paused;
    expectSuccess(VmbPacketSend(packet, null, 0, null, 0));
    VmbChannelStart(t.server);
    await expect(async () => t.settle()).rejects.toThrow('K-285');

    expect(statuses).toEqual([]);
  });
});

describe('buffers', () => {
  test('K-268 K-269 a tiny buffer is STATUS_BUFFER_TOO_SMALL, fills nothing, and says how much would do', async () => {
    const t = await pausedServer(['one']);
    expectSuccess(VmbChannelSaveBegin(t.server));

    const tiny = saveContinue(t.server, 8);
    const enough = saveContinue(t.server, tiny.required);

    expect(tiny).toMatchObject({ status: STATUS_BUFFER_TOO_SMALL, filled: 0 });
    expect(tiny.required).toBeGreaterThan(8);
    expect(enough).toMatchObject({ status: STATUS_BUFFER_OVERFLOW, filled: tiny.required });
  });

  test('K-270 STATUS_BUFFER_OVERFLOW fills whole chunks, and the next call goes on where it stopped', async () => {
    const t = await pausedServer(['one', 'two', 'three']);

    const pieces = saveChannel(t.server, 200);
    const whole = saveChannel(t.server);

    expect(pieces.length).toBeGreaterThan(1);
    expect(pieces.every(({ length }) => length > 0)).toBe(true);
    expect(Buffer.concat(pieces)).toEqual(Buffer.concat(whole));
  });

  test('K-271 a big buffer takes everything in one call, and nothing more is required', async () => {
    const t = await pausedServer(['one', 'two', 'three']);
    expectSuccess(VmbChannelSaveBegin(t.server));

    const { status, filled, required } = saveContinue(t.server, 2 ** 16);

    expect(status).toBe(STATUS_SUCCESS);
    expect(filled).toBeGreaterThan(200);
    expect(required).toBe(0);
  });

  test('K-272 end frees the context, also after a failed continue, and the channel goes on', async () => {
    const t = await pausedServer(['one']);
    expectSuccess(VmbChannelSaveBegin(t.server));
    expect(saveContinue(t.server, 8).status).toBe(STATUS_BUFFER_TOO_SMALL);

    VmbChannelSaveEnd(t.server);
    VmbChannelSaveEnd(t.server);
    VmbChannelPacketComplete(nth(t.clientReceived, 0).packet, null, 0);
    await t.settle();

    expect(t.completed.map(({ name }) => name)).toEqual(['one']);
    expect(VmbChannelSaveBegin(t.server)).toBe(STATUS_SUCCESS);
  });

  test.each([
    ['a handle that is none', {} as never, new Uint8Array(8), 8, STATUS_INVALID_PARAMETER_1],
    ['no buffer', null, null as never, 8, STATUS_INVALID_PARAMETER_2],
    ['a size beyond the buffer', null, new Uint8Array(8), 9, STATUS_INVALID_PARAMETER_3],
    ['a negative size', null, new Uint8Array(8), -1, STATUS_INVALID_PARAMETER_3],
  ])('%s is refused by its position', async (_what, channel: VmbServerChannel | null, buffer, size, status) => {
    const t = await pausedServer();
    expectSuccess(VmbChannelSaveBegin(t.server));
    const filled = out<number>();
    const disabled = newServer(t).server;

    expect(VmbChannelSaveContinue(channel ?? t.server, buffer, size, filled, out<number>())).toBe(status);
    expect(VmbChannelRestoreFromBuffer(channel ?? disabled, buffer, size)).toBe(status);
    expect(filled.isEmpty).toBe(true);
  });
});

describe('the save callback', () => {
  test('K-273 K-275 is called without a buffer, fails, and is called once more with what it asked for', async () => {
    const t = await pausedServer(['four']);

    saveChannel(t.server);

    expect(t.calls).toEqual(['save four 0', 'save four 4']);
  });

  test('K-274 success in the first call means no second one, and no save buffer at restore', async () => {
    const sizes: number[] = [];
    const t = await pausedServer(['one'], (_channel, _packet, buffer, size, needed) => {
      sizes.push(buffer === null ? size : -1);
      needed.value = 77;
      return STATUS_SUCCESS;
    });
    const pieces = saveChannel(t.server);
    const restored: [Uint8Array | null, number][] = [];
    const next = newServer(t, {
      setUpServer: (server) =>
        void VmbServerChannelInitSetSaveRestorePacketCallbacks(
          server,
          () => STATUS_SUCCESS,
          (channel, libBuffer, libSize, saveBuffer, saveSize) => {
            restored.push([saveBuffer, saveSize]);
            return VmbPacketRestore(VmbPacketAllocate(channel) as VmbPacket, libBuffer, libSize);
          },
        ),
    });

    expect(restoreChannel(next.server, pieces)).toBe(STATUS_SUCCESS);

    expect(sizes).toEqual([0]);
    expect(restored).toEqual([[null, 0]]);
  });

  test('K-276 is called for packets in flight and packets that wait, not for idle ones', async () => {
    const t = await saveable();
    const idle = t.named('idle');
    sendNamed(t, ['in flight']);
    await t.settle();
    const paused = VmbChannelPause(t.server);
    await t.settle();
    await paused;
    sendNamed(t, ['waiting'], 64, 0);
    t.calls.length = 0;

    saveChannel(t.server);

    expect(t.calls).toEqual(['save in flight 0', 'save in flight 9', 'save waiting 0', 'save waiting 7']);
    VmbPacketFree(idle);
  });

  test.each([
    ['fails without asking for bytes', 0, STATUS_IO_TIMEOUT, STATUS_IO_TIMEOUT],
    ['asks for more than any packet may have', 2 ** 24 + 1, STATUS_BUFFER_TOO_SMALL, STATUS_INVALID_BUFFER_SIZE],
    ['asks for a part of a byte', 1.5, STATUS_BUFFER_TOO_SMALL, STATUS_INVALID_BUFFER_SIZE],
    ['fails with the buffer that it asked for', 8, STATUS_IO_TIMEOUT, STATUS_IO_TIMEOUT],
  ])('one that %s fails the save', async (_what, bytes, status, expected) => {
    const t = await pausedServer(['one'], (_channel, _packet, _buffer, _size, needed) => {
      needed.value = bytes;
      return status;
    });
    expectSuccess(VmbChannelSaveBegin(t.server));

    expect(saveContinue(t.server, 4096).status).toBe(expected);
  });

  test('K-285 save and restore callbacks run at PASSIVE, and at DISPATCH no save begins', async () => {
    const levels: number[] = [];
    const t = await pausedServer(['one'], () => {
      levels.push(currentIrql());
      return STATUS_SUCCESS;
    });
    const pieces = saveChannel(t.server);
    const next = newServer(t, {
      setUpServer: (server) =>
        void VmbServerChannelInitSetSaveRestorePacketCallbacks(
          server,
          () => STATUS_SUCCESS,
          (channel, libBuffer, libSize) => {
            levels.push(currentIrql());
            return VmbPacketRestore(VmbPacketAllocate(channel) as VmbPacket, libBuffer, libSize);
          },
        ),
    });

    expectSuccess(restoreChannel(next.server, pieces));

    expect(levels).toEqual([Irql.Passive, Irql.Passive]);
    let thrown: unknown;
    const busy = await saveable({
      onServerPacket: (channel, packet) => {
        try {
          VmbChannelSaveBegin(channel as VmbServerChannel);
        } catch (error) {
          thrown = error;
        }
        VmbChannelPacketComplete(packet, null, 0);
      },
    });
    expectSuccess(VmbPacketSend(busy.packet(), null, 0, null, WAIT));
    await busy.settle();
    expect(thrown).toMatchObject({ rule: 'K-285' });
  });

  test('the Ex form gives its context to both callbacks', async () => {
    const contexts: unknown[] = [];
    const context = { whose: 'mine' };
    const t = await saveable();
    const end = newServer(t);
    const { save, restore } = nameCallbacks(end);
    const setUp = (server: VmbServerChannel): number =>
      VmbServerChannelInitSetSaveRestorePacketCallbacksEx(
        server,
        (channel, packet, buffer, size, needed, given) => {
          contexts.push(given);
          return save(channel, packet, buffer, size, needed);
        },
        (channel, libBuffer, libSize, saveBuffer, saveSize, given) => {
          contexts.push(given);
          return restore(channel, libBuffer, libSize, saveBuffer, saveSize);
        },
        context,
      );
    const s = await saveable({ setUpServer: (server) => expectSuccess(setUp(server)) });
    sendNamed(s, ['one']);
    await s.settle();

    await moveHost(s, { setUpServer: (server) => expectSuccess(setUp(server)) });

    expect(contexts).toEqual([context, context, context]);
  });
});

describe('restore', () => {
  test('K-277 K-278 every piece but the last asks for more, the last one is success', async () => {
    const t = await pausedServer(['one', 'two']);
    const pieces = saveChannel(t.server, 200);
    const next = newServer(t);

    const statuses = pieces.map((piece) => VmbChannelRestoreFromBuffer(next.server, piece, piece.length));

    expect(STATUS_MORE_PROCESSING_REQUIRED).toBe(0xc000_0016);
    expect(statuses).toEqual([...Array(pieces.length - 1).fill(STATUS_MORE_PROCESSING_REQUIRED), STATUS_SUCCESS]);
  });

  test('K-279 a truncated chunk fails, nothing is restored, and a new attempt works', async () => {
    const t = await pausedServer(['one']);
    const whole = nth(saveChannel(t.server), 0);
    const next = newServer(t);

    expect(VmbChannelRestoreFromBuffer(next.server, whole, whole.length - 1)).toBe(STATUS_DATA_ERROR);
    expect(next.calls).toEqual([]);

    expect(VmbChannelRestoreFromBuffer(next.server, whole, whole.length)).toBe(STATUS_SUCCESS);
    expect(VmbChannelRestoreFromBuffer(next.server, whole, whole.length)).toBe(STATUS_INVALID_DEVICE_STATE);
  });

  test('K-280 the restore callback is called once for each packet, with the bytes that were saved', async () => {
    const t = await pausedServer(['one', 'two', 'three']);
    const pieces = saveChannel(t.server, 200);
    const next = newServer(t);

    expectSuccess(restoreChannel(next.server, pieces));

    expect(next.calls).toEqual(['restore one', 'restore two', 'restore three']);
  });

  test('K-281 a packet that VmbPacketRestore was given gets its completion in its own routine', async () => {
    const t = await saveable();
    sendNamed(t, ['one']);
    await t.settle();

    const next = await moveHost(t);
    VmbChannelPacketComplete(nth(t.clientReceived, 0).packet, Uint8Array.of(3), 1);
    await t.settle();

    expect(next.completed.map(({ name, status, bytes }) => [name, status, bytes?.[0]])).toEqual([
      ['one', STATUS_SUCCESS, 3],
    ]);
  });

  test('a callback that fails abandons the restore, and the packets made before are idle again', async () => {
    const t = await pausedServer(['one', 'two']);
    const pieces = saveChannel(t.server);
    const made: VmbPacket[] = [];
    let failsAt = 2;
    const next = newServer(t, {
      setUpServer: (server) =>
        void VmbServerChannelInitSetSaveRestorePacketCallbacks(
          server,
          () => STATUS_SUCCESS,
          (channel, libBuffer, libSize) => {
            const packet = VmbPacketAllocate(channel) as VmbPacket;
            made.push(packet);
            expectSuccess(VmbPacketRestore(packet, libBuffer, libSize));
            return made.length === failsAt ? STATUS_IO_TIMEOUT : STATUS_SUCCESS;
          },
        ),
    });

    expect(restoreChannel(next.server, pieces)).toBe(STATUS_IO_TIMEOUT);

    for (const packet of made) VmbPacketFree(packet);
    failsAt = 0;
    expect(restoreChannel(next.server, pieces)).toBe(STATUS_SUCCESS);
  });

  test('VmbPacketRestore refuses other bytes, a second packet, and to be called elsewhere', async () => {
    const t = await pausedServer(['one']);
    const pieces = saveChannel(t.server);
    const statuses: number[] = [];
    const next = newServer(t, {
      setUpServer: (server) =>
        void VmbServerChannelInitSetSaveRestorePacketCallbacks(
          server,
          () => STATUS_SUCCESS,
          (channel, libBuffer, libSize) => {
            const packet = VmbPacketAllocate(channel) as VmbPacket;
            const second = VmbPacketAllocate(channel) as VmbPacket;
            const other = libBuffer.slice();
            other[0] = (other[0] as number) ^ 3;
            statuses.push(VmbPacketRestore(packet, other, libSize));
            statuses.push(VmbPacketRestore(packet, libBuffer, libSize - 1));
            statuses.push(VmbPacketRestore(packet, libBuffer, libSize));
            statuses.push(VmbPacketRestore(second, libBuffer, libSize));
            expect(() => VmbPacketRestore(packet, libBuffer, libSize)).toThrow('K-135');
            expect(() => VmbPacketFree(packet)).toThrow('K-135');
            return STATUS_SUCCESS;
          },
        ),
    });
    const outside = VmbPacketAllocate(next.server) as VmbPacket;

    expect(VmbPacketRestore(outside, new Uint8Array(8), 8)).toBe(STATUS_INVALID_DEVICE_STATE);
    expect(restoreChannel(next.server, pieces)).toBe(STATUS_SUCCESS);

    expect(statuses).toEqual([
      STATUS_INVALID_PARAMETER_2,
      STATUS_INVALID_PARAMETER_2,
      STATUS_SUCCESS,
      STATUS_INVALID_DEVICE_STATE,
    ]);
  });

  test.each([
    ['a callback that restores nothing', () => STATUS_SUCCESS, STATUS_INVALID_DEVICE_STATE],
    ['no callback', null, STATUS_INVALID_DEVICE_STATE],
  ])('%s fails the restore of a channel with packets', async (_what, callback, expected) => {
    const t = await pausedServer(['one']);
    const pieces = saveChannel(t.server);
    const next = newServer(t, {
      setUpServer: (server) =>
        void VmbServerChannelInitSetSaveRestorePacketCallbacks(server, () => STATUS_SUCCESS, callback as never),
    });

    expect(restoreChannel(next.server, pieces)).toBe(expected);
  });

  test.each([
    [
      'another instance',
      (server: VmbServerChannel) =>
        void VmbServerChannelInitSetTargetInterfaceId(server, INTERFACE_ID, '00000000-0000-0000-0000-00000000000b'),
    ],
    ['smaller packets', (server: VmbServerChannel) => void VmbChannelInitSetMaximumPacketSize(server, 32)],
  ])('a channel configured for %s refuses what does not fit it', async (_what, setUpServer) => {
    const t = await pausedServer();
    sendNamed(t, ['one']);
    const pieces = saveChannel(t.server);

    expect(restoreChannel(newServer(t, { setUpServer }).server, pieces)).toBe(STATUS_DATA_ERROR);
  });

  test.each(['cleaned up', 'disabled'])(
    'packets restored to a channel that is %s without Enable are cancelled',
    async (how) => {
      const t = await pausedServer(['one']);
      sendNamed(t, ['two']);
      const next = newServer(t);
      expectSuccess(restoreChannel(next.server, saveChannel(t.server)));

      if (how === 'disabled') await VmbChannelDisable(next.server);
      VmbChannelCleanup(next.server);

      expect(next.completed.map(({ name, status }) => [name, status])).toEqual([
        ['one', STATUS_CANCELLED],
        ['two', STATUS_CANCELLED],
      ]);
    },
  );
});

test('K-283 save and restore are refused on a client channel and touch no output', async () => {
  const t = await saveable();
  const client = t.client as unknown as VmbServerChannel;
  const filled = out<number>();
  const required = out<number>();

  expect([
    VmbChannelSaveBegin(client),
    VmbChannelSaveContinue(client, new Uint8Array(8), 8, filled, required),
    VmbChannelRestoreFromBuffer(client, new Uint8Array(8), 8),
    VmbPacketRestore(t.packet(), new Uint8Array(8), 8),
  ]).toEqual(Array(4).fill(STATUS_INVALID_DEVICE_REQUEST));
  expect(() => VmbChannelSaveEnd(client)).toThrow('K-283');
  expect(filled.isEmpty && required.isEmpty).toBe(true);
});

test('a channel that is paused while a save is under way stays as it was captured, whatever arrives', async () => {
  const t = await pausedServer(['one']);
  expectSuccess(VmbChannelSaveBegin(t.server));

  VmbChannelPacketComplete(nth(t.clientReceived, 0).packet, null, 0);
  expectSuccess(VmbPacketSend(t.packet(), Uint8Array.of(1), 1, null, WAIT));
  await t.settle();

  expect(t.completed).toEqual([]);
  expect(t.received).toEqual([]);
});
