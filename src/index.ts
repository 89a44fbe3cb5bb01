/** The package's front door: the idiomatic face and every error. The other layers have entries of their own. */
export * from './api/index.ts';
export * from './errors.ts';
