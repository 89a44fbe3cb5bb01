/**
 * The I/O ports of the machine: console, clock, power. Everything else floats: reads give ones, writes go nowhere.
 */
import { CMOS_DATA_PORT, CMOS_INDEX_PORT, readCmos } from './cmos.ts';
import { isPowerOff, RESET_PORT, RESET_VALUE, SLEEP_CONTROL_PORT, SLEEP_STATUS_PORT } from './power-ports.ts';
import { UART_PORT, UART_PORTS, type Uart } from './uart.ts';

/** Why the guest ended its own run. */
export type PowerRequest = 'power-off' | 'reset';

export class Board {
  readonly #uart: Uart;
  readonly #now: () => Date;
  // One per processor, as if each had its own index register: kernels lock index and data together anyway.
  #cmosIndex = 0;

  constructor(uart: Uart, now: () => Date) {
    this.#uart = uart;
    this.#now = now;
  }

  /** @param port 0..65535 @returns 0..255 */
  read(port: number): number {
    if (port >= UART_PORT && port < UART_PORT + UART_PORTS) return this.#uart.read(port - UART_PORT);
    switch (port) {
      case CMOS_DATA_PORT:
        return readCmos(this.#cmosIndex, this.#now());
      case SLEEP_CONTROL_PORT:
      case SLEEP_STATUS_PORT:
        return 0;
      default:
        return 0xff;
    }
  }

  /** @param value 0..255 @returns what the guest asks for, if this write does */
  write(port: number, value: number): PowerRequest | undefined {
    if (port >= UART_PORT && port < UART_PORT + UART_PORTS) this.#uart.write(port - UART_PORT, value);
    else if (port === CMOS_INDEX_PORT) this.#cmosIndex = value;
    else if (port === SLEEP_CONTROL_PORT && isPowerOff(value)) return 'power-off';
    else if (port === RESET_PORT && value === RESET_VALUE) return 'reset';
    return undefined;
  }
}
