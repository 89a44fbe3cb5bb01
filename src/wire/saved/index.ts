/** Saved state: plain data to checked bytes and back. The format is ours. */
export * from './chunk.ts';
export * from './codec.ts';
export { badSavedState } from './saved-bytes.ts';
