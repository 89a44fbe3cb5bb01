/**
 * The query that hands out a function table, as a driver makes it with `WdfFdoQueryForInterface`.
 *
 * Source: WDK, WdfFdoQueryForInterface, IRP_MN_QUERY_INTERFACE, INTERFACE; statuses for a small size or version as in
 * the query-interface handling of Windows Driver Frameworks (KMDF).
 */
import type { Guid } from '../wire/guid.ts';
import {
  type NtStatus,
  STATUS_INVALID_BUFFER_SIZE,
  STATUS_INVALID_PARAMETER,
  STATUS_NOT_SUPPORTED,
  STATUS_SUCCESS,
} from '../wire/ntstatus.ts';
import {
  KMCL_CLIENT_INTERFACE_TYPE,
  KMCL_CLIENT_INTERFACE_V1_SIZE,
  KMCL_CLIENT_INTERFACE_V2_SIZE,
  KMCL_CLIENT_INTERFACE_V3_SIZE,
  KMCL_CLIENT_INTERFACE_V4_SIZE,
  KMCL_CLIENT_INTERFACE_V5_SIZE,
  KMCL_CLIENT_INTERFACE_VERSION_V1,
  KMCL_CLIENT_INTERFACE_VERSION_V2,
  KMCL_CLIENT_INTERFACE_VERSION_V3,
  KMCL_CLIENT_INTERFACE_VERSION_V4,
  KMCL_CLIENT_INTERFACE_VERSION_V5,
  KMCL_SERVER_INTERFACE_TYPE,
  KMCL_SERVER_INTERFACE_V1_SIZE,
  KMCL_SERVER_INTERFACE_V5_SIZE,
  KMCL_SERVER_INTERFACE_VERSION_V1,
  KMCL_SERVER_INTERFACE_VERSION_V5,
} from './constants.ts';
import {
  clientMethodsV1,
  clientMethodsV2,
  clientMethodsV3,
  clientMethodsV4,
  clientMethodsV5,
  type KmclClientInterfaceV1,
  type KmclClientInterfaceV2,
  type KmclClientInterfaceV3,
  type KmclClientInterfaceV4,
  type KmclClientInterfaceV5,
  type KmclInterfaceHeader,
  type KmclServerInterfaceV1,
  type KmclServerInterfaceV5,
  serverOnlyMethods,
  serverOnlyMethodsV5,
} from './interface-tables.ts';
import { BugCheck } from './objects/bug-check.ts';
import type { DeviceObject } from './objects/device-object.ts';
import type { Out } from './out.ts';

interface Exported {
  readonly sizeBytes: number;
  readonly version: number;
  readonly methods: Readonly<Record<string, (...args: never[]) => unknown>>;
}

/** What is exported, by interface type: versions from the oldest to the newest. */
const exported: Readonly<Record<Guid, readonly Exported[]>> = {
  [KMCL_CLIENT_INTERFACE_TYPE]: [
    { sizeBytes: KMCL_CLIENT_INTERFACE_V1_SIZE, version: KMCL_CLIENT_INTERFACE_VERSION_V1, methods: clientMethodsV1 },
    { sizeBytes: KMCL_CLIENT_INTERFACE_V2_SIZE, version: KMCL_CLIENT_INTERFACE_VERSION_V2, methods: clientMethodsV2 },
    { sizeBytes: KMCL_CLIENT_INTERFACE_V3_SIZE, version: KMCL_CLIENT_INTERFACE_VERSION_V3, methods: clientMethodsV3 },
    { sizeBytes: KMCL_CLIENT_INTERFACE_V4_SIZE, version: KMCL_CLIENT_INTERFACE_VERSION_V4, methods: clientMethodsV4 },
    { sizeBytes: KMCL_CLIENT_INTERFACE_V5_SIZE, version: KMCL_CLIENT_INTERFACE_VERSION_V5, methods: clientMethodsV5 },
  ],
  // No server interface V2 to V4 is visible anywhere: who asks for one gets V1, and sees it in `Version`.
  [KMCL_SERVER_INTERFACE_TYPE]: [
    {
      sizeBytes: KMCL_SERVER_INTERFACE_V1_SIZE,
      version: KMCL_SERVER_INTERFACE_VERSION_V1,
      methods: { ...clientMethodsV1, ...serverOnlyMethods },
    },
    {
      sizeBytes: KMCL_SERVER_INTERFACE_V5_SIZE,
      version: KMCL_SERVER_INTERFACE_VERSION_V5,
      methods: { ...clientMethodsV5, ...serverOnlyMethodsV5 },
    },
  ],
};

