import {
  DeleteItemCommand,
  type DynamoDBClient,
  type TransactWriteItem,
  TransactWriteItemsCommand,
} from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient, TransactWriteCommand } from "@aws-sdk/lib-dynamodb";
import { beforeAll, describe, expect, it } from "vitest";
import { createLockTable, semaphore } from "../../src/index.ts";
import { lockTable } from "../support/dynamodb.ts";
import { freeKey } from "../support/free.ts";
import { takes } from "../support/locks.ts";
import { aProcess, noise } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
/** The application's: a table of its own, whose partition key happens to have the same name. */
let orders: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  [table, orders] = await Promise.all([lockTable(), lockTable()]);
});

let count = 0;
const freshKey = () => `order-${++count}`;
const setUp = () => aProcess(table.tableName);
const put = (id: string, more: Partial<TransactWriteItem["Put"]> = {}): TransactWriteItem => ({
  Put: { TableName: orders.tableName, Item: { lock_id: { S: id } }, ...more },
});
const putOnce = (id: string) => put(id, { ConditionExpression: "attribute_not_exists(lock_id)" });
const reasons = (error: unknown) =>
  (error as { CancellationReasons?: { Code: string }[] }).CancellationReasons?.map(({ Code }) => Code);

describe("a commit", () => {
  it("writes the application's items and finishes the key, in one request", async () => {
    const { locks, state, types } = setUp();
    const key = freshKey();
    const lock = await locks.acquire(key);
    await lock.commit([put(key)], { result: { shipped: 1 }, status: "shipped", data: { by: "van" } });
    expect(state.sent).toEqual(["UpdateItem", "TransactWriteItems"]);
    expect(await orders.item(key)).toBeDefined();
    expect(lock.status).toBe("finished");
    expect(await locks.get(key)).toMatchObject({
      status: "FINISHED",
      result: { value: { shipped: 1 } },
      finalStatus: "shipped",
      data: { by: "van" },
    });
    expect(types()).toEqual(["acquired", "finished"]);
  });

  it("takes puts, updates, deletes and condition checks", async () => {
    const { locks } = setUp();
    const [a, b, c, d] = [freshKey(), freshKey(), freshKey(), freshKey()] as const;
    await orders.put({ lock_id: { S: b } });
    await orders.put({ lock_id: { S: c } });
    const at = (id: string) => ({ TableName: orders.tableName, Key: { lock_id: { S: id } } });
    const lock = await locks.acquire(a);
    await lock.commit([
      put(a),
      { Update: { ...at(b), UpdateExpression: "SET n = :n", ExpressionAttributeValues: { ":n": { N: "1" } } } },
      { Delete: at(c) },
      { ConditionCheck: { ...at(d), ConditionExpression: "attribute_not_exists(lock_id)" } },
    ]);
    expect([await orders.item(b), await orders.item(c)]).toEqual([{ lock_id: { S: b }, n: { N: "1" } }, undefined]);
  });

  it("without items is a finish", async () => {
    const { locks } = setUp();
    const lock = await locks.acquire(freshKey());
    await lock.commit([], { result: 1 });
    expect(await locks.once(lock.key, () => 2)).toBe(1);
  });

  it("of a superseded run is a LockLostError, and nothing is written", async () => {
    const [slow, fast] = [setUp(), setUp()];
    const key = freshKey();
    const stalled = await slow.locks.acquire(key);
    fast.clock.advance(20_000);
    const next = await fast.locks.acquire(key);
    await expect(stalled.commit([put(key)])).rejects.toMatchObject({ code: "LOCK_LOST", reason: "stolen" });
    expect([await orders.item(key), stalled.status, stalled.signal.aborted]).toEqual([undefined, "lost", true]);
    await next.commit([put(key)]);
    await expect(stalled.commit([put(key)])).rejects.toMatchObject({ code: "LOCK_LOST" });
  });

  it("comes after the lease is over, and nobody has taken the key: it counts", async () => {
    const { locks, clock } = setUp();
    const lock = await locks.acquire(freshKey());
    clock.advance(20_000);
    expect(lock.status).toBe("expired");
    await lock.commit([put(lock.key)]);
    expect([lock.status, await orders.item(lock.key)]).toEqual(["finished", expect.anything()]);
  });

  it("of a lock that an operator broke is lost, even when a condition of the application fails too", async () => {
    const { locks } = setUp();
    const key = freshKey();
    await orders.put({ lock_id: { S: key } });
    const lock = await locks.acquire(key);
    await freeKey(locks, key);
    await expect(lock.commit([putOnce(key)])).rejects.toMatchObject({ code: "LOCK_LOST", reason: "broken" });
  });

  it("of a record that somebody deleted is lost", async () => {
    const { locks, client } = setUp();
    const key = freshKey();
    const lock = await locks.acquire(key);
    await client.send(new DeleteItemCommand({ TableName: table.tableName, Key: { lock_id: { S: key } } }));
    await expect(lock.commit([put(key)])).rejects.toMatchObject({ code: "LOCK_LOST", reason: "deleted" });
    expect(await orders.item(key)).toBeUndefined();
  });

  it("whose own condition fails: DynamoDB's exception, its reasons in the order of the items, and the lock still held", async () => {
    const { locks, types } = setUp();
    const key = freshKey();
    await orders.put({ lock_id: { S: `${key}-b` } });
    const lock = await locks.acquire(key);
    const items = [putOnce(`${key}-a`), putOnce(`${key}-b`), putOnce(`${key}-c`)];
    const error: unknown = await lock.commit(items).catch((e: unknown) => e);
    expect(error).toMatchObject({ name: "TransactionCanceledException" });
    expect(reasons(error)?.slice(0, 3)).toEqual(["None", "ConditionalCheckFailed", "None"]);
    expect([lock.status, lock.signal.aborted, types()]).toEqual(["held", false, ["acquired"]]);
    await lock.extend(5_000);
    await lock.commit([putOnce(`${key}-a`)]); // it is held: another decision is possible
    expect(lock.status).toBe("finished");
  });

  it("that DynamoDB does not accept is the application's error: the lock is still held", async () => {
    const { locks } = setUp();
    const lock = await locks.acquire(freshKey());
    await expect(lock.commit([{ Put: { TableName: orders.tableName, Item: {} } }])).rejects.toMatchObject({
      name: expect.stringMatching(/ValidationException|TransactionCanceledException/),
    });
    await expect(lock.commit([put(lock.key, { TableName: "nowhere" })])).rejects.toMatchObject({
      name: "ResourceNotFoundException",
    });
    expect(lock.status).toBe("held");
    await lock.release();
    expect((await locks.get(lock.key))?.status).toBe("RELEASED");
  });

  it("renews no more once it is done, and renews on when it was refused", async () => {
    const { locks, clock, state } = aProcess(table.tableName, { heartbeatMs: 3_000 });
    const key = freshKey();
    await orders.put({ lock_id: { S: key } });
    const lock = await locks.acquire(key);
    await lock.commit([putOnce(key)]).catch(() => {});
    await clock.pass(9_500);
    expect([lock.status, state.sent.filter((name) => name === "UpdateItem").length]).toEqual(["held", 4]);
    await lock.commit([put(key)]);
    await clock.pass(20_000);
    expect(state.sent.filter((name) => name === "UpdateItem").length).toBe(4);
    expect(clock.timers).toBe(0);
  });

  it("settles several keys at once, or none", async () => {
    const [slow, fast] = [setUp(), setUp()];
    const keys = [freshKey(), freshKey(), freshKey()] as const;
    const lock = await slow.locks.acquire(keys);
    await lock.commit([put(keys[0])], { result: "done" });
    expect(slow.state.sent).toEqual(["TransactWriteItems", "TransactWriteItems"]);
    for (const key of keys) expect((await slow.locks.get(key))?.status).toBe("FINISHED");
    expect(await slow.locks.once(keys, () => "again")).toBe("done");

    const more = [freshKey(), freshKey()] as const;
    const stalled = await slow.locks.acquire(more);
    fast.clock.advance(20_000);
    await fast.locks.acquire(more[1]);
    await expect(stalled.commit([put(more[0])])).rejects.toMatchObject({ code: "LOCK_LOST" });
    expect([await orders.item(more[0]), (await slow.locks.get(more[0]))?.status]).toEqual([undefined, "IN_PROGRESS"]);
  });

  it("works with once: a repeat gets the result, and nothing more is written", async () => {
    const { locks, state } = setUp();
    const key = freshKey();
    const work = () =>
      locks.once(key, async (lock) => {
        const receipt = { number: 7 };
        await lock.commit([putOnce(key)], { result: receipt });
        return receipt;
      });
    expect(await work()).toEqual({ number: 7 });
    expect(await work()).toEqual({ number: 7 });
    expect(state.sent).toEqual(["UpdateItem", "TransactWriteItems", "UpdateItem"]);
  });

  it("is final: a release, a finish or an error after it changes nothing", async () => {
    const { locks } = setUp();
    const key = freshKey();
    const failing = locks.once(key, async (lock) => {
      await lock.commit([put(key)], { result: 1 });
      throw new Error("after the commit");
    });
    await expect(failing).rejects.toThrow("after the commit");
    expect(await locks.once(key, () => 2)).toBe(1);
    const lock = await locks.acquire(freshKey());
    await lock.commit([]);
    await lock.release();
    await lock.finish({ result: "late" });
    expect(await locks.get(lock.key)).toMatchObject({ status: "FINISHED" });
    await expect(lock.commit([put(lock.key)])).rejects.toMatchObject({ code: "LOCK_LOST", reason: "released" });
  });

  it("takes 99 items beside one key, and names the bound beyond", async () => {
    const { locks } = setUp();
    const key = freshKey();
    const items = (n: number) => Array.from({ length: n }, (_, index) => put(`${key}-${index}`));
    const lock = await locks.acquire(key);
    await expect(lock.commit(items(100))).rejects.toThrow(
      "commit: items must be an array of at most 99 TransactWriteItems, got 100",
    );
    await lock.commit(items(99));
    const pair = await locks.acquire([freshKey(), freshKey()]);
    await expect(pair.commit(items(99))).rejects.toThrow("at most 98 TransactWriteItems, got 99");
    await expect(pair.commit({} as never)).rejects.toThrow("got an object without a value");
    await expect(pair.commit([], { error: 1 } as never)).rejects.toThrow("unknown option 'error'");
    expect(pair.status).toBe("held");
  });

  it("of more than 4 MB is refused by DynamoDB, and says so", async () => {
    const { locks } = setUp();
    const key = freshKey();
    const items = Array.from({ length: 12 }, (_, index) =>
      put("", { Item: { lock_id: { S: `${key}-${index}` }, text: { S: "x".repeat(390_000) } } }),
    );
    const lock = await locks.acquire(key);
    await expect(lock.commit(items)).rejects.toThrow(/4 ?MB|size/i);
    expect([lock.status, await orders.item(`${key}-0`)]).toEqual(["held", undefined]);
  });

  it("stores a large response beside the record", async () => {
    const { locks, state } = setUp();
    const lock = await locks.acquire(freshKey());
    const result = noise(8_000, lock.key);
    await lock.commit([put(lock.key)], { result });
    expect(state.sent).toEqual(["UpdateItem", "UpdateItem", "TransactWriteItems"]);
    expect(await locks.once(lock.key, () => "again")).toBe(result);
  });

  it("is not for semaphores", async () => {
    const { locks } = setUp();
    const lock = await semaphore(locks, freshKey(), { permits: 2 }).acquire();
    await expect(lock.commit([put(lock.key)])).rejects.toThrow("commit: a semaphore is never finished");
    expect(lock.status).toBe("held");
  });
});

