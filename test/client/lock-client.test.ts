import { beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../src/common/clock.ts";
import { LockClient, type LockClientOptions, type LockEvent, semaphore } from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { countingClient, lockTable } from "../support/dynamodb.ts";
import { locksOf } from "../support/locks.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

let keys = 0;
const freshKey = () => `key-${++keys}`;

const setUp = (options: LockClientOptions = {}) => {
  const { client, sent } = countingClient();
  const clock = manualClock();
  const events: LockEvent[] = [];
  const onEvent = (event: LockEvent) => events.push(event);
  const base = { client, tableName: table.tableName, clock, leaseMs: 10_000, heartbeatMs: false as const, onEvent };
  return { locks: new LockClient({ ...base, ...options }), clock, sent, events };
};

describe("re-entry", () => {
  it("counts holds: the key is free after as many releases, and costs no request in between", async () => {
    const { locks, sent } = setUp();
    const key = freshKey();
    const outer = await locks.acquire(key, { reentrant: true });
    const inner = await locks.acquire(key, { reentrant: true });
    expect(inner).toBe(outer);
    await inner.release();
    expect((await locks.get(key))?.status).toBe("IN_PROGRESS"); // the inner release doesn't free the outer holder
    await outer.release();
    expect((await locks.get(key))?.status).toBe("RELEASED");
    expect(sent.filter((name) => name === "UpdateItem")).toHaveLength(2);
  });

  it("needs to be asked for, the same owner, and a lock that is still held", async () => {
    const { locks, clock } = setUp();
    const key = freshKey();
    const lock = await locks.acquire(key);
    expect(await locks.tryAcquire(key)).toBeUndefined();
    expect(await locks.tryAcquire(key, { reentrant: true, owner: "another" })).toBeUndefined();
    clock.advance(10_000);
    expect(lock.status).toBe("expired");
    const next = await locks.tryAcquire(key, { reentrant: true }); // has watched it since the first refusal
    expect(next?.previous?.token).toBe(lock.token);
  });

  it("close releases it, however often it is held", async () => {
    const { locks } = setUp();
    const key = freshKey();
    await locks.acquire(key, { reentrant: true });
    const lock = await locks.acquire(key, { reentrant: true });
    await locks.close();
    expect(lock.status).toBe("released");
  });
});

describe("force", () => {
  it("breaks a lock, with a higher fencing token, and reports whose", async () => {
    const { locks, events } = setUp();
    const key = freshKey();
    const broken = await locks.acquire(key, { owner: "broken" });
    const lock = await locks.acquire(key, { force: true, owner: "operator" });
    expect(lock.fencingToken).toBe(broken.fencingToken + 1);
    expect(lock.previous?.token).toBe(broken.token);
    expect(events.at(-1)).toMatchObject({ type: "forced", owner: "operator", previousOwner: "broken" });
    await expect(broken.finish()).rejects.toMatchObject({ reason: "stolen" });
  });

  it("takes a finished key, a semaphore, and several keys too", async () => {
    const { locks } = setUp();
    const key = freshKey();
    await locks.once(key, () => 1);
    await (await locks.acquire(key, { force: true })).release();
    const permit = await semaphore(locks, key, { permits: 2 }).acquire();
    const lock = await locks.acquire(key, { force: true });
    await expect(permit.release()).rejects.toMatchObject({ reason: "stolen" });
    const both = await locks.acquire([key, freshKey()], { force: true });
    expect(both.fencingToken).toBeGreaterThan(lock.fencingToken);
    await expect(lock.release()).rejects.toMatchObject({ reason: "stolen" });
  });

  it("a free key is just acquired, and another tool's item is left alone", async () => {
    const { locks, events } = setUp();
    await locks.acquire(freshKey(), { force: true });
    expect(events.at(-1)?.type).toBe("acquired");
    const key = freshKey();
    await table.put({ lock_id: { S: key }, payload: { S: "precious" } });
    await expect(locks.acquire(key, { force: true })).rejects.toThrow("is no lock record");
    expect(await table.item(key)).toEqual({ lock_id: { S: key }, payload: { S: "precious" } });
  });
});

describe("data", () => {
  it("is stored with the lock, readable by others, and kept or replaced at the release", async () => {
    const { locks } = setUp();
    const other = setUp().locks;
    const key = freshKey();
    const first = await locks.acquire(key, { data: { checkpoint: 1 } });
    expect((await other.get(key))?.data).toEqual({ checkpoint: 1 });
    await first.release();
    const second = await other.acquire(key);
    expect(second.data).toEqual({ checkpoint: 1 });
    await second.release({ data: { checkpoint: 2 } });
    const third = await locks.acquire(key, { data: "replaced" });
    expect([third.data, (await locks.get(key))?.data]).toEqual(["replaced", "replaced"]);
  });

  it("named like the protocol's own attributes it does no harm", async () => {
    const { locks } = setUp();
    const key = freshKey();
    const data = { status: "RELEASED", token: "x", expires_at: 0, lock_id: "y" };
    await locks.acquire(key, { data });
    expect(await locks.get(key)).toMatchObject({ status: "IN_PROGRESS", data });
    expect(await locks.tryAcquire(key)).toBeUndefined();
  });

  it("must be JSON: a clear error, and nothing is taken", async () => {
    const { locks, sent } = setUp();
    await expect(locks.acquire(freshKey(), { data: { at: new Date() } })).rejects.toThrow(
      "data must be a JSON value, but there is a Date in it",
    );
    expect(sent).toEqual([]);
  });
});

describe("a status of the application's own", () => {
  it("stands in the record of a finished key, until the next run", async () => {
    const { locks, clock } = setUp();
    const key = freshKey();
    const lock = await locks.acquire(key);
    await lock.finish({ status: "shipped", rememberMs: 1_000 });
    expect(await locks.get(key)).toMatchObject({ status: "FINISHED", finalStatus: "shipped" });
    clock.advance(2_000);
    await locks.acquire(key);
    expect((await locks.get(key))?.finalStatus).toBeUndefined();
    await expect(lock.finish({ status: "" })).rejects.toThrow("finish: status must be a non-empty string");
  });
});

describe("options that contradict each other", () => {
  it.each([
    [{ leaseMs: 10_000, heartbeatMs: 6_000 }, "heartbeatMs (6000) must be at most half of leaseMs (10000)"],
    [{ safeMs: 10_000 }, "safeMs (10000) must be less than leaseMs (10000)"],
    [{ backoff: { minMs: 10, maxMs: 5 } }, "backoff must be { minMs, maxMs } with whole numbers, 1 <= minMs <= maxMs"],
  ])("%o", async (options, message) => {
    await expect(setUp().locks.acquire("a", options)).rejects.toThrow(message);
  });
});

describe("ensureTable", () => {
  it("makes the table that turns out to be missing, and only then", async () => {
    const { client } = countingClient();
    const tableName = `made-${freshKey()}`;
    const locks = new LockClient({ client, tableName, ensureTable: true });
    expect(await Promise.all([locks.once("a", () => 1), locks.once("b", () => 2)])).toEqual([1, 2]);
    expect(await locks.once("a", () => 3)).toBe(1);
    await expect(new LockClient({ client, tableName: "never-made" }).acquire("a")).rejects.toThrow("does not exist");
  });

  it("makes it in warmUp too, with the sort key that the client has", async () => {
    const { client } = countingClient();
    const sortKey = { attribute: "sk", value: 0 };
    const locks = new LockClient({ client, tableName: `made-${freshKey()}`, ensureTable: true, sortKey });
    await locks.warmUp();
    expect(await locks.once("a", () => 1)).toBe(1);
  });
});

describe("warmUp", () => {
  it("writes, reads and deletes a probe, and leaves nothing", async () => {
    const { locks, sent } = setUp();
    expect(await locks.warmUp()).toEqual({ writeMs: 0, readMs: 0, deleteMs: 0 }); // by the clock that stands still
    expect(sent).toEqual(["UpdateItem", "GetItem", "DeleteItem"]);
  });

  it("fails with the step that failed", async () => {
    const { locks } = setUp({ tableName: "no-such-table" });
    await expect(locks.warmUp()).rejects.toThrow(
      "warmUp could not write its probe: Table no-such-table does not exist",
    );
  });
});

describe("waitUntilFinished", () => {
  it("gives the keys that are still pending when the time is up, as the caller named them", async () => {
    const { locks } = setUp({ namespace: "etl" });
    const [finished, released, absent] = [freshKey(), freshKey(), freshKey()];
    await locks.once(finished, () => 1);
    await (await locks.acquire(released)).release();
    await locks.acquire("held");
    expect(
      await locks.waitUntilFinished([finished, released, absent, "held"], { timeoutMs: 500, intervalMs: 100 }),
    ).toEqual(["held"]);
    expect(await locks.waitUntilFinished([finished])).toEqual([]);
  });

  it("wakes when they have finished: more than 100 of them, too", async () => {
    const { locks } = setUp();
    const many = Array.from({ length: 120 }, freshKey);
    const held = await Promise.all(many.slice(0, 2).map((key) => locks.acquire(key)));
    const { client } = countingClient();
    const waiting = new LockClient({
      client,
      tableName: table.tableName,
      clock: { ...systemClock, now: locksOf(locks).clock.now },
    });
    const pending = waiting.waitUntilFinished(many, { timeoutMs: 10_000, intervalMs: 20 });
    await Promise.all(held.map((lock) => lock.finish()));
    expect(await pending).toEqual([]);
  });
});
