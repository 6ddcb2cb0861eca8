import { randomUUID } from "node:crypto";
import { CreateTableCommand } from "@aws-sdk/client-dynamodb";
import { beforeAll, describe, expect, it } from "vitest";
import { waitUntilFinished } from "../../src/client/wait-until-finished.ts";
import { warmUp } from "../../src/client/warm-up.ts";
import { systemClock } from "../../src/common/clock.ts";
import {
  createLockTable,
  describeLock,
  forceRelease,
  type ListLocksFilter,
  LockClient,
  type LockClientOptions,
  type LockEvent,
  type LockRecord,
  LockTableError,
  listLocks,
  purgeLocks,
  releaseAllLocks,
  semaphore,
} from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { actBefore, countingClient, lockTable, loseReplies } from "../support/dynamodb.ts";
import { locksOf, takes } from "../support/locks.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

const MINUTE = 60_000;

/** A client with a namespace of its own, so that it meets no other test's locks. */
const setUp = (options: LockClientOptions = {}) => {
  const clock = manualClock();
  const { client, sent } = countingClient();
  const events: LockEvent[] = [];
  const locks = new LockClient({
    client,
    tableName: table.tableName,
    namespace: randomUUID(),
    clock,
    leaseMs: MINUTE,
    heartbeatMs: false,
    rememberMs: 10 * MINUTE,
    onEvent: (event) => events.push(event),
    ...options,
  });
  const { namespace } = locksOf(locks).options;
  return {
    locks,
    clock,
    client,
    sent,
    stored: (key: string) => `${namespace}#${key}`,
    eventsOf: (type: LockEvent["type"]) => events.filter((event) => event.type === type),
  };
};

/** One key in each state: `held`, `crashed` (its lease is over), `finished`, `forgotten` (its window is over) and `released`. */
const oneOfEach = async (options: LockClientOptions = {}) => {
  const test = setUp(options);
  const { locks, clock } = test;
  await locks.acquire("crashed", { owner: "crasher" });
  await (await locks.acquire("forgotten")).finish({ rememberMs: MINUTE });
  clock.advance(2 * MINUTE);
  await locks.acquire("held", { owner: "holder" });
  await (await locks.acquire("finished")).finish({ result: 1 });
  await (await locks.acquire("released")).release();
  clock.advance(2_000); // past the clock skew, in which no record is purged
  return test;
};

const keysOf = async (locks: LockClient, filter?: ListLocksFilter) => {
  const keys: string[] = [];
  for await (const { key } of listLocks(locks, filter)) keys.push(key.slice(key.indexOf("#") + 1));
  return keys.sort();
};

const lostBecause = (reason: string) => expect.objectContaining({ name: "LockLostError", reason });

