/** Batches as Lambda delivers them, and a table's view of the orders in them. */
import { randomUUID } from "node:crypto";
import type { DynamoDBClientConfig } from "@aws-sdk/client-dynamodb";
import middy7 from "@middy/core";
import type {
  Context,
  DynamoDBRecord,
  DynamoDBStreamEvent,
  KinesisStreamEvent,
  KinesisStreamRecord,
  SQSEvent,
  SQSRecord,
} from "aws-lambda";
import { vi } from "vitest";
import {
  type BatchResponse,
  type DynamoLockBatchOptions,
  dynamoLockBatch,
  type Lock,
  LockClient,
  type LockEvent,
  type LocksContext,
} from "../../src/index.ts";
import { countingClient, type lockTable } from "./dynamodb.ts";
import { lambdaContext } from "./lambda.ts";

const account = "eu-west-1:123456789012";

/** As SQS delivers it. With a group and `fifo` it is of a FIFO queue, with a group alone of a fair one. */
export const sqsRecord = (
  messageId: string,
  order: string,
  { group, fifo = group !== undefined }: { group?: string | undefined; fifo?: boolean } = {},
): SQSRecord => ({
  messageId,
  receiptHandle: `handle of ${messageId}`,
  body: JSON.stringify({ order }),
  attributes: {
    ApproximateReceiveCount: "1",
    SentTimestamp: "1795240800000",
    SenderId: "AIDAIENQZJOLO23YVJ4VO",
    ApproximateFirstReceiveTimestamp: "1795240800021",
    ...(group !== undefined && { MessageGroupId: group }),
  },
  messageAttributes: {},
  md5OfBody: "e4e68fb7bd0e697a0ae8f1bb342846b3",
  eventSource: "aws:sqs",
  eventSourceARN: `arn:aws:sqs:${account}:orders${fifo ? ".fifo" : ""}`,
  awsRegion: "eu-west-1",
});

export const kinesisRecord = (sequenceNumber: string, order: string, partitionKey = "orders"): KinesisStreamRecord => ({
  kinesis: {
    kinesisSchemaVersion: "1.0",
    partitionKey,
    sequenceNumber,
    data: Buffer.from(JSON.stringify({ order })).toString("base64"),
    approximateArrivalTimestamp: 1795240800.021,
  },
  eventSource: "aws:kinesis",
  eventVersion: "1.0",
  eventID: `shardId-000000000006:${sequenceNumber}`,
  eventName: "aws:kinesis:record",
  invokeIdentityArn: "arn:aws:iam::123456789012:role/orders",
  awsRegion: "eu-west-1",
  eventSourceARN: `arn:aws:kinesis:${account}:stream/orders`,
});

export const dynamodbRecord = (sequenceNumber: string, order: string): DynamoDBRecord => ({
  eventID: randomUUID(),
  eventName: "INSERT",
  eventVersion: "1.1",
  eventSource: "aws:dynamodb",
  awsRegion: "eu-west-1",
  dynamodb: {
    ApproximateCreationDateTime: 1795240800,
    Keys: { id: { S: order } },
    NewImage: { id: { S: order } },
    SequenceNumber: sequenceNumber,
    SizeBytes: 26,
    StreamViewType: "NEW_IMAGE",
  },
  eventSourceARN: `arn:aws:dynamodb:${account}:table/orders/stream/2026-11-21T00:00:00.000`,
});

/** What a record is about, whatever its source. */
export const orderOf = (record: SQSRecord | KinesisStreamRecord | DynamoDBRecord): string => {
  if ("body" in record) return JSON.parse(record.body).order;
  if ("kinesis" in record) return JSON.parse(Buffer.from(record.kinesis.data, "base64").toString()).order;
  return record.dynamodb?.NewImage?.id?.S ?? "";
};

/** Messages `m1`, `m2`, ... of a standard queue. */
export const queue = (...orders: string[]): SQSEvent => ({
  Records: orders.map((order, index) => sqsRecord(`m${index + 1}`, order)),
});

