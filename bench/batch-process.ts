/**
 * A process of the batch benchmark, as a Lambda sandbox: it handles a number of batches with one library, one after the
 * other, and tells its parent what that took.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { BatchProcessor, EventType, processPartialResponse } from "@aws-lambda-powertools/batch";
import { IdempotencyConfig, makeIdempotent } from "@aws-lambda-powertools/idempotency";
import { DynamoDBPersistenceLayer } from "@aws-lambda-powertools/idempotency/dynamodb";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import middy from "@middy/core";
import type { Context, SQSBatchResponse, SQSEvent, SQSRecord } from "aws-lambda";
import { clientConfig } from "../scripts/engine.ts";
import { createClient } from "../src/dynamodb/aws-sdk.ts";
import { dynamoLockBatch } from "../src/index.ts";
import { type Meter, metered } from "./meter.ts";

export interface Task {
  readonly library: Library;
  readonly endpoint: string;
  readonly tableName: string;
  /** Records of a batch. */
  readonly size: number;
  /** The same name and number deliver the same messages. */
  readonly name: string;
  readonly batches: number;
  /** Whether they come for the first time. */
  readonly first: boolean;
  /** The time that is added to each request. */
  readonly latencyMs: number;
}

export interface Measured {
  /** Of each batch. */
  readonly ms: readonly number[];
  /** Of all batches. */
  readonly requests: number;
  /** Processor time of all batches, of this process alone. */
  readonly cpuMs: number;
  readonly peakMb: number;
}

type Handler = (event: SQSEvent, context: Context) => Promise<SQSBatchResponse>;
type Work = (record: SQSRecord) => Promise<void>;

/** Each request takes longer, as over a network. */
const delayed = <T extends Pick<DynamoDBClient, "middlewareStack">>(client: T, { latencyMs }: Task): T => {
  if (latencyMs > 0) {
    const delay = (next: (args: unknown) => Promise<never>) => async (args: unknown) => {
      await sleep(latencyMs);
      return next(args);
    };
    client.middlewareStack.add(delay as never, { step: "finalizeRequest", priority: "low", name: "delay" });
  }
  return client;
};

const ours =
  (bulk: boolean) =>
  (work: Work, task: Task, meter: Meter): Handler =>
    middy<SQSEvent>()
      .use(
        dynamoLockBatch({
          key: (record: SQSRecord) => record.messageId,
          client: delayed(metered(createClient(clientConfig(task.endpoint)), meter), task), // the one it makes itself
          tableName: task.tableName,
          bulk,
        }),
      )
      .handler(async ({ Records }) => Promise.allSettled(Records.map(work))) as unknown as Handler;

const handlers = {
  "middy-dynamo-lock": ours(false),
  "middy-dynamo-lock, bulk": ours(true),

  /** https://docs.aws.amazon.com/powertools/typescript/latest/features/idempotency/#batch-integration */
  Powertools: (work: Work, task: Task, meter: Meter): Handler => {
    const { endpoint, tableName } = task;
    const processor = new BatchProcessor(EventType.SQS);
    const config = new IdempotencyConfig({ eventKeyJmesPath: "messageId" });
    const awsSdkV3Client = delayed(metered(new DynamoDBClient(clientConfig(endpoint)), meter), task); // the one it makes itself
    const persistenceStore = new DynamoDBPersistenceLayer({ tableName, awsSdkV3Client });
    const idempotent = makeIdempotent(work, { persistenceStore, config });
    return async (event, context) => {
      config.registerLambdaContext(context);
      return processPartialResponse(event, idempotent, processor, { context });
    };
  },
};

export type Library = keyof typeof handlers;

const batchOf = ({ name, size }: Task, number: number): SQSEvent => ({
  Records: Array.from({ length: size }, (_, index) => ({
    messageId: `${name}-${number}-${index}`,
    receiptHandle: "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
    body: JSON.stringify({ orderId: `${name}-${number}-${index}`, item: "coffee grinder", quantity: 1 }),
    attributes: {
      ApproximateReceiveCount: "1",
      SentTimestamp: "1795240800000",
      SenderId: "AIDAIENQZJOLO23YVJ4VO",
      ApproximateFirstReceiveTimestamp: "1795240800021",
    },
    messageAttributes: {},
    md5OfBody: "9d1885d90938fde0f16523ebe116fdfe",
    eventSource: "aws:sqs",
    eventSourceARN: "arn:aws:sqs:eu-west-1:123456789012:orders",
    awsRegion: "eu-west-1",
  })),
});

const perform = async (task: Task): Promise<Measured> => {
  const meter: Meter = { requests: 0, writes: 0, stopped: false };
  let worked = 0;
  const work: Work = async () => {
    worked++;
  };
  const handler = handlers[task.library](work, task, meter);
  const deliver = async (number: number): Promise<number> => {
    const event = batchOf(task, number);
    const deadline = Date.now() + 300_000;
    const context = {
      functionName: "orders",
      awsRequestId: `${number}`,
      getRemainingTimeInMillis: () => deadline - Date.now(),
    };
    worked = 0;
    const startedAt = performance.now();
    const { batchItemFailures } = await handler(event, context as unknown as Context);
    const ms = performance.now() - startedAt;
    const expected = task.first ? task.size : 0;
    if (batchItemFailures.length > 0 || worked !== expected) {
      throw new Error(`${task.library}: ${worked} of ${expected} ran, ${batchItemFailures.length} failed`);
    }
    return ms;
  };

  await deliver(0); // opens the connections, and is not measured
  meter.requests = 0;
  const before = process.cpuUsage();
  const ms: number[] = [];
  for (let number = 1; number <= task.batches; number++) ms.push(await deliver(number));
  const { user, system } = process.cpuUsage(before);
  const peakMb = process.resourceUsage().maxRSS / 1_024;
  return { ms, requests: meter.requests, cpuMs: (user + system) / 1_000, peakMb };
};

process.on("disconnect", () => process.exit());
process.send?.("loaded");
process.once("message", async (task: Task) => {
  process.send?.(await perform(task), () => process.disconnect());
});
