import { expect, test } from 'vitest';
import {
  BugCheck,
  createDeviceObject,
  KMCL_CLIENT_INTERFACE_TYPE,
  KMCL_CLIENT_INTERFACE_V1_SIZE,
  KMCL_CLIENT_INTERFACE_VERSION_V1,
  KMCL_SERVER_INTERFACE_TYPE,
  KMCL_SERVER_INTERFACE_V1_SIZE,
  KMCL_SERVER_INTERFACE_VERSION_V1,
  type KmclClientInterfaceV1,
  type KmclServerInterfaceV1,
  out,
  queryInterface,
  STATUS_INVALID_BUFFER_SIZE,
  STATUS_INVALID_PARAMETER,
  STATUS_NOT_SUPPORTED,
  STATUS_SUCCESS,
  type VmbClientChannel,
} from '../../src/kmcl/index.ts';

const device = createDeviceObject();

const CLIENT_MEMBERS = `
  VmbChannelAllocate VmbChannelCleanup VmbChannelCreateGpadlFromBuffer VmbChannelCreateGpadlFromMdl
  VmbChannelDeleteGpadl VmbChannelDisable VmbChannelEnable VmbChannelGetInterfaceInstance VmbChannelGetMmioSpace
  VmbChannelGetPointer VmbChannelInitSetClientContextSize VmbChannelInitSetFlags VmbChannelInitSetFriendlyName
  VmbChannelInitSetMaximumExternalData VmbChannelInitSetMaximumPacketSize VmbChannelInitSetProcessPacketCallbacks
  VmbChannelInitSetStateChangeCallbacks VmbChannelPacketComplete VmbChannelPacketDeferToPassive VmbChannelPacketFail
  VmbChannelPacketGetExternalData VmbChannelPause VmbChannelSendSynchronousRequest
  VmbChannelSetIncomingProcessingAtPassive VmbChannelSetInterruptLatency VmbChannelSetPointer
  VmbChannelSetTransactionQuota VmbChannelSizeofPacket VmbChannelStart VmbClientChannelInitSetRingBufferPageCount
  VmbClientChannelInitSetTargetPnp VmbPacketAllocate VmbPacketFree VmbPacketGetChannel VmbPacketGetPointer
  VmbPacketInitialize VmbPacketSend VmbPacketSendWithExternalMdl VmbPacketSendWithExternalPfns
  VmbPacketSetCompletionRoutine VmbPacketSetPointer`
  .trim()
  .split(/\s+/);

const SERVER_MEMBERS = `
  VmbChannelMapGpadl VmbChannelRestoreFromBuffer VmbChannelSaveBegin VmbChannelSaveContinue VmbChannelSaveEnd
  VmbChannelUnmapGpadl VmbConvertVmbusHandleToKernelHandle VmbPacketRestore VmbServerChannelInitSetFlags
  VmbServerChannelInitSetMmioMegabytes VmbServerChannelInitSetSaveRestorePacketCallbacks
  VmbServerChannelInitSetTargetInterfaceId VmbServerChannelInitSetTargetVtl VmbServerChannelInitSetVmbusHandle`
  .trim()
  .split(/\s+/);

function queryClient(
  size = KMCL_CLIENT_INTERFACE_V1_SIZE,
  version: number = KMCL_CLIENT_INTERFACE_VERSION_V1,
): { status: number; table: ReturnType<typeof out<KmclClientInterfaceV1>> } {
  const table = out<KmclClientInterfaceV1>();
  return { status: queryInterface(device, KMCL_CLIENT_INTERFACE_TYPE, size, version, table), table };
}

function methodsOf(table: object): string[] {
  return Object.keys(table).slice(5);
}

test('K-001 a client query fills exactly the 41 members of V1, all callable, in the documented order', () => {
  const { status, table } = queryClient();

  expect(status).toBe(STATUS_SUCCESS);
  expect(methodsOf(table.value)).toEqual(CLIENT_MEMBERS);
  expect(CLIENT_MEMBERS).toHaveLength(41);
  expect(
    Object.values(table.value)
      .slice(5)
      .every((member) => typeof member === 'function'),
  ).toBe(true);
});