describe("a condition", () => {
  const transact = (client: DynamoDBClient, items: TransactWriteItem[]) =>
    client.send(new TransactWriteItemsCommand({ TransactItems: items }));

  it.each([1, 3])("lets a transaction through while the lock is held, with %s permits", async (permits) => {
    const { locks, client } = setUp();
    const key = freshKey();
    const lock = await takes(locks, key, permits).acquire();
    await transact(client, [{ ConditionCheck: lock.condition() }, put(key)]);
    expect(await orders.item(key)).toBeDefined();
    expect(lock.status).toBe("held");
    await lock.release();
    const late = transact(client, [{ ConditionCheck: lock.condition() }, put(`${key}-late`)]);
    await expect(late).rejects.toMatchObject({ name: "TransactionCanceledException" });
    expect(await orders.item(`${key}-late`)).toBeUndefined();
  });

  it.each([1, 2])("cancels a superseded run's transaction, with %s permits", async (permits) => {
    const [slow, fast] = [setUp(), setUp()];
    const key = freshKey();
    const stalled = await takes(slow.locks, key, permits).acquire();
    fast.clock.advance(20_000);
    for (let n = 0; n < permits; n++) await takes(fast.locks, key, permits).acquire();
    const late = transact(slow.client, [{ ConditionCheck: stalled.condition() }, put(key)]);
    await expect(late).rejects.toSatisfy((error) => reasons(error)?.[0] === "ConditionalCheckFailed");
    expect(await orders.item(key)).toBeUndefined();
  });

  it("has the shape of lib-dynamodb too", async () => {
    const { locks } = setUp();
    const key = freshKey();
    const lock = await locks.acquire(key);
    const documents = DynamoDBDocumentClient.from(table.client);
    const command = () =>
      new TransactWriteCommand({
        TransactItems: [
          { ConditionCheck: lock.documentCondition() },
          { Put: { TableName: orders.tableName, Item: { lock_id: key, total: 7 } } },
        ],
      });
    await documents.send(command());
    expect((await orders.item(key))?.total).toEqual({ N: "7" });
    await lock.release();
    await expect(documents.send(command())).rejects.toMatchObject({ name: "TransactionCanceledException" });
  });

  it("of several keys: one for each", async () => {
    const { locks, client } = setUp();
    const keys = [freshKey(), freshKey()];
    const lock = await locks.acquire(keys);
    expect(() => lock.condition()).toThrow("condition: key must be one of");
    expect(() => lock.condition("other")).toThrow("got 'other'");
    const checks = lock.keys.map((key) => ({ ConditionCheck: lock.condition(key) }));
    await transact(client, [...checks, put(lock.key)]);
    expect(await orders.item(lock.key)).toBeDefined();
  });

  it("works in a table with a sort key", async () => {
    const tableName = `${table.tableName}-sorted`;
    await createLockTable(table.client, { tableName, sortKey: { attribute: "sk", type: "N" } });
    const { locks } = aProcess(tableName, { sortKey: { attribute: "sk", value: 7 } });
    const lock = await locks.acquire(freshKey());
    const documents = DynamoDBDocumentClient.from(table.client);
    await documents.send(new TransactWriteCommand({ TransactItems: [{ ConditionCheck: lock.documentCondition() }] }));
    await lock.commit([put(lock.key)], { result: "long ".repeat(1_000) });
    expect(await locks.once(lock.key, () => 1)).toBe("long ".repeat(1_000));
  });
});
