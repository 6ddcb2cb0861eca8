/** Exactly once without a lock: one transaction writes the items and finishes the key, if nobody has it. */
import {
  type ConsumedCapacity,
  type DynamoDBClient,
  ScanCommand,
  type TransactWriteItem,
  TransactWriteItemsCommand,
} from "@aws-sdk/client-dynamodb";
import { beforeAll, describe, expect, inject, it } from "vitest";
import {
  type LockClientOptions,
  LockHeldError,
  LockOptionsError,
  PayloadMismatchError,
  semaphore,
} from "../../src/index.ts";
import { lockTable } from "../support/dynamodb.ts";
import { aProcess, lost, noise, turn } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
let orders: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  [table, orders] = await Promise.all([lockTable(), lockTable()]);
});

let count = 0;
const freshKey = () => `once-${++count}`;
const setUp = (options: LockClientOptions = {}) => aProcess(table.tableName, { ...(options as object) });
const add = (id: string): TransactWriteItem => ({
  Update: {
    TableName: orders.tableName,
    Key: { lock_id: { S: id } },
    UpdateExpression: "ADD n :one",
    ExpressionAttributeValues: { ":one": { N: "1" } },
  },
});
const putOnce = (id: string): TransactWriteItem => ({
  Put: {
    TableName: orders.tableName,
    Item: { lock_id: { S: id } },
    ConditionExpression: "attribute_not_exists(lock_id)",
  },
});
const counters = (...ids: string[]) => Promise.all(ids.map(total));
const total = async (id: string) => Number((await orders.item(id))?.n?.N ?? 0);

