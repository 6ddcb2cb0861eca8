/**
 * Records with one identifier and different keys: a message that stands twice in a batch with other contents, or what a library has
 * made of one aggregated Kinesis record. None of them is acknowledged unless all of them are done.
 */
import sqsPartialBatchFailure from "@middy/sqs-partial-batch-failure";
import type { KinesisStreamRecord } from "aws-lambda";
import { beforeAll, describe, expect, it } from "vitest";
import { LockBatchError, type LocksContext } from "../../src/index.ts";
import {
  consumer,
  dynamodbRecord,
  failing,
  failures,
  kinesisRecord,
  type OrderHandler,
  type OrderRecord,
  orderOf,
  shop,
  sqsRecord,
} from "../support/batches.ts";
import { lockTable } from "../support/dynamodb.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

/** `[identifier, order]` */
type Part = readonly [identifier: string, order: string];
const messages = (...parts: Part[]) => ({ Records: parts.map(([id, order]) => sqsRecord(id, order)) });
const groupOf = (...parts: Part[]) => ({
  Records: parts.map(([id, order]) => sqsRecord(id, order, { group: "red" })),
});
const readings = (...parts: Part[]) => ({
  Records: parts.map(([id, order]) => kinesisRecord(id, order, `partition of ${order}`)),
});
const changes = (...parts: Part[]) => ({ Records: parts.map(([id, order]) => dynamodbRecord(id, order)) });

const sources = [
  { source: "a queue", batch: messages },
  { source: "a FIFO queue", batch: groupOf },
  { source: "Kinesis", batch: readings },
  { source: "DynamoDB Streams", batch: changes },
];

describe.each(sources)("$source", ({ batch }) => {
  const all = batch(["1001", "a"], ["1001", "b"], ["1001", "c"]);

  it("all of them run, and are finished", async () => {
    const { options, statuses } = shop(table);
    const { invoke, given } = consumer(options);
    expect(await invoke(all)).toEqual(failures());
    expect(given()).toEqual([["a", "b", "c"]]);
    expect(await statuses("a", "b", "c")).toEqual(["FINISHED", "FINISHED", "FINISHED"]);
  });

  it.each<[string, OrderHandler]>([
    ["by its identifier", async () => failures("1001")],
    ["by its position", failing("b")],
  ])("if one of them fails %s, all of them fail, and run again", async (_name, handler) => {
    const { options, statuses } = shop(table);
    const { invoke, run, given } = consumer(options, async () => undefined);
    run.mockImplementationOnce(handler);
    expect(await invoke(all)).toEqual(failures("1001"));
    expect(await statuses("a", "b", "c")).toEqual(["RELEASED", "RELEASED", "RELEASED"]);
    expect(await invoke(all)).toEqual(failures());
    expect(given()).toEqual([
      ["a", "b", "c"],
      ["a", "b", "c"],
    ]);
  });

  it("only an equal key makes a repeat", async () => {
    const { options } = shop(table);
    const { invoke, given } = consumer(options);
    expect(await invoke(batch(["1001", "a"], ["1001", "b"], ["1001", "a"], ["1002", "b"]))).toEqual(failures());
    expect(given()).toEqual([["a", "b"]]);
  });

  it("if one of them is held, the identifier comes back, and what has been done of it is not done again", async () => {
    const { options, heldByAnother } = shop(table);
    const lock = await heldByAnother("b");
    const { invoke, given } = consumer(options);
    expect(await invoke(all)).toEqual(failures("1001"));
    await lock.release();
    expect(await invoke(all)).toEqual(failures());
    expect(given().flat().toSorted()).toEqual(["a", "b", "c"]);
  });

  it("if the key function throws for one of them, the identifier comes back", async () => {
    const { options } = shop(table);
    const key = (record: OrderRecord) => {
      if (orderOf(record) === "a") throw new Error("no a");
      return orderOf(record);
    };
    const { invoke } = consumer({ ...options, key });
    expect(await invoke(all)).toEqual(failures("1001"));
  });

  it("if one of them has run before, the others run", async () => {
    const { options, finishedBefore } = shop(table);
    await finishedBefore("a");
    const { invoke, given } = consumer(options);
    expect(await invoke(all)).toEqual(failures());
    expect(given()).toEqual([["b", "c"]]);
  });

  it("without keys, all of them run without locks", async () => {
    const { options, sent } = shop(table);
    const { invoke, given } = consumer({ ...options, key: () => undefined, onMissingKey: "run" });
    expect(await invoke(all)).toEqual(failures());
    expect([given(), sent]).toEqual([[["a", "b", "c"]], []]);
  });

  it("disabled, all of them run", async () => {
    const { options, sent } = shop(table);
    const { invoke, given } = consumer({ ...options, disabled: true });
    expect(await invoke(all)).toEqual(failures());
    expect([given(), sent]).toEqual([[["a", "b", "c"]], []]);
  });

  it("results may come in another order, with the records", async () => {
    const { options, statuses } = shop(table);
    const handler: OrderHandler = ({ Records }, context) => {
      Records.reverse();
      return failing("d")({ Records } as never, context);
    };
    const { invoke } = consumer(options, handler);
    expect(await invoke(batch(["1001", "a"], ["1001", "b"], ["1002", "c"], ["1003", "d"]))).toEqual(failures("1003"));
    expect(await statuses("a", "b", "c", "d")).toEqual(["FINISHED", "FINISHED", "FINISHED", "RELEASED"]);
  });

  it("results without their records fail the batch", async () => {
    const { options, statuses } = shop(table);
    const handler: OrderHandler = async ({ Records }) => {
      const [first, , third] = Records as [OrderRecord, OrderRecord, OrderRecord];
      Records.splice(0, 3, first as never, third as never, third as never);
      return Promise.allSettled([1, 2, 3]);
    };
    const { invoke } = consumer(options, handler);
    const event = batch(["1001", "a"], ["1001", "b"], ["1002", "c"]);
    await expect(invoke(event)).rejects.toBeInstanceOf(LockBatchError);
    expect(await statuses("a", "b", "c")).toEqual(["RELEASED", "RELEASED", "RELEASED"]);
  });
});

