/** Opens /dev/kvm and makes sure that it can do what the machine needs. */
import { SystemError } from '../../errors.ts';
import { Errno, errnoOf, type Libc } from '../native/index.ts';
import { KVM_API_VERSION, KvmCapability, KvmRequest } from './machine/kvm-abi.ts';

export const KVM_DEVICE = '/dev/kvm';

/**
 * @returns a descriptor; the caller closes it
 * @throws SystemError `ERR_TRANSPORT` that says what is missing and what to do
 */
export function openKvm(libc: Libc): number {
  const fd = openDevice(libc);
  const missing = missingCapabilities(libc, fd);
  if (missing.length === 0) return fd;
  libc.close(fd);
  throw new SystemError('ERR_TRANSPORT', `this kernel's KVM lacks ${missing.join(', ')}; Linux 5.10 or newer has them`);
}

/** Names of what the machine needs and this KVM does not have. */
export function missingCapabilities(libc: Libc, kvmFd: number): string[] {
  const version = libc.ioctl(kvmFd, KvmRequest.GetApiVersion, 0, 'KVM_GET_API_VERSION');
  if (version !== KVM_API_VERSION) return [`API version ${KVM_API_VERSION} (it has ${version})`];
  return Object.entries(KvmCapability)
    .filter(([name, capability]) => libc.ioctl(kvmFd, KvmRequest.CheckExtension, capability, name) === 0)
    .map(([name]) => name);
}

function openDevice(libc: Libc): number {
  try {
    return libc.open(KVM_DEVICE);
  } catch (cause) {
    switch (errnoOf(cause)) {
      case Errno.ENOENT:
        throw new SystemError(
          'ERR_TRANSPORT',
          `${KVM_DEVICE} is not there: load kvm_intel or kvm_amd, and turn virtualisation on in the firmware`,
          { cause },
        );
      case Errno.EACCES:
        throw new SystemError(
          'ERR_TRANSPORT',
          `no permission for ${KVM_DEVICE}: join its group (usually "kvm") and log in again`,
          { cause },
        );
      default:
        throw new SystemError('ERR_TRANSPORT', `${KVM_DEVICE} cannot be opened: ${(cause as Error).message}`, {
          cause,
        });
    }
  }
}
