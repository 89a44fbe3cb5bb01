/**
 * The constants of the KMCL header, under their own names.
 *
 * Source: WDK `vmbuskernelmodeclientlibapi.h`. The interface GUIDs and version numbers are not public; ours are our own
 * (see `KMCL_CLIENT_INTERFACE_TYPE`), and nothing on the wire depends on them.
 */
/** The peer's completion is wanted: the packet lives until it arrives. */
export const VMBUS_CHANNEL_FORMAT_FLAG_WAIT_FOR_COMPLETION = 0x1;
/** `VmbPacketSendWithExternalMdl` only: take `MdlLength` as it is, up to the end of the MDL's last page. */
export const VMBUS_CHANNEL_FORMAT_FLAG_FORCE_MDL_LENGTH = 0x2;
/** The inline buffer is pageable: it is read before the call returns. */
export const VMBUS_CHANNEL_FORMAT_FLAG_PAGED_BUFFER = 0x4;
/** All format flags. */
export const VMBUS_CHANNEL_FORMAT_FLAGS = 0x7;

/** The channel is a datagram pipe: every payload has a pipe header, no transactions, no external data. */
export const VMBUS_CHANNEL_INIT_FLAG_IS_PIPE = 0x1;
export const VMBUS_CHANNEL_INIT_FLAGS = 0x1;

export const VMBUS_SERVER_CHANNEL_INIT_FLAG_LOOPBACK_OFFER = 0x1;
/** The guest publishes a device interface with the channel's interface GUID. */
export const VMBUS_SERVER_CHANNEL_INIT_FLAG_ENUMERATE_DEVICE_INTERFACE = 0x2;
/** The guest may use the channel as a file: ReadFile and WriteFile. */
export const VMBUS_SERVER_CHANNEL_INIT_FLAG_OFFER_AS_PIPE = 0x4;
/** After a restore, offer anew instead of taking up the open channel. */
export const VMBUS_SERVER_CHANNEL_INIT_FLAG_FORCE_NEW_CHANNEL = 0x8;
/** The channel belongs to a socket (hvsock) provider. */
export const VMBUS_SERVER_CHANNEL_INIT_FLAG_TLNPI_PROVIDER_OFFER = 0x10;
export const VMBUS_SERVER_CHANNEL_INIT_FLAGS = 0x1f;

/** The packet given to `EvtVmbChannelProcessPacket` carries external data. */
export const VMBUS_CHANNEL_PROCESS_PACKET_FLAG_EXTERNAL_DATA = 0x1;
export const VMBUS_CHANNEL_PROCESS_PACKET_FLAGS = 0x1;

/** The GPADL's creator lets the server read only; a mapper asks for read access only. */
export const VMBUS_CHANNEL_GPADL_FLAG_READ_ONLY = 0x1;
/** The name that some documentation pages use for the same flag. */
export const VMBUS_CHANNEL_GPADL_READ_ONLY = VMBUS_CHANNEL_GPADL_FLAG_READ_ONLY;
export const VMBUS_CHANNEL_GPADL_FLAGS = 0x1;

/** The receiver of external data only reads it. */
export const VMBUS_CHANNEL_PACKET_EXTERNAL_DATA_FLAG_READ_ONLY = 0x1;
export const VMBUS_CHANNEL_PACKET_EXTERNAL_DATA_FLAGS = 0x1;

/** User-defined bytes in an offer. */
export const VMBUS_SERVER_CHANNEL_INIT_MAXIMUM_OFFER_DATA = 120;

/** `VMB_CHANNEL_STATE_CHANGE_CALLBACKS.Version`. */
export const VMB_CHANNEL_STATE_CHANGE_CALLBACKS_VERSION = 1;
/** `VMB_CHANNEL_STATE_CHANGE_CALLBACKS.Size`: two u32 and five pointers of 8 bytes. */
export const VMB_CHANNEL_STATE_CHANGE_CALLBACKS_SIZE = 48;

/** Not public: generated for this package, so that a query finds us and nobody mistakes us for Windows. */
export const KMCL_CLIENT_INTERFACE_TYPE = '6b1f6a0e-2f0c-4c53-9f0a-5a1f0c7e5d10';
/** Not public: see `KMCL_CLIENT_INTERFACE_TYPE`. */
export const KMCL_SERVER_INTERFACE_TYPE = '6b1f6a0e-2f0c-4c53-9f0a-5a1f0c7e5d11';

/** Not printed in public documents; 1 is the natural reading. */
export const KMCL_CLIENT_INTERFACE_VERSION_V1 = 1;
/** Not printed in public documents; 1 is the natural reading. */
export const KMCL_SERVER_INTERFACE_VERSION_V1 = 1;
/** Neither names nor values of the later ones are printed; they count on. */
export const KMCL_CLIENT_INTERFACE_VERSION_V2 = 2;
export const KMCL_CLIENT_INTERFACE_VERSION_V3 = 3;
export const KMCL_CLIENT_INTERFACE_VERSION_V4 = 4;
export const KMCL_CLIENT_INTERFACE_VERSION_V5 = 5;
/** Public pages list server interfaces V1 and V5 only. */
export const KMCL_SERVER_INTERFACE_VERSION_V5 = 5;
/** The name is in pages of 2018 only: the highest client version built here. */
export const KMCL_CLIENT_INTERFACE_VERSION_LATEST = KMCL_CLIENT_INTERFACE_VERSION_V5;
/** The highest server version built here. */
export const KMCL_SERVER_INTERFACE_VERSION_LATEST = KMCL_SERVER_INTERFACE_VERSION_V5;

/** `sizeof(INTERFACE)` with 8-byte pointers: two u16, padding, and three pointers. */
export const INTERFACE_SIZE = 32;
/** `sizeof(KMCL_CLIENT_INTERFACE_V1)` with 8-byte pointers: the header and 41 functions. */
export const KMCL_CLIENT_INTERFACE_V1_SIZE = INTERFACE_SIZE + 41 * 8;
/** `sizeof(KMCL_SERVER_INTERFACE_V1)`: the client interface and 14 functions, which have no header of their own. */
export const KMCL_SERVER_INTERFACE_V1_SIZE = KMCL_CLIENT_INTERFACE_V1_SIZE + 14 * 8;

/** The sizes of the later ones follow from their members, eight bytes each; the header's own assertions are not public. */
export const KMCL_CLIENT_INTERFACE_V2_SIZE = KMCL_CLIENT_INTERFACE_V1_SIZE + 3 * 8;
export const KMCL_CLIENT_INTERFACE_V3_SIZE = KMCL_CLIENT_INTERFACE_V2_SIZE + 2 * 8;
export const KMCL_CLIENT_INTERFACE_V4_SIZE = KMCL_CLIENT_INTERFACE_V3_SIZE + 2 * 8;
export const KMCL_CLIENT_INTERFACE_V5_SIZE = KMCL_CLIENT_INTERFACE_V4_SIZE + 9 * 8;
/**
 * `sizeof(KMCL_SERVER_INTERFACE_V5)`: the V5 client interface, the 14 server-only functions, and behind them the one that
 * V5 adds. Where Windows puts that one is not public; at the end, everything before it lies as in a table without it.
 */
export const KMCL_SERVER_INTERFACE_V5_SIZE = KMCL_CLIENT_INTERFACE_V5_SIZE + 15 * 8;

/** `VmbChannelInitSetInlinePacketContextSize`: ours, a bound that a packet object can bear. */
export const MAXIMUM_INLINE_PACKET_CONTEXT_SIZE = 65_536;
