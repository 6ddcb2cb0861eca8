/**
 * Stories told by chance, on a real engine: whatever the network, the clocks and freezes do, there are never more holders than
 * permits, fencing tokens increase, and what is finished stays so until its window ends.
 *
 * `SEED` replays the story of a failure, or begins elsewhere, `MODEL` names worlds (with commas), `MODEL_MS` is the time for each.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { lockTable } from "../support/dynamodb.ts";
import { type Rules, World } from "./world.ts";

const { SEED, MODEL, MODEL_MS = 1_500 } = process.env;
const budgetMs = Number(MODEL_MS);

const usual: Rules = { clients: 4, keys: 1, steps: 250, expiry: "clock", permits: [1], ttl: true };
/** Wall clocks hours apart. TTL goes by the wall clock, so it is left out: it would delete what is held. */
const watched: Rules = { ...usual, expiry: "observed", ttl: false };
const worlds: Record<string, Rules> = {
  usual,
  several: { ...usual, keys: 3, several: true },
  semaphores: { ...usual, permits: [2, 2, 3] },
  mixed: { ...usual, permits: [1, 2, 3] },
  watched,
  "watched-several": { ...watched, keys: 3, several: true },
  "watched-extended": { ...watched, extend: true },
  forced: { ...usual, keys: 2, several: true, force: true },
  extended: { ...usual, extend: true },
  "extended-mixed": { ...usual, permits: [1, 2, 3], extend: true },
  zombies: { ...usual, zombies: true },
  "zombies-extended": { ...usual, zombies: true, extend: true },
  commits: { ...usual, keys: 2, commits: true },
  "commits-zombies": { ...usual, commits: true, zombies: true },
  "commits-mixed": { ...usual, keys: 3, commits: true, permits: [1, 2, 3] },
  "commits-watched": { ...watched, commits: true },
};
const chosen = Object.entries(worlds).filter(([name]) => !MODEL || MODEL.split(",").includes(name));

/** As many are told, however busy the machine is, before nobody having got a key says something. */
const MIN_STORIES = 30;

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

describe.each(chosen)("a world: %s", (name, rules) => {
  it("keeps every promise in every story", { timeout: budgetMs + 60_000 }, async () => {
    const totals: Record<string, number> = { stories: 0 };
    const gotKeys = () => (totals.locks ?? 0) + (totals.commits ?? 0);
    const stop = performance.now() + budgetMs;
    let seed = Number(SEED ?? 1); // the same stories every time, as many as there is time for
    do {
      const world = new World(rules, seed, table);
      await world.run().catch((error: Error) => {
        error.message = `SEED=${seed} MODEL=${name} MODEL_MS=1 npx vitest run test/model\n${error.message}`;
        throw error;
      });
      for (const [what, count] of Object.entries({ ...world.counts, stories: 1 })) {
        totals[what] = (totals[what] ?? 0) + count;
      }
      seed++;
    } while (performance.now() < stop || (gotKeys() === 0 && Number(totals.stories) < MIN_STORIES));
    if (process.env.MODEL_MS) process.stdout.write(`${name} ${JSON.stringify(totals)}\n`);
    expect(gotKeys()).toBeGreaterThan(0); // a world in which nobody ever gets a key proves nothing
  });
});
