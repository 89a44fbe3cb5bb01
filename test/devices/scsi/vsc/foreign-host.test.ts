/** The client against hosts that are not ours: older, forgetful, or wrong. */
import { afterEach, describe, expect, test } from 'vitest';
import { runCommand } from '../../../../src/devices/scsi/vsc/run-command.ts';
import { openDisk } from '../../../../src/devices/scsi/vsc/scsi-disk.ts';
import { ScsiIo } from '../../../../src/devices/scsi/vsc/scsi-io.ts';
import { StorVsc, type StorVscOptions } from '../../../../src/devices/scsi/vsc/storvsc.ts';
import type { Mdl } from '../../../../src/memory/mdl.ts';
import { type Answer, scriptedHost, srbCompletion } from '../scripted-host.ts';
import { hex } from '../target/some-disk.ts';

const INQUIRY_OF_DISK = hex(`00 00 05 02 1f 00 00 00  ${'41 '.repeat(8)} ${'42 '.repeat(16)} 43 43 43 43`);
const CAPACITY_10 = hex('00 00 00 ff 00 00 02 00');

let host: Awaited<ReturnType<typeof scriptedHost>>;
let vsc: StorVsc;
afterEach(async () => {
  await vsc.close();
  await host.end();
});

async function connected(answer: Answer, options: Partial<StorVscOptions> = {}): Promise<void> {
  host = await scriptedHost(answer);
  vsc = new StorVsc({ vmbus: host.guest, ...options });
  await vsc.open();
}

/** Writes `bytes` into the guest's pages and tells so. */
function returned(data: Mdl | undefined, bytes: Uint8Array): Uint8Array {
  data?.view().write(0, bytes);
  return srbCompletion({ transferredBytes: bytes.length });
}

const opcodeOf = (packet: Uint8Array): number => packet[28] as number;

/** A disk of 256 blocks that knows INQUIRY and READ CAPACITY(10) and nothing else, unless `more` answers. */
function oldDisk(
  more: (packet: Uint8Array, data: Mdl | undefined) => Uint8Array | undefined = () => undefined,
): Answer {
  return (packet, data) => {
    const special = more(packet, data);
    if (special !== undefined) return special;
    switch (opcodeOf(packet)) {
      case 0x00:
        return srbCompletion();
      case 0x12:
        return returned(data, INQUIRY_OF_DISK);
      case 0x25:
        return returned(data, CAPACITY_10);
      default:
        return srbCompletion({ srbStatus: 6, sense: [5, 0x20, 0] });
    }
  };
}

describe('a disk is opened', () => {
  test('by READ CAPACITY(10) when (16) is refused, and without mode pages', async () => {
    await connected(oldDisk());

    const disk = await openDisk(vsc);

    expect(disk).toMatchObject({
      blockBytes: 512,
      blockCount: 256,
      readOnly: false,
      hasWriteCache: false,
      vendor: 'AAAAAAAA',
      product: 'B'.repeat(16),
      revision: 'CCCC',
    });
  });

  test('by READ CAPACITY(16) after (10) says that the disk is too large for it', async () => {
    const inquiryOfScsi2 = INQUIRY_OF_DISK.slice();
    inquiryOfScsi2[2] = 2;
    await connected(
      oldDisk((packet, data) => {
        if (opcodeOf(packet) === 0x12) return returned(data, inquiryOfScsi2);
        if (opcodeOf(packet) === 0x25) return returned(data, hex('ff ff ff ff 00 00 02 00'));
        if (opcodeOf(packet) === 0x9e) {
          return returned(
            data,
            Uint8Array.from([...hex('00 00 00 02 00 00 00 00 00 00 10 00'), ...new Uint8Array(20)]),
          );
        }
        return undefined;
      }),
    );

    const disk = await openDisk(vsc);

    expect([disk.blockBytes, disk.blockCount]).toEqual([4096, 2 ** 33 + 1]);
  });

  test('through the unit attentions that a reset left behind', async () => {
    let attentions = 3;
    await connected(
      oldDisk((packet) =>
        opcodeOf(packet) === 0x00 && attentions-- > 0 ? srbCompletion({ sense: [6, 0x29, 0] }) : undefined,
      ),
    );

    await expect(openDisk(vsc)).resolves.toMatchObject({ blockCount: 256 });
  });

  test('not if it never becomes ready', async () => {
    let asked = 0;
    await connected(
      oldDisk((packet) => {
        if (opcodeOf(packet) !== 0x00) return undefined;
        asked++;
        return srbCompletion({ sense: [6, 0x29, 0] });
      }),
    );

    await expect(openDisk(vsc)).rejects.toMatchObject({ sense: { key: 6 } });
    expect(asked).toBe(5);
  });

  test.each([
    [
      'a block size that nobody has',
      oldDisk((packet, data) =>
        opcodeOf(packet) === 0x25 ? returned(data, hex('00 00 00 ff 00 00 02 08')) : undefined,
      ),
      'ERR_REFUSED',
    ],
    [
      'a tape',
      oldDisk((packet, data) =>
        opcodeOf(packet) === 0x12 ? returned(data, Uint8Array.from([1, ...INQUIRY_OF_DISK.subarray(1)])) : undefined,
      ),
      'ERR_REFUSED',
    ],
    [
      'INQUIRY data that is cut',
      oldDisk((packet, data) =>
        opcodeOf(packet) === 0x12 ? returned(data, INQUIRY_OF_DISK.subarray(0, 20)) : undefined,
      ),
      'ERR_REFUSED',
    ],
    [
      'a capacity that is cut',
      oldDisk((packet, data) => (opcodeOf(packet) === 0x25 ? returned(data, CAPACITY_10.subarray(0, 4)) : undefined)),
      'ERR_SHORT',
    ],
  ])('not with %s', async (_what, answer, code) => {
    await connected(answer);

    await expect(openDisk(vsc)).rejects.toMatchObject({ code });
  });
});