describe("commitOnce", () => {
  it("writes the items and finishes the key, in one request", async () => {
    const { locks, state, types } = setUp();
    const key = freshKey();
    const result = await locks.commitOnce(key, [add(key)], { result: { shipped: 1 }, status: "shipped", data: 7 });
    expect([result, state.sent, await total(key), types()]).toEqual([
      { shipped: 1 },
      ["TransactWriteItems"],
      1,
      ["finished"],
    ]);
    expect(await locks.get(key)).toMatchObject({
      status: "FINISHED",
      result: { value: { shipped: 1 } },
      finalStatus: "shipped",
      data: 7,
    });
  });

  it("a repeat writes nothing, and gets the first result", async () => {
    const { locks, state, types } = setUp();
    const key = freshKey();
    await locks.commitOnce(key, [add(key)], { result: 1 });
    expect(await locks.commitOnce(key, [add(key)], { result: 2 })).toBe(1);
    expect([await total(key), state.sent.length, types()]).toEqual([1, 2, ["finished", "replayed"]]);
  });

  it("of twenty at once one commits, and all get its result", async () => {
    const key = freshKey();
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        setUp({ settleMs: 10_000 }).locks.commitOnce(key, [add(key)], { result: n }),
      ),
    );
    expect([new Set(results).size, await total(key)]).toEqual([1, 1]);
  });

  it("gives the first caller what JSON makes of the result, as it gives repeats", async () => {
    const { locks } = setUp();
    const key = freshKey();
    const at = new Date(0);
    expect(await locks.commitOnce(key, [], { result: { at } })).toEqual({ at: at.toISOString() });
    expect(await locks.commitOnce(key, [])).toEqual({ at: at.toISOString() });
    const none = freshKey();
    expect([await locks.commitOnce(none, []), await locks.commitOnce(none, [])]).toEqual([undefined, undefined]);
  });

  it("without items is a conditional write, half as dear as a transaction", async () => {
    const { locks, state } = setUp();
    const key = freshKey();
    expect([await locks.commitOnce(key, [], { result: 1 }), await locks.commitOnce(key, [], { result: 2 })]).toEqual([
      1, 1,
    ]);
    expect(state.sent).toEqual(["UpdateItem", "UpdateItem"]);
  });

  it("with another payload is a PayloadMismatchError", async () => {
    const { locks, types } = setUp();
    const key = freshKey();
    await locks.commitOnce(key, [], { fingerprint: { cents: 1 } });
    const repeat = locks.commitOnce(key, [add(key)], { fingerprint: { cents: 2 } });
    await expect(repeat).rejects.toThrow(PayloadMismatchError);
    expect([await total(key), types()]).toEqual([0, ["finished", "payload-mismatch"]]);
  });

  it("is remembered for rememberMs, and clockSkewMs longer; then it may be committed again", async () => {
    const { locks, clock } = setUp({ clockSkewMs: 500 });
    const key = freshKey();
    await locks.commitOnce(key, [add(key)], { result: 1, rememberMs: 60_000 });
    clock.advance(60_499);
    expect(await locks.commitOnce(key, [add(key)], { result: 2 })).toBe(1);
    clock.advance(1);
    expect(await locks.commitOnce(key, [add(key)], { result: 3 })).toBe(3);
    expect(await total(key)).toBe(2);
  });

  it("costs no request in the process that has seen it finished (cacheSize)", async () => {
    const [first, second] = [setUp({ cacheSize: 10 }), setUp({ cacheSize: 10 })];
    const key = freshKey();
    for (const { locks } of [first, second, second, first]) {
      expect(await locks.commitOnce(key, [add(key)], { result: { by: "first" } })).toEqual({ by: "first" });
    }
    expect([first.state.sent.length, second.state.sent.length, await total(key)]).toEqual([1, 1, 1]);
  });

  it("without a key, or with a list of keys, is an error, and nothing is sent", async () => {
    const { locks, state } = setUp();
    await expect(locks.commitOnce("", [])).rejects.toMatchObject({ code: "LOCK_KEY" });
    await expect(locks.commitOnce(["a", "b"] as never, [])).rejects.toMatchObject({ code: "LOCK_KEY" });
    await expect(locks.commitOnce("a", [], { leaseMs: 5 } as never)).rejects.toThrow("unknown option 'leaseMs'");
    await expect(locks.commitOnce("a", [{} as never])).rejects.toThrow(LockOptionsError);
    const own = { Key: { lock_id: { S: "a" } }, TableName: table.tableName };
    await expect(locks.commitOnce("a", [{ Delete: own }])).rejects.toThrow("the lock's own item");
    expect(state.sent).toEqual([]);
  });

  it("of a closed client is refused", async () => {
    const { locks, state } = setUp();
    await locks.close();
    await expect(locks.commitOnce(freshKey(), [])).rejects.toMatchObject({ code: "LOCK_CLOSED" });
    expect(state.sent).toEqual([]);
  });

  it("is waited for by close, which doesn't let it be tried again", async () => {
    const { locks, state } = setUp({ settleMs: 10_000 });
    const [one, other] = [freshKey(), freshKey()];
    const goOn = Promise.withResolvers<void>();
    let ended = 0;
    state.wire = async ({ n, send }) => {
      await goOn.promise;
      const reply = n === 2 ? Promise.reject(lost()) : send();
      return reply.finally(() => ended++);
    };
    const commits = [one, other].map((key) => locks.commitOnce(key, [add(key)], { result: "done" }));
    const outcomes = Promise.allSettled(commits);
    while (state.sent.length < 2) await turn();
    const closed = locks.close().then(() => ended);
    await turn();
    goOn.resolve();
    expect(await closed).toBe(2);
    expect(await outcomes).toEqual([
      { status: "fulfilled", value: "done" },
      { status: "rejected", reason: expect.objectContaining({ code: "LOCK_REQUEST" }) },
    ]);
    expect([state.sent.length, await counters(one, other)]).toEqual([2, [1, 0]]);
  });

  it("makes a table that is missing (ensureTable), and not one of the application's", async () => {
    const { locks, state } = aProcess(`${table.tableName}-new`, { ensureTable: true });
    const key = freshKey();
    await locks.commitOnce(key, [add(key)]);
    expect(await total(key)).toBe(1);
    state.sent.length = 0;
    const Put = { TableName: "nowhere", Item: { id: { S: "1" } } };
    await expect(locks.commitOnce(freshKey(), [{ Put }])).rejects.toMatchObject({ name: "ResourceNotFoundException" });
    expect(state.sent).not.toContain("CreateTable");
  });
});

/** The write units of a request to the table of locks, as DynamoDB counts them. */
const unitsOf = (client: DynamoDBClient) => {
  const units: number[] = [];
  client.middlewareStack.add(
    (next) => async (args) => {
      Object.assign(args.input, { ReturnConsumedCapacity: "TOTAL" });
      const reply = await next(args);
      const { ConsumedCapacity } = reply.output as { ConsumedCapacity?: ConsumedCapacity | ConsumedCapacity[] };
      const ofLocks = [ConsumedCapacity ?? []].flat().filter(({ TableName }) => TableName === table.tableName);
      units.push(...ofLocks.map(({ CapacityUnits = Number.NaN }) => CapacityUnits));
      return reply;
    },
    { step: "initialize", name: "units" },
  );
  return units;
};

