/** A whole batch under one key: what a part of it failed to do is neither remembered nor acknowledged. */
import sqsPartialBatchFailure from "@middy/sqs-partial-batch-failure";
import { beforeAll, describe, expect, it, vi } from "vitest";
import {
  type DynamoLockOptions,
  dynamoLock,
  LockBatchError,
  LockClient,
  LockHeldError,
  LockKeyError,
  LockTimeoutError,
} from "../../src/index.ts";
import { dynamodbRecord, failures, fifo, kinesis, kinesisRecord, queue, sqsRecord } from "../support/batches.ts";
import { lambdaContext } from "../support/lambda.ts";
import { type Handler, reportDay, type Table, tableOfLocks, versions, wrappers } from "../support/middy.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});

const [message, otherMessage] = queue("a", "b").Records;
const { kinesis: data, ...aboutRecord } = kinesisRecord("1", "a");
const offset = (partition: number) => ({ topic: "orders", partition, offset: 15, key: "YQ==", value: "YQ==" });

/** Events of more than one record, of sources that take back a part. */
const batches: [string, unknown][] = [
  ["aws:sqs", queue("a", "b")],
  ["aws:sqs", fifo(["red", "a"], ["red", "b"])],
  ["aws:kinesis", kinesis("a", "b")],
  ["aws:dynamodb", { Records: [dynamodbRecord("1", "a"), dynamodbRecord("2", "b")] }],
  ["aws:kafka", { eventSource: "aws:kafka", records: { "orders-0": [offset(0)], "orders-1": [offset(1)] } }],
  ["SelfManagedKafka", { eventSource: "SelfManagedKafka", records: { "orders-0": [offset(0), offset(0)] } }],
  ["aws:kafka", { eventSource: "aws:kafka", records: [offset(0), offset(0)] }], // as Powertools' consumer has it
  ["aws:sqs", [message, otherMessage]], // of EventBridge Pipes
  [
    "aws:kinesis",
    [
      { ...aboutRecord, ...data },
      { ...aboutRecord, ...data },
    ],
  ],
  [
    "aws:sqs",
    {
      Records: [
        { ...message, body: { order: "a" } },
        { ...otherMessage, body: { order: "b" } },
      ],
    },
  ], // normalised
];

/** Of one record. */
const single: [string, unknown][] = [
  ["aws:sqs", { Records: [message] }],
  ["aws:kinesis", kinesis("a")],
  ["aws:dynamodb", { Records: [dynamodbRecord("1", "a")] }],
  ["aws:kafka", { eventSource: "aws:kafka", records: { "orders-0": [offset(0)] } }],
  ["Pipes", [message]],
];

/** Of sources that take back an invocation as a whole, or of none. */
const others: [string, unknown][] = [
  ["SNS", { Records: Array(2).fill({ EventSource: "aws:sns", Sns: { MessageId: "n1" } }) }],
  ["S3", { Records: Array(2).fill({ eventSource: "aws:s3", s3: {} }) }],
  ["SES", { Records: Array(2).fill({ eventSource: "aws:ses", ses: {} }) }],
  ["EventBridge", { "detail-type": "OrderPlaced", source: "shop", detail: {} }],
  ["an API", { version: "2.0", headers: {}, body: "{}" }],
  ["a record alone", sqsRecord("m1", "a")],
  ["an empty batch", { Records: [] }],
  ["a list of something else", [{ id: 1 }, { id: 2 }]],
  ["nothing", null],
];

const keyed = (day: ReturnType<typeof reportDay>) => ({ ...day.options, key: () => day.event.date });

