/** FIFO queues and streams: what stands behind a record that comes back waits for it, whatever happens. */
import fc from "fast-check";
import { beforeAll, describe, expect, it, vi } from "vitest";
import type { BatchResponse, Lock } from "../../src/index.ts";
import {
  consumer,
  dynamodbRecord,
  dynamodbStream,
  failing,
  failures,
  fifo,
  kinesis,
  kinesisRecord,
  type OrderRecord,
  orderOf,
  shop,
  sqsRecord,
} from "../support/batches.ts";
import { actBefore, lockTable } from "../support/dynamodb.ts";
import { turn } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

describe("a FIFO queue", () => {
  it("a group stops at its first held message, and gives back what it took behind that; other groups go on", async () => {
    const { options, heldByAnother, statuses } = shop(table);
    await heldByAnother("r2");
    const { invoke, given } = consumer(options);
    const event = fifo(["red", "r1"], ["blue", "b1"], ["red", "r2"], ["red", "r3"], ["blue", "b2"]);
    expect(await invoke(event)).toEqual(failures("m3", "m4"));
    expect(given()).toEqual([["r1", "b1", "b2"]]);
    expect(await statuses("r1", "r2", "r3", "b1", "b2")).toEqual([
      "FINISHED",
      "IN_PROGRESS",
      "RELEASED",
      "FINISHED",
      "FINISHED",
    ]);
  });

  it("a group stops at its first failure: what the handler did behind it is released, and comes back", async () => {
    const { options, statuses } = shop(table);
    const { invoke } = consumer(options, failing("r2"));
    const event = fifo(["red", "r1"], ["red", "r2"], ["blue", "b1"], ["red", "r3"]);
    expect(await invoke(event)).toEqual(failures("m2", "m4"));
    expect(await statuses("r1", "r2", "r3", "b1")).toEqual(["FINISHED", "RELEASED", "RELEASED", "FINISHED"]);
  });

  it("repeats that are finished come back too, behind a message that does", async () => {
    const { options, finishedBefore, heldByAnother } = shop(table);
    await finishedBefore("r1", "r3");
    await heldByAnother("r2");
    const { invoke } = consumer(options);
    expect(await invoke(fifo(["red", "r1"], ["red", "r2"], ["red", "r3"]))).toEqual(failures("m2", "m3"));
  });

  it("message groups of a standard queue, which are about fairness, have no order", async () => {
    const { options, heldByAnother } = shop(table);
    await heldByAnother("a");
    const { invoke, given } = consumer(options);
    const fair = ["a", "b"].map((order, index) => sqsRecord(`m${index + 1}`, order, { group: "tenant", fifo: false }));
    expect(await invoke({ Records: fair })).toEqual(failures("m1"));
    expect(given()).toEqual([["b"]]);
  });
});

describe.each([
  { stream: "Kinesis", batch: kinesis },
  { stream: "DynamoDB Streams", batch: dynamodbStream },
])("$stream", ({ batch }) => {
  it("the batch stops at its first held record, whose sequence number is reported", async () => {
    const { options, heldByAnother, statuses } = shop(table);
    await heldByAnother("c");
    const { invoke, given } = consumer(options);
    expect(await invoke(batch("a", "b", "c", "d", "e"))).toEqual(failures("1003"));
    expect(given()).toEqual([["a", "b"]]);
    expect(await statuses("a", "b", "c")).toEqual(["FINISHED", "FINISHED", "IN_PROGRESS"]);
    expect(await statuses("d", "e")).toEqual(["RELEASED", "RELEASED"]);
  });

  it("it stops at its first failure, also where the handler reports later ones first", async () => {
    const { options, statuses } = shop(table);
    const { invoke } = consumer(options, async () => failures("1004", "1002"));
    expect(await invoke(batch("a", "b", "c", "d"))).toEqual(failures("1002"));
    expect(await statuses("a", "b", "c", "d")).toEqual(["FINISHED", "RELEASED", "RELEASED", "RELEASED"]);
  });

  it("what is finished ahead of the first held record is acknowledged", async () => {
    const { options, heldByAnother, finishedBefore } = shop(table);
    await finishedBefore("a", "b");
    await heldByAnother("c");
    const { invoke, run } = consumer(options);
    expect(await invoke(batch("a", "b", "c"))).toEqual(failures("1003"));
    expect(run).not.toHaveBeenCalled();
  });

  it("nothing more is tried for once a record is known to be held, and what was on its way is given back", async () => {
    const { options, client, heldByAnother, sent, statuses } = shop(table);
    await heldByAnother("o0");
    const refused = Promise.withResolvers<void>();
    let requests = 0;
    client.middlewareStack.add(
      (next) => async (args) => {
        if (++requests === 1) return next(args).finally(refused.resolve);
        await refused.promise;
        return next(args);
      },
      { step: "initialize", name: "first-comes-first" },
    );
    const { invoke } = consumer({ ...options, concurrency: 5 });
    const orders = Array.from({ length: 100 }, (_, index) => `o${index}`);
    expect(await invoke(batch(...orders))).toEqual(failures("1001"));
    expect(sent).toHaveLength(5 + 4);
    expect(await statuses("o1", "o4", "o5")).toEqual(["RELEASED", "RELEASED", undefined]);
  });
});

