/**
 * Interface (class) ids: what kind of device an offer is.
 *
 * Source: Linux `include/linux/hyperv.h`, `HV_…_GUID`; `InitialMachineConfiguration`: OpenVMM `vmbfs`.
 */
import type { Guid } from './guid.ts';
import { canonicalGuid } from './guid.ts';

export const ClassId = {
  Scsi: 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f',
  Ide: '32412632-86cb-44a2-9b5c-50d1417354f5',
  FibreChannel: '2f9bcc4a-0069-4af3-b76b-6fd0be528cda',
  Network: 'f8615163-df3e-46c5-913f-f2d2f965ed0e',
  NetworkDirect: '8c2eaf3d-32a7-4b09-ab99-bd1f1c86b501',
  Heartbeat: '57164f39-9115-4e78-ab55-382f3bd5422d',
  KeyValuePair: 'a9a0f4e7-5a45-4d96-b827-8a841e8c03e6',
  Shutdown: '0e0b6031-5213-4934-818b-38d90ced39db',
  TimeSync: '9527e630-d0ae-497b-adce-e80ab0175caf',
  Backup: '35fa2e29-ea23-4236-96ae-3a6ebacba440',
  FileCopy: '34d14be3-dee4-41c8-9ae7-6b174977c192',
  Keyboard: 'f912ad6d-2b17-48ea-bd65-f927a61c7684',
  Mouse: 'cfa8b69e-5b4a-4cc0-b98b-8ba1a1f3f95a',
  Video: 'da0a7802-e377-4aac-8e77-0558eb1073f8',
  VirtualPci: '44c4f61d-4444-4400-9d52-802e27ede19f',
  DynamicMemory: '525074dc-8985-46e2-8057-a307dc18a502',
  Activation: 'f8e65716-3cb3-4a06-9a60-1889c5cccab5',
  Activation2: '3375baf4-9e15-4b30-b765-67acb10d607b',
  RemoteDesktop: '276aacf4-ac15-426c-98dd-7521ad3f01fe',
  InitialMachineConfiguration: 'c376c1c3-d276-48d2-90a9-c04748072c60',
} as const satisfies Record<string, Guid>;

export type ClassName = keyof typeof ClassId;

const namesById = new Map<Guid, string>(Object.entries(ClassId).map(([name, id]) => [id, name]));

/**
 * The name of an interface id; undefined for one that is not listed, hvsock services among them.
 * @param interfaceId any spelling of a GUID
 * @throws UsageError `ERR_ARGUMENT` if it is none
 */
export function className(interfaceId: Guid): string | undefined {
  return namesById.get(canonicalGuid(interfaceId));
}

/**
 * Instance ids that hosts use for devices of which there is one. Others are made up by the host.
 *
 * Source: OpenVMM `hyperv_ic`, `uidevices`, `vmbfs`; file copy: Linux `tools/hv/hv_fcopy_uio_daemon.c`.
 */
export const InstanceId = {
  KeyValuePair: '242ff919-07db-4180-9c2e-b86cb68c8c55',
  Shutdown: 'b6650ff7-33bc-4840-8048-e0676786f393',
  TimeSync: '2dd1ce17-079e-403c-b352-a1921ee207ee',
  FileCopy: 'eb765408-105f-49b6-b4aa-c123b64d17d4',
  Keyboard: 'd34b2567-b9b6-42b9-8778-0a4ec0b955bf',
  Mouse: '58f75a6d-d949-4320-99e1-a2a2576d581c',
  Video: '5620e0c7-8062-4dce-aeb7-520c7ef76171',
  InitialMachineConfiguration: 'c4e5e7d1-d748-4afc-979d-683167910a55',
  BootFiles: 'c63c9bdf-5fa5-4208-b03f-6b458b365592',
} as const satisfies Partial<Record<ClassName | 'BootFiles', Guid>>;
