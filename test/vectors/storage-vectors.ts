/** The storage messages. */
import * as s from '../../src/wire/storvsc.ts';
import { hex } from './hex.ts';
import { counting } from './ring-vectors.ts';
import type { StructVector } from './struct-vector.ts';
import { vector } from './struct-vector.ts';

const STORVSC = 'laid out after Linux drivers/scsi/storvsc_drv.c';
const STORVSP = 'laid out after OpenVMM storvsp_protocol';

/** READ(10) of 16 blocks from 0x11223344, LUN 2. */
const read10 = {
  byteLength: 52,
  srbStatus: 0,
  scsiStatus: 0,
  port: 1,
  path: 0,
  target: 3,
  lun: 2,
  cdbBytes: 10,
  senseInfoBytes: 20,
  dataIn: 1,
  properties: 0,
  dataTransferBytes: 0x2000,
  cdbOrSense: hex('28 00 11 22 33 44 00 00 10 00 | 10 x 00'),
};

export const storageVectors: readonly StructVector[] = [
  vector(s.VstorHeader, STORVSC, '01 00 00 00 | 01 00 00 00 | 59 00 00 c0', {
    operation: 1,
    flags: 1,
    status: 0xc000_0059,
  }),
  vector(s.StorProtocolVersion, STORVSC, '02 06 | 00 00', { majorMinor: 0x0602, revision: 0 }),
  vector(
    s.StorProperties,
    STORVSC,
    '00 00 00 00 | 03 00 | 00 00 | 01 00 00 00 | 00 00 04 00 | 00 00 00 00 00 00 00 00',
    { maxSubChannelCount: 3, flags: 1, maxTransferBytes: 0x40000 },
  ),
  vector(s.SubChannelRequest, STORVSC, '03 00', { subChannelCount: 3 }),
  vector(
    s.FcWwnBlock,
    STORVSC,
    `01 | 00 00 00 | 00 01 02 03 04 05 06 07 | 10 11 12 13 14 15 16 17
     20 21 22 23 24 25 26 27 | 30 31 32 33 34 35 36 37`,
    {
      primaryActive: 1,
      primaryPort: counting(8),
      primaryNode: counting(8, 0x10),
      secondaryPort: counting(8, 0x20),
      secondaryNode: counting(8, 0x30),
    },
  ),
  vector(s.StorEvent, STORVSP, '02 | 03 | 00 | 01', { lun: 2, target: 3, path: 0, flags: 1 }),
  vector(
    s.ScsiRequest,
    STORVSC,
    `34 00 | 00 | 00 | 01 | 00 | 03 | 02 | 0a | 14 | 01 | 00 | 00 20 00 00
     28 00 11 22 33 44 00 00 10 00 10 x 00 | 00 00 | ff | 20 | 4a 01 00 00 | 3c 00 00 00 | 00 00 00 00`,
    { ...read10, queueTag: 0xff, queueAction: 0x20, srbFlags: 0x14a, timeoutSeconds: 60, queueSortKey: 0 },
  ),
  vector(
    s.ScsiRequestWin7,
    STORVSC,
    `34 00 | 00 | 00 | 01 | 00 | 03 | 02 | 0a | 14 | 01 | 00 | 00 20 00 00
     28 00 11 22 33 44 00 00 10 00 10 x 00`,
    read10,
  ),
  vector(s.IdeOfferData, STORVSP, '00 00 | 01 | 00 | 00 00 00 00 | 02 00 00 00 | 12 x 00', {
    path: 1,
    target: 0,
    flags: 2,
  }),
];