describe("listLocks", () => {
  it.each<[ListLocksFilter, string[]]>([
    [{}, ["crashed", "finished", "forgotten", "held", "released"]],
    [{ status: "IN_PROGRESS" }, ["crashed", "held"]],
    [{ status: "FINISHED" }, ["finished", "forgotten"]],
    [{ owner: "holder" }, ["held"]],
    [{ keyPrefix: "fo" }, ["forgotten"]],
    [{ expired: true }, ["crashed", "forgotten", "released"]],
    [{ expired: false }, ["finished", "held"]],
    [{ status: "IN_PROGRESS", expired: true, owner: "crasher", keyPrefix: "c" }, ["crashed"]],
    [{ status: "RELEASED", expired: false }, []],
    [{ consistentRead: true, pageSize: 2 }, ["crashed", "finished", "forgotten", "held", "released"]],
  ])("%o", async (filter, keys) => {
    const { locks, sent } = await oneOfEach();
    sent.length = 0;
    expect(await keysOf(locks, filter)).toEqual(keys);
    expect(new Set(sent)).toEqual(new Set(["Scan"]));
  });

  it("gives records as get does", async () => {
    const { locks } = await oneOfEach();
    const records = [];
    for await (const record of listLocks(locks, { status: "FINISHED", expired: false })) records.push(record);
    expect(records).toEqual([await locks.get("finished")]);
  });

  it("reads page after page, and no further than the loop goes", async () => {
    const { tableName, client: admin } = await lockTable();
    const { locks, sent } = setUp({ tableName, namespace: undefined });
    for (let i = 0; i < 12; i++) await locks.acquire(`k${i}`);
    sent.length = 0;
    expect(await keysOf(locks, { pageSize: 5 })).toHaveLength(12);
    expect(sent).toEqual(["Scan", "Scan", "Scan"]);
    sent.length = 0;
    for await (const _record of listLocks(locks, { pageSize: 5 })) break;
    expect(sent).toEqual(["Scan"]);
    admin.destroy();
  });

  it("goes on past a page in which nothing matches", async () => {
    const { tableName } = await lockTable();
    const { locks } = setUp({ tableName });
    const others = setUp({ tableName }).locks;
    for (let i = 0; i < 6; i++) await others.acquire(`k${i}`);
    await locks.acquire("mine");
    expect(await keysOf(locks, { pageSize: 1 })).toEqual(["mine"]);
  });

  it("a client sees its own namespace, one without sees all, and nobody another's that begins alike", async () => {
    const { tableName } = await lockTable();
    const open = (namespace: string | undefined) => setUp({ tableName, namespace }).locks;
    await open("a").acquire("1");
    await open("ab").acquire("2");
    await open(undefined).acquire("3");
    expect(await keysOf(open("a"))).toEqual(["1"]);
    expect(await keysOf(open("ab"))).toEqual(["2"]);
    expect(await keysOf(open(undefined))).toEqual(["1", "2", "3"]);
  });

  it("passes over what something else wrote", async () => {
    const { tableName, put } = await lockTable();
    const { locks } = setUp({ tableName, namespace: undefined });
    await put({ lock_id: { S: "powertools" }, status: { S: "INPROGRESS" }, expiration: { N: "1795000000" } });
    await put({ lock_id: { S: "java" }, ownerName: { S: "o" }, leaseDuration: { S: "20000" } });
    await put({ lock_id: { S: "alike" }, status: { S: "IN_PROGRESS" }, token: { N: "1" } });
    await locks.acquire("ours");
    expect(await keysOf(locks)).toEqual(["ours"]);
    expect(await purgeLocks(locks, { olderThanMs: 0 })).toEqual([]);
    expect((await releaseAllLocks(locks)).map(({ key }) => key)).toEqual(["ours"]);
  });

  it("in a table with a sort key, sees the records under its own value", async () => {
    const tableName = `sorted-${randomUUID()}`;
    await createLockTable(table.client, { tableName, sortKey: { attribute: "sk", type: "N" } });
    const open = (value: number) =>
      setUp({ tableName, namespace: undefined, sortKey: { attribute: "sk", value } }).locks;
    await open(1).acquire("one");
    await open(2).acquire("two");
    expect(await keysOf(open(1))).toEqual(["one"]);
    expect((await releaseAllLocks(open(2))).map(({ key }) => key)).toEqual(["two"]);
    expect((await open(1).get("one"))?.status).toBe("IN_PROGRESS");
  });

  it("of a table that is not there, or of a filter that is wrong, is an error", async () => {
    const { locks } = setUp({ tableName: "no-such-table" });
    await expect(keysOf(locks)).rejects.toThrow(LockTableError);
    expect(() => listLocks(locks, { expired: "yes" } as never)).toThrow(
      "listLocks: expired must be a boolean, got 'yes'",
    );
    expect(() => listLocks(locks, { pageSize: 0 })).toThrow("pageSize must be a whole number from 1 to");
  });
});