describe.each(wrappers)("$name", ({ wrap }) => {
  const around = (handler: Handler, options: DynamoLockOptions) => {
    const run = vi.fn(handler);
    const invoke = wrap(run, options);
    return { run, invoke: (event: unknown) => invoke(event as never) };
  };

  it.each(batches)(
    "a batch of %s that would be remembered as done is refused before anything is sent",
    async (source, event) => {
      const day = reportDay(table);
      const { run, invoke } = around(async () => failures("m2"), keyed(day));
      const error = await invoke(event).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(LockBatchError);
      expect(error).toMatchObject({
        code: "LOCK_BATCH",
        message: expect.stringMatching(
          new RegExp(
            `^(dynamoLock|withLock): .* 2 records of ${source}, .*dynamoLockBatch.*withLockBatch.*BatchSize: 1`,
          ),
        ),
      });
      expect([run.mock.calls, day.sent]).toEqual([[], []]);
    },
  );

  it.each(batches)("a batch of %s may run once at a time; what it reports is handed on", async (_source, event) => {
    const day = reportDay(table);
    const { run, invoke } = around(async () => failures("m2"), { ...keyed(day), onSuccess: "release" });
    expect(await invoke(event)).toEqual(failures("m2"));
    expect(await invoke(event)).toEqual(failures("m2"));
    expect(run).toHaveBeenCalledTimes(2);
    expect(day.types()).toEqual(["acquired", "released", "acquired", "released"]);
  });

  it.each(single)(
    "a record alone of %s that is reported as failed is not done; a repeat runs",
    async (_source, event) => {
      const day = reportDay(table);
      const { run, invoke } = around(async () => failures(), keyed(day));
      run.mockResolvedValueOnce(failures("m1"));
      expect(await invoke(event)).toEqual(failures("m1"));
      expect(await day.item()).toMatchObject({ status: { S: "RELEASED" } });
      expect((await day.item())?.result).toBeUndefined();
      expect(await invoke(event)).toEqual(failures());
      expect(await invoke(event)).toEqual(failures());
      expect(run).toHaveBeenCalledTimes(2);
    },
  );

  it.each(others)("an event of %s is no such batch", async (_source, event) => {
    const day = reportDay(table);
    const { run, invoke } = around(async () => "done", { ...keyed(day), duplicateResponse: "done before" });
    expect(await invoke(event)).toBe("done");
    expect(await invoke(event)).toBe("done before");
    expect(run).toHaveBeenCalledTimes(1);
  });

  it.each<[string, unknown, boolean]>([
    ["failures", failures("m1"), true],
    ["malformed ones", { batchItemFailures: [null] }, true],
    ["a text as failures", { batchItemFailures: "m1" }, true],
    ["failures beside a status", { statusCode: 200, ...failures("m1") }, true],
    ["no failures", failures(), false],
    ["null failures", { batchItemFailures: null }, false],
    ["another list", { errors: ["m1"] }, false],
    ["an HTTP error", { statusCode: 500 }, false],
    ["nothing", undefined, false],
  ])("whatever the event, a response that reports failures is no success: %s", async (_name, response, isFailure) => {
    const day = reportDay(table);
    const { invoke } = around(async () => response, day.options);
    expect(await invoke(day.event)).toEqual(response);
    expect(await day.item()).toMatchObject({ status: { S: isFailure ? "RELEASED" : "FINISHED" } });
  });

  it("what the handler has settled itself stays, though it reports a failure", async () => {
    const day = reportDay(table);
    const { invoke } = around(async (_event, { lock }) => {
      await lock.finish({ result: "done" });
      return failures("m1");
    }, keyed(day));
    expect(await invoke({ Records: [message] })).toEqual(failures("m1"));
    expect(await day.item()).toMatchObject({ status: { S: "FINISHED" } });
  });

  it("results of one record that are still to be made a report of are no success either, if it was rejected", async () => {
    const day = reportDay(table);
    const { run, invoke } = around(async () => Promise.allSettled([Promise.reject(new Error("busy"))]), keyed(day));
    await invoke({ Records: [message] });
    expect(await day.item()).toMatchObject({ status: { S: "RELEASED" } });
    run.mockImplementationOnce(async () => Promise.allSettled([1]));
    await invoke({ Records: [message] });
    expect(await day.item()).toMatchObject({ status: { S: "FINISHED" } });
  });

  describe("with a duplicateResponse", () => {
    const release = { onSuccess: "release" } as const;

    it.each<[string, object | null | false]>([
      ["no failures", failures()],
      ["null", null],
      ["false", false],
      ["something else", { skipped: true }],
    ])("that is always %s, a batch is refused, because it would be acknowledged", async (_name, duplicateResponse) => {
      const day = reportDay(table);
      const { run, invoke } = around(async () => failures(), { ...keyed(day), ...release, duplicateResponse });
      await expect(invoke(queue("a", "b"))).rejects.toThrow(
        /2 records of aws:sqs, .*BatchSize: 1.*without a duplicateResponse/,
      );
      expect([run.mock.calls, day.sent]).toEqual([[], []]);
    });

    it("of failures, a batch whose key is held is answered with them", async () => {
      const day = reportDay(table);
      await day.takenByAnother();
      const answers = [failures("m1", "m2"), () => failures("m1", "m2")];
      for (const duplicateResponse of answers) {
        const { invoke } = around(async () => failures(), { ...keyed(day), ...release, duplicateResponse });
        expect(await invoke(queue("a", "b"))).toEqual(failures("m1", "m2"));
      }
    });

    it.each<[string, unknown, object]>([
      ["a batch, by a function", queue("a", "b"), { ...release, duplicateResponse: () => failures() }],
      [
        "a batch, by a function that gives nothing",
        queue("a", "b"),
        { ...release, duplicateResponse: () => undefined },
      ],
      ["a record alone, by a value", { Records: [message] }, { duplicateResponse: failures() }],
      ["a record alone, by a function", kinesis("a"), { duplicateResponse: async () => ({ skipped: true }) }],
    ])("%s is not acknowledged while another run holds its key", async (_name, event, options) => {
      const day = reportDay(table);
      const held = await day.takenByAnother();
      const { run, invoke } = around(async () => failures(), { ...keyed(day), ...options });
      await expect(invoke(event)).rejects.toBeInstanceOf(LockHeldError);
      expect(run).not.toHaveBeenCalled();
      await held.release();
      expect(await invoke(event)).toEqual(failures());
    });

    it("nor after it has waited for the key in vain", async () => {
      const day = reportDay(table);
      await day.takenByAnother();
      const options = { ...keyed(day), ...release, duplicateResponse: () => failures(), waitMs: 20 };
      await expect(around(async () => failures(), options).invoke(queue("a", "b"))).rejects.toBeInstanceOf(
        LockTimeoutError,
      );
    });

    it("a record alone that is finished is acknowledged", async () => {
      const day = reportDay(table);
      const { run, invoke } = around(async () => failures(), { ...keyed(day), duplicateResponse: failures() });
      for (let time = 0; time < 2; time++) expect(await invoke({ Records: [message] })).toEqual(failures());
      expect(run).toHaveBeenCalledTimes(1);
    });
  });

  it("a batch that runs without a lock, because it has no key, is nobody's to refuse", async () => {
    const day = reportDay(table);
    for (const missing of [undefined, []]) {
      const { invoke } = around(async () => failures("m2"), {
        ...day.options,
        key: () => missing,
        onMissingKey: "run",
      });
      expect(await invoke(queue("a", "b"))).toEqual(failures("m2"));
    }
    const { invoke } = around(async () => failures("m2"), { ...keyed(day), disabled: true });
    expect(await invoke(queue("a", "b"))).toEqual(failures("m2"));
    expect(day.sent).toEqual([]);
  });
});

