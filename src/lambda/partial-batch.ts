import { LockBatchError } from "../common/errors.ts";

/** A batch whose source takes back a part of it. */
export interface PartialBatch {
  readonly source: string;
  readonly records: number;
}

/**
 * The sources to which a function can report a part of a batch as failed
 * (https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html,
 * `FunctionResponseTypes`). Kafka's do so in provisioned mode
 * (https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html).
 */
const SOURCES: ReadonlySet<unknown> = new Set([
  "aws:sqs",
  "aws:kinesis",
  "aws:dynamodb",
  "aws:kafka",
  "SelfManagedKafka",
  "aws:SelfManagedKafka",
]);

/**
 * The batch that an event is. EventBridge Pipes sends its records as an array, and takes the same
 * response
 * (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-batching-concurrency.html).
 * Kafka's are in lists, one for each partition of a topic. Undefined for every other event.
 */
export const partialBatchOf = (event: unknown): PartialBatch | undefined => {
  const { Records, records, eventSource } = Object(event) as Record<string, unknown>;
  const byPartition = SOURCES.has(eventSource) && Object.values(Object(records)).flat();
  const all: unknown = byPartition || (Array.isArray(event) ? event : Records);
  if (!Array.isArray(all)) return undefined;
  const source = [eventSource, ...all.map((record) => Object(record).eventSource)].find((name) => SOURCES.has(name));
  return all.length === 0 || source === undefined ? undefined : { source: String(source), records: all.length };
};

/** One key for a whole batch must not say that all of it is done, when a part of it may not be. */
export const refuseBatch = (caller: string, { source, records }: PartialBatch, why: string): LockBatchError =>
  new LockBatchError(
    `the event is a batch of ${records} records of ${source}, and ${why}. Nothing was written, and the handler did not run. ` +
      `${insteadOf(source)}, set BatchSize: 1, or set onSuccess: 'release' without a duplicateResponse, to run one batch at a time`,
    { caller },
  );

const insteadOf = (source: string): string =>
  source.includes("afka")
    ? "Use LockClient.once for each record (dynamoLockBatch and withLockBatch know queues and streams, not Kafka)"
    : "Use dynamoLockBatch or withLockBatch, which take a key for each record";

/**
 * Whether a response says that a part of the batch failed: `batchItemFailures` is there, and is no
 * empty list. What is malformed counts too, because Lambda takes that for a failure of the whole
 * batch (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html).
 */
export const reportsFailures = (response: unknown): boolean => {
  try {
    const { batchItemFailures: failures } = Object(response) as { batchItemFailures?: unknown };
    if (failures === undefined || failures === null) return false;
    if (typeof failures === "function" || typeof failures === "symbol") return false; // JSON leaves them out
    return !Array.isArray(failures) || failures.length > 0;
  } catch {
    return true; // a getter that throws
  }
};

/**
 * Whether there is a failure among the results of `Promise.allSettled`, of which
 * `@middy/sqs-partial-batch-failure` makes a report.
 */
export const hasRejected = (response: unknown): boolean =>
  Array.isArray(response) && response.some((result) => Object(result).status === "rejected");
