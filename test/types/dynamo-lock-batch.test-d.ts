/** Checked by tsc, never run: what compiles with `dynamoLockBatch` on the types of both Middys, and what must not. */
import { Logger } from "@aws-lambda-powertools/logger";
import { Metrics } from "@aws-lambda-powertools/metrics";
import middy7 from "@middy/core";
import type {
  Context,
  DynamoDBRecord,
  DynamoDBStreamEvent,
  KinesisStreamEvent,
  KinesisStreamRecord,
  SQSBatchResponse,
  SQSEvent,
  SQSRecord,
} from "aws-lambda";
import middy6 from "middy-core-6";
import {
  type BatchLocks,
  type BatchResponse,
  type BatchResult,
  dynamoLockBatch,
  type Lock,
  withLockBatch,
} from "../../src/index.ts";
import { type Equal, expectTrue } from "./expect.ts";

const ship = async (_record: SQSRecord): Promise<void> => {};
const byBody = { key: (record: SQSRecord) => record.body };

// The event and the context.

export const queue7 = middy7<SQSEvent>()
  .use(dynamoLockBatch({ key: (record: SQSRecord) => record.body }))
  .handler(async (event, context) => {
    expectTrue<Equal<(typeof event.Records)[number], SQSRecord>>();
    expectTrue<Equal<typeof context.locks, BatchLocks<SQSRecord>>>();
    expectTrue<Equal<typeof context.awsRequestId, string>>();
    const locks = event.Records.map((record) => context.locks.get(record));
    expectTrue<Equal<typeof locks, Lock[]>>();
    return Promise.allSettled(event.Records.map(ship));
  });
export const queue6 = middy6<SQSEvent>()
  .use(dynamoLockBatch({ key: (record: SQSRecord) => record.body }))
  .handler(async (event, context) => {
    expectTrue<Equal<(typeof event.Records)[number], SQSRecord>>();
    expectTrue<Equal<typeof context.locks, BatchLocks<SQSRecord>>>();
  });

/** A record that is only named in the key function makes the handler's event. */
export const kinesis7 = middy7()
  .use(dynamoLockBatch<KinesisStreamRecord>({ key: (record) => record.kinesis.sequenceNumber }))
  .handler(async (event) => {
    expectTrue<Equal<typeof event.Records, KinesisStreamRecord[]>>();
    return { batchItemFailures: [] };
  });
export const kinesis6 = middy6<KinesisStreamEvent>()
  .use(dynamoLockBatch<KinesisStreamRecord>({ key: (record) => record.kinesis.sequenceNumber }))
  .handler(async (event) => expectTrue<Equal<(typeof event.Records)[number], KinesisStreamRecord>>());
export const stream = middy7<DynamoDBStreamEvent>()
  .use(dynamoLockBatch({ key: ({ dynamodb }: DynamoDBRecord) => dynamodb?.SequenceNumber }))
  .handler(async (event) => expectTrue<Equal<(typeof event.Records)[number], DynamoDBRecord>>());

/** Without a type argument the key function compiles too, and doesn't make the handler's event `any`. */
export const untyped = middy7()
  .use(dynamoLockBatch({ key: (record) => record.body }))
  .handler(async (event) => expectTrue<Equal<typeof event, unknown>>());
export const notWidened = middy7<SQSEvent>()
  .use(dynamoLockBatch({ key: (record) => record.body }))
  .handler(async (event) => expectTrue<Equal<typeof event, SQSEvent>>());

export const respond = middy7<SQSEvent, SQSBatchResponse>()
  .use(dynamoLockBatch(byBody))
  .handler(async (): Promise<BatchResponse> => ({ batchItemFailures: [{ itemIdentifier: "m1" }] }));

export const maybe = middy7<SQSEvent>()
  .use(dynamoLockBatch({ ...byBody, onMissingKey: "run" }))
  .handler(async ({ Records: [record] }, { locks }) => {
    const lock = record && locks.get(record);
    expectTrue<Equal<typeof lock, Lock | undefined>>();
  });

export const readonlyLocks = middy7<SQSEvent>()
  .use(dynamoLockBatch(byBody))
  .handler(async (_event, context) => {
    // @ts-expect-error: the locks are not the handler's to replace
    context.locks = undefined;
    // @ts-expect-error: a batch has a lock for each record
    context.lock;
    // @ts-expect-error: a record is asked for, not its identifier
    context.locks.get("m1");
  });

dynamoLockBatch<SQSRecord>({
  key: (record, context) => {
    expectTrue<Equal<typeof record, SQSRecord>>();
    expectTrue<Equal<typeof context, Context>>();
    return record.messageId;
  },
  owner: (record, { functionName }) => `${functionName} of ${record.messageId}`,
  fingerprint: (record) => record.body,
  leaseMs: (record) => Number(record.attributes.ApproximateReceiveCount) * 1_000,
});

// Options that fit.

dynamoLockBatch({ ...byBody, bulk: true });
dynamoLockBatch({ ...byBody, leaseMs: 10_000, heartbeatMs: 2_000, concurrency: 10, reserveMs: 5_000, waitMs: 100 });
dynamoLockBatch({ ...byBody, logger: new Logger(), metrics: new Metrics(), onEvent: ({ type }) => type === "dropped" });
dynamoLockBatch({ ...byBody, namespace: false, rememberMs: undefined, cacheSize: 100 });

