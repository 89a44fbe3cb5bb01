/**
 * Monitor pages: a guest sets a bit here instead of making a hypercall, and the host looks within the latency that the
 * page names. There are two, one per direction; 128 monitor ids are 4 groups of 32 bits.
 *
 * Source: Linux `drivers/hv/hyperv_vmbus.h`, `struct hv_monitor_page`; OpenVMM `vm/vmcore/src/monitor.rs`.
 */
import { bytes, pad, struct, u16, u32 } from './struct.ts';

/** An offer's monitor id when the channel has none. */
export const NO_MONITOR = 255;
export const MONITOR_GROUPS = 4;
export const MONITORS_PER_GROUP = 32;
export const MONITOR_COUNT = MONITOR_GROUPS * MONITORS_PER_GROUP;

/** Source: Linux `drivers/hv/hyperv_vmbus.h`, `union hv_monitor_trigger_group`. */
export const MonitorTriggerGroup = struct('MonitorTriggerGroup', 8, {
  pending: u32(0), // bit m: monitor 32 * group + m has a signal
  armed: u32(4),
});

/** Whom to signal for a monitor. Source: Linux `drivers/hv/hyperv_vmbus.h`, `struct hv_monitor_parameter`. */
export const MonitorParameter = struct('MonitorParameter', 8, {
  connectionId: u32(0),
  flagNumber: u16(4),
  reserved: pad(6, 2),
});

/** Source: Linux `drivers/hv/hyperv_vmbus.h`, `struct hv_monitor_page`. */
export const MonitorPage = struct('MonitorPage', 4096, {
  triggerState: u32(0), // bits 0-3: group enabled
  reserved: pad(4, 4),
  triggerGroups: bytes(0x8, MONITOR_GROUPS * 8), // MonitorTriggerGroup each
  reserved2: pad(0x28, 0x18),
  nextCheckTimes: bytes(0x40, MONITOR_COUNT * 4), // a 32-bit number each; signed in Linux, unsigned in OpenVMM
  latencies: bytes(0x240, MONITOR_COUNT * 2), // a u16 each, in 100 ns
  reserved3: pad(0x340, 0x100),
  parameters: bytes(0x440, MONITOR_COUNT * 8), // MonitorParameter each
  reserved4: pad(0x840, 0x7c0),
});

/** Byte of the page at which the pending word of the monitor's group stands. @param monitorId 0..127 */
export function monitorPendingAt(monitorId: number): number {
  return MonitorPage.offsets.triggerGroups + MonitorTriggerGroup.size * (monitorId >>> 5);
}

/** The monitor's bit in that word, as a signed 32-bit number (`Atomics.or` takes it). @param monitorId 0..127 */
export function monitorPendingBit(monitorId: number): number {
  return 1 << (monitorId & 31);
}

/** Byte of the page at which the monitor's latency stands: a u16 in 100 ns. @param monitorId 0..127 */
export function monitorLatencyAt(monitorId: number): number {
  return MonitorPage.offsets.latencies + 2 * monitorId;
}

/** Byte of the page at which the monitor's `MonitorParameter` stands. @param monitorId 0..127 */
export function monitorParameterAt(monitorId: number): number {
  return MonitorPage.offsets.parameters + MonitorParameter.size * monitorId;
}
