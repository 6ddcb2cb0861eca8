/** A batch of a standard queue: which records the handler is given, what becomes of their keys, and what Lambda is told. */
import type { SQSRecord } from "aws-lambda";
import { beforeAll, describe, expect, it } from "vitest";
import { PayloadMismatchError } from "../../src/index.ts";
import {
  consumer,
  failing,
  failures,
  type OrderHandler,
  type OrderRecord,
  orderOf,
  queue,
  shop,
} from "../support/batches.ts";
import { lockTable } from "../support/dynamodb.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

describe("a batch of a standard queue", () => {
  it("is given to the handler whole when all keys are free, and finished: one acquisition and one settlement for each record", async () => {
    const { options, sent, statuses } = shop(table);
    const { invoke, given } = consumer(options);
    expect(await invoke(queue("a", "b", "c"))).toEqual(failures());
    expect(given()).toEqual([["a", "b", "c"]]);
    expect(sent).toEqual(Array(6).fill("UpdateItem"));
    expect(await statuses("a", "b", "c")).toEqual(["FINISHED", "FINISHED", "FINISHED"]);
  });

  it("repeats that are finished are acknowledged, what another holds comes back, and the handler sees the rest in order", async () => {
    const { options, finishedBefore, heldByAnother, statuses, types } = shop(table);
    await finishedBefore("b", "e");
    await heldByAnother("c");
    const { invoke, given } = consumer(options);
    expect(await invoke(queue("a", "b", "c", "d", "e"))).toEqual(failures("m3"));
    expect(given()).toEqual([["a", "d"]]);
    expect(await statuses("a", "b", "c", "d", "e")).toEqual([
      "FINISHED",
      "FINISHED",
      "IN_PROGRESS",
      "FINISHED",
      "FINISHED",
    ]);
    expect(types().toSorted()).toEqual(["acquired", "acquired", "dropped", "dropped", "finished", "finished", "held"]);
  });

  it.each<[string, OrderHandler]>([
    ["{ batchItemFailures }", async () => failures("m2")],
    ["what Promise.allSettled gives", failing("b")],
  ])("what fails by %s is released and comes back, the others are finished", async (_name, handler) => {
    const { options, statuses } = shop(table);
    const { invoke } = consumer(options, handler);
    expect(await invoke(queue("a", "b", "c"))).toEqual(failures("m2"));
    expect(await statuses("a", "b", "c")).toEqual(["FINISHED", "RELEASED", "FINISHED"]);
  });

  it("is released whole when the handler throws, and the error is the handler's own", async () => {
    const { options, statuses } = shop(table);
    const { invoke } = consumer(options, async () => {
      throw new RangeError("no connection");
    });
    await expect(invoke(queue("a", "b"))).rejects.toThrow(new RangeError("no connection"));
    expect(await statuses("a", "b")).toEqual(["RELEASED", "RELEASED"]);
  });

  it("the redelivery of what failed runs alone", async () => {
    const { options } = shop(table);
    const { invoke, run, given } = consumer(options);
    run.mockResolvedValueOnce(failures("m2"));
    const event = queue("a", "b", "c");
    await invoke(event);
    expect(await invoke({ Records: [event.Records[1]] })).toEqual(failures());
    expect(await invoke(event)).toEqual(failures());
    expect(given()).toEqual([["a", "b", "c"], ["b"]]);
  });

  it("doesn't run the handler when none of it is free", async () => {
    const { options, finishedBefore, heldByAnother, sent } = shop(table);
    await finishedBefore("a");
    await heldByAnother("b");
    const { invoke, run } = consumer(options);
    expect(await invoke(queue("a", "b"))).toEqual(failures("m2"));
    expect(run).not.toHaveBeenCalled();
    expect(sent).toHaveLength(2);
  });
});

describe("what the locks of a batch can", () => {
  it("a record with the key of another payload comes back alone, and is reported; the key's record is not touched", async () => {
    const { options, finishedBefore, events, namespace } = shop(table);
    const fingerprint = (record: OrderRecord) => (record as SQSRecord).messageId;
    const { invoke, given } = consumer({ ...options, fingerprint });
    await invoke(queue("a"));
    await finishedBefore("c");
    const asItWas = await table.item(`${namespace}#a`);
    expect(await invoke({ Records: queue("x", "a", "b", "c").Records })).toEqual(failures("m2"));
    expect(given()).toEqual([["a"], ["x", "b"]]);
    expect(await table.item(`${namespace}#a`)).toEqual(asItWas);
    expect(events).toContainEqual({
      type: "record-failed",
      identifier: "m2",
      error: expect.any(PayloadMismatchError),
    });
  });

  it("a warm function knows its own repeats without asking", async () => {
    const { options, sent } = shop(table);
    const { invoke } = consumer({ ...options, cacheSize: 100 });
    await invoke(queue("a", "b"));
    expect(await invoke(queue("a", "b"))).toEqual(failures());
    expect(sent).toHaveLength(4);
  });

  it("commits record by record: what is committed stays, whatever becomes of the rest", async () => {
    const { options, namespace, statuses } = shop(table);
    const { invoke } = consumer(options, async ({ Records }, { locks }) => {
      for (const record of Records) {
        if (orderOf(record) === "b") throw new Error("no b");
        const Item = { lock_id: { S: `shipped ${namespace} ${orderOf(record)}` } };
        await locks.get(record).commit([{ Put: { TableName: table.tableName, Item } }]);
      }
    });
    await expect(invoke(queue("a", "b", "c"))).rejects.toThrow("no b");
    expect(await statuses("a", "b", "c")).toEqual(["FINISHED", "RELEASED", "RELEASED"]);
    expect(await table.item(`shipped ${namespace} a`)).toBeDefined();
    expect(await invoke(queue("a"))).toEqual(failures());
  });
});
