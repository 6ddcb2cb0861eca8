/** A commit writes what it is given as it stands there, or refuses it before anything is sent. */
import {
  PutItemCommand,
  type TransactWriteItem,
  TransactWriteItemsCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { PutCommand, TransactWriteCommand } from "@aws-sdk/lib-dynamodb";
import { marshall } from "@aws-sdk/util-dynamodb";
import { beforeAll, describe, expect, it } from "vitest";
import { createLockTable, LockOptionsError } from "../../src/index.ts";
import { lockTable } from "../support/dynamodb.ts";
import { aProcess, type Wire } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
let orders: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  [table, orders] = await Promise.all([lockTable(), lockTable()]);
});

let count = 0;
const freshKey = () => `item-${++count}`;
const id = { S: "id" };
const put = (Item: unknown, more: object = {}) => ({ Put: { TableName: "orders", Item, ...more } });
const withValue = (value: unknown) => put({ id, value });
const update = (more: object) => ({
  Update: {
    TableName: "orders",
    Key: { id },
    UpdateExpression: "SET n = :n",
    ExpressionAttributeValues: { ":n": id },
    ...more,
  },
});
const hole = () => new Array<unknown>(1);
const holeAhead = () => Object.assign(new Array<unknown>(2), { 1: put({ id }) });

/** A lock, whose commit must be refused with words like these, and nothing sent or changed. */
const expectRefusal = async (items: unknown, words: string | RegExp) => {
  const { locks, state } = aProcess(table.tableName);
  const lock = await locks.acquire(freshKey());
  state.sent.length = 0;
  const error: unknown = await lock.commit(items as TransactWriteItem[]).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(LockOptionsError);
  expect((error as Error).message).toMatch(words);
  expect([state.sent, lock.status, lock.signal.aborted]).toEqual([[], "held", false]);
  expect((await table.item(lock.key))?.status).toEqual({ S: "IN_PROGRESS" });
};

const ONE_OF = /^commit: items\[0\] must have exactly one of Put, Update, Delete, ConditionCheck, got /;

describe("an element that is no item", () => {
  it.each([
    ["undefined", [undefined], "undefined"],
    ["null", [null], "null"],
    ["a hole", hole(), "undefined"],
    ["a hole before an item", holeAhead(), "undefined"],
    ["false", [false], "a boolean"],
    ["a string", ["Put"], "a string"],
    ["a number", [1], "a number"],
    ["an object without a value", [{}], "an object without a value"],
    ["an empty array", [[]], "Array"],
    ["a list of items", [[put({ id })]], "Array"],
    ["a Map", [new Map([["Put", {}]])], "Map"],
    ["a Date", [new Date()], "Date"],
    ["an action that is undefined", [{ Put: undefined }], "an object without a value"],
    ["an action in lower case", [{ put: { TableName: "orders", Item: { id } } }], "put"],
    ["an action of BatchWriteItem", [{ PutRequest: { Item: { id } } }], "PutRequest"],
    ["an action that objects inherit", [{ toString: {} }], "toString"],
    ["a document", [{ id: "x" }], "id"],
    ["what Put takes", [{ TableName: "orders", Item: { id } }], "TableName, Item"],
    ["two actions", [{ ...put({ id }), Delete: { TableName: "orders", Key: { id } } }], "Put, Delete"],
  ])("%s: an error that names its place and what to give", async (_name, items, got) => {
    await expectRefusal(items, new RegExp(`${ONE_OF.source}${got}\\.`));
    await expectRefusal(items, "marshall of @aws-sdk/util-dynamodb");
  });

  it("behind good ones is named by its index", async () => {
    await expectRefusal([put({ id }), put({ id }), undefined], /^commit: items\[2\] /);
    await expectRefusal([put({ id }), undefined, put({ id })], /^commit: items\[1\] /);
  });

  it.each([
    ["a Promise", [Promise.resolve(put({ id }))], "items[0] is a Promise: await it"],
    ["a function", [() => put({ id })], "items[0] must be plain data"],
    ["an item with a function in it", [put({ id, value: { S: () => "x" } })], "items[0] must be plain data"],
    ["PutItemCommand", [new PutItemCommand({ TableName: "orders", Item: { id } })], "{ Put: command.input }"],
    ["UpdateItemCommand", [new UpdateItemCommand({ TableName: "orders", Key: { id } })], "is a command of the AWS SDK"],
    ["lib-dynamodb's PutCommand", [new PutCommand({ TableName: "orders", Item: { id: "x" } })], "marshall"],
    [
      "TransactWriteItemsCommand",
      [new TransactWriteItemsCommand({ TransactItems: [] })],
      "command.input.TransactItems",
    ],
  ])("%s: an error that says what to do with it", async (_name, items, words) => {
    await expectRefusal(items, new RegExp(`^commit: .*${words.replace(/[[\]{}.]/g, "\\$&")}`));
  });
});