describe("purgeLocks", () => {
  const purged = async (...[locks, options]: Parameters<typeof purgeLocks>) =>
    (await purgeLocks(locks, options)).map((key) => key.slice(key.indexOf("#") + 1)).sort();

  it("deletes what is released, and what is no longer remembered", async () => {
    const { locks } = await oneOfEach();
    expect(await purged(locks)).toEqual(["forgotten", "released"]);
    expect(await keysOf(locks)).toEqual(["crashed", "finished", "held"]);
    expect(await purged(locks)).toEqual([]);
  });

  it("deletes what is still remembered when asked to, so that the key runs again", async () => {
    const { locks } = await oneOfEach();
    expect(await purged(locks, { finished: true })).toEqual(["finished", "forgotten", "released"]);
    expect(await locks.once("finished", () => "again")).toBe("again");
  });

  it("deletes what has not been written for long when asked to, whatever its state", async () => {
    const { locks, clock } = await oneOfEach();
    expect(await purged(locks, { olderThanMs: MINUTE })).toEqual(["crashed", "forgotten", "released"]);
    clock.advance(20 * MINUTE);
    const fresh = await locks.acquire("fresh");
    clock.advance(2_000);
    expect(await purged(locks, { olderThanMs: MINUTE })).toEqual(["finished", "held"]);
    await fresh.finish();
  });

  it("what is remembered is not forgotten before every clock says so", async () => {
    const { locks, clock } = setUp({ clockSkewMs: 1_000 });
    await (await locks.acquire("k")).finish({ rememberMs: MINUTE });
    clock.advance(MINUTE + 999);
    expect(await purged(locks)).toEqual([]);
    clock.advance(1);
    expect(await purged(locks)).toEqual(["k"]);
  });

  it("the holder of a deleted lock is told, and doesn't write it again", async () => {
    const { locks, clock } = setUp();
    const lock = await locks.acquire("k");
    clock.advance(2_000);
    expect(await purged(locks, { olderThanMs: 1_000 })).toEqual(["k"]);
    await expect(lock.finish()).rejects.toEqual(lostBecause("deleted"));
    expect(await locks.get("k")).toBeUndefined();
  });

  it("deletes only the given keys, of the namespace, and asks for no others", async () => {
    const { locks, sent } = await oneOfEach();
    sent.length = 0;
    expect(await purged(locks, { keys: ["released", "held", "absent", "released"] })).toEqual(["released"]);
    expect(sent).toEqual(["BatchGetItem", "DeleteItem"]);
    expect(await purged(locks, { keys: [] })).toEqual([]);
    expect(await keysOf(locks)).toContain("forgotten");
    await expect(purgeLocks(locks, { keys: [undefined] })).rejects.toThrow("key is missing");
  });

  it("leaves other namespaces alone", async () => {
    const other = await oneOfEach();
    const { locks } = await oneOfEach();
    await purgeLocks(locks, { olderThanMs: 0 });
    expect(await keysOf(locks)).toEqual([]);
    expect(await keysOf(other.locks)).toHaveLength(5);
  });

  it.each([
    ["taken", async (locks: LockClient) => void (await locks.acquire("released", { owner: "new" }))],
    ["taken and released again", async (locks: LockClient) => (await locks.acquire("released")).release()],
  ])("a lock %s meanwhile survives", async (_how, act) => {
    const { locks, client, clock } = await oneOfEach();
    const { namespace } = locksOf(locks).options;
    const other = setUp({ namespace, clock }).locks;
    actBefore(client, "DeleteItem", () => act(other));
    expect(await purged(locks, { keys: ["released"], olderThanMs: 0 })).toEqual([]);
    expect(await other.get("released")).toMatchObject({ acquiredAt: clock.now() });
  });

  it("a holder that finishes meanwhile keeps its result", async () => {
    const { locks, client, clock } = setUp();
    const lock = await locks.acquire("k");
    clock.advance(2 * MINUTE);
    actBefore(client, "DeleteItem", () => lock.finish({ result: "done" }));
    expect(await purged(locks, { olderThanMs: MINUTE })).toEqual([]);
    expect((await locks.get("k"))?.result).toEqual({ value: "done" });
  });

  it("what was deleted meanwhile, or by a delete whose reply was lost, is purged", async () => {
    const { locks, client } = await oneOfEach();
    loseReplies(client, (request) => request === 2); // the scan is the first request
    expect(await purged(locks)).toEqual(["forgotten", "released"]);
  });

  it("the fencing token of a purged key goes on rising, on a clock that is behind too", async () => {
    const { locks, clock } = setUp({ clockSkewMs: 1_000 });
    const behind = manualClock(clock.now() - 1_000);
    const late = setUp({ namespace: locksOf(locks).options.namespace, clock: behind }).locks;
    const first = await locks.acquire("k");
    await first.release();
    expect(await purged(locks)).toEqual([]); // too early: the other clock has not reached the token
    clock.advance(1_001);
    behind.advance(1_001);
    expect(await purged(locks)).toEqual(["k"]);
    expect((await late.acquire("k")).fencingToken).toBeGreaterThan(first.fencingToken);
  });

  it("purges many, and one failure doesn't stop the rest", async () => {
    const { locks, client, clock } = setUp();
    for (let i = 0; i < 50; i++) await (await locks.acquire(`k${i}`)).release();
    clock.advance(2_000);
    actBefore(client, "DeleteItem", () => Promise.reject(new Error("no connection")));
    await expect(purgeLocks(locks)).rejects.toMatchObject({
      message: "1 of 50 locks not purged",
      errors: [expect.objectContaining({ code: "LOCK_REQUEST" })],
    });
    expect(await keysOf(locks)).toHaveLength(1);
    expect(await purged(locks)).toHaveLength(1);
  });
});

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

