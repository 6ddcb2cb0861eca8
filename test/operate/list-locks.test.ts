import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createLockTable, type ListLocksFilter, LockTableError, listLocks, purgeLocks } from "../../src/index.ts";
import { lockTable } from "../support/dynamodb.ts";
import { breakAll } from "../support/free.ts";
import { keysOf, operatorsTable } from "../support/operators.ts";

const { table, setUp, oneOfEach } = await operatorsTable();

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
    expect((await breakAll(locks)).map(({ key }) => key)).toEqual(["ours"]);
  });

  it("in a table with a sort key, sees the records under its own value", async () => {
    const tableName = `sorted-${randomUUID()}`;
    await createLockTable(table.client, { tableName, sortKey: { attribute: "sk", type: "N" } });
    const open = (value: number) =>
      setUp({ tableName, namespace: undefined, sortKey: { attribute: "sk", value } }).locks;
    await open(1).acquire("one");
    await open(2).acquire("two");
    expect(await keysOf(open(1))).toEqual(["one"]);
    expect((await breakAll(open(2))).map(({ key }) => key)).toEqual(["two"]);
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
