/** Which events are batches, and which answers tell what failed: anything else fails loudly, with every key as it was. */
import { Logger } from "@aws-lambda-powertools/logger";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { beforeAll, describe, expect, it } from "vitest";
import { dynamoLockBatch, LockBatchError, LockOptionsError, withLockBatch } from "../../src/index.ts";
import {
  consumer,
  dynamodbRecord,
  failures,
  fifo,
  kinesisRecord,
  type OrderHandler,
  type OrderRecord,
  orderOf,
  queue,
  shop,
  sqsRecord,
} from "../support/batches.ts";
import { lambdaContext } from "../support/lambda.ts";
import { type Table, tableOfLocks } from "../support/middy.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});

const record = sqsRecord("m1", "a");
const { MessageGroupId: _group, ...withoutGroup } = sqsRecord("m1", "a", { group: "red" }).attributes;

describe("an event that is no batch of ours says so, and what to use, before anything is sent", () => {
  it.each<[string, unknown, RegExp]>([
    ["without Records", { hello: "world" }, /no Records: expected a batch of aws:sqs, aws:kinesis, aws:dynamodb/],
    ["that is no object", "hello", /no Records/],
    ["of S3's test", { Service: "Amazon S3", Event: "s3:TestEvent", Bucket: "archive" }, /no Records: .*test that S3/],
    [
      "with a number as identifier",
      { Records: [{ ...record, messageId: 7 }] },
      /no identifier .*: messageId must be a non-empty string of whole characters, got 7\. A middleware that converts/,
    ],
    [
      "of EventBridge",
      { "detail-type": "OrderPlaced", detail: {} },
      /no Records: .*Other events come back as a whole: use dynamoLock/,
    ],
    ["of EventBridge Pipes", [record], /an array, as of EventBridge Pipes: wrap it as \{ Records \}/],
    ["of Kafka", { eventSource: "aws:kafka", records: { "orders-0": [] } }, /no Records: .*Kafka/],
    ["of SNS", { Records: [{ EventSource: "aws:sns", Sns: {} }] }, /'aws:sns': .* use dynamoLock/],
    ["of S3", { Records: [{ eventSource: "aws:s3", s3: {} }] }, /'aws:s3': .* use dynamoLock/],
    ["of an unknown source", { Records: [{ eventSource: "aws:tape" }] }, /'aws:tape': expected a batch/],
    ["of no source", { Records: [{ body: "{}" }] }, /the eventSource undefined/],
    ["of a source named like a method", { Records: [{ eventSource: "toString" }] }, /'toString'/],
    ["of several sources", { Records: [record, kinesisRecord("1", "a")] }, /several sources: aws:sqs, aws:kinesis/],
    ["with a message without id", { Records: [record, { ...record, messageId: "" }] }, /record 1 of aws:sqs has no id/],
    ["with a record that is null", { Records: [null] }, /the eventSource undefined/],
    ["with a Kinesis record without data", { Records: [{ eventSource: "aws:kinesis" }] }, /record 0 .* no identifier/],
    [
      "with a stream record without number",
      { Records: [{ eventSource: "aws:dynamodb" }] },
      /record 0 .* no identifier/,
    ],
    [
      "with a FIFO message without group",
      { Records: [{ ...sqsRecord("m1", "a", { group: "red" }), attributes: withoutGroup }] },
      /FIFO queue has no attributes.MessageGroupId/,
    ],
    [
      "of a tumbling window",
      { Records: [kinesisRecord("1", "a")], window: { start: "1", end: "2" }, state: {} },
      /a tumbling window is not supported/,
    ],
  ])("%s", async (_name, event, message) => {
    const { options, sent } = shop(table);
    const { invoke, run } = consumer(options);
    const error = await invoke(event).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(LockBatchError);
    expect(error).toMatchObject({ code: "LOCK_BATCH", statusCode: 500, message: expect.stringMatching(message) });
    expect(run).not.toHaveBeenCalled();
    expect(sent).toEqual([]);
  });

  it("nor is a durable execution's, which would get other records each time it is resumed", async () => {
    const { options } = shop(table);
    const durable = { executionContext: { durableExecutionArn: "arn:d" }, lambdaContext: lambdaContext() };
    await expect(consumer(options).invoke(queue("a"), durable as never)).rejects.toThrow(/start one for each record/);
  });
});

