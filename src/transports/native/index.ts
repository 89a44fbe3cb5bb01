/** Native calls for transports: koffi behind one adapter. */
export { FileCalls } from './file-calls.ts';
export { type Koffi, loadKoffi, type NativeFunction } from './koffi.ts';
export { Errno, errnoOf, Libc } from './libc.ts';
export { NativeMapping } from './native-mapping.ts';
