/**
 * What kind of image a file is, by its first and last bytes.
 *
 * A guess is only as good as the file: whoever can write the first sector of a raw disk can make it look like an image
 * of another kind at the next opening. So name the format where the guest is not trusted with that. (No format here
 * leads to another file by what the image says, so a wrong guess shows wrong bytes but opens no door.)
 */
import { readBytes } from './backing-file.ts';
import { openNodeFile } from './node-file.ts';
import { SIGNATURE as OVERLAY_SIGNATURE } from './overlay/format.ts';
import { FOOTER_BYTES, VHD_COOKIE } from './vhd/footer.ts';
import { FILE_SIGNATURE } from './vhdx/format.ts';

/** Formats that `openImage` opens. */
export const IMAGE_FORMATS = ['raw', 'vhd', 'vhdx', 'overlay'] as const;
export type ImageFormat = (typeof IMAGE_FORMATS)[number];

/** Formats that are told from raw, so that their own structures are not shown to a guest as its disk. */
const FOREIGN: readonly { name: string; magic: Uint8Array; at: number }[] = [
  { name: 'qcow', magic: Uint8Array.of(0x51, 0x46, 0x49, 0xfb), at: 0 }, // QEMU docs/interop/qcow2.txt, "QFI\xfb"
  { name: 'vmdk', magic: new TextEncoder().encode('KDMV'), at: 0 }, // VMware Virtual Disk Format 1.1, sparse header
  { name: 'vdi', magic: Uint8Array.of(0x7f, 0x10, 0xda, 0xbe), at: 64 }, // VirtualBox VDICore.h, image signature
];

/** @returns a format that can be opened, or `foreign:` and a name, for one that cannot */
export type DetectedFormat = ImageFormat | `foreign:${string}`;

/** @throws SystemError `ERR_BACKEND` if the file cannot be read */
export async function detectFormat(path: string): Promise<DetectedFormat> {
  const file = await openNodeFile(path, { readOnly: true, allowDevice: true });
  try {
    if (file.deviceNumber !== undefined) return 'raw';
    const fileBytes = await file.sizeBytes();
    const start = await readBytes(file, 0, Math.min(fileBytes, 512));
    const begins = (magic: Uint8Array, at = 0): boolean =>
      Buffer.compare(start.subarray(at, at + magic.length), magic) === 0;
    if (begins(FILE_SIGNATURE)) return 'vhdx';
    if (begins(OVERLAY_SIGNATURE)) return 'overlay';
    for (const { name, magic, at } of FOREIGN) if (begins(magic, at)) return `foreign:${name}`;
    const cookie = new TextEncoder().encode(VHD_COOKIE);
    // Dynamic VHDs begin with a copy of the footer; opening one says that it is not supported.
    if (begins(cookie)) return 'vhd';
    if (fileBytes < FOOTER_BYTES) return 'raw';
    const end = await readBytes(file, fileBytes - FOOTER_BYTES, cookie.length);
    return Buffer.compare(end, cookie) === 0 ? 'vhd' : 'raw';
  } finally {
    await file.close();
  }
}
