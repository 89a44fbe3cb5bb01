import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  ANY_VERSION,
  checkMessage,
  findMessage,
  isMessageAllowed,
  MAX_MESSAGE_BYTES,
  MESSAGES,
  MessageType,
  messageSize,
  minMessageSize,
  printMessage,
} from '../../../src/wire/messages/index.ts';
import { ALL_VERSIONS, FeatureFlag, VmbusVersion } from '../../../src/wire/versions.ts';
import { hex } from '../../vectors/hex.ts';
import { messageVectors } from '../../vectors/message-vectors.ts';

const { WS2008, WIN7, WIN8, WIN10, V5_0, V5_1, V5_2, IRON, COPPER } = VmbusVersion;
const ALL_FEATURES = Object.values(FeatureFlag).reduce((all: number, bit) => all | bit, 0);

const wrong = expect.objectContaining({ name: 'PeerError', code: 'ERR_MESSAGE' });
const short = expect.objectContaining({ name: 'PeerError', code: 'ERR_SHORT' });

/** A message of that type, zeros otherwise. */
function someMessage(type: number, byteCount: number): Uint8Array {
  return Uint8Array.from({ length: byteCount }, (_, index) => (index === 0 ? type : 0));
}

describe('the message table', () => {
  test('has one row for every number from 1 to 29, in order', () => {
    expect(MESSAGES.map((info) => info.type)).toEqual(Array.from({ length: 29 }, (_, index) => index + 1));
    expect(MESSAGES.map((info) => [info.name, info.type])).toEqual(Object.entries(MessageType));
  });

  test.each(MESSAGES)('$name: every form begins with the header and says number $type', ({ type, forms }) => {
    for (const { struct } of forms) {
      expect(struct.fields.slice(0, 2)).toEqual([
        expect.objectContaining({ name: 'messageType', offset: 0, kind: 'tag', constant: type }),
        expect.objectContaining({ name: 'headerReserved', offset: 4, kind: 'pad', size: 4 }),
      ]);
      expect(struct.size).toBeLessThanOrEqual(MAX_MESSAGE_BYTES);
    }
  });

  test.each(MESSAGES)('$name: a later form is never shorter nor older', ({ forms }) => {
    const sizes = forms.map((form) => form.struct.size);
    const versions = forms.map((form) => form.minVersion);

    expect(sizes).toEqual(sizes.toSorted((a, b) => a - b));
    expect(versions).toEqual(versions.toSorted((a, b) => a - b));
  });

  test('lists every message struct that there is', () => {
    const listed = new Set(MESSAGES.flatMap((info) => info.forms.map((form) => form.struct)));

    const declared = messageVectors.map((v) => v.struct).filter((struct) => struct.name !== 'MessageHeader');
    expect(new Set(declared)).toEqual(listed);
  });

  test('a type beyond 29, or 0, has no row', () => {
    expect([0, 30, -1, 0xffff_ffff, 1.5].map(findMessage)).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  // Source: the directions of Linux drivers/hv/channel_mgmt.c (messages with a handler come from the host).
  test('the host sends offers, results and responses; the guest sends the rest', () => {
    const fromHost = MESSAGES.filter((info) => info.direction === 'host-to-guest').map((info) => info.type);

    expect(fromHost).toEqual([1, 2, 4, 6, 10, 12, 15, 17, 20, 23, 24, 26, 28]);
  });

  // Source: OpenVMM vmbus_core protocol.rs, vmbus_messages!.
  test('minimum versions and features are those of the protocol', () => {
    const newer = MESSAGES.filter((info) => info.minVersion !== WS2008);

    expect(newer.map((info) => [info.type, info.minVersion, info.feature])).toEqual([
      [14, ANY_VERSION, 0],
      [15, ANY_VERSION, 0],
      [17, 0x0001_0001, 0],
      [18, 0x0004_0000, 0],
      [19, ANY_VERSION, 0],
      [20, 0x0004_0000, 0],
      [21, 0x0004_0000, 0],
      [22, 0x0004_0001, 0],
      [23, 0x0004_0001, 0],
      [24, 0x0005_0003, 0],
      [25, 0x0006_0000, 4],
      [26, 0x0006_0000, 4],
      [27, 0x0006_0000, 0x20],
      [28, 0x0006_0000, 0x20],
      [29, 0x0006_0000, 0x20],
    ]);
  });
});

describe('the size of a message as sent', () => {
  test.each([
    ['OpenChannel', IRON, ALL_FEATURES, 148],
    ['OpenChannel', COPPER, 0, 148],
    ['OpenChannel', COPPER, FeatureFlag.PauseResume, 148],
    ['OpenChannel', COPPER, FeatureFlag.GuestSpecifiedSignalParameters, 156],
    ['OpenChannel', COPPER, FeatureFlag.ChannelInterruptRedirection, 156],
    ['InitiateContact', WS2008, 0, 40],
    ['InitiateContact', IRON, FeatureFlag.ClientId, 40],
    ['InitiateContact', COPPER, 0, 40],
    ['InitiateContact', COPPER, FeatureFlag.ClientId, 56],
    ['VersionResponse', WS2008, 0, 16],
    ['VersionResponse', IRON, 0, 16],
    ['VersionResponse', COPPER, 0, 20],
    ['VersionResponse', COPPER, FeatureFlag.ServerSpecifiedMonitorPages, 40],
    ['TlConnectRequest', WIN10, 0, 40],
    ['TlConnectRequest', V5_1, 0, 40],
    ['TlConnectRequest', V5_2, 0, 56],
    ['OfferChannel', WS2008, 0, 196],
    ['GpadlHeader', COPPER, ALL_FEATURES, 20],
    ['ModifyConnectionResponse', COPPER, ALL_FEATURES, 9],
  ] as const)('%s at version %i with features %i is %i bytes', (name, version, features, size) => {
    expect(messageSize(MessageType[name], version, features)).toBe(size);
  });
});

describe('the least that a receiver takes', () => {
  test.each([
    ['OpenChannel', COPPER, 0, 148],
    ['OpenChannel', COPPER, FeatureFlag.GuestSpecifiedSignalParameters, 156],
    ['VersionResponse', WIN8, 0, 9],
    ['VersionResponse', V5_0, 0, 16],
    ['VersionResponse', COPPER, FeatureFlag.ServerSpecifiedMonitorPages, 16],
    ['TlConnectRequest', V5_2, 0, 40],
  ] as const)('%s at version %i with features %i is %i bytes', (name, version, features, size) => {
    expect(minMessageSize(MessageType[name], version, features)).toBe(size);
  });

  test('is never more than what is sent', () => {
    for (const { type } of MESSAGES) {
      for (const version of ALL_VERSIONS) {
        for (let features = 0; features <= ALL_FEATURES; features++) {
          expect(minMessageSize(type, version, features)).toBeLessThanOrEqual(messageSize(type, version, features));
        }
      }
    }
  });
});

describe('checking a message that came in', () => {
  test.each(MESSAGES)('$name is taken at its size and longer, and refused one byte shorter', (info) => {
    const least = minMessageSize(info.type, COPPER, ALL_FEATURES);
    const check = (byteCount: number) =>
      checkMessage(someMessage(info.type, byteCount), info.direction, COPPER, ALL_FEATURES);

    expect(check(least)).toBe(info);
    expect(check(MAX_MESSAGE_BYTES)).toBe(info);
    for (let byteCount = 0; byteCount < least; byteCount++) {
      // An InitiateContact of zeros asks for no feature, so its 40 bytes are enough.
      if (info.type === MessageType.InitiateContact && byteCount >= 40) continue;
      expect(() => check(byteCount)).toThrow(short);
    }
    expect(() => check(MAX_MESSAGE_BYTES + 1)).toThrow(wrong);
  });

  test.each(MESSAGES)('$name from the wrong side is refused', (info) => {
    const other = info.direction === 'guest-to-host' ? 'host-to-guest' : 'guest-to-host';

    expect(() => checkMessage(someMessage(info.type, 240), other, COPPER, ALL_FEATURES)).toThrow(wrong);
  });

  test.each(MESSAGES.filter((info) => info.minVersion > WS2008))('$name is refused one version too early', (info) => {
    const before = ALL_VERSIONS.find((version) => version < info.minVersion) ?? ANY_VERSION;
    const bytes = someMessage(info.type, 240);

    expect(() => checkMessage(bytes, info.direction, before, ALL_FEATURES)).toThrow(wrong);
    expect(checkMessage(bytes, info.direction, info.minVersion, ALL_FEATURES)).toBe(info);
  });

  test.each(MESSAGES.filter((info) => info.feature !== 0))('$name is refused without its feature', (info) => {
    const bytes = someMessage(info.type, 240);

    expect(() => checkMessage(bytes, info.direction, COPPER, ALL_FEATURES & ~info.feature)).toThrow(wrong);
    expect(checkMessage(bytes, info.direction, COPPER, info.feature)).toBe(info);
  });

  test('before contact only contact itself and reserved channels are taken', () => {
    const taken = MESSAGES.filter((info) => isMessageAllowed(info, ANY_VERSION, 0)).map((info) => info.name);

    expect(taken).toEqual(['InitiateContact', 'VersionResponse', 'CloseReservedChannel']);
  });

  test.each([0, 30, 255])('type %i is unknown', (type) => {
    expect(() => checkMessage(someMessage(type, 64), 'guest-to-host', COPPER, ALL_FEATURES)).toThrow('unknown type');
  });

  test('an OpenChannel of 148 bytes is refused once signal parameters are agreed', () => {
    const bytes = someMessage(MessageType.OpenChannel, 148);

    expect(checkMessage(bytes, 'guest-to-host', COPPER, 0).name).toBe('OpenChannel');
    expect(() => checkMessage(bytes, 'guest-to-host', COPPER, 1)).toThrow(short);
    expect(() => checkMessage(bytes, 'guest-to-host', COPPER, 2)).toThrow(short);
  });

  test('a contact that asks for a client id but brings none is refused, whatever was agreed before', () => {
    const contact = hex('0e 7 x 00 | 00 00 06 00 | 00 00 00 00 | 02 00 00 00 | 08 00 00 00 | 16 x 00');

    expect(() => checkMessage(contact, 'guest-to-host', ANY_VERSION, 0)).toThrow(short);
    expect(() => checkMessage(contact, 'guest-to-host', WIN7, 0)).toThrow(short);
  });

  test('a contact for 5.3 needs no client id, although the connection before had one', () => {
    const contact = hex('0e 7 x 00 | 03 00 05 00 | 00 00 00 00 | 02 00 00 00 | 00 00 00 00 | 16 x 00');

    expect(checkMessage(contact, 'guest-to-host', COPPER, ALL_FEATURES).name).toBe('InitiateContact');
  });

  test('below 5.0 what stands at the place of the features is half an interrupt page address', () => {
    const contact = hex('0e 7 x 00 | 00 00 04 00 | 00 00 00 00 | 00 00 00 00 | ff ff ff ff | 16 x 00');

    expect(checkMessage(contact, 'guest-to-host', ANY_VERSION, 0).name).toBe('InitiateContact');
  });

  test('random bytes are a row of the table or a PeerError', () => {
    const anyMessage = fc
      .tuple(fc.integer({ min: 0, max: 35 }), fc.uint8Array({ minLength: 0, maxLength: 250, size: 'max' }))
      .map(([type, rest]) => Uint8Array.from([type, 0, 0, 0, ...rest]));
    const anyVersion = fc.constantFrom(ANY_VERSION, ...ALL_VERSIONS);
    fc.assert(
      fc.property(anyMessage, anyVersion, fc.nat(0xff), fc.boolean(), (bytes, version, features, fromGuest) => {
        try {
          const info = checkMessage(bytes, fromGuest ? 'guest-to-host' : 'host-to-guest', version, features);
          expect(MESSAGES).toContain(info);
        } catch (error) {
          expect(error).toMatchObject({ name: 'PeerError' });
        }
      }),
    );
  });
});

describe('printing a message', () => {
  test('shows the fields of the form that the length and the version say', () => {
    expect(printMessage(hex('0f 7 x 00 | 01 00 00 00 | 01 00 00 00 | 2f 00 00 00'))).toBe(
      [
        'VersionResponse2 (20 bytes)',
        '     0  messageType          0f 00 00 00              15 (0xf) VersionResponse',
        '     4  headerReserved       00 00 00 00              (reserved)',
        '     8  versionSupported     01                       1',
        '     9  connectionState      00                       0 Successful',
        '    10  reserved             00 00                    (reserved)',
        '    12  messageConnectionId  01 00 00 00              1',
        '    16  features             2f 00 00 00              47 (0x2f)',
      ].join('\n'),
    );
    expect(printMessage(hex('0f 7 x 00 | 01 00 00 00 | 00 00 03 00'), VmbusVersion.WIN8_1)).toContain(
      'selectedVersion',
    );
  });

  test('a contact is printed by the version that it asks for', () => {
    const contact = hex('0e 7 x 00 | 04 00 02 00 | 28 x 00');

    expect(printMessage(contact)).toContain('interruptPageGpa');
  });

  test('says how many bytes of range data follow', () => {
    expect(printMessage(someMessage(MessageType.GpadlHeader, 60))).toContain('40 more bytes');
  });

  test('has a text for any bytes, the same each time', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 260, size: 'max' }), fc.nat(40), (bytes, type) => {
        bytes.set([type, 0, 0, 0].slice(0, bytes.length));

        expect(printMessage(bytes)).toBe(printMessage(bytes.slice()));
        expect(printMessage(bytes).length).toBeGreaterThan(0);
      }),
    );
  });
});
