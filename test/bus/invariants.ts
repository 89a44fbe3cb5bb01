/** What must hold between any two messages, whoever sent them. Looks at `inspect()` only. */
import { expect } from 'vitest';
import type { GuestBusTree } from '../../src/bus/guest/index.ts';
import type { HostBusTree } from '../../src/bus/host/index.ts';

const VISIBLE = ['offered', 'opening', 'open', 'closing', 'reopening', 'revoked'];
const IN_DEVICE = ['opening', 'open', 'closing', 'reopening', 'openingReleased', 'closingReleased'];

export interface HostLimits {
  readonly maxGpadls: number;
  readonly maxGpadlsInProgress: number;
  readonly maxGpadlPages: number;
}

export function expectHostInvariants(tree: HostBusTree, limits: HostLimits): void {
  const { channels } = tree;
  const gpadls = channels.flatMap((channel) => channel.gpadls);
  const sum = (numbers: readonly number[]) => numbers.reduce((total, n) => total + n, 0);
  const named = channels.filter(({ relid }) => relid !== 0);

  expectDistinct(named.map(({ relid }) => relid));
  expectDistinct(channels.filter(({ state }) => state !== 'revoked' && state !== 'gone').map(({ key }) => key));
  expectDistinct(channels.map(({ monitorId }) => monitorId).filter((id) => id !== 255));
  for (const { relid, state, ringGpadlId, gpadls: own } of channels) {
    expect(relid).toBeLessThanOrEqual(2047);
    if (VISIBLE.includes(state)) expect(relid).not.toBe(0);
    if (state === 'held') expect(relid).toBe(0);
    // An id that nobody may name is only kept for pages that are still in use.
    if (relid !== 0 && (state === 'unassigned' || state === 'gone')) expect(own).not.toEqual([]);
    if (state === 'gone') expect(relid).not.toBe(0);
    if (ringGpadlId !== null) expect(IN_DEVICE).toContain(state);
  }

  // Every page and every use is accounted for.
  expect(tree.gpadls.count).toBe(gpadls.length);
  expect(tree.gpadls.pageCount).toBe(sum(gpadls.map(({ pageCount }) => pageCount)));
  expect(tree.gpadls.inProgress).toBe(gpadls.filter(({ state }) => state === 'assembling').length);
  expect(sum(gpadls.map(({ ringCount }) => ringCount))).toBe(channels.filter((c) => c.ringGpadlId !== null).length);
  for (const { state, mapCount, ringCount } of gpadls) {
    expect(mapCount).toBeGreaterThanOrEqual(0);
    if (state === 'assembling') expect(mapCount + ringCount).toBe(0);
    if (state === 'tearingDown') expect(mapCount + ringCount).toBeGreaterThan(0);
  }
  expect(tree.gpadls.count).toBeLessThanOrEqual(limits.maxGpadls);
  expect(tree.gpadls.inProgress).toBeLessThanOrEqual(limits.maxGpadlsInProgress);
  expect(tree.gpadls.pageCount).toBeLessThanOrEqual(limits.maxGpadlPages);

  // Only what was opened as reserved outlives a connection (or, closed by now, has pages that its device still maps);
  // while there is no connection it cannot be rescinded either.
  const outliving = ['opening', 'open', 'closing', 'unassigned', 'gone'];
  if (tree.state === 'connected') outliving.push('revoked');
  if (tree.state === 'disconnected' || tree.state === 'connected') {
    for (const { state } of named) expect(outliving).toContain(state);
  }
}

export function expectGuestInvariants(tree: GuestBusTree): void {
  const gpadls = tree.channels.flatMap((channel) => channel.gpadls);

  expectDistinct(tree.channels.map(({ relid }) => relid));
  expectDistinct(gpadls.map(({ id }) => id));
  expect(tree.gpadlCount).toBe(gpadls.length);
  for (const { relid, state, isModifying, gpadls: own } of tree.channels) {
    expect(relid).toBeGreaterThan(0);
    expect(relid).toBeLessThanOrEqual(2047);
    expect(state).not.toBe('gone');
    if (state !== 'rescinded') continue;
    expect(isModifying).toBe(false);
    for (const gpadl of own) expect(gpadl.state).toBe('created');
  }
  const live = tree.channels.filter(({ state }) => state !== 'rescinded');
  expectDistinct(live.map(({ instanceId, subchannelIndex }) => `${instanceId}/${subchannelIndex}`));
  if (tree.state === 'disconnected' || tree.state === 'connecting') expect(tree.channels).toEqual([]);
}

function expectDistinct(values: readonly unknown[]): void {
  expect(new Set(values).size).toBe(values.length);
}
