/** Outcomes that come late, or not at all. */
import { getEventListeners } from "node:events";
import { beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../src/common/clock.ts";
import type { Lock, LockClient } from "../../src/index.ts";
import { semaphore } from "../../src/index.ts";
import { manualClock, TODAY } from "../support/clock.ts";
import { lockTable } from "../support/dynamodb.ts";
import { takes } from "../support/locks.ts";
import { aProcess, losing, lost, turn } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});
let keys = 0;
const freshKey = () => `second-${++keys}`;
const held = (...locks: (Lock | undefined)[]) => locks.filter((lock) => lock?.status === "held").length;

describe("a permit whose lease was over when it was recognised", () => {
  const scene = async (claim: (key: string, locks: LockClient) => Promise<Lock | undefined>, permits: number) => {
    const clock = manualClock();
    const key = freshKey();
    const a = aProcess(table.tableName, { clock, leaseMs: 2_000, random: () => 0.9 });
    const look = Promise.withResolvers<void>();
    const write = Promise.withResolvers<void>();
    const b = aProcess(table.tableName, { clock, random: () => 0 });
    b.state.wire = async ({ n, send }) => {
      if (n === 2) {
        look.resolve(); // b has seen a's lease over
        await write.promise;
      }
      return send();
    };
    let taking: Promise<Lock | undefined> | undefined;
    a.state.wire = async ({ n, send }) => {
      const reply = await send();
      if (n === 1) {
        clock.advance(3_100); // the reply comes when the lease and the clock skew are over
        taking = claim(key, b.locks);
        await look.promise;
      }
      return reply;
    };
    const permit = await takes(a.locks, key, permits)
      .acquire()
      .catch(() => undefined); // renewed: nobody was told of it
    write.resolve();
    const other = await taking?.catch(() => undefined);
    return { permit, other };
  };

  it("is not renewed under a plain lock that is just being taken", async () => {
    const { permit, other } = await scene((key, locks) => locks.tryAcquire(key), 3);
    expect(held(permit, other)).toBeLessThanOrEqual(1);
  });

  it("nor under a claim that counts holders", async () => {
    const { permit, other } = await scene((key, locks) => semaphore(locks, key, { permits: 2 }).tryAcquire(), 3);
    const third = await semaphore(aProcess(table.tableName).locks, (permit ?? other)?.key, { permits: 2 }).tryAcquire();
    expect(held(permit, other, third)).toBeLessThanOrEqual(2);
  });
});

describe("an attempt whose fate is unknown", () => {
  it("does not shorten the lease of a later one, after somebody else's", async () => {
    const clock = manualClock();
    const key = freshKey();
    const holder = await aProcess(table.tableName, { clock, leaseMs: 60_000 }).locks.acquire(key);
    const a = aProcess(table.tableName, {
      clock: {
        ...clock,
        now: clock.now,
        monotonic: clock.monotonic,
        async sleep(ms: number) {
          await clock.sleep(ms);
          if (clock.monotonic() > 8_000 && holder.status === "held") await holder.release();
        },
      },
    });
    a.state.wire = async ({ n, send }) => {
      if (n === 1) throw lost(); // never arrived
      return send();
    };
    const lock = await a.locks.acquire(key, { waitMs: 60_000 });
    expect(clock.monotonic()).toBeGreaterThan(8_000);
    expect(lock.remainingMs).toBeGreaterThan(9_500); // of 10 s
    expect(a.state.sent.filter((name) => name === "UpdateItem")).toHaveLength(3); // lost, refused, taken
  });

  it("leaves no timer after it was given back", async () => {
    const a = aProcess(table.tableName, { clock: systemClock });
    a.state.wire = losing(1);
    const before = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    await a.locks.acquire(freshKey()).catch(() => {});
    await turn();
    const after = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    expect(after).toBeLessThanOrEqual(before);
  });
});

