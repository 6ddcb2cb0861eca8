import { beforeAll, describe, expect, it } from "vitest";
import type { Lock } from "../../src/index.ts";
import { semaphore } from "../../src/index.ts";
import { attemptLock } from "../../src/lock/attempt.ts";
import { manualClock, TODAY } from "../support/clock.ts";
import { lockTable } from "../support/dynamodb.ts";
import { locksOf } from "../support/locks.ts";
import { aProcess, turn } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});
let keys = 0;
const freshKey = () => `semaphore-${++keys}`;
const held = (...locks: (Lock | undefined)[]) => locks.filter((lock) => lock?.status === "held").length;

describe("a semaphore", () => {
  it("extended past retentionMs is not deleted by TTL under its holder, after another's write", async () => {
    const clock = manualClock();
    const a = aProcess(table.tableName, { clock, retentionMs: 60_000 });
    const key = freshKey();
    const one = await semaphore(a.locks, key, { permits: 2 }).acquire();
    await one.extend(3_600_000);
    const two = await semaphore(a.locks, key, { permits: 2 }).acquire();
    await two.release();
    const ttl = Number((await table.item(key))?.ttl?.N) * 1000;
    expect(ttl).toBeGreaterThanOrEqual(one.expiresAt);
  });

  it("clients with different retentionMs: the shorter doesn't delete the longer's permit", async () => {
    const clock = manualClock();
    const a = aProcess(table.tableName, { clock, leaseMs: 3_600_000 });
    const b = aProcess(table.tableName, { clock, leaseMs: 1_000, retentionMs: 2_000 });
    const key = freshKey();
    const one = await semaphore(a.locks, key, { permits: 2 }).acquire();
    await semaphore(b.locks, key, { permits: 2 }).acquire();
    expect(Number((await table.item(key))?.ttl?.N) * 1000).toBeGreaterThanOrEqual(one.expiresAt);
  });

  it("an acquisition between the look and the counted write is not overlooked", async () => {
    const clock = manualClock();
    const key = freshKey();
    const five = aProcess(table.tableName, { clock });
    await semaphore(five.locks, key, { permits: 5 }).acquire();
    const two = aProcess(table.tableName, { clock });
    two.state.wire = async ({ n, send }) => {
      if (n === 2) await semaphore(five.locks, key, { permits: 5 }).acquire(); // after two saw one holder, and room for one more
      return send();
    };
    expect(await semaphore(two.locks, key, { permits: 2 }).tryAcquire()).toBeUndefined();
    expect(await five.locks.count(key)).toBe(2);
  });

  it("a renewal that arrives between the look and the counted write: not more holders than permits", async () => {
    // A's clock is 900 ms behind the others': within clockSkewMs.
    const clock = manualClock();
    const slow = manualClock(TODAY - 900);
    const a = aProcess(table.tableName, { clock: slow, clockSkewMs: 1_000 });
    const b = aProcess(table.tableName, { clock, clockSkewMs: 1_000 });
    const key = freshKey();
    // A in slot 4 of five, B in slot 0, with leases of 10 s.
    const pick = (n: number) => ({ random: () => n });
    const a5 = aProcess(table.tableName, { clock: slow, ...pick(0.9) });
    const one = await semaphore(a5.locks, key, { permits: 5 }).acquire();
    const passing = (ms: number) => {
      clock.advance(ms);
      slow.advance(ms);
    };
    passing(9_990);
    // A's renewal, sent in time, is slow on its way.
    const go = Promise.withResolvers<void>();
    const arrived = Promise.withResolvers<void>();
    const back = Promise.withResolvers<void>();
    a5.state.wire = async ({ send }) => {
      await go.promise;
      const reply = await send();
      arrived.resolve();
      await back.promise;
      return reply;
    };
    const renewal = one.extend(10_000).catch(() => {});
    await turn();
    clock.advance(1_100); // A is frozen meanwhile: 11 090, its lease of 10 000 - 900 + skew is over
    slow.freeze(1_100);
    const two = await semaphore(b.locks, key, { permits: 2 })
      .acquire()
      .catch((e) => e);
    // C sees one live holder (B) and room for one; A's renewal arrives between its look and its write.
    const c = aProcess(table.tableName, { clock, clockSkewMs: 1_000 });
    c.state.wire = async ({ n, send }) => {
      if (n === 2) {
        go.resolve();
        await arrived.promise;
      }
      return send();
    };
    const three = await semaphore(c.locks, key, { permits: 2 }).tryAcquire();
    go.resolve();
    back.resolve(); // A thaws, and handles the reply before its timers
    await renewal;
    expect(held(one, two, three)).toBeLessThanOrEqual(2);
    void a;
  });
});

describe("a durable execution", () => {
  it("re-enters several keys from a host whose clock is behind", async () => {
    const key = freshKey();
    const options = { leaseMs: 60_000, heartbeatMs: false, execution: "arn:1", owner: "arn:1" } as const;
    const one = aProcess(table.tableName);
    await attemptLock(locksOf(one.locks), [`${key}-1`, `${key}-2`], options);
    const two = aProcess(table.tableName, { clock: manualClock(TODAY - 500) });
    expect(await attemptLock(locksOf(two.locks), [`${key}-1`, `${key}-2`], options)).toMatchObject({ status: "held" });
  });
});
