/** A file that looks like a kernel image: the header fields that the loader reads, and code of a known pattern. */
export interface KernelFields {
  readonly setupSectors?: number;
  readonly codeBytes?: number;
  /** Paragraphs of 16 bytes that the header claims; by default what there is. */
  readonly paragraphs?: number;
  readonly bootFlag?: number;
  readonly magic?: number;
  readonly protocol?: number;
  readonly loadFlags?: number;
  readonly jump?: number;
  readonly maxInitrdAddress?: number;
  readonly maxCommandLineBytes?: number;
  readonly preferredAddress?: number;
  readonly initBytes?: number;
}

export function someKernel(fields: KernelFields = {}): Uint8Array {
  const setupSectors = fields.setupSectors ?? 3;
  const codeBytes = fields.codeBytes ?? 4096;
  const codeAt = ((setupSectors || 4) + 1) * 512;
  const image = new Uint8Array(codeAt + codeBytes);
  const view = new DataView(image.buffer);
  image.fill(0x90, codeAt);
  view.setUint8(0x1f1, setupSectors);
  view.setUint32(0x1f4, fields.paragraphs ?? codeBytes / 16, true);
  view.setUint16(0x1fe, fields.bootFlag ?? 0xaa55, true);
  view.setUint8(0x201, fields.jump ?? 0x6a);
  view.setUint32(0x202, fields.magic ?? 0x53726448, true);
  view.setUint16(0x206, fields.protocol ?? 0x020f, true);
  view.setUint8(0x211, fields.loadFlags ?? 1);
  view.setUint32(0x22c, fields.maxInitrdAddress ?? 0x7fffffff, true);
  view.setUint32(0x238, fields.maxCommandLineBytes ?? 2047, true);
  view.setUint32(0x258, fields.preferredAddress ?? 0x1000000, true);
  view.setUint32(0x260, fields.initBytes ?? 0x10000, true);
  return image;
}
