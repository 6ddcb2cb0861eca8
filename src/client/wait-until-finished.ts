import { type Check, checkOptions, milliseconds } from "../common/check.ts";
import { holdingsOf, type LockRecord } from "../common/record.ts";
import { readMany } from "../dynamodb/read-many.ts";
import type { LockInternals } from "../lock/internals.ts";
import { acquireChecks } from "../lock/options.ts";

export interface WaitUntilFinishedOptions {
  /**
   * How long to wait at most, in ms. With 0 it looks once.
   * @default 60_000
   */
  readonly timeoutMs?: number | undefined;
  /**
   * The time from one look to the next, in ms.
   * @default 1_000
   */
  readonly intervalMs?: number | undefined;
  /** Ends the wait, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

const checks: Record<string, Check> = {
  timeoutMs: milliseconds(0),
  intervalMs: milliseconds(1),
  signal: acquireChecks.signal,
};

/**
 * Waits until none of the keys is held, and gives those that are still held when the time is up. A
 * key that is finished, released, over or absent is not held. `[]` doesn't say that all is done: a
 * run that failed has released its key, too. The reads are strongly consistent, because no write
 * decides here: a lock that was taken just now must not be overlooked.
 *
 * Needs `dynamodb:BatchGetItem`.
 *
 * @param keys The keys as they are stored, with the namespace.
 * @throws LockOptionsError, LockTableError, LockError, and the signal's reason.
 */
export const waitUntilFinished = async (
  internals: LockInternals,
  keys: readonly string[],
  options: WaitUntilFinishedOptions = {},
): Promise<string[]> => {
  checkOptions("waitUntilFinished", options, checks);
  const { timeoutMs = 60_000, intervalMs = 1_000, signal } = options;
  const { clock, clockSkewMs } = internals;
  const isHeld = (record: LockRecord) =>
    holdingsOf(record).some(
      ({ status, expiresAt }) => status === "IN_PROGRESS" && expiresAt > clock.now() - clockSkewMs,
    );
  const deadline = clock.monotonic() + timeoutMs;
  let pending = [...new Set(keys)];
  for (;;) {
    signal?.throwIfAborted();
    const held = new Set((await readMany(internals, pending, signal)).filter(isHeld).map(({ key }) => key));
    pending = pending.filter((key) => held.has(key)); // in the caller's order
    const remainingMs = deadline - clock.monotonic();
    if (pending.length === 0 || remainingMs <= 0) return pending;
    await clock.sleep(Math.min(intervalMs, remainingMs), signal);
  }
};
