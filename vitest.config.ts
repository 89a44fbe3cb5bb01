import { defineConfig } from 'vitest/config';

const source = (path: string) => new URL(`src/${path}`, import.meta.url).pathname;

export default defineConfig({
  resolve: {
    // Examples import the package by its name, as its users do; here that is the source.
    alias: [
      { find: /^vmbus$/, replacement: source('index.ts') },
      { find: /^vmbus\/errors$/, replacement: source('errors.ts') },
      { find: /^vmbus\/(?!package\.json$)(.*)$/, replacement: source('$1/index.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    // A hung channel must fail its test, not the whole run.
    testTimeout: 30_000,
  },
});
