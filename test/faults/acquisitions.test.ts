/** Acquiring and waiting. */
import { DeleteItemCommand } from "@aws-sdk/client-dynamodb";
import { beforeAll, describe, expect, it } from "vitest";
import { LockError, LockHeldError, semaphore } from "../../src/index.ts";
import type { Item } from "../../src/protocol/item.ts";
import { manualClock, TODAY } from "../support/clock.ts";
import { lockTable } from "../support/dynamodb.ts";
import { aProcess, losing, lost, turn } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});
let keys = 0;
const freshKey = () => `acquire-${++keys}`;
const HOUR = 3_600_000;

describe("the end of a lease by watching", () => {
  it("extend(remaining) leaves expires_at as it was with a shorter lease_ms: the watcher robs a live holder", async () => {
    const clock = manualClock();
    const a = aProcess(table.tableName, { clock });
    const lock = await a.locks.acquire(freshKey());
    const state = { extended: false };
    const sleeping = {
      ...clock,
      now: clock.now,
      async sleep(ms: number, signal?: AbortSignal) {
        await clock.sleep(Math.ceil(ms), signal);
        if (!state.extended && clock.monotonic() >= 6_000) {
          state.extended = true;
          await lock.extend(lock.expiresAt - clock.now()); // <= 4 s: "keep it as it is"
        }
      },
    };
    const c = aProcess(table.tableName, { clock: sleeping, expiry: "observed" });
    const robbing = await c.locks.acquire(lock.key, { waitMs: 60_000 });
    expect([lock.status, robbing.status]).not.toEqual(["held", "held"]);
    expect(clock.monotonic()).toBeGreaterThanOrEqual(10_000);
  });

  it("'observed' trusts no clock: a holder whose wall clock stands still, and who renews, is not robbed", async () => {
    const mono = manualClock();
    const stuck = { ...mono, now: () => TODAY, monotonic: mono.monotonic, setTimer: mono.setTimer };
    const a = aProcess(table.tableName, { clock: stuck, expiry: "observed", leaseMs: 9_000 });
    const lock = await a.locks.acquire(freshKey());
    let last = 0;
    const waiting = {
      ...mono,
      monotonic: mono.monotonic,
      async sleep(ms: number) {
        await mono.sleep(ms);
        if (mono.monotonic() - last >= 3_000) {
          last = mono.monotonic();
          if (lock.status === "held") await lock.extend(9_000);
        }
      },
    };
    const c = aProcess(table.tableName, { clock: waiting, expiry: "observed" });
    const other = await c.locks.acquire(lock.key, { waitMs: 20_000 }).catch(() => undefined);
    expect([lock.status, other?.status]).not.toEqual(["held", "held"]);
  });

  it("'observed': several keys of a crashed holder are taken after one length of the lease", async () => {
    const key = freshKey();
    await aProcess(table.tableName).locks.acquire([`${key}-1`, `${key}-2`]);
    const clock = manualClock();
    const c = aProcess(table.tableName, { clock, expiry: "observed" });
    const lock = await c.locks.acquire([`${key}-1`, `${key}-2`], { waitMs: 100_000 }).catch((e: Error) => e.message);
    expect(lock).not.toBe("The key did not become free within 100000 ms");
    expect(typeof lock).not.toBe("string");
    expect(clock.monotonic()).toBeLessThan(13_000);
  });

  it("several keys, holder's clock an hour ahead, crashed: taken after a watched lease, as one key is", async () => {
    const key = freshKey();
    await aProcess(table.tableName, { clock: manualClock(TODAY + HOUR) }).locks.acquire(`${key}-1`);
    const clock = manualClock();
    const c = aProcess(table.tableName, { clock });
    const lock = await c.locks.acquire([`${key}-1`, `${key}-2`], { waitMs: 100_000 }).catch((e: Error) => e.message);
    expect(lock).toMatchObject({ status: "held" });
  });

  it("'observed' and several keys: a refusal costs one request", async () => {
    const key = freshKey();
    await aProcess(table.tableName).locks.acquire([`${key}-1`, `${key}-2`]);
    const c = aProcess(table.tableName, { clock: manualClock(TODAY + HOUR), expiry: "observed" });
    expect(await c.locks.tryAcquire([`${key}-1`, `${key}-2`])).toBeUndefined();
    expect(c.state.sent).toEqual(["TransactWriteItems"]);
  });

  it("'observed' does not end a permit by the clock either", async () => {
    const key = freshKey();
    const a = aProcess(table.tableName, { clock: manualClock(TODAY - HOUR) });
    const permit = await semaphore(a.locks, key, { permits: 2 }).acquire();
    const c = aProcess(table.tableName, { expiry: "observed" });
    const other = await c.locks.tryAcquire(key);
    expect([permit.status, other?.status]).not.toEqual(["held", "held"]);
  });

  it("'observed': recognised late, after its wall clock was set back, the holder doesn't count a longer lease", async () => {
    const a = aProcess(table.tableName, { expiry: "observed" });
    const key = freshKey();
    a.state.wire = async ({ n, send }) => {
      const reply = await send();
      if (n === 1) {
        a.clock.advance(6_000);
        a.clock.advanceWall(-HOUR);
        throw lost();
      }
      return reply;
    };
    const clock = manualClock();
    const lock = await a.locks.acquire(key, { waitMs: 60_000 });
    // 10 s after the first write, whoever watched from then on takes it.
    a.clock.advance(4_500);
    expect(a.clock.monotonic()).toBeGreaterThan(10_000);
    expect(lock.status).not.toBe("held");
    void clock;
  });
});

