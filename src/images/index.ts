export { canDiscard, type DiscardingBackend, type Extent } from '../devices/scsi/block-backend.ts';
export { type BackingFile, readBytes, writeZeros, zeroBuffers, zeroRange } from './backing-file.ts';
export { blockDeviceFacts, deviceName } from './block-device.ts';
export { crc32c } from './crc32c.ts';
export { type DetectedFormat, detectFormat, IMAGE_FORMATS, type ImageFormat } from './detect-format.ts';
export { type FaultRule, type FaultyCall, parseFaultRule } from './faults/fault-rule.ts';
export { FaultyBackend, type FaultyBackendOptions } from './faults/faulty-backend.ts';
export { FlatImage } from './flat-image.ts';
export { ImageError } from './image-error.ts';
export {
  type FileExtras,
  NodeFile,
  type NodeFileOptions,
  openNodeFile,
  type PunchHole,
  type ReadNow,
} from './node-file.ts';
export { type ImageSpec, openImage } from './open-image.ts';
export { type CreateOverlayOptions, createOverlay, writeEmptyOverlay } from './overlay/create.ts';
export { OverlayImage, type OverlayOptions, openOverlay, openOverlayFile } from './overlay/overlay-image.ts';
export { openRawImage, type RawImageOptions } from './raw-image.ts';
export { createVhdImage, openVhdFile, openVhdImage, type VhdImageOptions } from './vhd/vhd-image.ts';
export { type CreateVhdxOptions, createVhdxImage, writeEmptyVhdx } from './vhdx/create.ts';
export { openVhdxFile, openVhdxImage, type VhdxImageOptions } from './vhdx/open.ts';
export { VhdxImage } from './vhdx/vhdx-image.ts';
