/** Wall clocks that differ: what holds nevertheless, and what needs them within clockSkewMs. docs/semantics.md has the table. */
import { beforeAll, describe, expect, it } from "vitest";
import { purgeLocks } from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { lockTable } from "../support/dynamodb.ts";
import { aProcess } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});
let keys = 0;
const freshKey = () => `clocks-${++keys}`;
const START = Date.now();
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** Two processes of which the second's wall clock is ahead. */
const apart = (ms: number, options: Parameters<typeof aProcess>[1] = {}) => {
  const [slow, fast] = [manualClock(START), manualClock(START + ms)];
  return {
    slow: aProcess(table.tableName, { ...options, clock: slow }),
    fast: aProcess(table.tableName, { ...options, clock: fast }),
    pass: (passed: number) => {
      slow.advance(passed);
      fast.advance(passed);
    },
  };
};

describe("expiry 'observed', clocks two hours apart", () => {
  it("a live holder is not robbed, and a crashed one is taken over after its lease", async () => {
    const { slow, fast, pass } = apart(2 * HOUR, { expiry: "observed" });
    for (const [holder, other] of [
      [slow, fast],
      [fast, slow],
    ] as const) {
      const lock = await holder.locks.acquire(freshKey());
      for (let renewal = 0; renewal < 4; renewal++) {
        expect(await other.locks.tryAcquire(lock.key)).toBeUndefined();
        pass(8_000);
        await lock.extend(10_000);
      }
      expect(await other.locks.tryAcquire(lock.key)).toBeUndefined();
      pass(10_000);
      expect((await other.locks.tryAcquire(lock.key))?.fencingToken).toBeGreaterThan(lock.fencingToken);
    }
  });

  it("fencing tokens increase as long as the record is there", async () => {
    const { slow, fast } = apart(2 * HOUR, { expiry: "observed" });
    const key = freshKey();
    let last = 0;
    for (const { locks } of [fast, slow, fast, slow]) {
      const lock = await locks.acquire(key);
      expect(lock.fencingToken).toBeGreaterThan(last);
      last = lock.fencingToken;
      await lock.release();
    }
  });
});

describe.each(["observed", "clock"] as const)(
  "expiry '%s', finished keys and purges: the wall clock decides",
  (expiry) => {
    it("within clockSkewMs a finished key is not run again before its time, whoever finished it", async () => {
      for (const first of ["slow", "fast"] as const) {
        const both = apart(50 * MINUTE, { expiry, clockSkewMs: HOUR });
        const [one, other] = first === "slow" ? [both.slow, both.fast] : [both.fast, both.slow];
        const key = freshKey();
        await one.locks.once(key, () => "first", { rememberMs: HOUR });
        for (const passed of [0, 30 * MINUTE, 29 * MINUTE]) {
          both.pass(passed);
          expect(await other.locks.once(key, () => "again")).toBe("first");
        }
        both.pass(3 * HOUR);
        expect(await other.locks.once(key, () => "again")).toBe("again");
      }
    });

    it("beyond it, it is forgotten early by the difference less clockSkewMs, and no more", async () => {
      const { slow, fast, pass } = apart(50 * MINUTE, { expiry, clockSkewMs: 10 * MINUTE });
      const key = freshKey();
      await slow.locks.once(key, () => "first", { rememberMs: HOUR });
      pass(20 * MINUTE - 1);
      expect(await fast.locks.once(key, () => "again")).toBe("first");
      pass(1);
      expect(await fast.locks.once(key, () => "again")).toBe("again");
    });

    it("within clockSkewMs a purge lets no fencing token fall, and no finished key run again", async () => {
      const { slow, fast, pass } = apart(50 * MINUTE, { expiry, clockSkewMs: HOUR });
      for (const creator of [slow, fast]) {
        for (const purger of [slow, fast]) {
          const key = freshKey();
          const lock = await creator.locks.acquire(key);
          await lock.release();
          const finished = freshKey();
          await creator.locks.once(finished, () => "first", { rememberMs: HOUR });
          let purged: string[] = [];
          for (let passed = 0; !purged.includes(key) && passed < 5 * HOUR; passed += 10 * MINUTE) {
            purged = await purgeLocks(purger.locks, { keys: [key, finished] });
            if (passed < HOUR) expect(purged).not.toContain(finished);
            pass(10 * MINUTE);
          }
          expect(purged).toContain(key);
          expect(await table.item(key)).toBeUndefined();
          expect((await slow.locks.acquire(key)).fencingToken).toBeGreaterThan(lock.fencingToken);
        }
      }
    });
  },
);
