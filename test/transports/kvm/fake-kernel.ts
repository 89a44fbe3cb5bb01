/** A `Libc` over system calls that a test answers, with what was asked for each. */
import type { NativeFunction } from '../../../src/transports/native/index.ts';
import { Libc } from '../../../src/transports/native/index.ts';

export interface IoctlCall {
  readonly fd: number;
  readonly request: number;
  /** The word, or a copy of the structure as it was handed in. */
  readonly argument: number | Uint8Array;
}

export interface FakeAnswers {
  /** Descriptor for /dev/kvm, or minus the errno. */
  readonly open?: number;
  /** Result of an ioctl, or minus the errno; may fill the structure. 0 unless given. */
  ioctl?(request: number, argument: number | Uint8Array): number | undefined;
}

export interface FakeKernel {
  readonly libc: Libc;
  readonly ioctls: IoctlCall[];
  readonly closed: number[];
  /** The structure of the only call of that kind. */
  structOf(request: number): Uint8Array;
}

export const FAKE_KVM_FD = 100;

export function fakeKernel(answers: FakeAnswers = {}): FakeKernel {
  const ioctls: IoctlCall[] = [];
  const closed: number[] = [];
  let errno = 0;
  let nextAddress = 0x10000;
  const result = (value: number): number => {
    if (value >= 0) return value;
    errno = -value;
    return -1;
  };
  const functions: Record<string, NativeFunction> = {
    open: () => result(answers.open ?? FAKE_KVM_FD),
    close: (fd) => {
      closed.push(Number(fd));
      return 0;
    },
    ioctl: (fd, request, argument) => {
      const isStruct = argument instanceof Uint8Array;
      ioctls.push({
        fd: Number(fd),
        request: Number(request),
        argument: isStruct ? argument.slice() : Number(argument),
      });
      return result(answers.ioctl?.(Number(request), isStruct ? argument : Number(argument)) ?? 0);
    },
    mmap: (_address, lengthBytes) => {
      nextAddress += Number(lengthBytes);
      return nextAddress - Number(lengthBytes);
    },
  };
  const libc = new Libc({
    load: () => ({ func: (name) => functions[name] ?? (() => 0) }),
    view: (_address, lengthBytes) => new ArrayBuffer(lengthBytes),
    errno: () => errno,
  });
  return {
    libc,
    ioctls,
    closed,
    structOf: (request) => {
      const calls = ioctls.filter((call) => call.request === request);
      const argument = calls[0]?.argument;
      if (calls.length !== 1 || !(argument instanceof Uint8Array)) {
        throw new Error(`${calls.length} calls of 0x${request.toString(16)}`);
      }
      return argument;
    },
  };
}
