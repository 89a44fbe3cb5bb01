import { describe, expect, test } from 'vitest';
import { PostStatus } from '../../src/bus/control-port.ts';
import { Outbox } from '../../src/bus/outbox.ts';

const message = (n: number) => new Uint8Array([n]);

function someOutbox() {
  const posted: number[] = [];
  const port = { status: PostStatus.Success as PostStatus };
  let backlogs = 0;
  const outbox = new Outbox(
    {
      post: (_connectionId, [n]) => {
        if (port.status === PostStatus.Success) posted.push(n as number);
        return port.status;
      },
    },
    () => backlogs++,
  );
  return { outbox, posted, port, backlogs: () => backlogs };
}

describe('the outbox', () => {
  test.each([PostStatus.InsufficientBuffers, PostStatus.InsufficientMemory, PostStatus.InvalidConnectionId])(
    'status %i keeps the message and everything behind it',
    (status) => {
      const { outbox, posted, port, backlogs } = someOutbox();
      port.status = status;

      outbox.post(1, message(1));
      port.status = PostStatus.Success;
      outbox.post(1, message(2));
      expect(posted).toEqual([]);
      expect(outbox.flush()).toBe(true);

      expect(posted).toEqual([1, 2]);
      expect(backlogs()).toBe(1);
    },
  );

  test('a message with somewhere else to go is not tried twice on a connection that does not exist', () => {
    const { outbox, posted, port } = someOutbox();
    port.status = PostStatus.InvalidConnectionId;

    outbox.post(4, message(1), () => {
      port.status = PostStatus.Success;
      outbox.post(1, message(2));
    });

    expect(posted).toEqual([2]);
    expect(outbox.length).toBe(0);
  });

  test('what was posted before a hold goes, what comes after waits', () => {
    const { outbox, posted, port } = someOutbox();
    port.status = PostStatus.InsufficientBuffers;
    outbox.post(1, message(1));

    outbox.hold();
    outbox.post(1, message(2));
    port.status = PostStatus.Success;
    outbox.flush();
    expect(posted).toEqual([1]);
    outbox.release({ connectionId: 1, message: message(3) });

    expect(posted).toEqual([1, 3, 2]);
  });

  test('clear forgets the hold and what waits', () => {
    const { outbox, posted } = someOutbox();
    outbox.hold();
    outbox.post(1, message(1));

    outbox.clear();
    outbox.post(1, message(2));

    expect(posted).toEqual([2]);
  });
});