describe("instead of a list", () => {
  it.each([
    ["undefined", undefined, "got undefined"],
    ["null", null, "got null"],
    ["an item", put({ id }), "got an object"],
    ["a Promise of a list", Promise.resolve([put({ id })]), "got a Promise: await it"],
    ["TransactWriteItems' input", { TransactItems: [put({ id })] }, "got an object"],
    [
      "TransactWriteItemsCommand",
      new TransactWriteItemsCommand({ TransactItems: [] }),
      "elements of command.input.TransactItems",
    ],
    ["TransactWriteCommand", new TransactWriteCommand({ TransactItems: [] }), "marshall"],
    ["a Set", new Set([put({ id })]), "got Set"],
    ["a string", "Put", "got a string"],
  ])("%s: an error", async (_name, items, words) => {
    await expectRefusal(items, /^commit: items must be an array of at most 99 TransactWriteItems, got /);
    await expectRefusal(items, words);
  });
});

describe("what an action takes", () => {
  it.each([
    ["no table", { Put: { Item: { id } } }, "items[0].Put.TableName must be a non-empty string, got undefined"],
    [
      "an empty name of a table",
      put({ id }, { TableName: "" }),
      'items[0].Put.TableName must be a non-empty string, got ""',
    ],
    [
      "a table that is no string",
      put({ id }, { TableName: 5 }),
      "items[0].Put.TableName must be a non-empty string, got a number",
    ],
    ["no Item", { Put: { TableName: "orders" } }, "items[0].Put.Item must be an object, got undefined"],
    ["a list as Item", put([id]), "items[0].Put.Item must be an object, got Array"],
    ["a Map as Item", put(new Map([["id", id]])), "items[0].Put.Item must be an object, got Map"],
    ["null as an action", { Put: null }, "items[0].Put must be an object, got null"],
    [
      "a list as an action",
      { Put: [{ TableName: "orders", Item: { id } }] },
      "items[0].Put must be an object, got Array",
    ],
    ["no Key", { Delete: { TableName: "orders" } }, "items[0].Delete.Key must be an object, got undefined"],
    ["the Item of a Put", { Delete: { TableName: "orders", Item: { id } } }, "items[0].Delete.Key must be an object"],
    [
      "an Item beside a Key",
      { Delete: { TableName: "orders", Key: { id }, Item: { id } } },
      "items[0].Delete takes TableName, Key, ",
    ],
    [
      "no UpdateExpression",
      update({ UpdateExpression: undefined }),
      "items[0].Update.UpdateExpression must be a non-empty string",
    ],
    ["AttributeUpdates", update({ AttributeUpdates: {} }), "got AttributeUpdates"],
    [
      "no condition in a check",
      { ConditionCheck: { TableName: "orders", Key: { id } } },
      "items[0].ConditionCheck.ConditionExpression must be",
    ],
    [
      "a condition that is null",
      put({ id }, { ConditionExpression: null }),
      "items[0].Put.ConditionExpression must be a non-empty string, got null",
    ],
    [
      "a condition that is false",
      put({ id }, { ConditionExpression: false }),
      "items[0].Put.ConditionExpression must be a non-empty string, got a boolean",
    ],
    [
      "a condition that is empty",
      put({ id }, { ConditionExpression: "" }),
      'items[0].Put.ConditionExpression must be a non-empty string, got ""',
    ],
    ["a misspelt condition", put({ id }, { ConditionExpresion: "attribute_not_exists(id)" }), "got ConditionExpresion"],
    [
      "names in a Map",
      put({ id }, { ExpressionAttributeNames: new Map() }),
      "items[0].Put.ExpressionAttributeNames must be an object of strings",
    ],
    [
      "a name that is undefined",
      put({ id }, { ExpressionAttributeNames: { "#a": undefined } }),
      "must be an object of strings",
    ],
    [
      "values in a Map",
      update({ ExpressionAttributeValues: new Map() }),
      "items[0].Update.ExpressionAttributeValues must be an object, got Map",
    ],
  ])("%s: an error that names it", async (_name, item, words) => {
    await expectRefusal([item], new RegExp(`^commit: .*${words.replace(/[[\]{}.]/g, "\\$&")}`));
  });
});

