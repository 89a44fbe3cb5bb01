/** Bytes and fields: everything that VMBus puts on the wire. Start with `struct` and `PacketDescriptor`. */
export * from './align.ts';
export * from './class-ids.ts';
export * from './control-page.ts';
export * from './gpa-range.ts';
export * from './guid.ts';
export * from './messages/index.ts';
export * from './monitor-page.ts';
export * from './ntstatus.ts';
export * from './offer-flags.ts';
export * from './packet.ts';
export { hexBytes } from './print.ts';
export * from './print-packet.ts';
export * from './storvsc.ts';
export * from './struct.ts';
export * from './synic.ts';
export * from './versions.ts';
