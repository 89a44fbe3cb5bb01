import { expect, test } from 'vitest';
import { PostStatus } from '../../../src/bus/control-port.ts';
import { GuestMemory } from '../../../src/memory/index.ts';
import { EventLoopScheduler } from '../../../src/transports/event-loop-scheduler.ts';
import { KvmHostEnvironment } from '../../../src/transports/kvm/host-environment.ts';
import { enableSynic, FLAGS, SLOT, someMachine, VECTOR } from './machine/some-machine.ts';

function someEnvironment(messageVp = 0) {
  const machine = someMachine(2);
  enableSynic(machine, 0);
  enableSynic(machine, 1);
  const memory = new GuestMemory([{ firstPfn: 0, bytes: machine.ram.bytes }]);
  const environment = new KvmHostEnvironment({
    memory,
    scheduler: new EventLoopScheduler(),
    synic: machine.synic,
    messageVp: () => messageVp,
  });
  return { machine, environment };
}

test("the guest's memory is the machine's RAM, seen in place", () => {
  const { machine, environment } = someEnvironment();

  environment.memory.bytes(0x5000, 4)[0] = 7;

  expect(machine.ram.bytes[0x5000]).toBe(7);
  expect(environment.memory.hasPage(256)).toBe(false);
});

test('a control message goes to the slot of the processor that the guest named, whatever the connection', () => {
  const { machine, environment } = someEnvironment(1);

  expect(environment.control.post(77, Uint8Array.of(0x0f))).toBe(PostStatus.Success);

  expect([machine.ram.bytes[SLOT], machine.ram.bytes[SLOT + 0x2000]]).toEqual([0, 1]);
  expect(machine.interrupts).toEqual([{ vp: 1, vector: VECTOR }]);
});

test('a signal is an event flag of the target processor', () => {
  const { machine, environment } = someEnvironment();

  environment.signal(3, 1);

  expect(machine.ram.bytes[FLAGS + 0x2000]).toBe(8);
  expect(machine.interrupts).toEqual([{ vp: 1, vector: VECTOR }]);
});

test('what the guest posts and signals reaches the sinks, and nothing is lost but with a reason, once', () => {
  const { environment } = someEnvironment();
  const heard: unknown[] = [];
  environment.message(1, Uint8Array.of(1));
  environment.onMessage((message, connectionId) => heard.push([...message, connectionId]));
  environment.onSignal((connectionId) => heard.push(connectionId));
  environment.onLost((reason) => heard.push(reason));

  environment.message(4, Uint8Array.of(0x0e));
  environment.signalled(0x2001);
  environment.lost('power-off');
  environment.lost('again');

  expect(heard).toEqual([[0x0e, 4], 0x2001, 'power-off']);
});