describe("a value that would not be written as it stands there", () => {
  const circular: Record<string, unknown> = {};
  circular.M = { circular };

  it.each<[string, unknown, string]>([
    ["undefined", undefined, "got undefined"],
    ["null", null, "got null"],
    ["an empty one", {}, "got an object without a value"],
    ["a plain string", "x", "got a string"],
    ["a plain number", 5, "got a number"],
    ["a plain boolean", false, "got a boolean"],
    ["a plain object", { street: "x" }, "got an object"],
    ["a plain list", ["x"], "got Array"],
    ["a Date", new Date(), "got Date"],
    ["a Set", new Set(["x"]), "got Set"],
    ["N as a number", { N: 5 }, "got { N: a number }"],
    ["N as a bigint", { N: 5n }, "got { N: a bigint }"],
    ["S as a number", { S: 5 }, "got { S: a number }"],
    ["S as undefined", { S: undefined }, "got an object without a value"],
    ["S as null", { S: null }, "got { S: null }"],
    ["S as a Date", { S: new Date() }, "got { S: Date }"],
    ["two types", { S: "1", N: "1" }, "got an object"],
    ["a type in lower case", { s: "1" }, "got an object"],
    ["an unknown type", { X: "1" }, "got an object"],
    ["a type that objects inherit", { toString: "1" }, "got an object"],
    ["BOOL as a string", { BOOL: "false" }, "got { BOOL: a string }"],
    ["NULL as false", { NULL: false }, "got { NULL: a boolean }"],
    ["B as a string", { B: "abc" }, "got { B: a string }"],
    ["B as numbers", { B: [1, 2] }, "got { B: Array }"],
    ["B as an ArrayBuffer", { B: new ArrayBuffer(2) }, "got { B: ArrayBuffer }"],
    ["SS as a Set", { SS: new Set(["a"]) }, "got { SS: Set }"],
    ["SS with a hole", { SS: ["a", undefined] }, "got { SS: Array }"],
    ["NS of numbers", { NS: [1, 2] }, "got { NS: Array }"],
    ["BS of strings", { BS: ["a"] }, "got { BS: Array }"],
    ["L of plain values", { L: ["a", 1] }, "got { L: Array }"],
    ["L with undefined", { L: [undefined, { S: "a" }] }, "got { L: Array }"],
    ["L with a hole", { L: [{ S: "a" }, ...hole()] }, "got { L: Array }"],
    ["M with undefined", { M: { a: undefined } }, "got { M: an object without a value }"],
    ["M of plain values", { M: { a: "x" } }, "got { M: an object }"],
    ["M as a Map", { M: new Map([["a", { S: "x" }]]) }, "got { M: Map }"],
    ["a number deep inside", { L: [{ M: { a: { L: [{ N: 1 }] } } }] }, "got { L: Array }"],
  ])("%s: an error that names the attribute, in an item, a key and among values", async (_name, value, got) => {
    const words = (path: string) =>
      new RegExp(
        `^commit: items\\[0\\]\\.${path} must be an attribute value such as .*, ${got.replace(/[{}]/g, "\\$&")}: make it with marshall`,
      );
    await expectRefusal([withValue(value)], words('Put\\.Item\\["value"\\]'));
    await expectRefusal([{ Delete: { TableName: "orders", Key: { value } } }], words('Delete\\.Key\\["value"\\]'));
    await expectRefusal(
      [update({ ExpressionAttributeValues: { ":n": value } })],
      words('Update\\.ExpressionAttributeValues\\[":n"\\]'),
    );
  });

  it("a value that contains itself is an error too", async () => {
    await expectRefusal([withValue(circular)], /items\[0\] must be plain data/);
  });

  it("the error shows nothing of what is in it", async () => {
    const { locks } = aProcess(table.tableName);
    const lock = await locks.acquire(freshKey());
    const error: unknown = await lock
      .commit([withValue({ M: { "secret-name": "secret-value" } })] as never)
      .catch((e) => e);
    expect(String(error)).not.toContain("secret");
  });
});