describe("what stands between them", () => {
  it("in a message group it comes back too, if they fail", async () => {
    const { options, statuses } = shop(table);
    const { invoke } = consumer(options, async () => failures("m1"));
    expect(await invoke(groupOf(["m1", "a"], ["m2", "b"], ["m1", "c"]))).toEqual(failures("m1", "m2"));
    expect(await statuses("a", "b", "c")).toEqual(["RELEASED", "RELEASED", "RELEASED"]);
  });

  it("in a stream it comes back from the lowest on, wherever that stands", async () => {
    const { options, heldByAnother } = shop(table);
    const { invoke } = consumer(options);
    const lock = await heldByAnother("b");
    const event = readings(["1001", "a"], ["1002", "b"], ["1001", "c"], ["1003", "d"]);
    expect(await invoke(event)).toEqual(failures("1001"));
    await lock.release();
    expect(await invoke(event)).toEqual(failures());
  });

  it("a middleware that has sorted a stream's records loses none", async () => {
    const { options, heldByAnother } = shop(table);
    const lock = await heldByAnother("b");
    const { invoke, given } = consumer(options);
    const event = readings(["10", "b"], ["9", "a"]);
    expect(await invoke(event)).toEqual(failures("9"));
    await lock.release();
    expect(await invoke(event)).toEqual(failures());
    expect(given()).toEqual([["b", "a"]]);
  });
});

