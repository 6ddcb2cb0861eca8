import { type Backoff, delayMs } from "../common/backoff.ts";
import type { Clock } from "../common/clock.ts";
import { LockError } from "../common/errors.ts";
import type { LockRecord } from "../common/record.ts";
import { isTransient } from "./aws-errors.ts";
import type { Store } from "./store.ts";

/**
 * Most keys of one BatchGetItem
 * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html).
 */
const MAX_KEYS = 100;
/** How often a batch is tried again when none of it was read. */
const MAX_RETRIES = 8;
const BACKOFF: Backoff = { minMs: 50, maxMs: 2_000 };

/** The part of `LockInternals` that is needed here. */
interface ReadingHost {
  readonly store: Pick<Store, "readBatch">;
  readonly clock: Clock;
  readonly random: () => number;
}

/**
 * Reads the records of any number of keys, in no order, strongly consistent. A key without a record
 * is left out. DynamoDB may leave keys unread when it is throttled, or when they are more than 16
 * MB, and asks for exponential backoff before the next try.
 */
export const readMany = async (
  { store, clock, random }: ReadingHost,
  keys: readonly string[],
  signal?: AbortSignal,
): Promise<LockRecord[]> => {
  const found: LockRecord[] = [];
  let pending = [...new Set(keys)];
  for (let failures = 0; pending.length > 0; ) {
    const batch = pending.slice(0, MAX_KEYS);
    const { records, unread } = await store.readBatch(batch, signal).catch((error: unknown) => {
      signal?.throwIfAborted();
      if (!isTransient(error) || failures === MAX_RETRIES) throw error;
      return { records: [], unread: batch };
    });
    found.push(...records);
    pending = [...unread, ...pending.slice(MAX_KEYS)];
    if (unread.length === 0) continue;
    failures = unread.length < batch.length ? 0 : failures + 1;
    if (failures > MAX_RETRIES) {
      throw new LockError("LOCK_REQUEST", `BatchGetItem read none of ${unread.length} keys, ${failures} times`);
    }
    await clock.sleep(delayMs(failures, BACKOFF, random), signal);
  }
  return found;
};
