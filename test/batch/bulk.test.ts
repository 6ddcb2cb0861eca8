/** Batches with `bulk`: how few requests they send, and that nothing else is other than without it. */
import { beforeAll, describe, expect, it } from "vitest";
import { type DynamoLockBatchOptions, LockClient, withLockBatch } from "../../src/index.ts";
import { attributeOf, FIELDS } from "../../src/protocol/fields.ts";
import { consumer, failing, failures, fifo, type OrderRecord, orderOf, queue, shop } from "../support/batches.ts";
import { lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

const many = (count: number, prefix = "o") => Array.from({ length: count }, (_, index) => `${prefix}${index}`);

const bulkShop = (...more: Parameters<typeof shop>) => {
  const { options, ...rest } = shop(...more);
  return { ...rest, options: { ...options, bulk: true } };
};

/** How many requests of each kind were sent since it was last asked. */
const counts = (sent: string[]) => {
  const all = sent.splice(0);
  return Object.fromEntries([...new Set(all)].map((name) => [name, all.filter((each) => each === name).length]));
};

describe("a batch with `bulk`", () => {
  it("of ten new records is two requests", async () => {
    const { options, sent, statuses } = bulkShop(table);
    const { invoke, given } = consumer(options);
    expect(await invoke(queue(...many(10)))).toEqual(failures());
    expect(given()).toEqual([many(10)]);
    expect(sent).toEqual(["BatchExecuteStatement", "BatchExecuteStatement"]);
    expect(new Set(await statuses(...many(10)))).toEqual(new Set(["FINISHED"]));
  });

  it("of ten finished repeats is two requests, and then one", async () => {
    const { options, sent, finishedBefore, types } = bulkShop(table);
    await finishedBefore(...many(10));
    const { invoke, run } = consumer(options);
    expect(await invoke(queue(...many(10)))).toEqual(failures());
    expect(sent.splice(0)).toEqual(["BatchExecuteStatement", "BatchGetItem"]);
    expect(await invoke(queue(...many(10)))).toEqual(failures());
    expect(sent).toEqual(["BatchGetItem"]);
    expect(run).not.toHaveBeenCalled();
    expect(types()).toEqual(Array(20).fill("dropped"));
  });

  it.each([
    [100, 8],
    [1_000, 80],
  ])("of %i new records is %i requests", async (size, requests) => {
    const { options, sent } = bulkShop(table);
    const { invoke } = consumer(options);
    expect(await invoke(queue(...many(size)))).toEqual(failures());
    expect(counts(sent)).toEqual({ BatchExecuteStatement: requests });
  });

  it("of a thousand finished repeats is twenty requests, once it knows that they come", async () => {
    const { options, sent } = bulkShop(table);
    const { invoke } = consumer(options);
    await invoke(queue(...many(1_000)));
    await invoke(queue(...many(50)));
    counts(sent);
    expect(await invoke(queue(...many(1_000)))).toEqual(failures());
    expect(counts(sent)).toEqual({ BatchGetItem: 20 });
  });

  it("of ten records of one message group takes them together, and finishes them one after the other", async () => {
    const { options, sent } = bulkShop(table);
    const { invoke } = consumer(options);
    expect(await invoke(fifo(...many(10).map((order) => ["red", order] as const)))).toEqual(failures());
    expect(counts(sent)).toEqual({ BatchExecuteStatement: 1, UpdateItem: 10 });
  });

  it("of one record is as without it", async () => {
    const { options, sent } = bulkShop(table);
    expect(await consumer(options).invoke(queue("a"))).toEqual(failures());
    expect(sent).toEqual(["UpdateItem", "UpdateItem"]);
  });

  it("is so around a plain handler, too", async () => {
    const { options, sent } = bulkShop(table);
    const handler = withLockBatch(async () => undefined, options as DynamoLockBatchOptions<OrderRecord>);
    expect(await handler(queue(...many(10)) as { Records: OrderRecord[] }, lambdaContext())).toEqual(failures());
    expect(sent).toHaveLength(2);
  });

  it("works with the locks of a LockClient, and its memory is that client's", async () => {
    const { options, client, namespace, sent, finishedBefore } = bulkShop(table);
    await finishedBefore(...many(10));
    const locks = new LockClient({ client, tableName: table.tableName, namespace });
    const own = { key: options.key, bulk: true, locks };
    await consumer(own).invoke(queue(...many(10)));
    await consumer(own).invoke(queue(...many(10)));
    expect(counts(sent)).toEqual({ BatchExecuteStatement: 1, BatchGetItem: 2 });
  });

  it("sends nothing while locks are disabled", async () => {
    const { options, sent } = bulkShop(table);
    expect(await consumer({ ...options, disabled: true }).invoke(queue("a", "b"))).toEqual(failures());
    expect(sent).toEqual([]);
  });

  it("gives what failed back with the others, in one request", async () => {
    const { options, sent, statuses } = bulkShop(table);
    expect(await consumer(options, failing("b")).invoke(queue("a", "b", "c"))).toMatchObject(failures("m2"));
    expect(sent).toHaveLength(2);
    expect(await statuses("a", "b", "c")).toEqual(["FINISHED", "RELEASED", "FINISHED"]);
  });

  it("what another run holds comes back, what is free again runs, what is new runs, and what is finished is dropped", async () => {
    const { options, finishedBefore, heldByAnother, types, statuses } = bulkShop(table);
    await finishedBefore("b");
    await heldByAnother("c");
    await (await heldByAnother("d")).release();
    const { invoke, given } = consumer(options);
    expect(await invoke(queue("a", "b", "c", "d", "e"))).toEqual(failures("m3"));
    expect(given()).toEqual([["a", "d", "e"]]);
    expect(await statuses("a", "b", "c", "d", "e")).toEqual([
      "FINISHED",
      "FINISHED",
      "IN_PROGRESS",
      "FINISHED",
      "FINISHED",
    ]);
    expect(types().toSorted()).toEqual([...Array(3).fill("acquired"), "dropped", ...Array(3).fill("finished"), "held"]);
  });

  it("a payload that is another one is found among the repeats, and only that record comes back", async () => {
    const { options } = bulkShop(table);
    let payload = "one";
    const fingerprint = (record: OrderRecord) => (orderOf(record) === "b" ? payload : "same");
    const { invoke } = consumer({ ...options, fingerprint });
    await invoke(queue("a", "b", "c"));
    payload = "another";
    expect(await invoke(queue("a", "b", "c"))).toEqual(failures("m2"));
  });
});

describe("a record", () => {
  /** Of the same batch with and without `bulk`, taken or finished: the attributes and their types. */
  const shapes = async (bulk: boolean, handler?: Parameters<typeof consumer>[1]) => {
    const { options, namespace } = shop(table);
    const seen: unknown[] = [];
    const look = async (order: string) => {
      const item = (await table.item(`${namespace}#${order}`)) ?? {};
      const { fence, acquired_at, expires_at, ttl, updated_at } = item;
      seen.push({
        types: Object.fromEntries(
          Object.entries(item)
            .map(([name, value]) => [name, Object.keys(value)[0]])
            .toSorted(),
        ),
        fence: Number(fence?.N) - Number(acquired_at?.N),
        sameStart: updated_at?.N === acquired_at?.N,
        ttl: Math.floor((Number(ttl?.N) * 1_000 - Number(expires_at?.N)) / 1_000),
        status: item.status,
        owner: item.owner_id,
        fingerprint: item.fingerprint,
      });
    };
    const { invoke } = consumer({ ...options, bulk, fingerprint: () => "payload" }, async (event, context) => {
      await look("a");
      return handler?.(event, context);
    });
    await invoke(queue("a", "b"), lambdaContext({ awsRequestId: "request" } as never));
    await look("a");
    return seen.map((shape) => ({ ...(shape as object), sameStart: undefined }));
  };

  it("is the same, attribute by attribute, as one of ordinary requests: taken, finished, released", async () => {
    for (const handler of [undefined, failing("a")]) {
      expect(await shapes(true, handler)).toEqual(await shapes(false, handler));
    }
    expect(attributeOf("fencingToken")).toBe(FIELDS.fencingToken?.[0]);
  });
});

describe("keys that usually exist already", () => {
  const released = async ({ heldByAnother }: ReturnType<typeof bulkShop>, orders: readonly string[]) => {
    for (const order of orders) await (await heldByAnother(order)).release();
  };

  it("are not inserted any more, and are when most are new again", async () => {
    const own = bulkShop(table);
    const { options, sent } = own;
    const { invoke } = consumer(options, failing(...many(10)));
    await released(own, many(10));
    await invoke(queue(...many(10)));
    expect(counts(sent)).toEqual({ BatchExecuteStatement: 2, BatchGetItem: 1, UpdateItem: 10 });
    await invoke(queue(...many(10)));
    expect(counts(sent)).toEqual({ BatchExecuteStatement: 1, UpdateItem: 10 }); // they are released together
    await invoke(queue(...many(10, "new")));
    expect(counts(sent)).toEqual({ BatchExecuteStatement: 1, UpdateItem: 10 });
    await invoke(queue(...many(10, "newer")));
    expect(counts(sent)).toEqual({ BatchExecuteStatement: 2 });
  });

  it("new records among repeats are inserted behind the look at them", async () => {
    const { options, sent, finishedBefore } = bulkShop(table);
    await finishedBefore(...many(10));
    const { invoke, given } = consumer(options);
    await invoke(queue(...many(10)));
    counts(sent);
    expect(await invoke(queue(...many(5), ...many(5, "new")))).toEqual(failures());
    expect(given()).toEqual([many(5, "new")]);
    expect(counts(sent)).toEqual({ BatchGetItem: 1, BatchExecuteStatement: 2 });
  });
});
