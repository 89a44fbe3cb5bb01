/** The checksum of VHDX and overlay images; saved state has the same one. */
export { crc32c, crc32cWithout } from '../wire/crc32c.ts';