describe("what an acquisition gives", () => {
  it("is held: not a lock whose lease is over already (reply lost, recognised within the clock skew)", async () => {
    const a = aProcess(table.tableName, { leaseMs: 1_000 });
    a.state.wire = async ({ n, send }) => {
      const reply = await send();
      if (n === 1) {
        a.clock.advance(1_500);
        throw lost();
      }
      return reply;
    };
    const lock = await a.locks.acquire(freshKey(), { waitMs: 60_000 });
    expect(lock.status).toBe("held");
  });

  it("is held: the only request took longer than the lease", async () => {
    const a = aProcess(table.tableName, { leaseMs: 1_000 });
    a.state.wire = async ({ send }) => {
      const reply = await send();
      a.clock.advance(1_500);
      return reply;
    };
    const ran: string[] = [];
    await a.locks.run(freshKey(), (lock) => void ran.push(lock.status)).catch(() => {});
    expect(ran).not.toContain("expired");
  });
});

describe("what an acquisition that fails leaves behind", () => {
  it("reply lost, error thrown: the key is not taken by nobody", async () => {
    const clock = manualClock();
    const a = aProcess(table.tableName, { clock });
    const key = freshKey();
    let isLastTry = false;
    a.state.wire = async ({ send }) => {
      if (isLastTry) return send();
      await send().catch(() => {});
      isLastTry = a.clock.monotonic() >= 5_000; // so long it is tried
      throw lost();
    };
    await expect(a.locks.acquire(key)).rejects.toThrow(LockError);
    await turn();
    expect((await table.item(key))?.status?.S).not.toBe("IN_PROGRESS");
  });

  it("reply lost, then aborted while it waits to retry", async () => {
    const a = aProcess(table.tableName);
    const key = freshKey();
    const controller = new AbortController();
    a.state.wire = async ({ send }) => {
      await send();
      controller.abort(new Error("changed my mind"));
      throw lost();
    };
    await expect(a.locks.acquire(key, { waitMs: 10_000, signal: controller.signal })).rejects.toThrow(
      "changed my mind",
    );
    a.state.wire = async ({ send }) => send();
    await turn();
    expect((await table.item(key))?.status?.S).not.toBe("IN_PROGRESS");
  });

  it("a request that the client gave up on, applied after the release: nobody holds the key", async () => {
    const clock = manualClock();
    const a = aProcess(table.tableName, { clock });
    const key = freshKey();
    let zombie: (() => Promise<unknown>) | undefined;
    a.state.wire = async ({ n, send }) => {
      if (n === 1) {
        zombie = send;
        throw lost();
      }
      return send();
    };
    const lock = await a.locks.acquire(key, { waitMs: 5_000 });
    await lock.release();
    await zombie?.().catch(() => {});
    expect((await table.item(key))?.status?.S).toBe("RELEASED");
  });

  it("a semaphore: reply lost, retried by our loop: one permit is taken, not two", async () => {
    const picks = [0, 0, 0.9, 0.9, 0.9];
    const a = aProcess(table.tableName, { random: () => picks.shift() ?? 0.9 });
    const key = freshKey();
    a.state.wire = losing(1);
    const lock = await semaphore(a.locks, key, { permits: 3 }).acquire({ waitMs: 5_000 });
    expect(await a.locks.count(key)).toBe(1);
    await lock.release();
    expect(await a.locks.count(key)).toBe(0);
  });
});

