import { defineConfig } from 'vitest/config';

/** The guest test has a run of its own: it downloads, builds and boots machines. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ['*.e2e.ts'],
    testTimeout: 30_000,
    // Building the images and booting every scenario happens once per kernel, before its tests.
    hookTimeout: 1_800_000,
    fileParallelism: false,
  },
});