describe("records about one thing are finished in their order, so that a crash leaves no gap", () => {
  it.each([
    {
      of: "a partition key",
      records: [kinesisRecord("1", "a1", "a"), kinesisRecord("2", "b1", "b"), kinesisRecord("3", "a2", "a")],
    },
    {
      of: "an item",
      records: [
        { ...dynamodbRecord("1", "a1"), dynamodb: { ...dynamodbRecord("1", "a1").dynamodb, Keys: { id: { S: "a" } } } },
        { ...dynamodbRecord("2", "b1"), dynamodb: { ...dynamodbRecord("2", "b1").dynamodb, Keys: { id: { S: "b" } } } },
        { ...dynamodbRecord("3", "a2"), dynamodb: { ...dynamodbRecord("3", "a2").dynamodb, Keys: { id: { S: "a" } } } },
      ],
    },
    {
      of: "a message group",
      records: [
        sqsRecord("1", "a1", { group: "a" }),
        sqsRecord("2", "b1", { group: "b" }),
        sqsRecord("3", "a2", { group: "a" }),
      ],
    },
  ])("$of", async ({ records }) => {
    const { options, statuses, client } = shop(table);
    let whileFirstIsSlow: unknown;
    const { invoke } = consumer(options, async () => {
      actBefore(client, "UpdateItem", async () => {
        await vi.waitFor(async () => expect(await statuses("b1")).toEqual(["FINISHED"]));
        await turn();
        whileFirstIsSlow = await statuses("a1", "a2");
      });
    });
    await invoke({ Records: records });
    expect(whileFirstIsSlow).toEqual(["IN_PROGRESS", "IN_PROGRESS"]);
    expect(await statuses("a1", "b1", "a2")).toEqual(["FINISHED", "FINISHED", "FINISHED"]);
  });
});

