/** `extend` prolongs: whatever it is asked for, nobody gets the key earlier than without it. */
import { beforeAll, describe, expect, it } from "vitest";
import { semaphore } from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { lockTable } from "../support/dynamodb.ts";
import { takes } from "../support/locks.ts";
import { aProcess, losing } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

let count = 0;
const freshKey = () => `extended-${++count}`;
const LEASE_MS = 20_000;

const setUp = (options: Parameters<typeof aProcess>[1] = {}) => {
  const clock = manualClock();
  const holder = aProcess(table.tableName, { clock, leaseMs: LEASE_MS, ...options });
  return { ...holder, clock, other: aProcess(table.tableName, { clock }) };
};

const kinds = [
  { name: "a key", keys: () => [freshKey()] as const, permits: 1 },
  { name: "several keys", keys: () => [freshKey(), freshKey()] as const, permits: 1 },
  { name: "a permit", keys: () => [freshKey()] as const, permits: 2 },
];

describe.each(kinds)("the lease of $name", ({ keys, permits }) => {
  const leaseIn = async (key: string) => {
    const item = await table.item(key);
    const { lease_ms, expires_at } =
      Object.entries(item ?? {}).find(([name]) => /^slot_\d$/.test(name))?.[1].M ?? item ?? {};
    return { leaseMs: Number(lease_ms?.N), expiresAt: Number(expires_at?.N) };
  };

  it.each([1, 30, LEASE_MS - 1, LEASE_MS])("is not shortened by extend(%s)", async (ms) => {
    const { locks, clock, other } = setUp();
    const lock = await takes(locks, keys(), permits).acquire();
    const before = lock.expiresAt;
    await lock.extend(ms);
    expect(lock.remainingMs).toBe(LEASE_MS);
    expect(lock.expiresAt).toBeGreaterThan(before);
    for (const key of lock.keys) {
      // A watcher waits for `lease_ms` from now on: it must not be less than what the holder counts on.
      expect(await leaseIn(key)).toEqual({ leaseMs: LEASE_MS, expiresAt: lock.expiresAt });
    }
    clock.advance(LEASE_MS - 1);
    expect(lock.status).toBe("held");
    if (permits === 1) expect(await other.locks.tryAcquire(lock.keys)).toBeUndefined();
  });

  it("is what is left, when that is more than what is asked for", async () => {
    const { locks, clock } = setUp();
    const lock = await takes(locks, keys(), permits).acquire();
    clock.advance(5_000);
    await lock.extend(1_000);
    expect([lock.remainingMs, (await leaseIn(lock.key)).leaseMs]).toEqual([15_000, 15_000]);
    await lock.extend(60_000);
    await lock.extend(10);
    expect([lock.remainingMs, (await leaseIn(lock.key)).leaseMs]).toEqual([60_000, 60_000]);
  });

  it("stays, when the reply to a shorter one is lost", async () => {
    const { locks, clock, state, other } = setUp();
    const lock = await takes(locks, keys(), permits).acquire();
    state.wire = losing(2);
    await expect(lock.extend(1)).rejects.toMatchObject({ code: "LOCK_REQUEST" });
    clock.advance(LEASE_MS - 1);
    expect(lock.status).toBe("held");
    if (permits === 1) expect(await other.locks.tryAcquire(lock.keys)).toBeUndefined();
  });
});

describe("a heartbeat", () => {
  it("goes on with the length that the lease had, after an extend that asked for less", async () => {
    const { locks, clock } = setUp({ heartbeatMs: 6_000 });
    const lock = await locks.acquire(freshKey());
    await clock.pass(5_000);
    await lock.extend(10);
    await clock.pass(6_000);
    expect(lock.remainingMs).toBeGreaterThan(LEASE_MS - 1_000);
    await clock.pass(60_000);
    expect(lock.status).toBe("held");
    await lock.release();
  });

  it("goes on with the longest, after an extend that asked for more", async () => {
    const { locks, clock } = setUp({ heartbeatMs: 6_000 });
    const lock = await locks.acquire(freshKey());
    await lock.extend(60_000);
    await clock.pass(7_000);
    expect(lock.remainingMs).toBeGreaterThan(58_000);
    await lock.release();
  });
});

describe("what extend is given", () => {
  it.each([
    ["10", "got '10'"],
    [10n, "got 10"],
    [0, "got 0"],
    [-5, "got -5"],
    [1.5, "got 1.5"],
    [Number.NaN, "got NaN"],
    [Number.POSITIVE_INFINITY, "got Infinity"],
    [undefined, "got undefined"],
    [null, "got null"],
    [{ ms: 10 }, "got [Object]"],
    [new Date(0), "got 1970-01-01T00:00:00.000Z"],
    [Symbol("ms"), "got Symbol(ms)"],
  ])("%s is an error that says so, and nothing is written", async (ms, got) => {
    const { locks, state } = setUp();
    const lock = await locks.acquire(freshKey());
    state.sent.length = 0;
    await expect(lock.extend(ms as number)).rejects.toThrow(
      /^extend: ms must be a whole number of milliseconds from 1/,
    );
    await expect(lock.extend(ms as number)).rejects.toThrow(got);
    expect([state.sent, lock.status]).toEqual([[], "held"]);
  });

  it("of a permit is at most 30 days, for which its item outlives it", async () => {
    const { locks } = setUp();
    const lock = await semaphore(locks, freshKey(), { permits: 2 }).acquire();
    await expect(lock.extend(31 * 24 * 3_600_000)).rejects.toMatchObject({ code: "LOCK_OPTIONS" });
    await lock.extend(30 * 24 * 3_600_000);
  });
});
