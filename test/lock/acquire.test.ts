import { DeleteItemCommand } from "@aws-sdk/client-dynamodb";
import { beforeAll, describe, expect, it } from "vitest";
import { LockClient, type LockClientOptions, type LockEvent, LockTimeoutError } from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { countingClient, lockTable } from "../support/dynamodb.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

let keys = 0;
const freshKey = () => `key-${++keys}`;

/** A process of its own: its own client, clock and requests. Without `clock` it lives in real time. */
const aProcess = (options: LockClientOptions = {}) => {
  const { client, sent } = countingClient();
  const events: LockEvent[] = [];
  const onEvent = (event: LockEvent) => events.push(event);
  const locks = new LockClient({ client, tableName: table.tableName, heartbeatMs: false, onEvent, ...options });
  return { locks, sent, client, events, writes: () => sent.filter((name) => name === "UpdateItem").length };
};

describe("waiting for a held key", () => {
  it("gets it after the release, by looking, and writes only when it looks free", async () => {
    const holder = await aProcess().locks.acquire(freshKey());
    const waiter = aProcess();
    const waiting = waiter.locks.acquire(holder.key, { waitMs: 5_000, backoff: { minMs: 5, maxMs: 20 } });
    await new Promise((resolve) => setTimeout(resolve, 150));
    await holder.release();
    const lock = await waiting;
    expect(lock.fencingToken).toBe(holder.fencingToken + 1);
    expect(waiter.writes()).toBe(2); // the refused one, and the one that took it
    expect(waiter.sent.filter((name) => name === "GetItem").length).toBeGreaterThan(3);
  });

  it("looks with eventually consistent reads, at half the price", async () => {
    const holder = await aProcess().locks.acquire(freshKey());
    const { locks, client } = aProcess({ clock: manualClock(Date.now()) });
    const consistent: unknown[] = [];
    client.middlewareStack.add(
      (next, context) => (args) => {
        if (context.commandName === "GetItemCommand")
          consistent.push((args.input as { ConsistentRead?: boolean }).ConsistentRead);
        return next(args);
      },
      { step: "initialize" },
    );
    await expect(locks.acquire(holder.key, { waitMs: 500 })).rejects.toThrow(LockTimeoutError);
    expect(new Set(consistent)).toEqual(new Set([false]));
  });

  it("wakes at the known end of a lease, rather than after it", async () => {
    const start = Date.now();
    const clock = manualClock(start);
    const key = freshKey();
    await aProcess({ clock, leaseMs: 10_000, clockSkewMs: 1_000 }).locks.acquire(key);
    const { locks } = aProcess({ clock, clockSkewMs: 1_000, random: () => 0.999 });
    const lock = await locks.acquire(key, { waitMs: 60_000, backoff: { minMs: 4_000, maxMs: 4_000 } });
    expect(lock.acquiredAt - start).toBeGreaterThanOrEqual(10_000);
    expect(lock.acquiredAt - start).toBeLessThanOrEqual(11_001);
  });

  it("ends at the deadline with an error that carries the holder", async () => {
    const clock = manualClock(Date.now());
    const holder = await aProcess({ clock, leaseMs: 60_000, owner: "holder" }).locks.acquire(freshKey());
    const started = clock.monotonic();
    const error = await aProcess({ clock })
      .locks.acquire(holder.key, { waitMs: 3_000 })
      .catch((e: unknown) => e);
    expect(error).toBeInstanceOf(LockTimeoutError);
    expect(error).toMatchObject({
      code: "LOCK_TIMEOUT",
      statusCode: 409,
      message: "The key did not become free within 3000 ms",
      record: { owner: "holder", token: holder.token },
    });
    expect(clock.monotonic() - started).toBe(3_000);
  });

  it("ends when the caller's signal says so, with its reason, and holds nothing", async () => {
    const holder = await aProcess().locks.acquire(freshKey());
    const controller = new AbortController();
    const waiting = aProcess().locks.acquire(holder.key, { waitMs: 60_000, signal: controller.signal });
    setTimeout(() => controller.abort(new Error("changed my mind")), 50);
    await expect(waiting).rejects.toThrow("changed my mind");
    await expect(
      aProcess().locks.acquire(holder.key, { signal: AbortSignal.abort(new Error("before")) }),
    ).rejects.toThrow("before");
  });

  it("a key that finishes meanwhile is replayed, not waited out", async () => {
    const key = freshKey();
    const first = aProcess().locks.once(key, () => new Promise((resolve) => setTimeout(resolve, 100, "first's")));
    await new Promise((resolve) => setTimeout(resolve, 30));
    const second = await aProcess().locks.once(key, () => "second's", { waitMs: 10_000 });
    expect([await first, second]).toEqual(["first's", "first's"]);
    await expect(aProcess().locks.acquire(key, { waitMs: 10_000 })).rejects.toMatchObject({
      record: { status: "FINISHED" },
    });
  });

  it("a record that disappears meanwhile is free", async () => {
    const holder = await aProcess().locks.acquire(freshKey());
    const waiting = aProcess().locks.acquire(holder.key, { waitMs: 5_000 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    await table.client.send(new DeleteItemCommand({ TableName: table.tableName, Key: { lock_id: { S: holder.key } } }));
    expect((await waiting).status).toBe("held");
  });

  it("100 contenders for one key all get it, none twice, and never two at once", async () => {
    const key = freshKey();
    let holders = 0;
    const order: number[] = [];
    const contend = async (contender: number) => {
      const { locks } = aProcess();
      const lock = await locks.acquire(key, { waitMs: 300_000, backoff: { minMs: 5, maxMs: 100 } });
      expect(++holders).toBe(1);
      order.push(contender);
      await new Promise(setImmediate);
      holders--;
      await lock.release();
      return lock.fencingToken;
    };
    const tokens = await Promise.all(Array.from({ length: 100 }, (_, contender) => contend(contender)));
    expect(new Set(order).size).toBe(100);
    expect(new Set(tokens).size).toBe(100);
  }, 300_000);

  it("a client that is closed while it waits gets nothing", async () => {
    const holder = await aProcess().locks.acquire(freshKey());
    const { locks } = aProcess();
    const refused = expect(locks.acquire(holder.key, { waitMs: 5_000 })).rejects.toMatchObject({ code: "LOCK_CLOSED" });
    await new Promise((resolve) => setTimeout(resolve, 50));
    await locks.close();
    await refused;
    await holder.release();
    expect(await aProcess().locks.tryAcquire(holder.key)).toBeDefined();
  });
});

describe("the end of a lease without trust in clocks", () => {
  const HOUR = 3_600_000;

  it("by default, a lease that was watched unchanged for its length is over, whatever the clocks say", async () => {
    const key = freshKey();
    // The holder's clock is an hour ahead, so by our clock its lease ends in an hour. It has crashed.
    const crashed = await aProcess({ clock: manualClock(Date.now() + HOUR), leaseMs: 10_000 }).locks.acquire(key);
    const clock = manualClock(Date.now());
    const lock = await aProcess({ clock }).locks.acquire(key, { waitMs: 60_000 });
    expect(lock.previous?.token).toBe(crashed.token);
    expect(clock.monotonic()).toBeGreaterThanOrEqual(10_000);
    expect(clock.monotonic()).toBeLessThan(12_000);
  });

  it("'observed': a holder whose clock is an hour behind is not robbed", async () => {
    const key = freshKey();
    await aProcess({ clock: manualClock(Date.now() - HOUR), leaseMs: 10_000 }).locks.acquire(key);
    const cold = aProcess({ clock: manualClock(Date.now()), expiry: "observed" });
    expect(await cold.locks.tryAcquire(key)).toBeUndefined();
    const trusting = aProcess({ clock: manualClock(Date.now()) });
    expect(await trusting.locks.tryAcquire(key)).toBeDefined(); // what 'observed' is there to avoid
  });

  it("'observed': works from a cold start, after one length of the lease", async () => {
    const key = freshKey();
    await aProcess({ clock: manualClock(Date.now() - HOUR), leaseMs: 10_000 }).locks.acquire(key);
    const clock = manualClock(Date.now());
    await aProcess({ clock, expiry: "observed" }).locks.acquire(key, { waitMs: 60_000 });
    expect(clock.monotonic()).toBeGreaterThanOrEqual(10_000);
    expect(clock.monotonic()).toBeLessThan(12_000);
  });

  it("'observed': a renewal restarts the watch", async () => {
    const key = freshKey();
    const holder = await aProcess({ leaseMs: 10_000 }).locks.acquire(key);
    const clock = manualClock(Date.now());
    let renewed = 0;
    const waitClock = {
      ...clock,
      async sleep(ms: number) {
        await clock.sleep(ms);
        if (renewed === 0 && clock.monotonic() > 6_000) {
          renewed = clock.monotonic();
          await holder.extend(10_000);
        }
      },
    };
    await aProcess({ clock: waitClock, expiry: "observed" }).locks.acquire(key, { waitMs: 60_000 });
    expect(clock.monotonic()).toBeGreaterThanOrEqual(renewed + 10_000);
  });

  it("'observed': a released or finished key needs no watching", async () => {
    const { locks } = aProcess({ expiry: "observed", clockSkewMs: 0 });
    const key = freshKey();
    await (await locks.acquire(key)).release();
    await (await locks.acquire(key)).finish({ rememberMs: 1 });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await locks.tryAcquire(key)).toBeDefined();
  });
});
