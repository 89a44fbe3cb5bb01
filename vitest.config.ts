import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // A hung channel must fail its test, not the whole run.
    testTimeout: 30_000,
  },
});
