/**
 * Stock Linux guests on our devices: everything is built from Debian packages and the packed package, booted, and judged by
 * what the guest printed, what the host end noted, and what the disk image holds afterwards.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { formatVersion } from '../../src/wire/index.ts';
import { type GuestRun, runGuests } from './guest-run.ts';
import { DiskInspection } from './image/disk-image.ts';
import { WAYS_TO_LEAVE } from './scenarios/abandon.ts';
import { LINUX_VERSIONS } from './scenarios/versions.ts';

const BOOT_TIMEOUT_MS = 180_000;

/** What both kernels run. */
const COMMON = ['versions', 'disk-two', 'reboot', 'panic', 'panic-without-bus'] as const;
/** Before 6.10, `uio_hv_generic` takes only channels with a monitor page, which this machine does not poll. */
const NEWER = [
  'bare-four',
  'disk',
  'hot-plug',
  'hot-unit',
  'custom-device',
  'rescind',
  'stop',
  'abandon',
  'command-line',
] as const;

/** The given lines, in this order, with others in between. */
function inOrder(text: string, ...lines: readonly string[]): void {
  let from = 0;
  for (const line of lines) {
    const at = text.indexOf(line, from);
    expect(at, `"${line}" behind character ${from}`).toBeGreaterThanOrEqual(from);
    from = at + line.length;
  }
}

function describeGuest(series: string, scenarios: readonly string[], more: (guest: () => GuestRun) => void): void {
  describe(`a Linux ${series} guest`, () => {
    let run: GuestRun | undefined;
    const guest = (): GuestRun => {
      if (run === undefined) throw new Error('the guests did not run');
      return run;
    };
    beforeAll(async () => {
      run = await runGuests({ series, scenarios, timeoutMs: BOOT_TIMEOUT_MS });
    });

    test.each(scenarios)('%s: the host end does not fail, and nothing of the machine is left', (scenario) => {
      const { error, kvmDescriptorsLeft, threads } = guest().result(scenario);

      expect(error).toBeUndefined();
      expect(kvmDescriptorsLeft).toEqual([]);
      expect(threads[1]).toBe(threads[0]);
    });

    test('speaks every version down to 3.0, one after another, unloading in between', () => {
      const console = guest().console('versions');

      inOrder(console, ...LINUX_VERSIONS.map((version) => `hv_vmbus: Vmbus version:${formatVersion(version)}`));
      expect(guest().result('versions').exit?.reason).toBe('power-off');
      expect(
        guest()
          .result('versions')
          .notes.filter((note) => note.endsWith('unloaded')).length,
      ).toBe(7);
    });

    describeDisk(guest, 'disk-two', 2);

    test('unloads the bus and loads it again, restarts the machine, and finds what it wrote', () => {
      const console = guest().console('reboot');

      inOrder(
        console,
        'GUEST: bus unloaded',
        'hv_vmbus: Vmbus version:5.3',
        'GUEST: bus loaded again',
        'reboot: machine restart',
        'Linux version',
        'hv_vmbus: Vmbus version:5.3',
        'GUEST: second boot, found: first boot',
      );
      const { exit, notes } = guest().result('reboot');
      expect(exit).toMatchObject({ reason: 'power-off', boots: 2 });
      expect(notes.filter((note) => note === 'connected 5.3').length).toBe(3);
    });

    test('that dies is reported with its reason, from its crash registers alone', () => {
      expect(guest().result('panic').exit).toMatchObject({ reason: 'panic', detail: 'sysrq triggered crash' });
      expect(guest().console('panic')).not.toContain('Kernel panic');
      expect(guest().result('panic').notes).toContain('received Unload');
    });

    test('that dies is reported with its reason, from its console alone', () => {
      expect(guest().result('panic-without-bus').exit).toMatchObject({
        reason: 'panic',
        detail: 'sysrq triggered crash',
      });
      expect(guest().console('panic-without-bus')).toContain('---[ end Kernel panic');
    });

    more(guest);
  });
}

function describeDisk(guest: () => GuestRun, scenario: string, cpus: number): void {
  describe(`with ${cpus} ${cpus === 1 ? 'processor' : 'processors'}`, () => {
    test('finds the bus, our controller by its class, and a disk that it mounts and checks', () => {
      const console = guest().console(scenario);

      inOrder(
        console,
        `GUEST: job disk on`,
        `${cpus} cpu`,
        'hv_vmbus: Vmbus version:5.3',
        'Direct-Access     Msft     Virtual Disk',
        'GUEST: device 11111111-2222-3333-4444-000000000001 class {ba6163d9-04a1-4d29-b605-72e2ffb1dc7f} driver hv_storvsc',
        'GUEST: mounted',
        'hello from the host',
        'random.bin: OK',
        'GUEST: unmounted',
      );
      expect(guest().result(scenario).exit?.reason).toBe('power-off');
    });

    test('sends the messages that the protocol says, in its order, and none that is dropped', () => {
      const notes = guest().result(scenario).notes.join('\n');

      inOrder(
        notes,
        'received InitiateContact',
        'sent VersionResponse',
        'received RequestOffers',
        'sent OfferChannel',
        'sent AllOffersDelivered',
        'received GpadlHeader',
        'received GpadlBody',
        'sent GpadlCreated',
        'received OpenChannel',
        'sent OpenChannelResult',
      );
      expect(notes).not.toContain('dropped');
      expect(notes).not.toContain('disk fault');
    });

    test('moves packets on a channel per processor', () => {
      const lines =
        guest()
          .console(scenario)
          .match(/GUEST: channel \d+ number \d+ interrupts [1-9]\d*/g) ?? [];

      const numbers = lines.map((line) => Number(/number (\d+)/.exec(line)?.[1])).sort();
      expect(numbers).toEqual([...Array(cpus).keys()]);
    });

    test('leaves a whole file system with what it wrote, seen from outside', () => {
      const disk = new DiskInspection(join(guest().results, scenario, 'disk.img'));

      expect(() => disk.check()).not.toThrow();
      expect(disk.read('written.txt').toString()).toBe('written by the guest\n');
      const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
      expect(sha256(disk.read('copy.bin'))).toBe(sha256(disk.read('random.bin').subarray(0, 16 * 2 ** 20)));
    });
  });
}

