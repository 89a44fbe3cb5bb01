/**
 * The way out for control messages: `HvPostMessage`, whatever carries it.
 *
 * Source: Hyper-V TLFS, HvPostMessage; result codes as in Linux `include/asm-generic/hyperv-tlfs.h`.
 */

/** What became of a post; the values are the hypercall's status codes. */
export const PostStatus = {
  Success: 0,
  InsufficientMemory: 11,
  InvalidConnectionId: 18,
  InsufficientBuffers: 19,
} as const;
export type PostStatus = (typeof PostStatus)[keyof typeof PostStatus];

/** Message connections that a guest posts to. */
export const MessageConnection = {
  /** All messages below protocol 5.0. */
  Legacy: 1,
  /** InitiateContact when asking for 5.0 or newer; later messages go where VersionResponse says. */
  Multiclient: 4,
} as const;

/** Largest payload of one control message, bytes. */
export const MAX_MESSAGE_BYTES = 240;

export interface ControlPort {
  /**
   * Posts one control message; the bytes are copied before the call returns, and the peer runs later.
   * @param connectionId message connection (guest to host); the host end ignores it
   * @param message at most `MAX_MESSAGE_BYTES` bytes
   */
  post(connectionId: number, message: Uint8Array): PostStatus;
}
