/** Every control message and the table that says who may send which when. */
export * from './channel.ts';
export * from './contact.ts';
export * from './gpadl.ts';
export * from './hvsock.ts';
export * from './message.ts';
export * from './offer.ts';
export * from './table.ts';
