import type { LockRecord } from "../common/record.ts";
import { checkOptions, MS, MS_OR_ZERO, type Rules, SIGNAL } from "../common/rules.ts";
import { readMany } from "../dynamodb/read-many.ts";
import type { Locks } from "../lock/locks.ts";
import { liveHolders } from "../protocol/expiry.ts";

export interface WaitUntilFinishedOptions {
  /**
   * How long to wait at most, in ms; 0 looks once.
   * @default 60_000
   */
  readonly timeoutMs?: number | undefined;
  /**
   * From one look to the next, in ms.
   * @default 1_000
   */
  readonly intervalMs?: number | undefined;
  /** Ends the wait: it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export const WAIT_UNTIL_FINISHED_RULES: Rules<WaitUntilFinishedOptions> = {
  timeoutMs: MS_OR_ZERO,
  intervalMs: MS,
  signal: SIGNAL,
};
export const WAIT_UNTIL_FINISHED_DEFAULTS = { timeoutMs: 60_000, intervalMs: 1_000 } as const;

/**
 * Waits until none of the keys is held: those that are finished, released, over or absent don't
 * count. Gives the keys that are still held when the time is up. `[]` says that none is held, and
 * not that all are done: a run that failed has released its key, too. The reads are strongly
 * consistent, because no write decides here: a lock that was taken just now must not be overlooked.
 *
 * Needs `dynamodb:BatchGetItem`.
 *
 * @param keys as they are stored, with the namespace.
 * @throws LockOptionsError, LockTableError, LockError, and the signal's reason.
 */
export const waitUntilFinished = async (
  locks: Locks,
  keys: readonly string[],
  options: WaitUntilFinishedOptions = {},
): Promise<string[]> => {
  checkOptions("waitUntilFinished", options, WAIT_UNTIL_FINISHED_RULES);
  const defaults = WAIT_UNTIL_FINISHED_DEFAULTS;
  const { timeoutMs = defaults.timeoutMs, intervalMs = defaults.intervalMs, signal } = options;
  const { clock, clockSkewMs } = locks;
  const isHeld = (record: LockRecord) =>
    liveHolders(record, clock.now() - clockSkewMs).some(({ status }) => status === "IN_PROGRESS");

  const deadline = clock.monotonic() + timeoutMs;
  let pending = [...new Set(keys)];
  for (;;) {
    signal?.throwIfAborted();
    const held = new Set((await readMany(locks, pending, signal)).filter(isHeld).map(({ key }) => key));
    pending = pending.filter((key) => held.has(key)); // in the caller's order
    const remainingMs = deadline - clock.monotonic();
    if (pending.length === 0 || remainingMs <= 0) return pending;
    await clock.sleep(Math.min(intervalMs, remainingMs), signal);
  }
};
