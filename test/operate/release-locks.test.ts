import { describe, expect, it } from "vitest";
import { forceRelease, LockClient, LockTableError, releaseAllLocks } from "../../src/index.ts";
import { actBefore, countingClient, loseReplies } from "../support/dynamodb.ts";
import { locksOf } from "../support/locks.ts";
import { keysOf, lostBecause, operatorsTable } from "../support/operators.ts";

const { table, setUp, oneOfEach } = await operatorsTable();

describe("forceRelease", () => {
  it("frees a key, gives the broken record, and reports it", async () => {
    const { locks, clock, sent, stored, eventsOf } = setUp();
    const lock = await locks.acquire("k", { owner: "stuck" });
    const before = await locks.get("k");
    clock.advance(5_000);
    sent.length = 0;
    expect(await forceRelease(locks, "k")).toEqual(before);
    expect(sent).toEqual(["GetItem", "UpdateItem"]);
    const { token, fencingToken, expiresAt } = lock;
    expect(eventsOf("force-released")).toEqual([
      {
        type: "force-released",
        key: stored("k"),
        owner: "stuck",
        fencingToken,
        status: "IN_PROGRESS",
        expiresAt,
        elapsedMs: 5_000,
      },
    ]);
    expect(eventsOf("force-released")[0]).toMatchObject({ token }); // to be read, and not shown
    expect(await locks.get("k")).toMatchObject({ status: "RELEASED", fencingToken, expiresAt: 0 });
    expect((await locks.acquire("k")).fencingToken).toBe(fencingToken + 1);
  });

  it.each(["finish", "release"] as const)(
    "the old holder's %s finds the lock stolen, and changes nothing",
    async (end) => {
      const { locks, stored } = setUp();
      const lock = await locks.acquire("k");
      await forceRelease(locks, "k");
      const item = await table.item(stored("k"));
      await expect(lock[end]()).rejects.toEqual(lostBecause("stolen"));
      expect(await table.item(stored("k"))).toEqual(item);
    },
  );

  it("frees a finished key and forgets its result", async () => {
    const { locks, stored } = await oneOfEach();
    expect(await forceRelease(locks, "finished")).toMatchObject({ status: "FINISHED", result: { value: 1 } });
    expect(await table.item(stored("finished"))).not.toHaveProperty("result");
    expect(await locks.once("finished", () => 2)).toBe(2);
  });

  it("a free key is left as it is", async () => {
    const { locks, stored, eventsOf } = await oneOfEach();
    const item = await table.item(stored("released"));
    expect(await forceRelease(locks, "released")).toBeUndefined();
    expect(await forceRelease(locks, "absent")).toBeUndefined();
    expect(await table.item(stored("released"))).toEqual(item);
    expect(eventsOf("force-released")).toEqual([]);
  });

  it("breaks what is there now when the key changed hands or finished meanwhile", async () => {
    const { locks, client } = setUp();
    const first = await locks.acquire("k");
    actBefore(client, "UpdateItem", async () => {
      await first.release();
      await locks.acquire("k", { owner: "second" });
    });
    expect(await forceRelease(locks, "k")).toMatchObject({ owner: "second" });

    const { locks: others, client: otherClient } = setUp();
    const lock = await others.acquire("k");
    actBefore(otherClient, "UpdateItem", () => lock.finish({ result: 1 }));
    expect(await forceRelease(others, "k")).toMatchObject({ status: "FINISHED", result: { value: 1 } });
  });

  it("gives nothing when the holder released meanwhile", async () => {
    const { locks, client, eventsOf } = setUp();
    const lock = await locks.acquire("k");
    actBefore(client, "UpdateItem", () => lock.release());
    expect(await forceRelease(locks, "k")).toBeUndefined();
    expect(eventsOf("force-released")).toEqual([]);
  });

  it("a lost reply is not a second break", async () => {
    const { locks } = setUp();
    const { client, sent } = countingClient();
    const operator = new LockClient({
      client,
      tableName: table.tableName,
      namespace: locksOf(locks).options.namespace,
    });
    await locks.acquire("k", { owner: "stuck" });
    loseReplies(client, (request) => request === 2);
    expect(await forceRelease(operator, "k")).toMatchObject({ owner: "stuck", status: "IN_PROGRESS" });
    expect(sent).toEqual(["GetItem", "UpdateItem", "UpdateItem"]);
  });

  it("refuses to touch what something else wrote", async () => {
    const { locks, stored } = setUp();
    const item = { lock_id: { S: stored("k") }, status: { S: "INPROGRESS" } };
    await table.put(item);
    await expect(forceRelease(locks, "k")).rejects.toThrow(LockTableError);
    expect(await table.item(stored("k"))).toEqual(item);
  });
});

describe("releaseAllLocks", () => {
  it("releases what is held, its lease over or not, and leaves the rest", async () => {
    const other = await oneOfEach();
    const { locks, eventsOf } = await oneOfEach();
    const released = await releaseAllLocks(locks);
    expect(released.map(({ owner }) => owner).sort()).toEqual(["crasher", "holder"]);
    expect(await keysOf(locks, { status: "IN_PROGRESS" })).toEqual([]);
    expect(await keysOf(locks, { status: "FINISHED" })).toEqual(["finished", "forgotten"]);
    expect(eventsOf("force-released")).toHaveLength(2);
    expect(await keysOf(other.locks, { status: "IN_PROGRESS" })).toEqual(["crashed", "held"]);
    expect(await releaseAllLocks(locks)).toEqual([]);
  });

  it("a lock that another took, or its holder finished, meanwhile survives", async () => {
    const { locks, client } = setUp();
    const first = await locks.acquire("k");
    actBefore(client, "UpdateItem", async () => {
      await first.release();
      await locks.acquire("k");
    });
    expect(await releaseAllLocks(locks)).toEqual([]);
    expect((await locks.get("k"))?.status).toBe("IN_PROGRESS");

    const { locks: others, client: otherClient } = setUp();
    const lock = await others.acquire("k");
    actBefore(otherClient, "UpdateItem", () => lock.finish());
    expect(await releaseAllLocks(others)).toEqual([]);
    expect((await others.get("k"))?.status).toBe("FINISHED");
  });

  it("one failure doesn't stop the rest", async () => {
    const { locks, client } = setUp();
    for (let i = 0; i < 30; i++) await locks.acquire(`k${i}`);
    actBefore(client, "UpdateItem", () => Promise.reject(new Error("no connection")));
    await expect(releaseAllLocks(locks)).rejects.toMatchObject({
      name: "AggregateError",
      message: "1 of 30 locks not released",
      errors: [expect.objectContaining({ code: "LOCK_REQUEST" })],
    });
    expect(await keysOf(locks, { status: "IN_PROGRESS" })).toHaveLength(1);
  });
});

describe("a lock of several keys", () => {
  it("of which one is broken is lost, and its holder settles none of them", async () => {
    const { locks } = setUp();
    const lock = await locks.acquire(["a", "b"]);
    await forceRelease(locks, "b");
    await expect(lock.finish()).rejects.toEqual(lostBecause("stolen"));
    expect((await locks.get("a"))?.status).toBe("IN_PROGRESS");
    expect((await releaseAllLocks(locks)).map(({ owner }) => owner)).toHaveLength(1);
  });
});

describe("the application's data", () => {
  it("stays when a lock is broken, for who looks into it", async () => {
    const { locks } = setUp();
    await locks.acquire("k", { data: { step: 3 } });
    expect(await forceRelease(locks, "k")).toMatchObject({ data: { step: 3 } });
    expect((await locks.get("k"))?.data).toEqual({ step: 3 });
  });
});
