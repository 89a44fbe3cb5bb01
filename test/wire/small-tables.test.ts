/** Versions, features, offer flags, class ids, monitor positions, storage packets: the small tables and their names. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ClassId, className, InstanceId } from '../../src/wire/class-ids.ts';
import { canonicalGuid } from '../../src/wire/guid.ts';
import {
  MONITOR_COUNT,
  monitorLatencyAt,
  monitorParameterAt,
  monitorPendingAt,
  monitorPendingBit,
} from '../../src/wire/monitor-page.ts';
import { formatOfferFlags } from '../../src/wire/offer-flags.ts';
import {
  ALL_STOR_VERSIONS,
  formatStorVersion,
  printVstorPacket,
  srbStatusName,
  vstorPacketBytes,
} from '../../src/wire/storvsc.ts';
import { ALL_VERSIONS, formatFeatures, formatVersion, isKnownVersion } from '../../src/wire/versions.ts';
import { hex } from '../vectors/hex.ts';

describe('versions', () => {
  test('are asked for from the newest to the oldest', () => {
    const newestFirst = ['6.0', '5.3', '5.2', '5.1', '5.0', '4.1', '4.0', '3.0', '2.4', '1.1', '0.13'];

    expect(ALL_VERSIONS.map(formatVersion)).toEqual(newestFirst);
  });

  test('are known exactly or not at all', () => {
    expect([0x0005_0003, 0x0005_0004, 0x0006_0001, 0].map(isKnownVersion)).toEqual([true, false, false, false]);
  });

  test('features are named, unknown bits kept', () => {
    expect(formatFeatures(0)).toBe('none');
    expect(formatFeatures(0x8000_0021)).toBe('GuestSpecifiedSignalParameters | PauseResume | 0x80000000');
  });
});

test('offer flags are named, unknown bits kept', () => {
  expect(formatOfferFlags(0x2011)).toBe('EnumerateDeviceInterface | NamedPipeMode | TlnpiProvider');
  expect(formatOfferFlags(0x8000)).toBe('0x8000');
  expect(formatOfferFlags(0)).toBe('none');
});

describe('class ids', () => {
  test('are canonical GUIDs, none twice', () => {
    const ids = [...Object.values(ClassId), ...Object.values(InstanceId)];

    expect(ids).toEqual(ids.map(canonicalGuid));
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('give a device its name, in any spelling', () => {
    expect(className('{BA6163D9-04A1-4D29-B605-72E2FFB1DC7F}')).toBe('Scsi');
    expect(className('00000400-facb-11e6-bd58-64006a7986d3')).toBeUndefined();
  });
});

describe('monitor positions', () => {
  // Source: Linux drivers/hv/hyperv_vmbus.h, struct hv_monitor_page.
  test.each([
    [0, 0x08, 1, 0x240, 0x440],
    [3, 0x08, 8, 0x246, 0x458],
    [31, 0x08, -0x8000_0000, 0x27e, 0x538],
    [32, 0x10, 1, 0x280, 0x540],
    [127, 0x20, -0x8000_0000, 0x33e, 0x838],
  ])('of monitor %i', (monitorId, pendingAt, bit, latencyAt, parameterAt) => {
    expect(monitorPendingAt(monitorId)).toBe(pendingAt);
    expect(monitorPendingBit(monitorId)).toBe(bit);
    expect(monitorLatencyAt(monitorId)).toBe(latencyAt);
    expect(monitorParameterAt(monitorId)).toBe(parameterAt);
  });

  test('no two monitors share a bit', () => {
    const ids = Array.from({ length: MONITOR_COUNT }, (_, id) => `${monitorPendingAt(id)}:${monitorPendingBit(id)}`);

    expect(new Set(ids).size).toBe(128);
  });
});

describe('storage packets', () => {
  test('are 64 bytes long from 5.1 on, 48 before', () => {
    const sizes = ALL_STOR_VERSIONS.map((version) => [formatStorVersion(version), vstorPacketBytes(version)]);

    expect(sizes).toEqual([
      ['6.2', 64],
      ['6.0', 64],
      ['5.1', 64],
      ['4.2', 48],
      ['2.0', 48],
    ]);
  });

  test('name their SRB status without the upper two bits', () => {
    expect([0x01, 0x84, 0xe0, 0x3e].map(srbStatusName)).toEqual(['Success', 'Error', 'InvalidLun', '0x3e']);
  });

  test('print as header and payload', () => {
    const text = printVstorPacket(hex('03 00 00 00 | 01 00 00 00 | 00 00 00 00 | 34 00 | 50 x 00'));

    expect(text).toContain('3 ExecuteSrb');
    expect(text).toContain('ScsiRequest (52 bytes)');
    expect(text).toContain('0 Write');
  });

  test('of any bytes have a text, the same each time', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80, size: 'max' }), fc.nat(20), (packet, operation) => {
        packet.set([operation, 0, 0, 0].slice(0, packet.length));

        expect(printVstorPacket(packet)).toContain('VstorHeader');
        expect(printVstorPacket(packet)).toBe(printVstorPacket(packet.slice()));
      }),
    );
  });
});