describe("a lane of a stream, whatever a middleware before has made of the record", () => {
  const keysOf = (...all: unknown[]) => ({
    Records: all.map((Keys, index) => {
      const record = dynamodbRecord(`${index + 1}`, `${index}`);
      return { ...record, dynamodb: { ...record.dynamodb, Keys } };
    }),
  });
  /** The states of both records while the finish of the first is slow: until the second is as expected, or for a while. */
  const whileFirstIsSlow = async (event: { Records: object[] }, expected: "IN_PROGRESS" | "FINISHED") => {
    const { options, statuses, client } = shop(table);
    let seen: (string | undefined)[] = [];
    const { invoke } = consumer(options, async () => {
      actBefore(client, "UpdateItem", async () => {
        if (expected === "IN_PROGRESS") await turn(20);
        await vi.waitFor(async () => {
          seen = await statuses("0", "1");
          expect(seen[1]).toBe(expected);
        });
      });
    });
    expect(await invoke(event)).toEqual(failures());
    expect(await statuses("0", "1")).toEqual(["FINISHED", "FINISHED"]);
    return seen;
  };
  const circular: { self?: unknown } = {};
  circular.self = circular;
  const hostile = {
    toJSON: () => {
      throw new Error("no JSON");
    },
  };

  it.each<[string, unknown, unknown]>([
    ["a bigint", { id: 2n ** 64n }, { id: 2n ** 64n }],
    ["a Set", { id: new Set(["a", "b"]) }, { id: new Set(["b", "a"]) }],
    ["a Map", { id: new Map([["a", 1n]]) }, { id: new Map([["a", 1n]]) }],
    ["bytes", { id: new Uint8Array([1, 2]) }, { id: new Uint8Array([1, 2]) }],
    ["a Buffer", { id: Buffer.from("a") }, { id: Buffer.from("a") }],
    ["base64", { id: { B: "AQI=" } }, { id: { B: "AQI=" } }],
    ["a Date", { id: new Date(0) }, { id: new Date(0) }],
    ["a circular object", circular, circular],
    ["something that JSON refuses", hostile, hostile],
    ["no prototype", Object.create(null), Object.create(null)],
    ["keys in another order", { id: "a", at: 1 }, { at: 1, id: "a" }],
    ["nothing", undefined, undefined],
    ["null", null, null],
  ])("equal keys are in one: %s", async (_name, first, second) => {
    expect(await whileFirstIsSlow(keysOf(first, second), "IN_PROGRESS")).toEqual(["IN_PROGRESS", "IN_PROGRESS"]);
  });

  it.each<[string, unknown, unknown]>([
    ["bigints", { id: 2n ** 64n }, { id: 2n ** 64n + 1n }],
    ["Sets", { id: new Set(["a"]) }, { id: new Set(["b"]) }],
    ["Maps", { id: new Map([["a", 1n]]) }, { id: new Map([["a", 2n]]) }],
    ["bytes", { id: new Uint8Array(200) }, { id: new Uint8Array(200).fill(1, 199) }],
    ["Buffers", { id: Buffer.alloc(200) }, { id: Buffer.alloc(200).fill(1, 199) }],
    ["long texts", { id: `${"a".repeat(20_000)}1` }, { id: `${"a".repeat(20_000)}2` }],
    ["quotes", { id: `'a` }, { id: `"a` }],
    ["a range key", { id: "a", at: 1 }, { id: "a", at: 2 }],
    ["Dates", { id: new Date(0) }, { id: new Date(1) }],
  ])("different keys are in different ones: %s", async (_name, first, second) => {
    expect(await whileFirstIsSlow(keysOf(first, second), "FINISHED")).toEqual(["IN_PROGRESS", "FINISHED"]);
  });

  it("Kinesis records without a partition key are in one", async () => {
    const without = ["0", "1"].map((order, index) => {
      const record = kinesisRecord(`${index + 1}`, order);
      return { ...record, kinesis: { ...record.kinesis, partitionKey: undefined } };
    });
    expect(await whileFirstIsSlow({ Records: without }, "IN_PROGRESS")).toEqual(["IN_PROGRESS", "IN_PROGRESS"]);
  });
});

describe("duplicates in a batch", () => {
  it.each([
    { outcome: "finishes", failed: [], expected: failures(), status: "FINISHED" },
    { outcome: "fails", failed: ["a"], expected: failures("m1", "m3"), status: "RELEASED" },
  ])(
    "the first runs, and the others are acknowledged or come back with it: it $outcome",
    async ({ failed, expected, status }) => {
      const { options, statuses } = shop(table);
      const { invoke, given } = consumer(options, failing(...failed));
      const { Records } = fifo(["red", "a"], ["red", "b"], ["red", "a"]);
      const standard = Records.map((record) => ({
        ...record,
        eventSourceARN: record.eventSourceARN.replace(".fifo", ""),
      }));
      expect(await invoke({ Records: standard })).toEqual(expected);
      expect(given()).toEqual([["a", "b"]]);
      expect(await statuses("a", "b")).toEqual([status, "FINISHED"]);
    },
  );

  it("in another group of a FIFO queue, what stands behind the duplicate waits until its outcome is known", async () => {
    const { options } = shop(table);
    const { invoke, given } = consumer(options);
    expect(await invoke(fifo(["red", "a"], ["blue", "a"], ["blue", "b"], ["red", "c"]))).toEqual(failures("m3"));
    expect(given()).toEqual([["a", "c"]]);
  });

  it("the same message twice is one", async () => {
    const { options, sent } = shop(table);
    const { invoke, given } = consumer(options);
    const record = sqsRecord("m1", "a");
    for (const second of [record, structuredClone(record)]) {
      expect(await invoke({ Records: [record, second] })).toEqual(failures());
    }
    expect(given()).toEqual([["a"]]);
    expect(sent).toHaveLength(3);
  });
});

/** One step of a story: who holds and which fail while all that is left of the source is delivered. */
interface Delivery {
  readonly held: readonly number[];
  readonly failing: readonly number[];
}