it("a batch of no records is done, under dynamoLockBatch and withLockBatch", async () => {
  const { options, sent } = shop(table);
  const { invoke, run } = consumer(options);
  expect(await invoke({ Records: [] })).toEqual(failures());
  expect(await withLockBatch(run as never, options)({ Records: [] }, lambdaContext())).toEqual(failures());
  expect(run).not.toHaveBeenCalled();
  expect(sent).toEqual([]);
});

describe("an answer that tells what failed", () => {
  it.each<[string, unknown, string[]]>([
    ["nothing", undefined, []],
    ["null", null, []],
    ["no failures", { batchItemFailures: [] }, []],
    ["an empty response, as Lambda takes it", {}, []],
    ["a response of something else", { statusCode: 200, body: "" }, []],
    ["an object of a class", new Map([["shipped", 2]]), []],
    ["undefined failures", { batchItemFailures: undefined }, []],
    ["null failures, as Lambda takes them", { batchItemFailures: null }, []],
    ["a failure named twice", failures("m2", "m2"), ["m2"]],
    ["other properties beside", { ...failures("m1"), note: "seen" }, ["m1"]],
    ["settled results", [{ status: "rejected" }, { status: "fulfilled", value: 7 }], ["m1"]],
  ])("%s", async (_name, answer, expected) => {
    const { options } = shop(table);
    const { invoke } = consumer(options, async () => answer);
    expect(await invoke(queue("a", "b"))).toEqual(failures(...expected));
  });

  it("is only an object with batchItemFailures for Lambda", async () => {
    const { options } = shop(table);
    const { invoke } = consumer(options, async () => ({ ...failures("m1"), note: "seen" }));
    expect(JSON.stringify(await invoke(queue("a", "b")))).toBe('{"batchItemFailures":[{"itemIdentifier":"m1"}]}');
  });
});

