/** The package's front door: the idiomatic face and every error. The other layers have entries of their own. */
export * from './api/index.ts';
export {
  AddressError,
  AssertionError,
  ERROR_CODES,
  type ErrorCode,
  PeerError,
  SystemError,
  UsageError,
  VmbusError,
} from './errors.ts';
