import { inspect } from "node:util";
import type { DynamoDBRecord, KinesisStreamRecord, SQSRecord } from "aws-lambda";
import { LockBatchError } from "../common/errors.ts";

/** A record of a source that takes back a part of a batch. */
export type BatchRecord = SQSRecord | KinesisStreamRecord | DynamoDBRecord;

/** A record, as far as it is needed beside its key. */
export interface BatchItem {
  /**
   * Its name in `batchItemFailures`. Records may share one, such as those that a library made of
   * one aggregated record.
   */
  readonly identifier: string;
  /** Records of one group are in order. */
  readonly group: string | undefined;
  /** Records of one lane are about one thing, in order: they are finished one after the other. */
  readonly lane: string | undefined;
}

export interface Batch {
  readonly source: string;
  readonly items: readonly BatchItem[];
  /** The source takes back everything from the lowest identifier on, so that one is enough. */
  readonly fromLowest: boolean;
  /** The identifier of a record, or of a copy of it. */
  identify(record: unknown): unknown;
}

interface Source {
  readonly fromLowest: boolean;
  identify(record: unknown): unknown;
  place(record: never): Omit<BatchItem, "identifier">;
}

/** All records of a batch are of one shard (https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html), so they are one group. */
const SHARD = "shard";

/**
 * Records of which this text is the same are in one lane. A middleware may have made any values of
 * what AWS sent: `bigint`, `Set`, `Uint8Array`, classes. No value makes it throw, and equal values
 * give equal texts.
 */
const laneOf = (value: unknown): string =>
  inspect(value, {
    depth: null,
    sorted: true,
    customInspect: false,
    maxArrayLength: null,
    maxStringLength: null,
    breakLength: Number.POSITIVE_INFINITY,
  });

/**
 * The sources that take back a part of a batch: queues by message
 * (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html), streams from the lowest sequence number on
 * (https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html,
 * https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html).
 */
const SOURCES: Readonly<Record<string, Source>> = {
  "aws:sqs": {
    fromLowest: false,
    identify: (record) => (Object(record) as Partial<SQSRecord>).messageId,
    place: ({ eventSourceARN, attributes }: SQSRecord) => {
      // A standard queue may have message groups too, which are about fairness and not in order
      // (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/using-messagegroupid-property.html).
      if (!String(eventSourceARN).endsWith(".fifo")) return { group: undefined, lane: undefined };
      const group = attributes?.MessageGroupId;
      if (!group) throw new LockBatchError("a record of a FIFO queue has no attributes.MessageGroupId");
      return { group, lane: group };
    },
  },
  // With a ParallelizationFactor, other batches of the shard run at the same time, but none with the same partition key.
  "aws:kinesis": {
    fromLowest: true,
    identify: (record) => (Object(record) as Partial<KinesisStreamRecord>).kinesis?.sequenceNumber,
    place: ({ kinesis }: KinesisStreamRecord) => ({ group: SHARD, lane: laneOf(kinesis.partitionKey) }),
  },
  "aws:dynamodb": {
    fromLowest: true,
    identify: (record) => (Object(record) as DynamoDBRecord).dynamodb?.SequenceNumber,
    place: ({ dynamodb }: DynamoDBRecord) => ({ group: SHARD, lane: laneOf(dynamodb?.Keys) }),
  },
};

/** The advice for events that are no batch of ours. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  "aws:sns": "SNS delivers one record, and takes back an invocation as a whole: use dynamoLock",
  "aws:s3": "S3 takes back an invocation as a whole: use dynamoLock",
  "aws:ses": "SES takes back an invocation as a whole: use dynamoLock",
  "aws:kafka": "of Kafka's records one key each can be locked with LockClient.once",
  SelfManagedKafka: "of Kafka's records one key each can be locked with LockClient.once",
  "aws:SelfManagedKafka": "of Kafka's records one key each can be locked with LockClient.once",
};

/** @throws LockBatchError that says what is wrong with the event, and what to use for it. */
export const readBatch = (event: unknown): Batch => {
  const { Records: records, eventSource, window } = Object(event) as Record<string, unknown>;
  if (!Array.isArray(records)) throw new LockBatchError(`the event has no Records: ${hint(event, eventSource)}`);
  if (window !== undefined) {
    throw new LockBatchError(
      "a tumbling window is not supported: a repeat that is dropped would be missing in the state that the window aggregates",
    );
  }
  if (records.length === 0) return { source: "", items: [], fromLowest: false, identify: () => undefined };
  const [name, ...others] = new Set(records.map(sourceOf));
  if (others.length > 0)
    throw new LockBatchError(`the records are of several sources: ${[name, ...others].join(", ")}`);
  const source = Object.hasOwn(SOURCES, name as string) ? SOURCES[name as string] : undefined;
  if (!source)
    throw new LockBatchError(`the records have the eventSource ${JSON.stringify(name)}: ${hint(event, name)}`);
  const items = records.map((record, index) => {
    const identifier = source.identify(record);
    if (typeof identifier === "string" && identifier !== "") return { identifier, ...source.place(record as never) };
    const what =
      identifier === undefined || identifier === ""
        ? "no identifier"
        : `an identifier that is no string but a ${typeof identifier}: a middleware has converted it, so there is no identifier`;
    throw new LockBatchError(`record ${index} of ${name} has ${what}, by which it could be reported as failed`);
  });
  return { source: String(name), items, fromLowest: source.fromLowest, identify: source.identify };
};

const sourceOf = (record: unknown): unknown => {
  const { eventSource, EventSource } = Object(record) as Record<string, unknown>;
  return eventSource ?? EventSource;
};

const hint = (event: unknown, source: unknown): string => {
  if (Array.isArray(event)) {
    // Pipes knows the records of streams by another identifier
    // (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-batching-concurrency.html).
    return "an array, as of EventBridge Pipes: wrap it as { Records } if they are of aws:sqs, and use LockClient.once for each if not";
  }
  if (Object(event).Event === "s3:TestEvent") {
    return "it is the test that S3 sends when notifications are set up, and has nothing to do: return before the lock";
  }
  if ("detail-type" in Object(event)) return "an event of EventBridge: use dynamoLock";
  return ELSEWHERE[String(source)] ?? "expected a batch of aws:sqs, aws:kinesis or aws:dynamodb";
};
