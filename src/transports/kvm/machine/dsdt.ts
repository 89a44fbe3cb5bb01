/**
 * The machine's devices, as ACPI tells them to the guest: the bus, the console, and how to turn off.
 *
 * Linux' `hv_vmbus` binds to the ACPI device "VMBus" and takes address space for synthetic video and PCI from the window
 * of its parent, the module device.
 *
 * Source: Linux `drivers/hv/vmbus_drv.c` (`vmbus_acpi_device_ids`, `vmbus_walk_resources`).
 */
import {
  type Aml,
  constantMethod,
  device,
  edgeInterrupt,
  eisaId,
  integer,
  ioPorts,
  memoryWindow,
  name,
  packageOf,
  resources,
  scope,
  string,
} from './aml.ts';
import { MMIO_WINDOW_FIRST, MMIO_WINDOW_LAST } from './memory-layout.ts';
import { SLEEP_TYPE_S5 } from './power-ports.ts';
import { UART_IRQ, UART_PORT, UART_PORTS } from './uart.ts';

/** Present, enabled, shown, functioning. Source: ACPI 6.4, 6.3.7. */
const STATUS_PRESENT = 0x0f;

/** The body of the DSDT, without its table header. */
export function dsdtBody(): Aml {
  const zero = integer(0);
  return [
    ...name('_S5', packageOf(integer(SLEEP_TYPE_S5), zero, zero, zero)),
    ...scope(
      '_SB',
      device(
        'VMOD',
        name('_HID', string('ACPI0004')),
        name('_UID', zero),
        name('_CRS', resources(memoryWindow(MMIO_WINDOW_FIRST, MMIO_WINDOW_LAST))),
        device(
          'VMBS',
          name('_HID', string('VMBus')),
          name('_UID', zero),
          constantMethod('_STA', integer(STATUS_PRESENT)),
        ),
      ),
      device(
        'COM1',
        name('_HID', eisaId('PNP0501')),
        name('_UID', integer(1)),
        name('_CRS', resources(ioPorts(UART_PORT, UART_PORTS), edgeInterrupt(UART_IRQ))),
      ),
    ),
  ];
}