describe("a release", () => {
  it("whose reply is lost, and whose retry finds the next holder, is a release and not a theft", async () => {
    const clock = manualClock();
    const a = aProcess(table.tableName, { clock, config: { maxAttempts: 3 } });
    const b = aProcess(table.tableName, { clock });
    const lock = await a.locks.acquire(freshKey());
    a.state.wire = async ({ n, send }) => {
      const reply = await send();
      if (n !== 2) return reply;
      await b.locks.acquire(lock.key); // who waited for it
      throw lost();
    };
    const outcome = await lock.release().catch((e: Error) => e.message);
    expect([outcome, lock.status, a.types()]).toEqual([undefined, "released", ["acquired", "released"]]);
  });

  it("data that the holder before left is there also when the acquisition's reply was lost", async () => {
    const a = aProcess(table.tableName, { config: { maxAttempts: 3 } });
    const key = freshKey();
    const before = await a.locks.acquire(key);
    await before.release({ data: { checkpoint: 7 } });
    a.state.wire = losing(3);
    expect((await a.locks.acquire(key)).data).toEqual({ checkpoint: 7 });
  });

  it("a record with a lease of 0 ms is nobody's to take before its end", async () => {
    const clock = manualClock();
    const a = aProcess(table.tableName, { clock });
    const key = freshKey();
    await a.locks.acquire(key, { leaseMs: 3_600_000 });
    await table.put({ ...((await table.item(key)) as Item), lease_ms: { N: "0" } });
    await expect(a.locks.acquire(key, { waitMs: 2_000 })).rejects.toThrow(LockError);
  });

  it("an inner run that takes too long doesn't end the lock of the outer", async () => {
    const a = aProcess(table.tableName);
    const key = freshKey();
    const outer = await a.locks.acquire(key, { reentrant: true });
    const failed = a.locks.run(key, () => new Promise(() => {}), { reentrant: true, timeoutMs: 1_000 }).catch(() => {});
    await turn();
    a.clock.advance(1_000);
    await failed;
    expect([outer.status, outer.signal.aborted]).toEqual(["held", false]);
  });
});

describe("conflicts between transactions", () => {
  const conflict = () =>
    Object.assign(new Error("Transaction is ongoing for the item"), {
      name: "TransactionConflictException",
      $fault: "client",
      $metadata: { httpStatusCode: 400 },
    });
  const canceled = () =>
    Object.assign(new Error("Transaction cancelled"), {
      name: "TransactionCanceledException",
      $fault: "client",
      $metadata: { httpStatusCode: 400 },
      CancellationReasons: [{ Code: "TransactionConflict" }, { Code: "None" }],
    });

  it("another's transaction on the key, once, doesn't make a finish fail (the SDK's default retries are on)", async () => {
    const a = aProcess(table.tableName, { config: { maxAttempts: 3 } });
    const key = freshKey();
    a.state.wire = async ({ n, send }) => {
      if (n === 2) throw conflict();
      return send();
    };
    await a.locks.once(key, () => "paid");
    expect((await table.item(key))?.status?.S).toBe("FINISHED");
  });

  it("the same of several keys", async () => {
    const a = aProcess(table.tableName, { config: { maxAttempts: 3 } });
    const key = freshKey();
    a.state.wire = async ({ n, send }) => {
      if (n === 2) throw canceled();
      return send();
    };
    await a.locks.once([`${key}-1`, `${key}-2`], () => "paid");
    expect((await table.item(`${key}-1`))?.status?.S).toBe("FINISHED");
  });

  it("contention of transactions is not a generic error: tryAcquire of a free key once in conflict gets it", async () => {
    const a = aProcess(table.tableName, { config: { maxAttempts: 3 } });
    const key = freshKey();
    a.state.wire = async ({ n, send }) => {
      if (n === 1) throw canceled();
      return send();
    };
    expect(await a.locks.tryAcquire([`${key}-1`, `${key}-2`])).toBeDefined();
  });
});