/** Messages `m1`, `m2`, ... of a FIFO queue: `[group, order]`. */
export const fifo = (...orders: (readonly [group: string, order: string])[]): SQSEvent => ({
  Records: orders.map(([group, order], index) => sqsRecord(`m${index + 1}`, order, { group })),
});

/** Records with the sequence numbers `1001`, `1002`, ... */
export const kinesis = (...orders: string[]): KinesisStreamEvent => ({
  Records: orders.map((order, index) => kinesisRecord(`${1001 + index}`, order)),
});
export const dynamodbStream = (...orders: string[]): DynamoDBStreamEvent => ({
  Records: orders.map((order, index) => dynamodbRecord(`${1001 + index}`, order)),
});

export type OrderEvent = SQSEvent | KinesisStreamEvent | DynamoDBStreamEvent;
export type OrderRecord = OrderEvent["Records"][number];
export type OrderContext = Context & LocksContext<OrderRecord>;

export const failures = (...identifiers: string[]): BatchResponse => ({
  batchItemFailures: identifiers.map((itemIdentifier) => ({ itemIdentifier })),
});

/** Orders that no other test uses, and everything that is seen of them. */
export const shop = (table: Awaited<ReturnType<typeof lockTable>>, config: DynamoDBClientConfig = {}) => {
  const namespace = `shop-${randomUUID()}`;
  const { client, sent } = countingClient({ maxAttempts: 1, ...config });
  const events: LockEvent[] = [];
  const others = new LockClient({ client: table.client, tableName: table.tableName, namespace, owner: "another" });
  return {
    namespace,
    client,
    sent,
    events,
    types: () => events.map(({ type }) => type),
    options: {
      key: orderOf,
      client,
      tableName: table.tableName,
      namespace,
      onEvent: (event: LockEvent) => void events.push(event),
    },
    heldByAnother: (order: string): Promise<Lock> => others.acquire(order),
    finishedBefore: (...orders: string[]) => Promise.all(orders.map((order) => others.once(order, () => {}))),
    /** The state of each order's key in DynamoDB. */
    statuses: async (...orders: string[]) => {
      const items = await Promise.all(orders.map((order) => table.item(`${namespace}#${order}`)));
      return items.map((item) => item?.status?.S);
    },
  };
};

export type OrderHandler = (event: OrderEvent, context: OrderContext) => unknown;

/** The part of Middy that both majors share. */
type Middy = (plugin?: object) => { use(middleware: unknown): unknown; handler(handler: OrderHandler): unknown };

/** A handler behind `dynamoLockBatch`, with other middlewares `before` it (outer) and `behind` it (inner). */
export const consumer = (
  options: DynamoLockBatchOptions<OrderRecord>,
  handler: OrderHandler = async () => undefined,
  {
    middy = middy7 as unknown as Middy,
    before = [],
    behind = [],
    plugin = {},
  }: { middy?: Middy; before?: unknown[]; behind?: unknown[]; plugin?: object } = {},
) => {
  const run = vi.fn(handler);
  const chained = middy(plugin);
  for (const middleware of [...before, dynamoLockBatch(options), ...behind]) chained.use(middleware);
  chained.handler(run);
  const invoke = chained as unknown as (event: unknown, context: Context) => Promise<unknown>;
  return {
    run,
    invoke: (event: unknown, context: Context = lambdaContext()) => invoke(event, context),
    /** The orders that the handler was given, by invocation. */
    given: () => run.mock.calls.map(([{ Records }]) => Records.map((record) => orderOf(record))),
  };
};

/** A handler that fails for some orders, and says so in the response. */
export const failing =
  (...orders: string[]): OrderHandler =>
  async ({ Records }) =>
    Promise.allSettled(
      Records.map(async (record) => {
        if (orders.includes(orderOf(record))) throw new Error(`no ${orderOf(record)}`);
      }),
    );
