import { ShmCalls } from '../native/shm-calls.ts';

let loading: Promise<ShmCalls> | undefined;

/** The system calls, loaded once per thread. @throws SystemError `ERR_TRANSPORT` with what to install, without koffi */
export function loadShmCalls(): Promise<ShmCalls> {
  loading ??= ShmCalls.load().catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  return loading;
}
