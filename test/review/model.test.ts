import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { lockTable } from "../support/dynamodb.ts";
import { type Rules, World } from "./model.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});
const BUDGET_MS = Number(process.env.MODEL_MS ?? 20_000);
const base = { clients: 4, keys: 1, steps: 250, expiry: "clock", permits: [1], ttl: true } as const;
const worlds: Record<string, Rules> = {
  plain: base,
  several: { ...base, keys: 3, several: true },
  semaphore: { ...base, permits: [2, 2, 3] },
  mixed: { ...base, permits: [1, 2, 3] },
  observed: { ...base, expiry: "observed", ttl: false },
  "observed-several": { ...base, expiry: "observed", ttl: false, keys: 3, several: true },
  force: { ...base, force: true, several: true, keys: 2 },
  extend: { ...base, extend: true },
  "extend-semaphore": { ...base, extend: true, permits: [1, 2, 3] },
  "observed-extend": { ...base, expiry: "observed", ttl: false, extend: true },
  reentrant: { ...base, reentrant: true, strict: true },
  strict: { ...base, strict: true },
  zombies: { ...base, zombies: true },
  "zombies-extend": { ...base, zombies: true, extend: true },
};
const only = process.env.MODEL?.split(",");

describe.each(Object.entries(worlds).filter(([name]) => !only || only.includes(name)))("model %s", (_name, rules) => {
  it("never more holders than permits, fences increase, FINISHED stays", { timeout: BUDGET_MS * 3 + 60_000 }, async () => {
    const stats: Record<string, number> = {};
    let runs = 0;
    const stop = performance.now() + BUDGET_MS;
    const seed0 = Number(process.env.SEED ?? Date.now() % 1_000_000_000);
    try {
      await fc.assert(
        fc.asyncProperty(fc.integer(), async (seed) => {
          if (performance.now() > stop) return;
          const world = new World(rules, seed, table);
          await world.run();
          if (world.failure) throw world.failure;
          runs++;
          for (const [name, count] of Object.entries(world.stats)) stats[name.split(" ")[0] as string] = (stats[name.split(" ")[0] as string] ?? 0) + count;
        }),
        { numRuns: 100_000, endOnFailure: true, seed: seed0, interruptAfterTimeLimit: BUDGET_MS, markInterruptAsFailure: false },
      );
    } finally {
      console.log(_name, { runs, seed0, ...stats });
    }
    expect(runs).toBeGreaterThan(0);
  });
});