describe("context.locks.get", () => {
  const event = messages(["m1", "a"], ["m1", "b"], ["m2", "c"]);
  const keysOf = (options: { namespace: string }, ...orders: string[]) =>
    orders.map((order) => `${options.namespace}#${order}`);

  it("finds each record's own lock, also if the handler has changed the record", async () => {
    const { options } = shop(table);
    let keys: string[] = [];
    const { invoke } = consumer(options, async ({ Records }, { locks }) => {
      for (const record of Records) Object.assign(record, { messageId: "changed" });
      keys = Records.map((record) => locks.get(record).key);
    });
    expect(await invoke(structuredClone(event))).toEqual(failures());
    expect(keys).toEqual(keysOf(options, "a", "b", "c"));
  });

  it("finds that of a copy by its identifier, and does not guess where several records have that", async () => {
    const { options, statuses } = shop(table);
    const { invoke } = consumer(options, async ({ Records }, { locks }: LocksContext) => {
      const [first, , third] = structuredClone(Records);
      expect(locks.get(third).key).toBe(`${options.namespace}#c`);
      locks.get(first);
    });
    await expect(invoke(event)).rejects.toThrow(
      /locks.get: this is a copy of a record, and 2 records .* identifier m1: give the record itself/,
    );
    expect(await statuses("a", "b", "c")).toEqual(["RELEASED", "RELEASED", "RELEASED"]);
  });

  it("of a copy counts only those that the handler was given", async () => {
    const { options, finishedBefore } = shop(table);
    await finishedBefore("a");
    let keys: string[] = [];
    const { invoke } = consumer(options, async ({ Records }, { locks }) => {
      keys = structuredClone(Records as object[]).map((record) => locks.get(record as OrderRecord).key);
    });
    expect(await invoke(event)).toEqual(failures());
    expect(keys).toEqual(keysOf(options, "b", "c"));
  });

  it("gives no lock of another for a record that the handler was not given", async () => {
    const { options, heldByAnother } = shop(table);
    await heldByAnother("b");
    const { invoke } = consumer(options, (_event, { locks }) => void locks.get(event.Records[1] as OrderRecord));
    await expect(invoke(event)).rejects.toThrow(/none of the records that the handler was given/);
  });

  it("has one answer for a record that stands there twice, and none where that has two keys", async () => {
    const { options } = shop(table);
    const [record] = messages(["m1", "a"]).Records as [OrderRecord];
    const unlocked = consumer(
      { ...options, key: () => undefined, onMissingKey: "run" },
      ({ Records }, { locks }) => void expect(Records.map((one) => locks.get(one))).toEqual([undefined, undefined]),
    );
    expect(await unlocked.invoke({ Records: [record, record] })).toEqual(failures());
    let calls = 0;
    const { invoke } = consumer(
      { ...options, key: () => `a${++calls}` },
      ({ Records: [one] }, { locks }) => void locks.get(one as OrderRecord),
    );
    await expect(invoke({ Records: [record, record] })).rejects.toThrow(/this record several times/);
  });
});

it("@middy/sqs-partial-batch-failure outside names each identifier that comes back", async () => {
  const { options, statuses, heldByAnother } = shop(table);
  await heldByAnother("b");
  const { invoke } = consumer(options, failing("c"), { before: [sqsPartialBatchFailure({ logger: () => {} })] });
  const event = messages(["m1", "a"], ["m1", "b"], ["m2", "c"], ["m3", "d"]);
  expect(await invoke(event)).toEqual(failures("m1", "m2"));
  expect(await statuses("a", "c", "d")).toEqual(["FINISHED", "RELEASED", "FINISHED"]);
});

it("the parts of an aggregated Kinesis record are each finished under their own key", async () => {
  const { options, statuses } = shop(table);
  const aggregated = kinesisRecord("1001", "a");
  const parts = ["a", "b"].map((order, subSequenceNumber): KinesisStreamRecord => {
    const data = Buffer.from(JSON.stringify({ order })).toString("base64");
    return { ...aggregated, kinesis: { ...aggregated.kinesis, ...{ subSequenceNumber }, data } };
  });
  const { invoke, given } = consumer(options);
  expect(await invoke({ Records: [...parts, kinesisRecord("1002", "c")] })).toEqual(failures());
  expect(given()).toEqual([["a", "b", "c"]]);
  expect(await statuses("a", "b", "c")).toEqual(["FINISHED", "FINISHED", "FINISHED"]);
});
