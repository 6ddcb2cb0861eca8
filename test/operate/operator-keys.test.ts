/** A key works both ways: what is shown can be given back, to a client with the namespace and to one without. */
import { randomUUID } from "node:crypto";
import { describe, expect, it, vi } from "vitest";
import { breakLock, LockClient, LockKeyError, type LockRecord, listLocks, purgeLocks } from "../../src/index.ts";
import { locksOf } from "../support/locks.ts";
import { operatorsTable } from "../support/operators.ts";

const { table, setUp } = await operatorsTable();
const guard = { any: true };

const aHeldKey = async (key = "k") => {
  const test = setUp();
  const lock = await test.locks.acquire(key);
  const namespace = locksOf(test.locks).options.namespace as string;
  return {
    ...test,
    lock,
    namespace,
    whole: new LockClient({ client: test.client, tableName: table.tableName, namespace: false }),
  };
};

describe("A client with the namespace breaks", () => {
  it("a key of the namespace, and the key as it is stored", async () => {
    for (const way of ["own", "stored"] as const) {
      const { locks, stored } = await aHeldKey();
      const result = await breakLock(locks, way === "own" ? "k" : stored("k"), guard);
      expect(result).toMatchObject({ outcome: "done", key: stored("k") });
    }
  });

  it("what get, listLocks, an event and the lock itself show", async () => {
    const shown: ((test: Awaited<ReturnType<typeof aHeldKey>>) => Promise<LockRecord | undefined> | object)[] = [
      ({ locks }) => locks.get("k"),
      async ({ locks }) => {
        for await (const record of listLocks(locks)) return record;
        return undefined;
      },
      ({ eventsOf }) => eventsOf("acquired")[0] as object,
      ({ lock }) => lock,
      async ({ locks }) => JSON.parse(JSON.stringify(await locks.get("k"))),
    ];
    for (const show of shown) {
      const test = await aHeldKey();
      const seen = (await show(test)) as LockRecord;
      expect(await breakLock(test.locks, seen)).toMatchObject({ outcome: "done", key: test.stored("k") });
    }
  });

  it("neither, if both readings are there: it shows both", async () => {
    const { locks, stored, namespace } = await aHeldKey();
    vi.spyOn(console, "warn").mockImplementation(() => {});
    await locks.acquire(stored("k"), { owner: "doubled" }); // whose key begins with the namespace
    const refused = await breakLock(locks, stored("k"), guard).catch((error) => error);
    expect(refused).toBeInstanceOf(LockKeyError);
    expect(refused.message).toContain(JSON.stringify(stored("k")));
    expect(refused.message).toContain(JSON.stringify(`${namespace}#${stored("k")}`));
    expect(refused.message).toContain("IN_PROGRESS by doubled");
    await expect(purgeLocks(locks, { keys: [stored("k")], olderThanMs: 0 })).rejects.toThrow(LockKeyError);
    expect(await breakLock(locks, "k", guard)).toMatchObject({ outcome: "done", key: stored("k") });
    const record = (await locks.get(stored("k"))) as LockRecord;
    expect(await breakLock(locks, record)).toMatchObject({ outcome: "done", key: `${namespace}#${stored("k")}` });
  });

  it("no record of another namespace", async () => {
    const { locks } = await aHeldKey();
    const other = await aHeldKey();
    const record = (await other.locks.get("k")) as LockRecord;
    await expect(breakLock(locks, record)).rejects.toThrow(/is not in the namespace .* of this LockClient/);
    expect(await breakLock(locks, other.stored("k"), guard)).toMatchObject({ outcome: "absent" });
    expect(await other.locks.count("k")).toBe(1);
  });
});

describe("A client on the whole table", () => {
  it("breaks keys as they are stored, and records of any namespace", async () => {
    const one = await aHeldKey();
    expect(await breakLock(one.whole, one.stored("k"), guard)).toMatchObject({ outcome: "done", key: one.stored("k") });
    const two = await aHeldKey();
    expect(await breakLock(one.whole, (await two.locks.get("k")) as LockRecord)).toMatchObject({ outcome: "done" });
    expect(await breakLock(one.whole, "k", guard)).toEqual({ outcome: "absent", key: "k" });
  });
});

describe("purgeLocks", () => {
  it("takes records and stored keys, and deletes nothing in a dry run", async () => {
    const { locks, clock, stored } = setUp();
    for (const key of ["a", "b", "c"]) await (await locks.acquire(key)).release();
    clock.advance(2_000);
    const keys = [(await locks.get("a")) as LockRecord, stored("b"), "c"];
    const all = [stored("a"), stored("b"), stored("c")];
    expect((await purgeLocks(locks, { keys, dryRun: true })).sort()).toEqual(all);
    expect((await purgeLocks(locks, { keyPrefix: "a" })).sort()).toEqual([stored("a")]);
    expect((await purgeLocks(locks, { keys })).sort()).toEqual([stored("b"), stored("c")]);
  });
});

describe("A scan", () => {
  it("says how far it is and what it has cost", async () => {
    const { locks } = setUp();
    for (const key of ["a", "b", "c"]) await locks.acquire(key);
    const pages: { scanned: number; found: number; readUnits: number }[] = [];
    for await (const _ of listLocks(locks, { keyPrefix: "a", pageSize: 2, onPage: (page) => pages.push(page) }));
    expect(pages.length).toBeGreaterThan(1);
    expect(pages.at(-1)).toMatchObject({ found: 1 });
    expect(pages.at(-1)?.scanned).toBeGreaterThanOrEqual(3);
    expect(pages.at(-1)?.readUnits).toBeGreaterThan(0);
  });
});

describe("Other verbs", () => {
  it("never strip a namespace, and say once when a key looks doubled", async () => {
    const { client } = setUp();
    const namespace = randomUUID();
    const locks = new LockClient({ client, tableName: table.tableName, namespace });
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    await locks.acquire("k");
    expect(warn).not.toHaveBeenCalled();
    expect(await locks.get(`${namespace}#k`)).toBeUndefined();
    expect(await locks.count(`${namespace}#k`)).toBe(0);
    expect(warn).toHaveBeenCalledExactlyOnceWith(
      expect.stringMatching(/begins with the namespace, and is stored as .* ask for "k"/),
    );
    warn.mockRestore();
    await locks.close();
  });
});
