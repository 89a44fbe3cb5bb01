/** Runs one end of an exchange over any transport: the guest clears the rings and says so, then both go. */
import type { GuestEnvironment, HostEnvironment } from '../../../src/channel/environment.ts';
import { Exchange, type ExchangeResult, type ExchangeShape, ringsOf } from '../exchange.ts';

/** The one doorbell id that an exchange uses. */
const DOORBELL = 0x2001;
const READY = Uint8Array.of(1);
const DONE = Uint8Array.of(2);

export function exchangeAsGuest(guest: GuestEnvironment, shape: ExchangeShape): Promise<ExchangeResult> {
  const rings = ringsOf(guest.memory, shape);
  rings.up.clearControlPage();
  rings.down.clearControlPage();
  const exchange = new Exchange('guest', rings, shape, {
    signal: () => guest.signal(DOORBELL),
    again: (work) => guest.scheduler.dispatch(work),
  });
  guest.onInterrupt(() => exchange.run());
  guest.control.post(1, READY);
  exchange.run();
  return finish(exchange, guest);
}

export function exchangeAsHost(host: HostEnvironment, shape: ExchangeShape): Promise<ExchangeResult> {
  return new Promise((resolve, reject) => {
    host.onLost((reason) => reject(new Error(`the guest is lost: ${reason}`)));
    host.onMessage(() => {
      const rings = ringsOf(host.memory, shape);
      const exchange = new Exchange('host', rings, shape, {
        signal: () => host.signal(DOORBELL, 0),
        again: (work) => host.scheduler.dispatch(work),
      });
      host.onSignal(() => exchange.run());
      exchange.run();
      finish(exchange, host).then(resolve, reject);
    });
  });
}

/** Neither end goes before the other has everything: a lost peer would end it. */
async function finish(exchange: Exchange, end: GuestEnvironment | HostEnvironment): Promise<ExchangeResult> {
  const peerIsDone = new Promise<void>((resolve, reject) => {
    end.onMessage(() => resolve());
    end.onLost((reason) => reject(new Error(`the other end is lost: ${reason}`)));
  });
  const result = await Promise.race([exchange.done, peerIsDone.then(() => exchange.done)]);
  end.control.post(1, DONE);
  await peerIsDone;
  return result;
}
