export * from './guest-memory.ts';
export * from './mdl.ts';
export * from './page.ts';
export * from './page-allocator.ts';
export * from './scatter-view.ts';