describe("renewals", () => {
  it("an outage with many failed renewals is survived: the lease is not over", async () => {
    const a = aProcess(table.tableName, { leaseMs: 60_000, heartbeatMs: 1_000 });
    const lock = await a.locks.acquire(freshKey());
    let down = true;
    a.state.wire = async ({ send }) => {
      if (down) throw Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
      return send();
    };
    for (let second = 0; second < 35; second++) {
      // as the heartbeat does, four times a second
      for (let times = 0; times < 4; times++) await lock.extend(60_000).catch(() => {});
      a.clock.advance(1_000);
    }
    down = false;
    await lock.extend(60_000);
    expect(lock.status).toBe("held");
    await lock.release();
  });

  it("'observed': a wall clock that stands still, and a watcher that looks seldom", async () => {
    const mono = manualClock();
    const stuck = { ...mono, now: () => TODAY, monotonic: mono.monotonic, setTimer: mono.setTimer };
    const a = aProcess(table.tableName, { clock: stuck, expiry: "observed", leaseMs: 9_000 });
    const lock = await a.locks.acquire(freshKey());
    const waiting = {
      ...mono,
      monotonic: mono.monotonic,
      async sleep(ms: number) {
        for (let part = 0; part < 2; part++) {
          await mono.sleep(ms / 2);
          if (lock.status === "held") await lock.extend(9_000); // every 3 s
        }
      },
    };
    const c = aProcess(table.tableName, { clock: waiting, expiry: "observed", random: () => 0.9999999 });
    const other = await c.locks
      .acquire(lock.key, { waitMs: 40_000, backoff: { minMs: 6_000, maxMs: 6_000 } })
      .catch(() => undefined);
    expect(held(lock, other)).toBeLessThanOrEqual(1);
  });

  it("leave nothing behind: a lock renewed for weeks doesn't collect listeners", async () => {
    const a = aProcess(table.tableName, { leaseMs: 60_000 });
    const lock = await a.locks.acquire(freshKey());
    for (let times = 0; times < 30; times++) await lock.extend(60_000);
    expect(getEventListeners(lock.signal, "abort").length).toBeLessThan(5);
    await lock.release();
  });
});

describe("finish and release", () => {
  it("after the lease is over they are still one at a time: the finish that was first stays", async () => {
    const a = aProcess(table.tableName, { clockSkewMs: 0 });
    const lock = await a.locks.acquire(freshKey());
    await a.clock.pass(10_000);
    expect(lock.status).toBe("expired");
    a.state.wire = async ({ n, send }) => {
      if (n === 2) await turn(50); // the finish is slow on its way
      return send();
    };
    const finish = lock.finish({ result: "paid" });
    const release = lock.release();
    await Promise.allSettled([finish, release]);
    expect((await table.item(lock.key))?.status?.S).toBe("FINISHED");
  });

  it("a response too large beside the data: the signal of a lock that ends well is not aborted", async () => {
    const a = aProcess(table.tableName);
    const lock = await a.locks.acquire(freshKey(), { data: "d".repeat(50_000) });
    await lock.finish({ result: "x".repeat(380_000) });
    expect([lock.status, lock.signal.aborted, a.types().filter((type) => type === "failed")]).toEqual([
      "finished",
      false,
      [],
    ]);
  });

  it("a thrown thing that can't be read is remembered as a failure all the same", async () => {
    const a = aProcess(table.tableName);
    const lock = await a.locks.acquire(freshKey());
    const thrown = Object.defineProperty({}, "message", {
      get() {
        throw new Error("no");
      },
    });
    await lock.finish({ error: thrown });
    expect(lock.status).toBe("finished");
  });
});

describe("waiting", () => {
  it("of many in one process gives no warning", async () => {
    const warnings: string[] = [];
    const listen = (warning: Error) => warnings.push(warning.name);
    process.on("warning", listen);
    const a = aProcess(table.tableName, { clock: systemClock });
    const key = freshKey();
    const holder = await a.locks.acquire(key);
    const waiting = Array.from({ length: 40 }, () => a.locks.acquire(key, { waitMs: 300 }).catch(() => {}));
    await Promise.all(waiting);
    await turn();
    process.off("warning", listen);
    await holder.release();
    expect(warnings).toEqual([]);
  });

  it("a semaphore's request lost, in a role that may only write: still acquired", async () => {
    const a = aProcess(table.tableName);
    a.state.wire = async ({ n, name, send }) => {
      if (name === "GetItem")
        throw Object.assign(new Error("no"), { name: "AccessDeniedException", $metadata: { httpStatusCode: 400 } });
      const reply = await send();
      if (n === 1) throw lost();
      return reply;
    };
    expect((await semaphore(a.locks, freshKey(), { permits: 2 }).acquire({ waitMs: 1_000 })).status).toBe("held");
  });
});