/** Which client table a version is; without a table of its own it is the one below it. */
interface ClientTables {
  readonly [KMCL_CLIENT_INTERFACE_VERSION_V1]: KmclClientInterfaceV1;
  readonly [KMCL_CLIENT_INTERFACE_VERSION_V2]: KmclClientInterfaceV2;
  readonly [KMCL_CLIENT_INTERFACE_VERSION_V3]: KmclClientInterfaceV3;
  readonly [KMCL_CLIENT_INTERFACE_VERSION_V4]: KmclClientInterfaceV4;
  readonly [KMCL_CLIENT_INTERFACE_VERSION_V5]: KmclClientInterfaceV5;
}

/**
 * Hands out a table of KMCL functions. Every success holds one reference, which the caller gives back with
 * `table.InterfaceDereference(table.Context)`; after the last one every member throws.
 *
 * @param device the device that asks
 * @param interfaceType `KMCL_CLIENT_INTERFACE_TYPE` or `KMCL_SERVER_INTERFACE_TYPE`
 * @param size bytes of the C structure that the caller has: at least that of the version handed out
 * @param version the newest version that the caller knows; the newest one exported that is not above it is handed out,
 *   and `Version` says which
 * @param table receives the table on success only
 * @returns `STATUS_SUCCESS`; `STATUS_INVALID_PARAMETER` without a device, a type or an output; `STATUS_NOT_SUPPORTED`
 *   for a type that nobody exports; `STATUS_INVALID_BUFFER_SIZE` for a size or version below what is exported
 */
export function queryInterface<Version extends keyof ClientTables>(
  device: DeviceObject,
  interfaceType: typeof KMCL_CLIENT_INTERFACE_TYPE,
  size: number,
  version: Version,
  table: Out<ClientTables[Version]>,
): NtStatus;
export function queryInterface(
  device: DeviceObject,
  interfaceType: typeof KMCL_SERVER_INTERFACE_TYPE,
  size: number,
  version: typeof KMCL_SERVER_INTERFACE_VERSION_V5,
  table: Out<KmclServerInterfaceV5>,
): NtStatus;
export function queryInterface(
  device: DeviceObject,
  interfaceType: typeof KMCL_CLIENT_INTERFACE_TYPE,
  size: number,
  version: number,
  table: Out<KmclClientInterfaceV1>,
): NtStatus;
export function queryInterface(
  device: DeviceObject,
  interfaceType: typeof KMCL_SERVER_INTERFACE_TYPE,
  size: number,
  version: number,
  table: Out<KmclServerInterfaceV1>,
): NtStatus;
export function queryInterface(
  device: DeviceObject,
  interfaceType: Guid,
  size: number,
  version: number,
  table: Out<never>,
): NtStatus;
export function queryInterface(
  device: DeviceObject,
  interfaceType: Guid,
  size: number,
  version: number,
  table: Out<KmclInterfaceHeader>,
): NtStatus {
  if (!isObject(device) || !isObject(table) || typeof interfaceType !== 'string' || interfaceType === '') {
    return STATUS_INVALID_PARAMETER;
  }
  const versions = Object.hasOwn(exported, interfaceType) ? exported[interfaceType] : undefined;
  if (versions === undefined) return STATUS_NOT_SUPPORTED;
  const newest = versions.filter((candidate) => candidate.version <= version).at(-1);
  if (newest === undefined || !(size >= newest.sizeBytes)) return STATUS_INVALID_BUFFER_SIZE;
  table.value = makeTable(newest);
  return STATUS_SUCCESS;
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}

/**
 * One table with one reference. Members are the functions themselves, so that a call through the table costs nothing;
 * the last dereference replaces them.
 */
function makeTable({ sizeBytes, version, methods }: Exported): KmclInterfaceHeader {
  let references = 1;
  const requireAlive = (what: string): void => {
    if (references === 0) throw new BugCheck('K-006', `${what} through an interface after its last dereference`);
  };
  const table = {
    Size: sizeBytes,
    Version: version,
    Context: null,
    InterfaceReference: (): void => {
      requireAlive('InterfaceReference');
      references++;
    },
    InterfaceDereference: (): void => {
      requireAlive('InterfaceDereference');
      if (--references === 0) retire(table);
    },
    ...methods,
  };
  const retire = (retired: Record<string, unknown>): void => {
    for (const name of Object.keys(methods)) retired[name] = () => requireAlive(name);
  };
  return table;
}