describe("a semaphore", () => {
  /** Of three permits, two are taken: by `one`, whose lease ends first, and by `two`. */
  const aSemaphore = async () => {
    const test = setUp();
    const one = await semaphore(test.locks, "s", { permits: 3 }).acquire({ owner: "one" });
    test.clock.advance(MINUTE / 2);
    const two = await semaphore(test.locks, "s", { permits: 3 }).acquire({ owner: "two" });
    test.clock.advance(2_000);
    return { ...test, one, two };
  };

  it("is listed by any of its holders, and is over when all of them are", async () => {
    const { locks, clock } = await aSemaphore();
    expect(await keysOf(locks, { status: "SEMAPHORE", owner: "one", expired: false })).toEqual(["s"]);
    expect(await keysOf(locks, { owner: "two" })).toEqual(["s"]);
    expect(await keysOf(locks, { owner: "three" })).toEqual([]);
    clock.advance(MINUTE / 2); // the lease of one is over
    expect(await keysOf(locks, { expired: false })).toEqual(["s"]);
    clock.advance(MINUTE / 2);
    expect(await keysOf(locks, { expired: true })).toEqual(["s"]);
  });

  it("is purged when all have released it, or when it is old", async () => {
    const { locks, clock, one, two, stored } = await aSemaphore();
    expect(await purgeLocks(locks, { finished: true })).toEqual([]);
    await one.release();
    expect(await purgeLocks(locks)).toEqual([]);
    await two.release();
    expect(await purgeLocks(locks)).toEqual([stored("s")]);

    await semaphore(locks, "s", { permits: 3 }).acquire();
    clock.advance(5 * MINUTE);
    expect(await purgeLocks(locks)).toEqual([]);
    expect(await purgeLocks(locks, { olderThanMs: MINUTE })).toEqual([stored("s")]);
  });

  it("with a permit taken meanwhile survives the purge", async () => {
    const { locks, client, one, two } = await aSemaphore();
    await Promise.all([one.release(), two.release()]);
    actBefore(client, "DeleteItem", () => semaphore(locks, "s", { permits: 3 }).acquire());
    expect(await purgeLocks(locks)).toEqual([]);
    expect(await locks.count("s")).toBe(1);
  });

  it.each([1, 3])("broken, loses all its holders for good, and can be taken with %i permits", async (permits) => {
    const { locks, one, two } = await aSemaphore();
    expect(await forceRelease(locks, "s")).toMatchObject({ status: "SEMAPHORE", fencingToken: two.fencingToken });
    const next = await takes(locks, "s", permits).acquire();
    expect(next.fencingToken).toBeGreaterThan(two.fencingToken);
    await expect(one.extend(MINUTE)).rejects.toEqual(lostBecause("stolen"));
    await expect(two.release()).rejects.toEqual(lostBecause("stolen"));
    expect(await locks.count("s")).toBe(1);
    await next.release();
  });

  it("that nobody holds is not broken", async () => {
    const { locks, one, two } = await aSemaphore();
    await Promise.all([one.release(), two.release()]);
    expect(await forceRelease(locks, "s")).toBeUndefined();
    expect(await releaseAllLocks(locks)).toEqual([]);
  });

  it("is broken with the others, though a permit is taken meanwhile", async () => {
    const { locks, client } = await aSemaphore();
    actBefore(client, "UpdateItem", () => semaphore(locks, "s", { permits: 3 }).acquire({ owner: "three" }));
    const [broken] = await releaseAllLocks(locks);
    expect(broken?.holders?.map(({ owner }) => owner).sort()).toEqual(["one", "three", "two"]);
    expect(await locks.count("s")).toBe(0);
  });

  it("is waited for while anybody holds it", async () => {
    const { locks, one, two, stored } = await aSemaphore();
    const look = () => waitUntilFinished(locksOf(locks), [stored("s")], { timeoutMs: 0 });
    await one.release();
    expect(await look()).toEqual([stored("s")]);
    await two.release();
    expect(await look()).toEqual([]);
  });

  it("is described with its holders", async () => {
    const { locks, clock, one } = await aSemaphore();
    await one.release();
    const record = (await locks.get("s")) as LockRecord;
    expect(describeLock(record, { now: clock.now() })).toMatchObject({
      status: "SEMAPHORE",
      holders: [{ owner: "two", status: "IN_PROGRESS", elapsedMs: 2_000, remainingMs: MINUTE - 2_000 }],
    });
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

describe("waitUntilFinished", () => {
  const wait = ({ locks, stored }: ReturnType<typeof setUp>, keys: string[], options = {}) =>
    waitUntilFinished(
      locksOf(locks),
      keys.map((key) => stored(key)),
      options,
    );

  it("what is finished, released, over or absent is not waited for", async () => {
    const test = await oneOfEach();
    test.sent.length = 0;
    const keys = ["absent", "crashed", "finished", "forgotten", "held", "released", "held"];
    expect(await wait(test, keys, { timeoutMs: 0 })).toEqual([test.stored("held")]);
    expect(test.sent).toEqual(["BatchGetItem"]);
  });

  it("looks again until all are done", async () => {
    const test = setUp();
    const [a, b] = [await test.locks.acquire("a"), await test.locks.acquire("b")];
    const looks: string[][] = [];
    const { sleep } = test.clock;
    test.clock.sleep = async (ms) => {
      looks.push([String(ms), a.status, b.status]);
      await sleep(ms);
      await (looks.length === 2 ? a.finish() : looks.length === 4 ? b.release() : undefined);
    };
    expect(await wait(test, ["a", "b"], { intervalMs: 5_000 })).toEqual([]);
    expect(looks).toEqual([
      ["5000", "held", "held"],
      ["5000", "held", "held"],
      ["5000", "finished", "held"],
      ["5000", "finished", "held"],
    ]);
  });

  it("a holder that died is waited for until its lease is over, and the skew of the clocks", async () => {
    const test = setUp();
    await test.locks.acquire("k");
    const start = test.clock.now();
    expect(await wait(test, ["k"], { timeoutMs: 10 * MINUTE, intervalMs: 500 })).toEqual([]);
    expect(test.clock.now() - start).toBe(MINUTE + 1_000);
  });

  it("gives the keys still held when the time is up, in the order given", async () => {
    const test = setUp();
    for (const key of ["a", "b", "c"]) await test.locks.acquire(key);
    const start = test.clock.now();
    const pending = await wait(test, ["c", "x", "a"], { timeoutMs: 2_500, intervalMs: 1_000 });
    expect(pending).toEqual([test.stored("c"), test.stored("a")]);
    expect(test.clock.now() - start).toBe(2_500);
  });

  it("reads more than 100 keys, 100 at a time", async () => {
    const test = setUp();
    const keys = Array.from({ length: 230 }, (_, i) => `k${i}`);
    await Promise.all(["k0", "k150", "k229"].map((key) => test.locks.acquire(key)));
    test.sent.length = 0;
    expect(await wait(test, keys, { timeoutMs: 0 })).toEqual(["k0", "k150", "k229"].map(test.stored));
    expect(test.sent).toEqual(["BatchGetItem", "BatchGetItem", "BatchGetItem"]);
  });

  it("more than the 16 MB that a batch gives back are read to the end", async () => {
    const test = setUp();
    const keys = Array.from({ length: 60 }, (_, i) => `k${i}`);
    const data = "x".repeat(380_000);
    for (const key of keys) await (await test.locks.acquire(key)).finish({ data });
    await test.locks.acquire("held");
    test.sent.length = 0;
    expect(await wait(test, [...keys, "held"], { timeoutMs: 0 })).toEqual([test.stored("held")]);
    expect(test.sent.length).toBeGreaterThan(1);
  });

  it("ends when its signal does", async () => {
    const test = setUp();
    await test.locks.acquire("k");
    const controller = new AbortController();
    test.clock.sleep = async () => controller.abort(new Error("enough"));
    await expect(wait(test, ["k"], { signal: controller.signal })).rejects.toThrow("enough");
    await expect(wait(test, ["k"], { signal: AbortSignal.abort(new Error("at once")) })).rejects.toThrow("at once");
  });

  it("wrong options, and a foreign item, are errors", async () => {
    const test = setUp();
    await expect(wait(test, ["k"], { timeoutMs: -1 })).rejects.toThrow("waitUntilFinished: timeoutMs must be");
    await expect(wait(test, ["k"], { signal: "stop" })).rejects.toThrow("signal must be an AbortSignal");
    await table.put({ lock_id: { S: test.stored("foreign") }, status: { S: "INPROGRESS" } });
    await expect(wait(test, ["foreign"])).rejects.toThrow(LockTableError);
  });
});

describe("warmUp", () => {
  it("writes, reads and deletes a probe in the namespace, and says how long each took", async () => {
    const { locks, sent, eventsOf } = setUp();
    const { writeMs, readMs, deleteMs } = await warmUp(
      Object.assign(Object.create(locksOf(locks)), { clock: systemClock }),
    );
    expect(sent).toEqual(["UpdateItem", "GetItem", "DeleteItem"]);
    expect(Math.min(writeMs, readMs, deleteMs)).toBeGreaterThan(0);
    expect(await keysOf(locks)).toEqual([]);
    expect(eventsOf("acquired")).toEqual([]);
  });

  it("may run in many sandboxes at once", async () => {
    const { locks } = setUp();
    await Promise.all(Array.from({ length: 10 }, () => warmUp(locksOf(locks))));
    expect(await keysOf(locks)).toEqual([]);
  });

  it.each([
    ["UpdateItem", "write"],
    ["GetItem", "read"],
    ["DeleteItem", "delete"],
  ])("a failing %s is an error that says so", async (operation, step) => {
    const { locks, client } = setUp();
    const refusal = Object.assign(new Error("no"), { name: "AccessDeniedException" });
    actBefore(client, operation, () => Promise.reject(refusal));
    const error = await warmUp(locksOf(locks)).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(LockTableError);
    expect(error).toMatchObject({
      message: expect.stringMatching(
        `warmUp could not ${step} its probe: ${operation} on table .*AccessDenied.* Allow dynamodb:${operation} on table ${table.tableName} in the role`,
      ),
      cause: expect.objectContaining({ code: "LOCK_TABLE", cause: refusal }),
    });
  });

  it("shows a table with another key schema, and one that is missing", async () => {
    const tableName = `other-${randomUUID()}`;
    await table.client.send(
      new CreateTableCommand({
        TableName: tableName,
        KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
        AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
        BillingMode: "PAY_PER_REQUEST",
      }),
    );
    await expect(warmUp(locksOf(setUp({ tableName }).locks))).rejects.toThrow("has another key schema");
    await expect(warmUp(locksOf(setUp({ tableName: "none" }).locks))).rejects.toThrow("does not exist");
  });
});