// Options that don't.

// @ts-expect-error: key is required
dynamoLockBatch({});
// @ts-expect-error: a key function must not be async
dynamoLockBatch({ key: async (record) => record.body });
// @ts-expect-error: one key for each record
dynamoLockBatch({ key: (record) => [record.body] });
// @ts-expect-error: a batch has no response to store
dynamoLockBatch({ ...byBody, storeResponse: true });
// @ts-expect-error: a batch answers its repeats itself
dynamoLockBatch({ ...byBody, duplicateResponse: {} });
// @ts-expect-error: what failed is told by the response
dynamoLockBatch({ ...byBody, onError: "finish" });
// @ts-expect-error: a record is held by one
dynamoLockBatch({ ...byBody, permits: 2 });
// @ts-expect-error: milliseconds are a number
dynamoLockBatch({ ...byBody, leaseMs: () => "1s" });
// @ts-expect-error: a wrong literal
dynamoLockBatch({ ...byBody, onMissingKey: "skip" });
// @ts-expect-error: the record has no such property
dynamoLockBatch<SQSRecord>({ key: (record) => record.order });
/** A handler for another event doesn't fit. */
export const otherEvent = middy7()
  .use(dynamoLockBatch(byBody))
  // @ts-expect-error: the records are messages
  .handler(async (event: KinesisStreamEvent) => event.Records.length);

// Without Middy.

export const plain: (event: SQSEvent, context: Context) => Promise<BatchResponse> = withLockBatch(
  async (event: SQSEvent, context) => {
    expectTrue<Equal<typeof context.locks, BatchLocks<SQSRecord>>>();
    return Promise.allSettled(event.Records.map(ship));
  },
  { key: (record) => record.body, fingerprint: (record) => record.messageId },
);
export const plainMissing = withLockBatch(
  async (event: KinesisStreamEvent, context) => {
    const [record] = event.Records;
    const lock = record && context.locks.get(record);
    expectTrue<Equal<typeof lock, Lock | undefined>>();
  },
  { key: (record) => record.kinesis.partitionKey, onMissingKey: "run" },
);
// @ts-expect-error: the key is the record's, not the event's
withLockBatch(async (_event: SQSEvent) => {}, { key: (record) => record.Records });

// What a handler may return.

const byId = { key: (record: SQSRecord) => record.messageId };
withLockBatch(async (_event: SQSEvent) => {}, byId);
withLockBatch((_event: SQSEvent) => undefined, byId);
withLockBatch((_event: SQSEvent) => null, byId);
withLockBatch(async (_event: SQSEvent) => ({}), byId);
withLockBatch(async (_event: SQSEvent): Promise<SQSBatchResponse> => ({ batchItemFailures: [] }), byId);
withLockBatch(async (_event: SQSEvent): Promise<SQSBatchResponse | undefined> => undefined, byId);
withLockBatch(({ Records }: SQSEvent) => Promise.allSettled(Records.map(ship)), byId);
/** The whole of a Middy. */
withLockBatch(
  middy7<SQSEvent>().handler(async ({ Records }) => Promise.allSettled(Records.map(ship))),
  byId,
);
withLockBatch(
  middy6<SQSEvent>().handler(async ({ Records }) => Promise.allSettled(Records.map(ship))),
  byId,
);
// @ts-expect-error: Promise.all tells nothing of single records
withLockBatch(({ Records }: SQSEvent) => Promise.all(Records.map(ship)), byId);
// @ts-expect-error: a text is no report
withLockBatch(async (_event: SQSEvent) => "ok", byId);
// @ts-expect-error: nor is a number
withLockBatch((_event: SQSEvent) => 200, byId);
// @ts-expect-error: nor is a boolean
withLockBatch(async (_event: SQSEvent) => true, byId);
// @ts-expect-error: an HTTP response is that of another handler
withLockBatch(async (_event: SQSEvent) => ({ statusCode: 200, body: "" }), byId);
// @ts-expect-error: the identifiers have a property
withLockBatch(async (_event: SQSEvent) => ({ batchItemFailures: ["m1"] }), byId);
// @ts-expect-error: the list is awaited
withLockBatch(async (_event: SQSEvent) => ({ batchItemFailures: Promise.resolve([]) }), byId);

/** With Middy, whose middlewares have no say in it, by the type argument. */
export const settled7 = middy7<SQSEvent, BatchResult>()
  .use(dynamoLockBatch(byBody))
  .handler(async ({ Records }) => Promise.allSettled(Records.map(ship)));
export const nothing6 = middy6<SQSEvent, BatchResult>()
  .use(dynamoLockBatch(byBody))
  .handler(async () => {});
export const all7 = middy7<SQSEvent, BatchResult>()
  .use(dynamoLockBatch(byBody))
  // @ts-expect-error: Promise.all tells nothing of single records
  .handler(async ({ Records }) => Promise.all(Records.map(ship)));
export const text6 = middy6<SQSEvent, BatchResult>()
  .use(dynamoLockBatch(byBody))
  // @ts-expect-error: a text is no report
  .handler(async () => "ok");