test('K-002 a server query fills the 41 client members and behind them the 14 server-only ones', () => {
  const table = out<KmclServerInterfaceV1>();

  const status = queryInterface(
    device,
    KMCL_SERVER_INTERFACE_TYPE,
    KMCL_SERVER_INTERFACE_V1_SIZE,
    KMCL_SERVER_INTERFACE_VERSION_V1,
    table,
  );

  expect(status).toBe(STATUS_SUCCESS);
  expect(methodsOf(table.value)).toEqual([...CLIENT_MEMBERS, ...SERVER_MEMBERS]);
  expect(
    Object.values(table.value)
      .slice(5)
      .every((member) => typeof member === 'function'),
  ).toBe(true);
});

test('K-003 a client table has no server-only member', () => {
  const { table } = queryClient();

  expect(SERVER_MEMBERS.filter((name) => name in table.value)).toEqual([]);
});

test('K-004 a table begins with the header of INTERFACE, whose Size and Version are those of the table', () => {
  const { table } = queryClient(10_000, 1);

  expect(Object.keys(table.value).slice(0, 5)).toEqual([
    'Size',
    'Version',
    'Context',
    'InterfaceReference',
    'InterfaceDereference',
  ]);
  expect(table.value).toMatchObject({ Size: 360, Version: 1 });
});

test('K-005 a query holds one reference, and one dereference gives it back', () => {
  const { table } = queryClient();
  const { InterfaceReference, InterfaceDereference, Context } = table.value;

  InterfaceReference(Context);
  InterfaceDereference(Context);
  expect(table.value.VmbChannelAllocate(device, false, out<VmbClientChannel>())).toBe(STATUS_SUCCESS);

  InterfaceDereference(Context);
  expect(() => InterfaceDereference(Context)).toThrow(BugCheck);
});

test('K-006 a table throws after its last dereference', () => {
  const { table } = queryClient();
  table.value.InterfaceDereference(table.value.Context);

  expect(() => table.value.VmbChannelAllocate(device, false, out<VmbClientChannel>())).toThrow(
    expect.objectContaining({ rule: 'K-006' }),
  );
});

test('K-007 a query without a type or without an output is STATUS_INVALID_PARAMETER', () => {
  const nothing = null as never;
  const table = out<KmclClientInterfaceV1>();

  expect(queryInterface(device, nothing, 360, 1, table)).toBe(STATUS_INVALID_PARAMETER);
  expect(queryInterface(device, KMCL_CLIENT_INTERFACE_TYPE, 360, 1, nothing)).toBe(STATUS_INVALID_PARAMETER);
  expect(table.isEmpty).toBe(true);
});

test('K-008 a type that nobody exports is STATUS_NOT_SUPPORTED and leaves the output alone', () => {
  const table = out<never>();

  const status = queryInterface(device, '00000000-0000-0000-0000-000000000001', 360, 1, table);

  expect(status).toBe(STATUS_NOT_SUPPORTED);
  expect(table.isEmpty).toBe(true);
});

test('K-009 a size one byte too small is STATUS_INVALID_BUFFER_SIZE and leaves the output alone', () => {
  const { status, table } = queryClient(KMCL_CLIENT_INTERFACE_V1_SIZE - 1);

  expect(status).toBe(STATUS_INVALID_BUFFER_SIZE);
  expect(table.isEmpty).toBe(true);
});

test('K-010 a version below 1 is STATUS_INVALID_BUFFER_SIZE', () => {
  expect(queryClient(KMCL_CLIENT_INTERFACE_V1_SIZE, 0).status).toBe(STATUS_INVALID_BUFFER_SIZE);
});

test('K-011 asking for a newer version than there is gives the newest, and Version tells', () => {
  const { status, table } = queryClient(10_000, 0xffff);

  expect(status).toBe(STATUS_SUCCESS);
  expect(table.value.Version).toBe(5);
});

test('K-012 a table never holds more members than the size asked for has room for', () => {
  const { table } = queryClient(KMCL_CLIENT_INTERFACE_V1_SIZE);

  expect(32 + 8 * methodsOf(table.value).length).toBe(KMCL_CLIENT_INTERFACE_V1_SIZE);
});