describe("an event source that redelivers what comes back", () => {
  const KEYS = 6;
  const some = fc.uniqueArray(fc.nat(KEYS - 1), { maxLength: 2 });
  const stories = fc.record({
    source: fc.constantFrom("queue", "fifo", "kinesis", "dynamodb"),
    records: fc.array(
      fc.record({
        key: fc.nat(KEYS - 1),
        group: fc.constantFrom("red", "blue"),
        isPart: fc.nat(3).map((n) => n === 0),
      }),
      { maxLength: 9 },
    ),
    deliveries: fc.array(fc.record({ held: some, failing: some }), { maxLength: 3 }),
    concurrency: fc.integer({ min: 1, max: 4 }),
  });

  it("sees each key's work done exactly once, and in order, over random holders, failures and duplicates", async () => {
    await fc.assert(
      fc.asyncProperty(stories, async ({ source, records, deliveries, concurrency }) => {
        const { options, heldByAnother } = shop(table);
        const isOrdered = source !== "queue";
        const groupOf = (record: OrderRecord) =>
          "body" in record ? (source === "fifo" ? record.attributes.MessageGroupId : record.messageId) : "shard";
        const identify = (record: OrderRecord) =>
          "body" in record
            ? record.messageId
            : "kinesis" in record
              ? record.kinesis.sequenceNumber
              : record.dynamodb?.SequenceNumber;
        /** A part of what was one record shares identifier and group with the part before it. */
        const wholes: number[] = [];
        for (const { isPart } of records) wholes.push((isPart ? wholes.at(-1) : undefined) ?? wholes.length);
        const make = ({ key }: { key: number }, index: number): OrderRecord => {
          const whole = wholes[index] as number;
          const group = records[whole]?.group;
          if (source === "kinesis") return kinesisRecord(`${1001 + whole}`, `${key}`, group);
          if (source === "dynamodb") return dynamodbRecord(`${1001 + whole}`, `${key}`);
          return sqsRecord(`m${whole}`, `${key}`, source === "fifo" ? { group } : {});
        };
        const all = records.map(make);
        const done = new Set<string>();
        let left = all;
        let now: Delivery;
        const { invoke } = consumer({ ...options, concurrency }, async ({ Records }) => {
          for (const [index, record] of Records.entries()) {
            const order = orderOf(record);
            const ahead = left
              .slice(0, left.indexOf(record))
              .filter((other) => isOrdered && groupOf(other) === groupOf(record));
            const before = new Set(Records.slice(0, index).map(orderOf));
            const skipped = ahead
              .map(orderOf)
              .filter((other) => !done.has(other) && !before.has(other) && other !== order);
            expect(skipped, "skipped before the handler").toEqual([]);
            expect(done.has(order), "done before").toBe(false);
          }
          const stopped = new Set<unknown>();
          const batchItemFailures: BatchResponse["batchItemFailures"] = [];
          const failed = new Set(Records.filter((one) => now.failing.includes(Number(orderOf(one)))).map(identify));
          for (const record of Records) {
            const fails = failed.has(identify(record));
            if (fails) stopped.add(groupOf(record));
            if (fails) batchItemFailures.push({ itemIdentifier: identify(record) as string });
            else if (!isOrdered || !stopped.has(groupOf(record))) done.add(orderOf(record));
          }
          return { batchItemFailures };
        });
        const quiet = Array.from({ length: all.length }, (): Delivery => ({ held: [], failing: [] }));
        for (now of [...deliveries, ...quiet]) {
          const before = left.length;
          const holders: Lock[] = [];
          for (const key of now.held) if (!done.has(`${key}`)) holders.push(await heldByAnother(`${key}`));
          const { batchItemFailures } = (await invoke({ Records: left })) as BatchResponse;
          const returned = batchItemFailures.map(({ itemIdentifier }) => itemIdentifier);
          const first = left.findIndex((record) => returned.includes(identify(record) as string));
          const isStream = source === "kinesis" || source === "dynamodb";
          const gone = left.filter((record, index) =>
            isStream ? first === -1 || index < first : !returned.includes(identify(record) as string),
          );
          expect(
            gone.map(orderOf).filter((order) => !done.has(order)),
            "acknowledged, but not done",
          ).toEqual([]);
          left = left.filter((record) => !gone.includes(record));
          if (quiet.includes(now) && before > 0) expect(left.length, "no progress").toBeLessThan(before);
          await Promise.all(holders.map((lock) => lock.release()));
        }
        expect(left).toEqual([]);
        expect(done).toEqual(new Set(all.map(orderOf)));
      }),
      { numRuns: 150 },
    );
  }, 300_000);
});
