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
const SOURCE = /^(aws:(sqs|kinesis|dynamodb|kafka)|(aws:)?SelfManagedKafka)$/;
const isSource = (name: unknown): name is string => typeof name === "string" && SOURCE.test(name);

/**
 * The batch that an event is. EventBridge Pipes sends its records as an array, and takes the same
 * response
 * (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-batching-concurrency.html).
 * Kafka's are in lists, one for each partition of a topic. Undefined for every other event.
 */
export const partialBatchOf = (event: unknown): PartialBatch | undefined => {
  const { Records, records, eventSource } = Object(event) as Record<string, unknown>;
  const byPartition = isSource(eventSource) && Object.values(Object(records)).flat();
  const all: unknown = byPartition || (Array.isArray(event) ? event : Records);
  if (!Array.isArray(all)) return undefined;
  const source = [eventSource, ...all.map((record) => Object(record).eventSource)].find(isSource);
  return all.length === 0 || source === undefined ? undefined : { source, records: all.length };
};

/** One lock for a whole batch must not say that all of it is done, when a part of it may not be. */
export const refuseBatch = (caller: string, { source, records }: PartialBatch): LockBatchError =>
  new LockBatchError(
    `the event is a batch of ${records} records of ${source}, and one lock would acknowledge those of them that fail or don't run. ` +
      "The handler did not run. Use dynamoLockBatch or withLockBatch (for Kafka LockClient.once), with a key for each record, set " +
      "BatchSize: 1, or run one batch at a time: set onSuccess: 'release' without a duplicateResponse",
    { caller },
  );

/**
 * Whether a response says that a part of the batch failed: `batchItemFailures` is there, and is no
 * empty list. What is malformed counts too, because Lambda takes that for a failure of the whole
 * batch (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html).
 */
export const reportsFailures = (response: unknown): boolean => {
  try {
    const json: string | undefined = JSON.stringify(Object(response).batchItemFailures ?? []);
    return json !== undefined && json !== "[]";
  } catch {
    return true; // a getter throws, or it is no JSON
  }
};

/**
 * Whether there is a failure among the results of `Promise.allSettled`, of which
 * `@middy/sqs-partial-batch-failure` makes a report.
 */
export const hasRejected = (response: unknown): boolean =>
  Array.isArray(response) && response.some((result) => Object(result).status === "rejected");