test('a command that is answered "good" without data shows zeros, not what the page held before', async () => {
  await connected(() => srbCompletion({ transferredBytes: 16 }));
  const used = host.pages.allocateScattered(host.pages.freePages);
  for (const pfn of used) host.memory.page(pfn).fill(0x5e);
  host.pages.free(used);

  const answer = await runCommand(vsc, {}, hex('12 00 00 00 10 00'), 16);

  expect(answer).toEqual(new Uint8Array(16));
});

describe('a completion that is no good answer', () => {
  /** Reads 8 blocks of a disk whose READ is answered by `completion`. */
  async function read(completion: Uint8Array): Promise<unknown> {
    await connected(oldDisk((packet) => (opcodeOf(packet) === 0x28 ? completion : undefined)));
    const disk = await openDisk(vsc);
    return disk.read(0, 8, host.pages.allocate(1)).then(
      () => 'done',
      (error) => error,
    );
  }

  test('because it is cut', async () => {
    expect(await read(srbCompletion({ completionBytes: 56, transferredBytes: 4096 }))).toMatchObject({
      code: 'ERR_MESSAGE',
    });
  });

  test('because it completes another operation', async () => {
    expect(await read(srbCompletion({ operation: 3, transferredBytes: 4096 }))).toMatchObject({ code: 'ERR_MESSAGE' });
  });

  test('because fewer bytes moved than were asked for', async () => {
    expect(await read(srbCompletion({ transferredBytes: 512 }))).toMatchObject({
      name: 'ScsiError',
      message: expect.stringContaining('moved 512 bytes of 4096'),
    });
  });

  test('because the srb failed although the SCSI status is good', async () => {
    expect(await read(srbCompletion({ srbStatus: 5 }))).toMatchObject({
      name: 'ScsiError',
      srbStatus: 5,
      scsiStatus: 0,
    });
  });

  test('and one that claims more bytes than there was room for counts as all of them', async () => {
    expect(await read(srbCompletion({ transferredBytes: 0xffff_ffff }))).toBe('done');
  });

  test('with autosense of zeros is a failure without sense', async () => {
    const completion = srbCompletion({ sense: [0, 0, 0] });
    completion.fill(0, 28, 48);

    expect(await read(completion)).toMatchObject({ name: 'ScsiError', sense: undefined });
  });
});

test('a host that says that disks came or went is heard', async () => {
  let changes = 0;
  await connected(oldDisk(), { onBusChanged: () => changes++ });
  const enumerateBus = new Uint8Array(64);
  enumerateBus[0] = 11;

  host.tell(enumerateBus);
  await openDisk(vsc);

  expect(changes).toBe(1);
});

test('what goes to the host is what Linux sends, field by field', async () => {
  const seen: Uint8Array[] = [];
  await connected((packet) => {
    seen.push(packet);
    return srbCompletion({ transferredBytes: 4096 });
  });
  const io = new ScsiIo();
  io.cdb.set(hex('28 00 00 00 00 05 00 00 08 00'));
  io.cdbBytes = 10;
  io.path = 1;
  io.lun = 7;
  io.direction = 1;
  io.dataBytes = 4096;
  io.pfns = host.pages.allocate(1);
  io.pfnCount = 1;

  await new Promise<void>((done) => {
    io.onDone = () => done();
    vsc.submit(io);
  });

  expect(io.isGood).toBe(true);
  expect(seen).toEqual([
    hex(`03 00 00 00  01 00 00 00  00 00 00 00
         34 00  00 00  00 01 00 07  0a 14 01 00  00 10 00 00
         28 00 00 00 00 05 00 00 08 00 00 00 00 00 00 00  00 00 00 00
         00 00 00 00  48 00 00 00  3c 00 00 00  00 00 00 00`),
  ]);
});