describe("the cost", () => {
  /** What a transaction of one small item costs: 2 units per kB. DynamoDB Local counts 4, whatever there is in it. */
  const unitsOfOneItem = async () => {
    const { client } = setUp();
    const units = unitsOf(client);
    const Put = { TableName: table.tableName, Item: { lock_id: { S: freshKey() } } };
    await client.send(new TransactWriteItemsCommand({ TransactItems: [{ Put }] }));
    return units[0] as number;
  };

  it("is two write units for the key, where acquire and lock.commit take three", async () => {
    const [without, under] = [setUp(), setUp()];
    const [few, more] = [unitsOf(without.client), unitsOf(under.client)];
    const key = freshKey();
    await without.locks.commitOnce(key, [add(key)], { result: { shipped: 1 } });
    const lock = await under.locks.acquire(freshKey());
    await lock.commit([add(lock.key)], { result: { shipped: 1 } });
    const two = await unitsOfOneItem();
    expect(two).toBe(inject("engine") === "dynamodb-local" ? 4 : 2);
    expect([few, more, without.state.sent.length, under.state.sent.length]).toEqual([[two], [1, two], 1, 2]);
    expect(JSON.stringify(await table.item(key)).length).toBeLessThan(1_024);
  });

  it("without items is one write unit", async () => {
    const { locks, client } = setUp();
    const units = unitsOf(client);
    await locks.commitOnce(freshKey(), [], { result: 1 });
    expect(units).toEqual([1]);
  });
});

describe("beside locks on the same key", () => {
  it("a held one refuses the commit, and nothing is written", async () => {
    const { locks, types } = setUp();
    const key = freshKey();
    const lock = await locks.acquire(key);
    await expect(locks.commitOnce(key, [add(key)])).rejects.toThrow(LockHeldError);
    expect(await total(key)).toBe(0);
    await lock.release();
    await locks.commitOnce(key, [add(key)]);
    expect([await total(key), types()]).toEqual([1, ["acquired", "held", "released", "finished"]]);
  });

  it("one whose lease is over is no obstacle, and its late writes change nothing", async () => {
    const [slow, fast] = [setUp(), setUp()];
    const key = freshKey();
    const lock = await slow.locks.acquire(key);
    fast.clock.advance(11_000);
    await fast.locks.commitOnce(key, [add(key)], { result: "fast" });
    await expect(lock.commit([add(key)])).rejects.toMatchObject({ code: "LOCK_LOST" });
    await expect(lock.finish()).rejects.toMatchObject({ code: "LOCK_LOST" });
    expect([await total(key), await slow.locks.once(key, () => "slow")]).toEqual([1, "fast"]);
  });

  it("a commit of the holder and one without a lock give each other's result", async () => {
    const { locks } = setUp();
    const [one, other] = [freshKey(), freshKey()];
    const lock = await locks.acquire(one);
    await lock.commit([add(one)], { result: "under a lock" });
    expect(await locks.commitOnce(one, [add(one)], { result: 2 })).toBe("under a lock");
    await locks.commitOnce(other, [add(other)], { result: "without" });
    expect(await locks.once(other, () => "again")).toBe("without");
    expect(await locks.tryAcquire(other)).toBeUndefined();
    expect([await total(one), await total(other)]).toEqual([1, 1]);
  });

  it("a final failure of a run under a lock is thrown again", async () => {
    const { locks } = setUp();
    const key = freshKey();
    await (await locks.acquire(key)).finish({ error: Object.assign(new Error("no stock"), { statusCode: 410 }) });
    await expect(locks.commitOnce(key, [add(key)])).rejects.toMatchObject({ code: "LOCK_REPLAYED", statusCode: 410 });
  });

  it("fencing tokens of the key go on increasing, whichever takes it", async () => {
    const { locks, clock } = setUp();
    const key = freshKey();
    const fences: number[] = [];
    for (let n = 0; n < 4; n++) {
      const lock = await locks.acquire(key);
      fences.push(lock.fencingToken);
      await lock.release();
      await locks.commitOnce(key, [add(key)], { rememberMs: 60_000 });
      fences.push(Number((await locks.get(key))?.fencingToken));
      clock.advance(61_000);
    }
    expect(fences.every((fence, n) => n === 0 || fence > (fences[n - 1] as number))).toBe(true);
  });

  it("what a run before left in the record is gone, but for data", async () => {
    const { locks } = setUp();
    const key = freshKey();
    await (await locks.acquire(key, { data: { kept: 1 } })).finish({
      error: new Error("final"),
      rememberMs: 1,
      status: "bad",
    });
    await new Promise((resolve) => setTimeout(resolve, 5));
    const later = setUp();
    later.clock.advance(5_000);
    await later.locks.commitOnce(key, [], { result: 1 });
    const record = await later.locks.get(key);
    expect(record).toMatchObject({ status: "FINISHED", result: { value: 1 }, data: { kept: 1 }, leaseMs: 0 });
    expect([record?.failure, record?.finalStatus]).toEqual([undefined, undefined]);
  });

  it("a semaphore refuses it while a permit is held, and not after", async () => {
    const { locks } = setUp();
    const key = freshKey();
    const permit = await semaphore(locks, key, { permits: 2 }).acquire();
    await expect(locks.commitOnce(key, [add(key)])).rejects.toThrow(LockHeldError);
    await permit.release();
    await locks.commitOnce(key, [add(key)], { result: 1 });
    const record = await locks.get(key);
    expect([await total(key), record?.status, record?.holders]).toEqual([1, "FINISHED", undefined]);
  });

  it("with expiry 'observed' the clock ends no lease, only watching does", async () => {
    const { locks, clock } = setUp({ expiry: "observed" });
    const key = freshKey();
    await setUp().locks.acquire(key); // and crashes
    clock.advance(60_000);
    await expect(locks.commitOnce(key, [add(key)])).rejects.toThrow(LockHeldError); // seen
    clock.advance(9_999);
    await expect(locks.commitOnce(key, [add(key)])).rejects.toThrow(LockHeldError);
    clock.advance(1);
    await locks.commitOnce(key, [add(key)]);
    expect(await total(key)).toBe(1);
  });
});

