/** The libraries that make partial responses, within and around `dynamoLockBatch`, in any order. */
import {
  BatchProcessor,
  EventType,
  processPartialResponse,
  processPartialResponseSync,
  SqsFifoPartialProcessor,
  SqsFifoPartialProcessorAsync,
} from "@aws-lambda-powertools/batch";
import sqsPartialBatchFailure from "@middy/sqs-partial-batch-failure";
import type { Context, SQSRecord } from "aws-lambda";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { LockHeldError } from "../../src/index.ts";
import {
  consumer,
  dynamodbStream,
  failing,
  failures,
  fifo,
  kinesis,
  type OrderHandler,
  type OrderRecord,
  orderOf,
  queue,
  shop,
} from "../support/batches.ts";
import { type Table, tableOfLocks, versions } from "../support/middy.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});

/** One record's work: fails for order b. */
const ship = async (record: OrderRecord): Promise<void> => {
  if (orderOf(record) === "b") throw new Error("no b");
};

type MiddyVersion = NonNullable<NonNullable<Parameters<typeof consumer>[2]>["middy"]>;

describe.each(versions)("$name", ({ middy: version }) => {
  const middy = version as unknown as MiddyVersion;

  describe("@middy/sqs-partial-batch-failure", () => {
    it.each(["behind", "before"] as const)(
      "%s it: what failed and what is held comes back, and is logged",
      async (place) => {
        const { options, statuses, heldByAnother, finishedBefore } = shop(table);
        await heldByAnother("c");
        await finishedBefore("d");
        const logger = vi.fn();
        const { invoke } = consumer(options, failing("b"), { middy, [place]: [sqsPartialBatchFailure({ logger })] });
        expect(await invoke(queue("a", "b", "c", "d"))).toEqual(failures("m2", "m3"));
        expect(await statuses("a", "b", "c", "d")).toEqual(["FINISHED", "RELEASED", "IN_PROGRESS", "FINISHED"]);
        const logged = logger.mock.calls.map(([reason, record]) => [record.messageId, reason]);
        expect(logged).toEqual([
          ["m2", new Error("no b")],
          ...(place === "before" ? [["m3", expect.any(LockHeldError)]] : []),
        ]);
      },
    );

    it.each([
      { place: "behind", returned: ["m1", "m2", "m3"] },
      // It returns the whole event, the finished repeat too.
      { place: "before", returned: ["m1", "m2", "m3", "m4"] },
    ])(
      "$place it: a handler that throws releases everything, and all but repeats comes back",
      async ({ place, returned }) => {
        const { options, statuses, heldByAnother, finishedBefore } = shop(table);
        await heldByAnother("c");
        await finishedBefore("d");
        const { invoke } = consumer(options, () => Promise.reject(new Error("no connection")), {
          middy,
          [place]: [sqsPartialBatchFailure({ logger: () => {} })],
        });
        expect(await invoke(queue("a", "b", "c", "d"))).toEqual(failures(...returned));
        expect(await statuses("a", "b")).toEqual(["RELEASED", "RELEASED"]);
      },
    );

    it.each(["behind", "before"] as const)("%s it: a batch of which nothing is free", async (place) => {
      const { options, heldByAnother } = shop(table);
      await heldByAnother("a");
      const { invoke } = consumer(options, failing(), {
        middy,
        [place]: [sqsPartialBatchFailure({ logger: () => {} })],
      });
      expect(await invoke(queue("a"))).toEqual(failures("m1"));
    });
  });

  /**
   * Stand-ins for `@middy/event-batch-handler` and `@middy/event-batch-response`, which Middy's repository has, by what they do: the handler
   * gives `Promise.allSettled` of its record handler over the records; the middleware notes the records in its `before`, and turns an
   * array of results into `{ batchItemFailures }` in its `after`; in its `onError` all records have failed, if nothing has answered yet.
   */
  describe("Middy's event-batch-handler and event-batch-response", () => {
    const eventBatchHandler =
      (recordHandler: (record: OrderRecord, context: Context) => unknown): OrderHandler =>
      async ({ Records }, context) =>
        Promise.allSettled(Records.map(async (record) => recordHandler(record, context)));
    const eventBatchResponse = () => {
      const seen = new WeakMap<object, OrderRecord[]>();
      type Request = { event: { Records: OrderRecord[] }; response: unknown };
      const respond = (request: Request, results: { status: string }[]) => {
        const failed = (seen.get(request) ?? []).filter((_record, index) => results[index]?.status !== "fulfilled");
        request.response = failures(...failed.map((record) => (record as SQSRecord).messageId));
      };
      return {
        before: (request: Request) => void seen.set(request, request.event.Records),
        after: (request: Request) => {
          if (Array.isArray(request.response)) respond(request, request.response);
        },
        onError: (request: Request) => {
          if (request.response === undefined) respond(request, []);
        },
      };
    };

    it("the handler's results are understood as they are", async () => {
      const { options, statuses } = shop(table);
      const { invoke } = consumer(options, eventBatchHandler(ship), { middy });
      expect(await invoke(queue("a", "b", "c"))).toEqual(failures("m2"));
      expect(await statuses("a", "b", "c")).toEqual(["FINISHED", "RELEASED", "FINISHED"]);
    });

    it.each(["behind", "before"] as const)(
      "the response %s it: what failed and what is held comes back",
      async (place) => {
        const { options, statuses, heldByAnother } = shop(table);
        await heldByAnother("c");
        const { invoke } = consumer(options, eventBatchHandler(ship), { middy, [place]: [eventBatchResponse()] });
        expect(await invoke(queue("a", "b", "c"))).toEqual(failures("m2", "m3"));
        expect(await statuses("a", "b")).toEqual(["FINISHED", "RELEASED"]);
      },
    );

    it.each(["behind", "before"] as const)(
      "the response %s it: a handler that throws fails all, the held too",
      async (place) => {
        const { options, statuses, heldByAnother } = shop(table);
        await heldByAnother("c");
        const throwing = () => Promise.reject(new Error("no connection"));
        const { invoke } = consumer(options, throwing, { middy, [place]: [eventBatchResponse()] });
        expect(await invoke(queue("a", "b", "c"))).toEqual(failures("m1", "m2", "m3"));
        expect(await statuses("a", "b")).toEqual(["RELEASED", "RELEASED"]);
      },
    );
  });

  describe("Powertools Batch", () => {
    it.each([
      { source: "SQS", type: EventType.SQS, batch: queue, returned: ["m2"], third: "FINISHED" },
      { source: "Kinesis", type: EventType.KinesisDataStreams, batch: kinesis, returned: ["1002"], third: "RELEASED" },
      {
        source: "DynamoDB Streams",
        type: EventType.DynamoDBStreams,
        batch: dynamodbStream,
        returned: ["1002"],
        third: "RELEASED",
      },
    ])("processPartialResponse over $source", async ({ type, batch, returned, third }) => {
      const { options, statuses } = shop(table);
      const processor = new BatchProcessor(type);
      const handler: OrderHandler = (event, context) =>
        processPartialResponse(event as never, ship as never, processor, { context });
      const { invoke } = consumer(options, handler, { middy });
      expect(await invoke(batch("a", "b", "c"))).toEqual(failures(...returned));
      expect(await statuses("a", "b", "c")).toEqual(["FINISHED", "RELEASED", third]);
    });

    it("throws when all that it was given fails: the whole batch is retried, and repeats are acknowledged then", async () => {
      const { options, statuses, finishedBefore } = shop(table);
      await finishedBefore("a");
      const processor = new BatchProcessor(EventType.SQS);
      const handler: OrderHandler = (event, context) =>
        processPartialResponse(event as never, ship as never, processor, { context });
      const { invoke } = consumer(options, handler, { middy });
      await expect(invoke(queue("a", "b"))).rejects.toMatchObject({ name: "FullBatchFailureError" });
      expect(await statuses("b")).toEqual(["RELEASED"]);
    });

    it.each<[string, (skipGroupOnError: boolean) => OrderHandler]>([
      [
        "SqsFifoPartialProcessorAsync",
        (skipGroupOnError) => (event, context) =>
          processPartialResponse(event as never, ship as never, new SqsFifoPartialProcessorAsync(), {
            context,
            skipGroupOnError,
          }),
      ],
      [
        "SqsFifoPartialProcessor",
        (skipGroupOnError) => (event, context) =>
          processPartialResponseSync(
            event as never,
            ((record: OrderRecord) => {
              if (orderOf(record) === "b") throw new Error("no b");
            }) as never,
            new SqsFifoPartialProcessor(),
            { context, skipGroupOnError },
          ),
      ],
    ])("%s stops where the group stops, or the batch", async (_name, process) => {
      const event = fifo(["red", "a"], ["red", "b"], ["red", "c"], ["blue", "d"]);
      const group = shop(table);
      expect(await consumer(group.options, process(true), { middy }).invoke(event)).toEqual(failures("m2", "m3"));
      expect(await group.statuses("a", "b", "c", "d")).toEqual(["FINISHED", "RELEASED", "RELEASED", "FINISHED"]);

      const whole = shop(table);
      expect(await consumer(whole.options, process(false), { middy }).invoke(event)).toEqual(
        failures("m2", "m3", "m4"),
      );
      expect(await whole.statuses("a", "b", "c", "d")).toEqual(["FINISHED", "RELEASED", "RELEASED", "RELEASED"]);
    });
  });
});