describeGuest('6.1', COMMON, () => {});

describeGuest('6.12', [...COMMON, ...NEWER], (guest) => {
  describeDisk(guest, 'disk', 1);

  test('boots with four processors, hears what is typed at its console, and turns off', () => {
    inOrder(guest().console('bare-four'), '4 cpu', 'GUEST: heard typed at the console');
    expect(guest().result('bare-four').exit).toMatchObject({ reason: 'power-off', boots: 1 });
  });

  test('sees a controller with a disk that is added while it runs, uses it, and sees it go', () => {
    inOrder(
      guest().console('hot-plug'),
      'GUEST: the second disk is here',
      'GUEST: device 11111111-2222-3333-4444-000000000002',
      'GUEST: second disk: random.bin: OK',
      'GUEST: the second disk is gone',
      'GUEST: one device is left',
      'GUEST: first disk: random.bin: OK',
    );
    inOrder(
      guest().result('hot-plug').notes.join('\n'),
      'sent RescindChannelOffer',
      'the second disk is gone',
      'received RelIdReleased',
    );
  });

  test('sees a disk that is added to its controller, and sees it go while it reads from it', () => {
    const console = guest().console('hot-unit');

    inOrder(
      console,
      'GUEST: the second disk is here',
      'GUEST: both disks are the same',
      'GUEST: remove it',
      'GUEST: the second disk is gone',
      'GUEST: first disk: random.bin: OK',
    );
    expect(console).toContain('GUEST: reading has ended');
    expect(guest().result('hot-unit').exit?.reason).toBe('power-off');
  });

  test('drives a device of our own from user space', () => {
    expect(guest().console('custom-device')).toContain('ring-tool: completed with HELLO DEVICE');
  });

  test('that scribbles over its rings loses that channel each time and nothing else', () => {
    const console = guest().console('custom-device');
    const { notes, exit } = guest().result('custom-device');

    expect(console.match(/ring-tool: scribbled/g)?.length).toBe(12);
    expect(notes.filter((note) => /^fault \d+: /.test(note)).length).toBeGreaterThan(6);
    inOrder(console, 'ring-tool: scribbled', 'ring-tool: completed with STILL THERE', 'random.bin: OK');
    expect(exit?.reason).toBe('power-off');
  });

  test('whose device is taken away under load is told so, and may use it again when it is back', () => {
    inOrder(
      guest().console('rescind'),
      'ring-tool: the device went away under load',
      'GUEST: no device is left',
      'ring-tool: completed with BACK AGAIN',
    );
  });

  test('is stopped while both of its processors are busy', () => {
    expect(guest().console('stop')).toContain('GUEST: busy');
    expect(guest().result('stop').exit).toMatchObject({ reason: 'stopped', boots: 1 });
  });

  test('goes with the process that runs it, however that ends', () => {
    const ended = { exit: 'status 7', throw: 'status 1', return: 'status 0' } as const;

    const { notes } = guest().result('abandon');

    for (const way of WAYS_TO_LEAVE) {
      const how = way in ended ? ended[way as keyof typeof ended] : way;
      expect(notes).toContain(`${way}: ${how}, while the guest ran`);
    }
    expect(notes).toContain('processes with KVM open: 0');
  });

  test('is booted by the command, which says how it ended and can be told when to stop', () => {
    const { notes } = guest().result('command-line');

    expect(notes).toEqual(['doctor: status 0', 'boot: status 0', 'expect: status 0, said', 'interrupted: status 15']);
    expect(JSON.parse(guest().file('command-line', 'doctor.json'))).toMatchObject({ kvm: { state: 'usable' } });
    expect(JSON.parse(guest().file('command-line', 'boot.json'))).toMatchObject({ reason: 'power-off', boots: 1 });
    expect(guest().console('command-line')).toContain('random.bin: OK');
  });

  test('leaves a trace of every control message and packet that reads as the protocol does', () => {
    inOrder(
      guest().file('command-line', 'trace.txt'),
      'guest to host: InitiateContact',
      'host to guest: VersionResponse',
      'guest to host: RequestOffers',
      'host to guest: OfferChannel',
      'host to guest: AllOffersDelivered',
      'guest to host: GpadlHeader',
      'guest to host: GpadlBody',
      'host to guest: GpadlCreated',
      'guest to host: OpenChannel',
      'host to guest: OpenChannelResult',
      'BeginInitialization',
      'QueryProtocolVersion',
      'QueryProperties',
      'EndInitialization',
      'ExecuteSrb',
    );
  });
});
