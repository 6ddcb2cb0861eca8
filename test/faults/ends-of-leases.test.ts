/** The end of a lease, once used, never comes again: else who has watched it would take what it sees for a lease that was never renewed. */
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import type { Lock } from "../../src/index.ts";
import { manualClock, TODAY } from "../support/clock.ts";
import { lockTable } from "../support/dynamodb.ts";
import { takes } from "../support/locks.ts";
import { aProcess, losing, lost, type Wire } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

let count = 0;
const freshKey = () => `end-${++count}`;
const LEASE_MS = 10_000;

/** What the holder does, what becomes of its request, and what its clocks do before. */
const step = fc.record({
  ms: fc.constantFrom(1, 30, 4_000, LEASE_MS, 20_000),
  fate: fc.constantFrom("arrives", "arrives", "reply lost", "lost", "late", "sent twice"),
  passedMs: fc.constantFrom(0, 0, 1, 700, 2_500),
  wall: fc.constantFrom("goes on", "goes on", "stands still", "is set back", "is set ahead"),
});

describe("whatever the holder, its clocks and the network do", () => {
  it.each([
    ["a key", [1], 1],
    ["two keys", [1, 2], 1],
    ["a permit", [1], 2],
  ])(
    "no state of %s that a watcher has seen comes again",
    async (_name, which, permits) => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(step, { minLength: 1, maxLength: 8 }),
          fc.constantFrom(1, 3),
          async (steps, maxAttempts) => {
            const keys = which.map(freshKey);
            const { locks, clock, state } = aProcess(table.tableName, { leaseMs: LEASE_MS, config: { maxAttempts } });
            const lock = await takes(locks, keys, permits).acquire();
            const seen: string[] = [];
            const look = async () => {
              const item = await table.item(keys[0] as string);
              const slot = Object.entries(item ?? {}).find(([name]) => /^slot_\d$/.test(name))?.[1].M;
              const { token, expires_at, lease_ms } = slot ?? item ?? {};
              const now = `${token?.S} ${expires_at?.N} ${lease_ms?.N}`;
              if (seen.at(-1) === now) return;
              expect(seen).not.toContain(now);
              seen.push(now);
              // Who watches from now on waits for `lease_ms`: that is at least what the holder counts on.
              expect(Number(lease_ms?.N)).toBeGreaterThanOrEqual(lock.remainingMs);
            };
            const sendings: (() => Promise<unknown>)[] = [];
            await look();
            for (const { ms, fate, passedMs, wall } of steps) {
              clock.advance(passedMs);
              if (wall !== "goes on")
                clock.advanceWall({ "stands still": -passedMs, "is set back": -5_000, "is set ahead": 100 }[wall]);
              state.wire = async ({ send }) => {
                sendings.push(send);
                if (fate === "late" || fate === "lost") throw lost();
                const reply = await send();
                await look();
                if (fate === "sent twice") await send().catch(() => {});
                if (fate === "reply lost") throw lost();
                return reply;
              };
              const endBefore = lock.expiresAt;
              const leftBefore = lock.remainingMs;
              const extended = await lock.extend(ms).then(
                () => true,
                () => false,
              );
              await look();
              if (lock.status === "held") {
                expect(lock.remainingMs).toBeGreaterThanOrEqual(leftBefore);
                expect(lock.expiresAt).toBeGreaterThanOrEqual(endBefore);
                if (extended) expect(lock.remainingMs).toBeGreaterThanOrEqual(ms);
              }
              // Copies of all requests so far come once more.
              if (fate === "late") for (const send of sendings) await send().then(look, look);
            }
            lock.abandon("timeout");
          },
        ),
        { numRuns: 60 },
      );
    },
    60_000,
  );
});

