import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

/** Where `.ci/run` collects the totals of its runs. */
const results = process.env.VITEST_JSON_DIR;

export default defineConfig({
  resolve: {
    alias: [
      { find: /^middy-dynamo-lock$/, replacement: new URL("src/index.ts", import.meta.url).pathname },
      { find: /^middy-dynamo-lock\/(\w+)$/, replacement: new URL("src/$1.ts", import.meta.url).pathname },
      {
        find: /^middy-dynamo-lock\/testing\/setup$/,
        replacement: new URL("src/testing-setup.ts", import.meta.url).pathname,
      },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    reporters: results ? ["default", "json"] : ["default"],
    ...(results && { outputFile: { json: `${results}/${process.pid}.json` } }),
    // Most tests wait more than they compute: with one worker less than processors, the default, half of two would be idle.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // Only ends a test that hangs: under load a test may take ten times as long.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
