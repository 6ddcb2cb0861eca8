import { LockBatchError } from "./errors.ts";

/** A part of a batch that comes back, as Lambda takes it from a function. */
export interface BatchResponse {
  batchItemFailures: { itemIdentifier: string }[];
}

/** The identifiers of the records that failed. With the reason, where the handler told it. */
export type Failures = ReadonlyMap<string, unknown>;

/**
 * Which records failed, by what the handler returned: `{ batchItemFailures }`, the results of `Promise.allSettled` in the order of the
 * records, or nothing: all succeeded. `identifiers` are those of the records that it was given, `order` those of `event.Records` as it
 * stands when the handler has ended: it may have sorted them.
 *
 * @throws LockBatchError for anything else. So does Lambda take an identifier that it can't find for a failure of the
 * whole batch (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html).
 */
export const failuresOf = (
  response: unknown,
  identifiers: readonly string[],
  order: readonly unknown[] = identifiers,
): Failures => {
  if (response === undefined || response === null) return new Map();
  if (Array.isArray(response)) return ofSettled(response, identifiers, order);
  if (typeof response === "object" && "batchItemFailures" in response) {
    return ofIdentifiers(response.batchItemFailures, identifiers);
  }
  throw new LockBatchError(
    `the handler returned ${describe(response)}, not { batchItemFailures }, nor what Promise.allSettled gives, nor nothing`,
  );
};

const ofSettled = (
  results: readonly unknown[],
  identifiers: readonly string[],
  order: readonly unknown[],
): Failures => {
  if (results.length !== identifiers.length) {
    throw new LockBatchError(`the handler returned ${results.length} results for ${identifiers.length} records`);
  }
  const left = new Set(identifiers);
  if (order.length !== identifiers.length || !order.every((identifier) => left.delete(identifier as string))) {
    throw new LockBatchError(
      "the handler returned results, but changed event.Records so that nobody knows which of them is whose: return { batchItemFailures }",
    );
  }
  const failures = new Map<string, unknown>();
  for (const [index, result] of results.entries()) {
    const { status, reason } = Object(result) as { status?: unknown; reason?: unknown };
    if (status === "rejected") failures.set(order[index] as string, reason);
    else if (status !== "fulfilled") {
      throw new LockBatchError(
        `the handler returned an array whose element ${index} is no result of Promise.allSettled`,
      );
    }
  }
  return failures;
};

const ofIdentifiers = (failed: unknown, identifiers: readonly string[]): Failures => {
  if (failed === undefined || failed === null) return new Map();
  if (!Array.isArray(failed)) throw new LockBatchError(`batchItemFailures must be an array, got ${describe(failed)}`);
  const given = new Set<unknown>(identifiers);
  const failures = new Map<string, unknown>();
  for (const failure of failed) {
    const { itemIdentifier } = Object(failure) as { itemIdentifier?: unknown };
    if (!given.has(itemIdentifier)) {
      throw new LockBatchError(
        `batchItemFailures names ${describe(itemIdentifier)}, which is the identifier of no record that the handler was given`,
      );
    }
    failures.set(itemIdentifier as string, undefined);
  }
  return failures;
};

const describe = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "object" && value !== null)
    return `an object with ${Object.keys(value).join(", ") || "nothing"}`;
  return String(value);
};