describe("the lock's own item", () => {
  it("among the items is an error: commit checks and finishes it by itself", async () => {
    const { locks, state } = aProcess(table.tableName);
    const lock = await locks.acquire([freshKey(), freshKey()]);
    state.sent.length = 0;
    const [first, second] = lock.keys as [string, string];
    const at = (key: string) => ({ TableName: table.tableName, Key: { lock_id: { S: key } } });
    const own: TransactWriteItem[] = [
      { ConditionCheck: lock.condition(first) },
      { ConditionCheck: lock.condition(second) },
      { Delete: at(second) },
      { Update: { ...at(first), UpdateExpression: "SET a = :a", ExpressionAttributeValues: { ":a": { S: "x" } } } },
      { Put: { TableName: table.tableName, Item: { lock_id: { S: first } } } },
      { Delete: { ...at(first), TableName: `arn:aws:dynamodb:eu-west-1:123456789012:table/${table.tableName}` } },
    ];
    const good: TransactWriteItem = { Put: { TableName: orders.tableName, Item: { lock_id: { S: first } } } };
    for (const item of own) {
      await expect(lock.commit([good, item])).rejects.toThrow("commit: items[1] is about the lock's own item");
    }
    expect([state.sent, lock.status]).toEqual([[], "held"]);
  });

  it("is not one with the same key in another table, nor with another key in the same", async () => {
    const { locks } = aProcess(table.tableName);
    const lock = await locks.acquire(freshKey());
    const other = freshKey();
    await lock.commit([
      { Put: { TableName: orders.tableName, Item: { lock_id: { S: lock.key } } } },
      { Put: { TableName: table.tableName, Item: { lock_id: { S: other } } } },
    ]);
    expect([await orders.item(lock.key), await table.item(other)]).toEqual([expect.anything(), expect.anything()]);
  });

  it("in a table with a sort key is the one under the lock's value", async () => {
    const tableName = `${table.tableName}-sorted`;
    await createLockTable(table.client, { tableName, sortKey: { attribute: "sk", type: "S" } });
    const { locks } = aProcess(tableName, { sortKey: { attribute: "sk", value: "lock" } });
    const lock = await locks.acquire(freshKey());
    const beside = (sk: string) => ({
      Put: { TableName: tableName, Item: { lock_id: { S: lock.key }, sk: { S: sk } } },
    });
    await expect(lock.commit([beside("lock")])).rejects.toThrow("the lock's own item");
    await lock.commit([beside("order")]);
    expect(lock.status).toBe("finished");
  });
});

describe("what is well formed", () => {
  it("is written as it stands there, whatever its types", async () => {
    const { locks } = aProcess(table.tableName);
    const lock = await locks.acquire(freshKey());
    const value = {
      s: { S: "" },
      n: { N: "1.5" },
      b: { B: Buffer.from("abc") },
      yes: { BOOL: false },
      nothing: { NULL: true as const },
      ss: { SS: ["a"] },
      ns: { NS: ["1", "2"] },
      bs: { BS: [new Uint8Array([1])] },
      l: { L: [{ S: "a" }, { L: [] }] },
      m: { M: { a: { M: {} } } },
      absent: { S: "x", N: undefined as never },
    };
    await lock.commit([
      { Put: { TableName: orders.tableName, Item: { lock_id: { S: lock.key }, value: { M: value } } } },
    ]);
    expect((await orders.item(lock.key))?.value?.M).toMatchObject({
      s: { S: "" },
      n: { N: "1.5" },
      m: { M: { a: { M: {} } } },
    });
  });

  it("is what marshall makes of a document, of an instance of a class, and without a prototype", async () => {
    const { locks } = aProcess(table.tableName);
    class Order {
      readonly total = 5;
      readonly lock_id: string;
      constructor(id: string) {
        this.lock_id = id;
      }
    }
    for (const make of [
      (key: string) => marshall({ lock_id: key, total: 5 }),
      (key: string) => marshall(new Order(key), { convertClassInstanceToMap: true }),
      (key: string) => Object.assign(Object.create(null), marshall({ lock_id: key, total: 5 })),
    ]) {
      const lock = await locks.acquire(freshKey());
      await lock.commit([{ Put: { TableName: orders.tableName, Item: make(lock.key) } }]);
      expect((await orders.item(lock.key))?.total).toEqual({ N: "5" });
    }
  });

  it("may leave out what is optional by undefined", async () => {
    const { locks } = aProcess(table.tableName);
    const lock = await locks.acquire(freshKey());
    const Item = { lock_id: { S: lock.key } };
    const item = { Update: undefined, Put: { TableName: orders.tableName, Item, ConditionExpression: undefined } };
    await lock.commit([item as unknown as TransactWriteItem]);
    expect(await orders.item(lock.key)).toBeDefined();
  });

  it("may be nothing at all: a finish by a transaction", async () => {
    const { locks } = aProcess(table.tableName);
    const lock = await locks.acquire(freshKey());
    await lock.commit([]);
    expect(lock.status).toBe("finished");
  });
});

