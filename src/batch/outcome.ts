import { LockBatchError } from "../common/errors.ts";

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

/** The identifiers of the records that failed. With the reason, where the handler told it. */
export type Failures = ReadonlyMap<string, unknown>;

/**
 * Which records failed, by what the handler returned. `identifiers` are those of the records that
 * it was given, `order` those of `event.Records` as it stands when the handler has ended: it may
 * have sorted them. Records that share an identifier fail together, because the response can only
 * name them together.
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
  if (response === undefined || response === null) return new Map();
  if (Array.isArray(response)) return ofSettled(response, identifiers, order);
  if (typeof response !== "object" || isHttpError(response)) {
    throw unclear(
      `the handler returned ${describe(response)}, not { batchItemFailures }, nor what Promise.allSettled gives, nor nothing`,
    );
  }
  return ofIdentifiers(reportIn(response), identifiers);
};

/** A response of which an HTTP error handler has made the handler's error. */
const isHttpError = (response: object): boolean => {
  const { statusCode } = response as { statusCode?: unknown };
  return typeof statusCode === "number" && statusCode >= 400 && !("batchItemFailures" in response);
};

/** Whether it says of the records one by one what became of them. */
export const isReport = (response: unknown): boolean =>
  Array.isArray(response) || Array.isArray(Object(response).batchItemFailures);

/** A handler that threw has not succeeded, whatever a middleware answers in its place. */
export const refuseAnswer = (response: unknown): LockBatchError =>
  new LockBatchError(
    `the handler threw, and a middleware answered ${describe(response)} in its place, which says nothing of its records: none of them ` +
      "is finished, and all come back. Answer { batchItemFailures: [{ itemIdentifier }] }, or let the error go on",
  );

/** The handler has ended by then: who reads of it has to know that its work may be done. */
const unclear = (what: string): LockBatchError =>
  new LockBatchError(
    `${what}. The handler has run, but which of its records failed is not known: none of them is finished, and all come back, to be ` +
      "done again",
  );

const ofSettled = (
  results: readonly unknown[],
  identifiers: readonly string[],
  order: readonly unknown[],
): Failures => {
  for (const [index, result] of results.entries()) {
    const { status } = Object(result) as { status?: unknown };
    if (status !== "rejected" && status !== "fulfilled") {
      throw unclear(
        `the handler returned an array whose element ${index} is no result of Promise.allSettled but ${describe(result)}`,
      );
    }
  }
  if (results.length !== identifiers.length) {
    throw unclear(`the handler returned ${results.length} results for ${identifiers.length} records`);
  }
  if (!isSameInAnyOrder(identifiers, order)) {
    throw unclear(
      "the handler returned results, but changed event.Records so that nobody knows which of them is whose: return { batchItemFailures }",
    );
  }
  const failures = new Map<string, unknown>();
  for (const [index, result] of (results as readonly PromiseSettledResult<unknown>[]).entries()) {
    const identifier = order[index] as string;
    if (result.status === "rejected" && !failures.has(identifier)) failures.set(identifier, result.reason);
  }
  return failures;
};

/** Each as often as in the other. */
const isSameInAnyOrder = (some: readonly unknown[], others: readonly unknown[]): boolean => {
  const left = new Map<unknown, number>();
  for (const one of some) left.set(one, (left.get(one) ?? 0) + 1);
  for (const other of others) left.set(other, (left.get(other) ?? 0) - 1);
  return [...left.values()].every((count) => count === 0);
};

const reportIn = (response: object): unknown => {
  try {
    return (response as { batchItemFailures?: unknown }).batchItemFailures;
  } catch {
    throw unclear("reading batchItemFailures of what the handler returned throws");
  }
};

const ofIdentifiers = (failed: unknown, identifiers: readonly string[]): Failures => {
  if (failed === undefined || failed === null) return new Map();
  if (!Array.isArray(failed)) throw unclear(`batchItemFailures must be an array, got ${describe(failed)}`);
  const given = new Set<unknown>(identifiers);
  const failures = new Map<string, unknown>();
  for (const failure of failed) {
    const { itemIdentifier } = Object(failure) as { itemIdentifier?: unknown };
    if (!given.has(itemIdentifier)) {
      throw unclear(
        `batchItemFailures names ${describe(itemIdentifier)}, which is the identifier of no record that the handler was given`,
      );
    }
    failures.set(itemIdentifier as string, undefined);
  }
  return failures;
};

const describe = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(value.length > 100 ? `${value.slice(0, 100)}...` : value);
  if (value instanceof Promise) return "a Promise, which nobody awaits";
  if (typeof value === "function") return "a function";
  if (typeof value === "object" && value !== null)
    return `an object with ${Object.keys(value).slice(0, 10).join(", ") || "nothing"}`;
  return String(value);
};
