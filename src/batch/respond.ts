import type { BatchItem } from "./item.ts";
import type { BatchResponse } from "./outcome.ts";
import type { Batch } from "./source.ts";

/** Tells Lambda which records come back. */
export const respond = ({ fromLowest }: Batch, items: readonly BatchItem[]): BatchResponse => {
  const identifiers = items.flatMap(({ outcome, identifier }) => (outcome === "return" ? identifier : []));
  const named = fromLowest ? lowestOf(identifiers) : [...new Set(identifiers)];
  const response = { batchItemFailures: named.map((itemIdentifier) => ({ itemIdentifier })) };
  return fromLowest ? response : withResults(response, items);
};

/**
 * Sequence numbers are whole numbers of many digits. The first record that comes back need not have
 * the lowest: a middleware may have sorted the records, and several may have one number.
 */
const lowestOf = (sequenceNumbers: readonly string[]): string[] =>
  sequenceNumbers.toSorted((a, b) => a.length - b.length || (a < b ? -1 : 1)).slice(0, 1);

/**
 * For a `@middy/sqs-partial-batch-failure` that was registered before us: its `after` runs when
 * ours has made the response, and reads from it a result for each record of the event. They can't
 * be enumerated, so that Lambda sees nothing of them.
 */
const withResults = (response: BatchResponse, items: readonly BatchItem[]): BatchResponse => {
  for (const [index, { outcome, failure, reason }] of items.entries()) {
    const isReturned = outcome === "return";
    const value = isReturned ? { status: "rejected", reason: failure?.error ?? reason } : { status: "fulfilled" };
    Object.defineProperty(response, index, { value });
  }
  return response;
};