describe("an answer that doesn't fails the whole batch, with every key released", () => {
  it.each<[string, unknown, RegExp]>([
    ["a text", "done", /returned 'done', not \{ batchItemFailures \}/],
    ["a number", 7, /returned 7/],
    ["true", true, /returned true/],
    ["a symbol", Symbol("done"), /returned Symbol\(done\)/],
    ["a function", () => {}, /returned \[Function \(anonymous\)\], not \{ batch/],
    ["an HTTP error", { statusCode: 500, body: "" }, /returned an object with statusCode, body/],
    ["an empty array", [], /0 results for 2 records/],
    ["what Promise.all gives", [{ id: 1 }, { id: 2 }], /element 0 is no result of .* but an object with id/],
    ["holes", new Array(2), /element 0 is no result of .* but undefined/],
    ["fewer results than records", [{ status: "fulfilled" }], /1 results for 2 records/],
    ["an array of something else", ["done", "done"], /element 0 is no result of Promise.allSettled/],
    ["failures that are no array", { batchItemFailures: "m1" }, /must be an array, got 'm1'/],
    ["failures that are an empty text", { batchItemFailures: "" }, /must be an array, got ''/],
    ["a Promise of failures", { batchItemFailures: Promise.resolve([]) }, /must be an array, got \[Promise\]/],
    ["a Set of failures", { batchItemFailures: new Set() }, /must be an array, got Set\(0\) \{\}/],
    [
      "failures that can't be read",
      {
        get batchItemFailures() {
          throw new Error("no");
        },
      },
      /batchItemFailures can't be read/,
    ],
    ["null as a failure", { batchItemFailures: [null] }, /names undefined/],
    ["identifiers without their property", { batchItemFailures: ["m1"] }, /names undefined/],
    ["an empty identifier", failures("m1", ""), /names '', which is the identifier of no record/],
    ["an identifier that is null", { batchItemFailures: [{ itemIdentifier: null }] }, /names null/],
    ["an unknown identifier", failures("m9"), /names 'm9', which is the identifier of no record/],
    ["that of a record that the handler was not given", failures("m3"), /names 'm3'/],
  ])("%s", async (_name, answer, message) => {
    const { options, statuses, heldByAnother } = shop(table);
    await heldByAnother("c");
    const { invoke } = consumer(options, async () => answer);
    const error = await invoke(queue("a", "b", "c")).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(LockBatchError);
    expect(error).toMatchObject({ message: expect.stringMatching(message) });
    expect(error).toMatchObject({ message: expect.stringMatching(/handler has run.*none of them is finished.*again/) });
    expect(await statuses("a", "b")).toEqual(["RELEASED", "RELEASED"]);
  });
});

describe("context.locks", () => {
  it("has the lock of each record, also of a copy that a parser made", async () => {
    const { options, namespace } = shop(table);
    const keys: string[] = [];
    const parser = {
      before: (request: { event: { Records: OrderRecord[] } }) => {
        request.event = {
          Records: request.event.Records.map((one) => ({ ...one, body: { order: orderOf(one) } }) as never),
        };
      },
    };
    const handler: OrderHandler = ({ Records }, { locks }) => {
      for (const one of Records) keys.push(locks.get(one).key);
    };
    const { invoke } = consumer(options, handler, { behind: [parser] });
    expect(await invoke(queue("a", "b"))).toEqual(failures());
    expect(keys).toEqual([`${namespace}#a`, `${namespace}#b`]);
  });

  it("has none of a record that the handler was not given", async () => {
    const { options, heldByAnother } = shop(table);
    await heldByAnother("b");
    const event = queue("a", "b");
    const { invoke } = consumer(options, (_event, { locks }) => locks.get(event.Records[1] as OrderRecord).release());
    await expect(invoke(event)).rejects.toThrow(/none of the records that the handler was given/);
  });

  it("what the handler settles itself stays so", async () => {
    const { options, statuses } = shop(table);
    const { invoke } = consumer(options, async ({ Records }, { locks }) => {
      await locks.get(Records[0] as OrderRecord).finish({ result: { parcel: 7 }, status: "shipped" });
      await locks.get(Records[1] as OrderRecord).release();
      await locks.get(Records[2] as OrderRecord).finish();
      throw new Error("after three");
    });
    await expect(invoke(queue("a", "b", "c", "d"))).rejects.toThrow("after three");
    expect(await statuses("a", "b", "c", "d")).toEqual(["FINISHED", "RELEASED", "FINISHED", "RELEASED"]);
    expect(await table.item(`${options.namespace}#a`)).toMatchObject({ final_status: { S: "shipped" } });
  });
});

describe("options", () => {
  const key = () => "a";
  it.each<[string, object, RegExp]>([
    ["no key", {}, /dynamoLockBatch: key must be a function, got undefined/],
    ["an unknown one", { key, concurency: 5 }, /unknown option 'concurency'; options are key, .*concurrency/],
    ["one of dynamoLock that is not a batch's", { key, permits: 2 }, /unknown option 'permits'/],
    ["concurrency", { key, concurrency: 0 }, /concurrency must be a whole number from 1 to 1000, got 0/],
    ["reserveMs", { key, reserveMs: -1 }, /reserveMs must be a whole number of milliseconds/],
    ["leaseMs", { key, leaseMs: "1s" }, /leaseMs must be a whole number .* or a function, got '1s'/],
    ["heartbeatMs without leaseMs", { key, heartbeatMs: 5 }, /heartbeatMs \(5\) needs leaseMs/],
    ["heartbeatMs of more than half a lease", { key, leaseMs: 10, heartbeatMs: 6 }, /at most half of leaseMs \(10\)/],
    ["'observed' without a wait", { key, expiry: "observed" }, /needs leaseMs and a longer waitMs/],
    [
      "as much, with a lease for each",
      { key, expiry: "observed", leaseMs: () => 9 },
      /needs leaseMs and a longer waitMs/,
    ],
    [
      "client and its configuration",
      { key, client: new DynamoDBClient(), clientConfig: {} },
      /client and clientConfig contradict/,
    ],
    ["locks that are none", { key, locks: {} }, /locks must be a LockClient/],
  ])("%s is an error at construction that names it", (_name, options, message) => {
    expect(() => dynamoLockBatch(options as never)).toThrow(LockOptionsError);
    expect(() => dynamoLockBatch(options as never)).toThrow(message);
  });

  it("all of them fit together", () => {
    const all = {
      key,
      tableName: "locks",
      clientConfig: { region: "eu-west-1" },
      namespace: false,
      owner: () => "me",
      rememberMs: 60_000,
      leaseMs: () => 10_000,
      heartbeatMs: 2_000,
      clockSkewMs: 500,
      waitMs: 100,
      concurrency: 10,
      reserveMs: 2_000,
      expiry: "clock",
      onLost: () => {},
      onMissingKey: "throw",
      timeoutEarlyMs: 10,
      logger: new Logger(),
      onEvent: () => {},
      disabled: false,
    } as const;
    expect(() => dynamoLockBatch(all)).not.toThrow();
  });

  it("owner, leaseMs, rememberMs and namespace are each record's", async () => {
    const { options } = shop(table);
    const leases: Record<string, number> = {};
    const { invoke } = consumer(
      {
        ...options,
        namespace: false,
        key: (one) => `${options.namespace}/${orderOf(one)}`,
        owner: (one, { functionName }) => `${functionName} of ${orderOf(one)}`,
        leaseMs: (one) => (orderOf(one) === "a" ? 60_000 : 30_000),
        heartbeatMs: false,
        rememberMs: 7_200_000,
      },
      ({ Records }, { locks }) => {
        for (const one of Records) leases[orderOf(one)] = locks.get(one).expiresAt - locks.get(one).acquiredAt;
      },
    );
    await invoke(queue("a", "b"));
    expect(leases).toEqual({ a: 60_000, b: 30_000 });
    const item = await table.item(`${options.namespace}/a`);
    expect(item).toMatchObject({ owner_id: { S: "report of a" }, status: { S: "FINISHED" } });
    expect(Number(item?.expires_at?.N) - Number(item?.updated_at?.N)).toBe(7_200_000);
  });

  it("without a namespace the function's name is it", async () => {
    const { options } = shop(table);
    const { invoke } = consumer({ ...options, namespace: undefined }, ({ Records }, { locks }) => {
      expect(locks.get(Records[0] as OrderRecord).key).toBe(`report#${options.namespace}`);
    });
    await invoke(queue(options.namespace));
  });

  it("the lease of each record is what is left of the invocation, and no timer renews it", async () => {
    const { options } = shop(table);
    const { invoke } = consumer(options, ({ Records }, { locks }) => {
      const { expiresAt, acquiredAt } = locks.get(Records[0] as OrderRecord);
      expect(expiresAt - acquiredAt).toBeGreaterThan(8_000);
      expect(expiresAt - acquiredAt).toBeLessThanOrEqual(10_000);
    });
    expect(await invoke(fifo(["red", "a"]))).toEqual(failures());
  });

  it("a record without a key runs without a lock, where that is wanted", async () => {
    const { options, sent } = shop(table);
    const { invoke, given } = consumer(
      { ...options, onMissingKey: "run", key: (one) => orderOf(one) || undefined },
      ({ Records }, { locks }) => {
        expect(Records.map((one) => (locks.get(one) as unknown) === undefined)).toEqual([false, true]);
        return failures("m2");
      },
    );
    expect(await invoke(queue("a", ""))).toEqual(failures("m2"));
    expect(given()).toEqual([["a", ""]]);
    expect(sent).toHaveLength(2);
  });
});

it("a stream's record is known by its sequence number", async () => {
  const { options } = shop(table);
  const { invoke } = consumer(options, ({ Records }, { locks }) => {
    for (const one of Records) locks.get(structuredClone(one));
    return failures("2002");
  });
  const records = ["a", "b", "c"].map((order, index) => dynamodbRecord(`${2001 + index}`, order));
  expect(await invoke({ Records: records })).toEqual(failures("2002"));
});
