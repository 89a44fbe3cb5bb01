import fc from 'fast-check';
import { expect, test } from 'vitest';
import { OutgoingPacket } from '../../src/channel/index.ts';
import { TransactionTable } from '../../src/channel/packets/transaction-table.ts';

test('a transaction is found by its id, once', () => {
  const table = new TransactionTable();
  const packet = new OutgoingPacket();
  table.begin(packet);
  const { idLo, idHi } = packet;

  expect(table.take(idLo, idHi)).toBe(packet);
  expect(table.take(idLo, idHi)).toBe('unknown');
});

test('the id of an abandoned packet stays taken until its completion, which nobody gets', () => {
  const table = new TransactionTable(1);
  const packet = new OutgoingPacket();
  table.begin(packet);
  const { idLo, idHi } = packet;

  table.abandon(packet);
  const other = new OutgoingPacket();
  table.begin(other);

  expect(other.idLo).not.toBe(idLo);
  expect(table.take(idLo, idHi)).toBe('abandoned');
  expect(table.take(idLo, idHi)).toBe('unknown');
});

test.each([
  [0, 0],
  [-1, 0],
  [1, 1],
  [2, 0],
  [65, 0],
  [0x7fff_ffff, 0],
  [-0x8000_0000, -1],
])('an id of %i, %i that was never given is unknown', (idLo, idHi) => {
  const table = new TransactionTable();
  table.begin(new OutgoingPacket());

  expect(table.take(idLo, idHi)).toBe('unknown');
});

test('beside a plain map: no id is 0, none is given twice while taken, old ones are unknown', () => {
  const operation = fc.oneof(
    fc.constant({ kind: 'begin' } as const),
    fc.record({ kind: fc.constantFrom('take', 'cancel', 'abandon'), pick: fc.nat() }),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
      const table = new TransactionTable(2);
      const live = new Map<string, OutgoingPacket | 'abandoned'>();
      const old: OutgoingPacket[] = [];
      for (const step of operations) {
        if (step.kind === 'begin') {
          const packet = new OutgoingPacket();
          table.begin(packet);
          expect(packet.idLo).toBeGreaterThan(0);
          expect(live.has(`${packet.idLo}:${packet.idHi}`)).toBe(false);
          live.set(`${packet.idLo}:${packet.idHi}`, packet);
          continue;
        }
        const entries = [...live];
        const entry = entries[step.pick % Math.max(entries.length, 1)];
        if (entry === undefined) continue;
        const [id, owner] = entry;
        const [idLo, idHi] = id.split(':').map(Number) as [number, number];
        if (step.kind === 'take' || owner === 'abandoned') {
          expect(table.take(idLo, idHi)).toBe(owner);
          live.delete(id);
          if (owner !== 'abandoned') old.push(owner);
        } else if (step.kind === 'cancel') {
          table.cancel(owner);
          live.delete(id);
        } else {
          table.abandon(owner);
          live.set(id, 'abandoned');
        }
      }
      expect(table.count).toBe(live.size);
      expect(new Set(table.owned())).toEqual(new Set([...live.values()].filter((owner) => owner !== 'abandoned')));
      for (const packet of old) expect(table.take(packet.idLo, packet.idHi)).toBe('unknown');
    }),
  );
});