it.each(wrappers)(
  "$name: an event without records has no key, which is said before anything is sent",
  async ({ wrap }) => {
    const day = reportDay(table);
    const key = (event: unknown) => (event as { Records: unknown[] }).Records.map(() => "a");
    const invoke = wrap(async () => "done", { ...day.options, key });
    await expect(invoke({ Records: [] } as never)).rejects.toBeInstanceOf(LockKeyError);
    expect(day.sent).toEqual([]);
  },
);

describe.each(versions)("@middy/sqs-partial-batch-failure outside, on $name", ({ middy }) => {
  it("a record that failed runs again when it comes back", async () => {
    const day = reportDay(table);
    const ship = vi.fn(async () => {}).mockRejectedValueOnce(new Error("busy"));
    const chained = middy();
    chained.use(sqsPartialBatchFailure({ logger: () => {} }));
    chained.use(dynamoLock(keyed(day)));
    chained.handler(async () => Promise.allSettled([ship()]));
    const invoke = chained as unknown as (event: unknown, context: unknown) => Promise<unknown>;
    const event = { Records: [message] };
    expect(await invoke(event, lambdaContext())).toEqual(failures("m1"));
    expect(await invoke(event, lambdaContext())).toEqual(failures());
    expect(ship).toHaveBeenCalledTimes(2);
    await expect(invoke(queue("a", "b"), lambdaContext())).resolves.toEqual(failures("m1", "m2"));
  });
});

describe("LockClient.once", () => {
  it("gives a report of failures as it is, and runs again", async () => {
    const day = reportDay(table);
    const locks = new LockClient({ client: day.client, tableName: table.tableName });
    const work = vi.fn(async () => failures()).mockResolvedValueOnce(failures("m1"));
    const results: unknown[] = [];
    for (let time = 0; time < 3; time++) results.push(await locks.once(day.key, work));
    expect(results).toEqual([failures("m1"), failures(), failures()]);
    expect(work).toHaveBeenCalledTimes(2);
    expect(await day.item()).toMatchObject({ status: { S: "FINISHED" } });
  });
});
