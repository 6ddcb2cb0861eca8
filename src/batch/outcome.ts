import { LockBatchError } from "../common/errors.ts";
import { show } from "../common/rules.ts";

/** A part of a batch that comes back, as Lambda takes it from a function. */
export interface BatchResponse {
  batchItemFailures: { itemIdentifier: string }[];
}

/**
 * A handler of a batch returns which records failed, or the results of `Promise.allSettled`, one
 * for each record. If it returns nothing, or an object without `batchItemFailures`, all have
 * succeeded.
 *
 * @example
 * export const handler = middy<SQSEvent, BatchResult>()
 *   .use(dynamoLockBatch({ key: (record: SQSRecord) => record.body }))
 *   .handler(async ({ Records }) => Promise.allSettled(Records.map(ship)));
 */
export type BatchResult =
  // biome-ignore lint/suspicious/noConfusingVoidType: a handler that returns nothing says that all succeeded
  | void
  | null
  | undefined
  | { readonly batchItemFailures?: readonly { readonly itemIdentifier: string }[] | null | undefined }
  | readonly PromiseSettledResult<unknown>[];

/** The identifiers of the records that failed, with the reason where the handler told it. */
export type Failures = ReadonlyMap<string, unknown>;

/**
 * Finds out which records failed, by what the handler returned. `identifiers` are those of the
 * records that it was given, `order` those of `event.Records` as it stands when the handler has
 * ended: it may have sorted them. Records that share an identifier fail together, because the
 * response can only name them together.
 *
 * As Lambda does it, an empty response, and one without `batchItemFailures`, are taken for success,
 * and an identifier that can't be found for a failure of the whole batch
 * (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html,
 * https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html).
 *
 * @throws LockBatchError for anything else.
 */
export const failuresOf = (
  response: unknown,
  identifiers: readonly string[],
  order: readonly unknown[] = identifiers,
): Failures => {
  if (Array.isArray(response)) return rejectedOf(response, identifiers, order);
  const { failed, isHttpError } = readReport(response);
  if (isHttpError || !["object", "undefined"].includes(typeof response)) {
    throw unclear(`${describe(response)}, not { batchItemFailures } or the results of Promise.allSettled`);
  }
  if (!Array.isArray(failed)) throw unclear(`batchItemFailures that must be an array, got ${describe(failed)}`);
  const given = new Set<unknown>(identifiers);
  const failures = new Map<string, unknown>();
  for (const failure of failed) {
    const { itemIdentifier } = Object(failure);
    if (!given.has(itemIdentifier)) {
      throw unclear(
        `batchItemFailures that names ${describe(itemIdentifier)}, which is the identifier of no record that it was given`,
      );
    }
    failures.set(itemIdentifier, undefined);
  }
  return failures;
};

const readReport = (response: unknown) => {
  try {
    const { batchItemFailures, statusCode } = Object(response) as Record<string, unknown>;
    // An HTTP error handler has made a response of the handler's error.
    const isHttpError =
      typeof statusCode === "number" && statusCode >= 400 && !("batchItemFailures" in Object(response));
    return { failed: batchItemFailures ?? [], isHttpError };
  } catch {
    throw unclear("an object whose batchItemFailures can't be read");
  }
};

const rejectedOf = (
  results: readonly unknown[],
  identifiers: readonly string[],
  order: readonly unknown[],
): Failures => {
  const failures = new Map<string, unknown>();
  for (const [index, result] of results.entries()) {
    const { status, reason } = Object(result);
    const identifier = order[index] as string;
    if (status === "rejected" && !failures.has(identifier)) failures.set(identifier, reason);
    else if (status !== "rejected" && status !== "fulfilled") {
      throw unclear(`an array whose element ${index} is no result of Promise.allSettled but ${describe(result)}`);
    }
  }
  if (results.length !== identifiers.length) {
    throw unclear(`${results.length} results for ${identifiers.length} records`);
  }
  const left = Map.groupBy(order, (identifier) => identifier);
  if (order.length !== identifiers.length || !identifiers.every((identifier) => left.get(identifier)?.pop())) {
    throw unclear(
      "results, but changed event.Records so that nobody knows which of them is whose: return { batchItemFailures }",
    );
  }
  return failures;
};

/** Whether it says of the records one by one what became of them. */
export const isReport = (response: unknown): boolean =>
  Array.isArray(response) || Array.isArray(Object(response).batchItemFailures);

const UNDONE = "none of them is finished, and all run again";

/** The handler has ended by then: its work may be done. */
const unclear = (returned: string): LockBatchError =>
  new LockBatchError(
    `the handler returned ${returned}. The handler has run, but nobody knows which of its records failed: ${UNDONE}`,
  );

/** A handler that threw has not succeeded, whatever a middleware answers in its place. */
export const refuseAnswer = (response: unknown): LockBatchError =>
  new LockBatchError(
    `the handler threw, and a middleware answered ${describe(response)}, which says nothing of its records: ${UNDONE}. ` +
      "Answer { batchItemFailures: [{ itemIdentifier }] }, or let the error go on",
  );

const describe = (value: unknown): string => {
  const names = typeof value === "object" ? Object.keys(Object(value)).slice(0, 10).join(", ") : "";
  return names ? `an object with ${names}` : show(value).slice(0, 100);
};
