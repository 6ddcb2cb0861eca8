/** The event sources are data: to add one, add a line to `SOURCES`. */
import { inspect } from "node:util";
import type { SQSRecord } from "aws-lambda";
import { LockBatchError } from "../common/errors.ts";
import { fits, show, TEXT } from "../common/rules.ts";

/** A record, and where it stands in its batch. */
export interface Place {
  readonly record: unknown;
  /**
   * Its name in `batchItemFailures`. Records that a library made of one aggregated record share it.
   */
  readonly identifier: string;
  /** Records of one group are in order. A record without order has a group of its own. */
  readonly group: string | number;
  /** Records of one lane are about one thing, in order: they are finished one after the other. */
  readonly lane: string | number;
}

export interface Batch {
  readonly source: string;
  readonly places: readonly Place[];
  /** The source takes back everything from the lowest identifier on, so that one is enough. */
  readonly fromLowest: boolean;
  /** The identifier of a record, or of a copy of it. */
  identify(record: unknown): unknown;
}

interface Source extends Pick<Batch, "fromLowest"> {
  /**
   * The property of a record, or of an object in it, that names the record in `batchItemFailures`.
   */
  readonly identifier: readonly string[];
  /** Undefined for a record that has no order. */
  orderOf(record: never): Pick<Place, "group" | "lane"> | undefined;
}

const queue: Source = {
  fromLowest: false,
  identifier: ["messageId"],
  orderOf({ eventSourceARN, attributes }: SQSRecord) {
    // Message groups of a standard queue are about fairness, and not in order
    // (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/using-messagegroupid-property.html).
    if (!String(eventSourceARN).endsWith(".fifo")) return undefined;
    const group = attributes?.MessageGroupId;
    if (!group) throw new LockBatchError("a record of a FIFO queue has no attributes.MessageGroupId");
    return { group, lane: group };
  },
};

/**
 * All records of a batch are of one shard, so they are one group
 * (https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html). With a ParallelizationFactor
 * other batches of the shard run at the same time, but none with records about the same thing.
 */
const stream = (body: string, sequenceNumber: string, about: string): Source => ({
  fromLowest: true,
  identifier: [body, sequenceNumber],
  orderOf: (record) => ({ group: "shard", lane: printed(find(record, [body, about])) }),
});

/**
 * The sources that take back a part of a batch: queues by message
 * (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html), streams from the
 * lowest sequence number on
 * (https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html,
 * https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html).
 */
const SOURCES = new Map<unknown, Source>([
  ["aws:sqs", queue],
  ["aws:kinesis", stream("kinesis", "sequenceNumber", "partitionKey")],
  ["aws:dynamodb", stream("dynamodb", "SequenceNumber", "Keys")],
]);

/** @throws LockBatchError that says what is wrong with the event, and what to use for it. */
export const readBatch = (event: unknown): Batch => {
  const { Records: records, eventSource, window } = Object(event) as Record<string, unknown>;
  if (!Array.isArray(records)) throw new LockBatchError(`the event has no Records: ${advice(event, eventSource)}`);
  if (window !== undefined) {
    throw new LockBatchError(
      "a tumbling window is not supported: a repeat that is dropped would be missing in its state",
    );
  }
  const [name, ...others] = new Set(records.map(sourceOf));
  if (others.length > 0) {
    throw new LockBatchError(`the records are of several sources: ${[name, ...others].join(", ")}`);
  }
  const source = records.length > 0 ? SOURCES.get(name) : queue; // without records any will do
  if (!source) throw new LockBatchError(`the records have the eventSource ${show(name)}: ${advice(event, name)}`);
  const identify = (record: unknown) => find(record, source.identifier);
  const places = records.map((record, index) => {
    const identifier = identify(record);
    if (fits(identifier, TEXT)) {
      return {
        record,
        identifier: identifier as string,
        group: index,
        lane: index,
        ...source.orderOf(record as never),
      };
    }
    throw new LockBatchError(
      `record ${index} of ${name} has no identifier by which it could come back: ${source.identifier.join(".")} ` +
        `must be ${TEXT}, got ${show(identifier)}. A middleware that converts records has to be registered after this one`,
    );
  });
  return { source: String(name), places, fromLowest: source.fromLowest, identify };
};

const sourceOf = (record: unknown): unknown => {
  const { eventSource, EventSource } = Object(record) as Record<string, unknown>;
  return eventSource ?? EventSource;
};

const find = (value: unknown, path: readonly string[]): unknown =>
  path.reduce<unknown>((at, name) => (Object(at) as Record<string, unknown>)[name], value);

/**
 * Equal values give equal texts. No value makes it throw, though a middleware may have made
 * anything of what AWS sent: `bigint`, `Set`, `Uint8Array`, classes.
 */
const printed = (value: unknown): string =>
  inspect(value, {
    depth: null,
    sorted: true,
    customInspect: false,
    maxArrayLength: null,
    maxStringLength: null,
    breakLength: Number.POSITIVE_INFINITY,
  });

/** Says what to do with an event that is no batch of these sources. */
const advice = (event: unknown, source: unknown): string => {
  // Pipes knows the records of streams by another identifier
  // (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-batching-concurrency.html).
  if (Array.isArray(event)) {
    return "an array, as of EventBridge Pipes: wrap it as { Records } if it is of aws:sqs, or else use LockClient.once for each record";
  }
  if (String(source).includes("afka")) return "use LockClient.once for each record of Kafka";
  if (Object(event).Event === "s3:TestEvent") return "it is the test that S3 sends at setup: return before the lock";
  return `expected a batch of ${[...SOURCES.keys()].join(", ")}. Other events come back as a whole: use dynamoLock`;
};
