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

  it("nothing more is tried for once a record is known to be held", async () => {
    const { options, heldByAnother, sent } = shop(table);
    await heldByAnother("o0");
    const { invoke } = consumer({ ...options, concurrency: 5 });
    const orders = Array.from({ length: 100 }, (_, index) => `o${index}`);
    expect(await invoke(batch(...orders))).toEqual(failures("1001"));
    expect(sent.length).toBeLessThanOrEqual(5 * 2 + 5);
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

  it("the same message twice is one, whatever its key function says", async () => {
    const { options } = shop(table);
    let calls = 0;
    const { invoke, given } = consumer({ ...options, key: (record) => `${orderOf(record)}-${++calls}` });
    const twice = { Records: [sqsRecord("m1", "a"), sqsRecord("m1", "a")] };
    expect(await invoke(twice)).toEqual(failures());
    expect(given()).toEqual([["a"]]);
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
    records: fc.array(fc.record({ key: fc.nat(KEYS - 1), group: fc.constantFrom("red", "blue") }), { maxLength: 9 }),
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
        const make = ({ key, group }: { key: number; group: string }, index: number): OrderRecord => {
          if (source === "kinesis") return kinesisRecord(`${1001 + index}`, `${key}`, group);
          if (source === "dynamodb") return dynamodbRecord(`${1001 + index}`, `${key}`);
          return sqsRecord(`m${index}`, `${key}`, source === "fifo" ? { group } : {});
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
          for (const record of Records) {
            const fails = now.failing.includes(Number(orderOf(record)));
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
  }, 120_000);
});