describe("records", () => {
  it("a semaphore's record that disappears between the two requests is free, not foreign", async () => {
    const a = aProcess(table.tableName);
    const key = freshKey();
    await (await a.locks.acquire(key)).release(); // a plain record: the second request converts it
    const b = aProcess(table.tableName);
    b.state.wire = async ({ n, send }) => {
      if (n === 2) {
        await table.client.send(new DeleteItemCommand({ TableName: table.tableName, Key: { lock_id: { S: key } } }));
      }
      return send();
    };
    expect(await semaphore(b.locks, key, { permits: 2 }).tryAcquire()).toBeDefined();
  });

  it("a foreign expires_at out of a date's range is a LockError, not a RangeError", async () => {
    const a = aProcess(table.tableName);
    const key = freshKey();
    await (await a.locks.acquire(key)).release();
    const item = (await table.item(key)) as Item;
    await table.put({ ...item, status: { S: "IN_PROGRESS" }, expires_at: { N: "1795219200000000000" } }); // ns
    await expect(a.locks.acquire(key)).rejects.toBeInstanceOf(LockError);
  });

  it("a subset of keys that were finished together is no repeat either", async () => {
    const a = aProcess(table.tableName);
    const key = freshKey();
    await a.locks.once([`${key}-1`, `${key}-2`], () => "one and two");
    await expect(a.locks.once(`${key}-1`, () => "one")).rejects.toThrow(LockHeldError);
  });

  it("and its second key does not answer undefined without having run", async () => {
    const a = aProcess(table.tableName);
    const key = freshKey();
    await a.locks.once([`${key}-1`, `${key}-2`], () => "one and two");
    const outcome = await a.locks.once(`${key}-2`, () => "two").catch((e: Error) => e.name);
    expect(outcome).not.toBeUndefined();
  });

  it("of 100 permits back to a plain lock", async () => {
    const a = aProcess(table.tableName);
    const key = freshKey();
    const held = [];
    for (let i = 0; i < 100; i++) held.push(await semaphore(a.locks, key, { permits: 100 }).acquire({ owner: "o" }));
    for (const lock of held) await lock.release();
    expect(await a.locks.tryAcquire(key)).toBeDefined();
  });
});

describe("close", () => {
  it("ends what waits: no more requests, and no sleep keeps the process awake", async () => {
    const { systemClock } = await import("../../src/common/clock.ts");
    const holder = await aProcess(table.tableName, { clock: systemClock }).locks.acquire(freshKey());
    const c = aProcess(table.tableName, { clock: systemClock });
    const waiting = c.locks.acquire(holder.key, { waitMs: 5_000 }).catch((e: { code: string }) => e.code);
    await turn(50);
    await c.locks.close();
    const before = c.state.sent.length;
    expect(await Promise.race([waiting, turn(1_500).then(() => "still waits")])).toBe("LOCK_CLOSED");
    expect(c.state.sent.length - before).toBeLessThanOrEqual(1);
  });

  it("is over only when an acquisition in flight has been released", async () => {
    const c = aProcess(table.tableName);
    const key = freshKey();
    const arrive = Promise.withResolvers<void>();
    c.state.wire = async ({ n, send }) => {
      const reply = await send();
      if (n === 1) await arrive.promise;
      return reply;
    };
    const acquiring = c.locks.acquire(key).catch(() => {});
    await turn();
    const closing = c.locks.close();
    setTimeout(arrive.resolve, 30);
    await closing;
    const status = (await table.item(key))?.status?.S;
    await acquiring;
    expect(status).toBe("RELEASED");
  });
});
describe("the signal", () => {
  it("aborted while the request that takes the key is in flight: nothing is acquired", async () => {
    const a = aProcess(table.tableName);
    const key = freshKey();
    const controller = new AbortController();
    a.state.wire = async ({ n, send }) => {
      const reply = await send();
      if (n === 1) controller.abort(new Error("changed my mind"));
      return reply;
    };
    await expect(a.locks.acquire(key, { signal: controller.signal })).rejects.toThrow("changed my mind");
  });
});
