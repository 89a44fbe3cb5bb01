/**
 * Handles to a host's bus instance, which is how a server channel chooses its guest.
 *
 * In Windows the VM's worker process opens the instance and hands the driver a user-mode handle, which the driver turns
 * into a kernel handle while it runs in that process. Here a process is a heap: a user handle is known to the process
 * that made it, and a copy that arrived by message is not.
 */
import type { HostVmbus } from '../../channel/index.ts';

declare const kind: unique symbol;

/** A handle of the process that opened it. */
export interface VmbusUserHandle {
  readonly [kind]: 'user handle';
}

/** A handle that a driver may keep, until it closes it. */
export interface VmbusKernelHandle {
  readonly [kind]: 'kernel handle';
}

const openUserHandles = new WeakMap<object, HostVmbus>();
const openKernelHandles = new WeakMap<object, HostVmbus>();

/** Opens the bus instance of one guest, as the VM's worker process does. */
export function openVmbusHandle(vmbus: HostVmbus): VmbusUserHandle {
  // The one place where the type is given; a handle has no content, its identity is all.
  const handle = Object.freeze({}) as VmbusUserHandle;
  openUserHandles.set(handle, vmbus);
  return handle;
}

/** Makes a kernel handle for what `user` names; `undefined` if this process did not open it, or closed it. */
export function kernelHandleOf(user: VmbusUserHandle): VmbusKernelHandle | undefined {
  const vmbus = openUserHandles.get(user);
  if (vmbus === undefined) return undefined;
  const handle = Object.freeze({}) as VmbusKernelHandle;
  openKernelHandles.set(handle, vmbus);
  return handle;
}

/** The bus that an open kernel handle names. */
export function vmbusOf(handle: VmbusKernelHandle): HostVmbus | undefined {
  return openKernelHandles.get(handle);
}

/** Closes either kind; a kernel handle outlives the user handle that it was made from. @returns false if not open */
export function closeVmbusHandle(handle: VmbusUserHandle | VmbusKernelHandle): boolean {
  return openUserHandles.delete(handle) || openKernelHandles.delete(handle);
}