describe("a watcher that trusts no clock", () => {
  /** Looks at the key at each of its steps, and lets the holder act in between. */
  const watch = (clock: ReturnType<typeof manualClock>, between: () => Promise<unknown>) => {
    const waiting = {
      ...clock,
      now: clock.now,
      monotonic: clock.monotonic,
      async sleep(ms: number) {
        await clock.sleep(ms);
        await between();
      },
    };
    return aProcess(table.tableName, { clock: waiting, expiry: "observed", random: () => 0.9999999 });
  };
  const isRobbed = (lock: Lock, other: Lock | undefined) => lock.status === "held" && other?.status === "held";

  it("does not take over from a holder that asks for less and for more in turn", async () => {
    const clock = manualClock();
    const stuck = { ...clock, now: () => TODAY, monotonic: clock.monotonic, setTimer: clock.setTimer };
    const holder = aProcess(table.tableName, { clock: stuck, expiry: "observed", leaseMs: 9_000 });
    const lock = await holder.locks.acquire(freshKey());
    const { locks } = watch(clock, async () => {
      if (lock.status !== "held") return;
      await lock.extend(1_000);
      await lock.extend(9_000);
    });
    const backoff = { minMs: 3_000, maxMs: 3_000 };
    const other = await locks.acquire(lock.key, { waitMs: 40_000, backoff }).catch(() => undefined);
    expect([isRobbed(lock, other), lock.status]).toEqual([false, "held"]);
  });

  it("does not take over from a holder whose clock is set back before each renewal", async () => {
    const clock = manualClock();
    let wall = TODAY;
    const jumping = { ...clock, now: () => wall, monotonic: clock.monotonic, setTimer: clock.setTimer };
    const holder = aProcess(table.tableName, { clock: jumping, expiry: "observed", leaseMs: 9_000 });
    const lock = await holder.locks.acquire(freshKey());
    const { locks } = watch(clock, async () => {
      if (lock.status !== "held") return;
      wall -= 3_600_000;
      await lock.extend(9_000);
    });
    const backoff = { minMs: 3_000, maxMs: 3_000 };
    const other = await locks.acquire(lock.key, { waitMs: 40_000, backoff }).catch(() => undefined);
    expect([isRobbed(lock, other), lock.status]).toEqual([false, "held"]);
  });

  it("takes over as soon as before from a holder that has crashed after a shorter extend", async () => {
    const clock = manualClock();
    const holder = aProcess(table.tableName, { clock, expiry: "observed", leaseMs: 9_000 });
    const lock = await holder.locks.acquire(freshKey());
    await lock.extend(10);
    const { locks } = watch(clock, async () => {});
    const next = await locks.acquire(lock.key, { waitMs: 12_000 });
    expect([next.status, clock.monotonic()]).toEqual(["held", expect.closeTo(9_000, -3)]);
  });
});

describe("an acquisition whose lease was over when its reply came, on a wall clock that stands still", () => {
  it("is renewed to an end that nobody has seen", async () => {
    const clock = manualClock();
    const stuck = { ...clock, now: () => TODAY, monotonic: clock.monotonic, setTimer: clock.setTimer };
    const { locks, state } = aProcess(table.tableName, { clock: stuck, expiry: "observed", leaseMs: 2_000 });
    const key = freshKey();
    let first: string | undefined;
    const wire: Wire = async ({ n, send }) => {
      const reply = await send();
      if (n === 1) {
        first = (await table.item(key))?.expires_at?.N;
        clock.advance(3_000);
      }
      return reply;
    };
    state.wire = wire;
    const lock = await locks.acquire(key);
    expect(lock.status).toBe("held");
    expect(Number((await table.item(key))?.expires_at?.N)).toBeGreaterThan(Number(first));
    expect(lock.remainingMs).toBe(2_000);
  });
});

describe("a late copy of a renewal", () => {
  it("changes nothing once a later one has arrived, though that asked for less", async () => {
    const clock = manualClock();
    const { locks, state } = aProcess(table.tableName, { clock, leaseMs: LEASE_MS });
    const lock = await locks.acquire(freshKey());
    let copy: () => Promise<unknown> = async () => {};
    state.wire = async (call) => {
      copy = call.send;
      return call.send();
    };
    await lock.extend(15_000);
    const late = copy;
    state.wire = losing();
    clock.advance(1_000);
    await lock.extend(30);
    const before = await table.item(lock.key);
    await late().catch(() => {});
    expect(await table.item(lock.key)).toEqual(before);
  });
});