describe("what DynamoDB refuses", () => {
  const at = (key: string, tableName = orders.tableName) => ({ TableName: tableName, Key: { lock_id: { S: key } } });
  const committing = async (items: TransactWriteItem[], wire?: Wire) => {
    const { locks, state } = aProcess(table.tableName);
    const lock = await locks.acquire(freshKey());
    if (wire) state.wire = wire;
    const error = (await lock.commit(items).catch((e: unknown) => e)) as Error;
    if (wire) state.wire = async ({ send }) => send();
    expect(lock.status).toBe("held");
    await lock.release();
    return error;
  };

  it("a table that is missing: its error names the tables", async () => {
    const error = await committing([{ Delete: at("x") }, { Delete: at("x", "orders-of-nowhere") }]);
    expect(error.name).toBe("ResourceNotFoundException");
    expect(error.message).toContain("orders-of-nowhere");
    expect(error.stack).toContain(error.message);
  });

  it("a condition that fails: its error names the item, and keeps the reasons", async () => {
    const key = freshKey();
    const check = { ...at(key), ConditionExpression: "attribute_exists(lock_id)" };
    const error = await committing([{ Delete: at(`${key}-a`) }, { ConditionCheck: check }]);
    expect(error).toMatchObject({ name: "TransactionCanceledException" });
    expect((error as { CancellationReasons?: unknown[] }).CancellationReasons).toHaveLength(3);
    expect(error.message).toContain(`items[1] (ConditionCheck on ${orders.tableName}): ConditionalCheckFailed`);
    expect(error.message).not.toContain("items[0]");
  });

  it("two actions on one item: its own error, and the lock is held", async () => {
    const error = await committing([
      { Delete: at("same") },
      { Put: { TableName: orders.tableName, Item: { lock_id: { S: "same" } } } },
    ]);
    expect(error.message).toMatch(/multiple operations on one item/i);
  });

  it("a key of another type: its error", async () => {
    const error = await committing([{ Delete: { TableName: orders.tableName, Key: { lock_id: { N: "5" } } } }]);
    expect(error.name).toMatch(/ValidationException|TransactionCanceledException/);
  });

  it("for lack of a permission: AWS's own words, and which permissions the items need", async () => {
    const words =
      "User: arn:aws:sts::1:assumed-role/r is not authorized to perform: dynamodb:PutItem on resource: orders";
    const error = await committing(
      [{ Delete: at("x") }, { Put: { TableName: "ledger", Item: { id } } }, { Delete: at("y") }],
      async ({ name, send }) => {
        if (name !== "TransactWriteItems") return send();
        throw Object.assign(new Error(words), { name: "AccessDeniedException", $metadata: { httpStatusCode: 400 } });
      },
    );
    expect(error.name).toBe("AccessDeniedException");
    expect(error.message).toBe(
      `${words}: the items need dynamodb:DeleteItem on ${orders.tableName}, dynamodb:PutItem on ledger`,
    );
  });
});

describe("a commit of a lock that is none any more", () => {
  it.each(["release", "finish"] as const)("after %s is a LockLostError", async (end) => {
    const { locks, state } = aProcess(table.tableName);
    const lock = await locks.acquire(freshKey());
    await lock[end]();
    state.sent.length = 0;
    await expect(lock.commit([])).rejects.toMatchObject({ code: "LOCK_LOST", reason: "released" });
    await expect(lock.commit([undefined] as never)).rejects.toMatchObject({ code: "LOCK_OPTIONS" });
    expect(state.sent).toEqual([]);
  });
});

describe("what finish and release are given", () => {
  it.each([["x"], [5], [null], [() => {}], [true]])("%s is an error, and nothing is written", async (options) => {
    const { locks, state } = aProcess(table.tableName);
    const lock = await locks.acquire(freshKey());
    state.sent.length = 0;
    for (const end of ["finish", "release"] as const) {
      await expect(lock[end](options as never)).rejects.toThrow(`${end}: options must be an object`);
    }
    await expect(lock.commit([], options as never)).rejects.toThrow("commit: options must be an object");
    await expect(lock.finish({ statusCode: 200 } as never)).rejects.toThrow("finish: unknown option 'statusCode'");
    expect([state.sent, lock.status]).toEqual([[], "held"]);
  });
});