describe("the application's own condition", () => {
  it("that fails is its own, with the reasons in the order of its items: nothing is written, and the key is free", async () => {
    const { locks, state } = setUp();
    const key = freshKey();
    await orders.put({ lock_id: { S: `${key}-b` } });
    const commit = () => locks.commitOnce(key, [add(key), putOnce(`${key}-b`)], { result: 1 });
    await expect(commit()).rejects.toMatchObject({
      name: "TransactionCanceledException",
      CancellationReasons: [{ Code: "None" }, { Code: "ConditionalCheckFailed" }, { Code: "None" }],
    });
    expect([await total(key), await table.item(key), state.sent]).toEqual([
      0,
      undefined,
      ["TransactWriteItems", "GetItem"],
    ]);
    expect(await locks.commitOnce(key, [add(key)], { result: 2 })).toBe(2);
  });

  it("of a repeat fails because the first run has committed: the repeat gets the result", async () => {
    const { locks } = setUp();
    const key = freshKey();
    for (let n = 1; n <= 2; n++) expect(await locks.commitOnce(key, [putOnce(key)], { result: 1 })).toBe(1);
  });

  it("is told without the key's refusal: the key is read before the failure becomes the application's", async () => {
    const { locks, state } = setUp();
    const key = freshKey();
    await locks.commitOnce(key, [putOnce(key)], { result: 1 });
    state.wire = async ({ name, send }) => {
      if (name !== "TransactWriteItems") return send();
      throw Object.assign(new Error("cancelled"), {
        name: "TransactionCanceledException",
        CancellationReasons: [{ Code: "ConditionalCheckFailed" }, { Code: "None" }],
      });
    };
    expect(await locks.commitOnce(key, [putOnce(key)], { result: 2 })).toBe(1);
    expect(state.sent.slice(1)).toEqual(["TransactWriteItems", "GetItem"]);
  });
});

describe("a result that is too large for the record", () => {
  const result = noise(20_000, "large");

  it("is one more item of the transaction: one request, and losers leave nothing behind", async () => {
    const { locks, state } = setUp();
    const key = freshKey();
    expect(await locks.commitOnce(key, [add(key)], { result })).toBe(result);
    expect(state.sent).toEqual(["TransactWriteItems"]);
    const { token } = (await locks.get(key)) ?? {};
    expect(await table.item(`${key}#result#${token}`)).toBeDefined();
    state.sent.length = 0;
    expect(await locks.commitOnce(key, [add(key)], { result: noise(20_000, "other") })).toBe(result);
    expect([state.sent, await total(key)]).toEqual([["TransactWriteItems", "GetItem"], 1]);
    const { Items = [] } = await table.client.send(new ScanCommand({ TableName: table.tableName }));
    expect(Items.filter(({ lock_id }) => lock_id?.S?.startsWith(`${key}#`))).toHaveLength(1);
  });

  it("leaves room for 98 items, and without it for 99", async () => {
    const { locks, state } = setUp();
    const items = (n: number) => Array.from({ length: n }, () => add(freshKey()));
    await expect(locks.commitOnce(freshKey(), items(99), { result })).rejects.toThrow(
      "commit: items must be at most 98 where the result is too large for the record, got 99",
    );
    await expect(locks.commitOnce(freshKey(), items(100))).rejects.toThrow("at most 99");
    expect(state.sent).toEqual([]);
    await locks.commitOnce(freshKey(), items(98), { result });
    await locks.commitOnce(freshKey(), items(99));
    expect(state.sent).toEqual(["TransactWriteItems", "TransactWriteItems"]);
  });

  it("and for any item is not stored, which is reported: repeats get undefined", async () => {
    const { locks, types } = setUp();
    const key = freshKey();
    await locks.commitOnce(key, [add(key)], { result: noise(600_000, "huge") });
    expect([await locks.commitOnce(key, [add(key)]), await total(key)]).toEqual([undefined, 1]);
    expect(types()).toEqual(["response-not-stored", "finished", "replayed"]);
  });
});
