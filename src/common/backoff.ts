/** Bounds of the random delay between two attempts. */
export interface Backoff {
  /** Upper bound of the first delay, in ms. */
  readonly minMs: number;
  /** Upper bound of every delay, in ms. */
  readonly maxMs: number;
}

/** Between two requests to a DynamoDB that is throttled, fails, or doesn't answer. */
export const FAULT_BACKOFF: Backoff = { minMs: 50, maxMs: 2_000 };

/** Between two requests where another transaction is in the way, which is over in a moment. */
export const CONFLICT_BACKOFF: Backoff = { minMs: 20, maxMs: 500 };

/**
 * The delay after an attempt (the first is 0), in ms. Full jitter: anywhere between 0 and an
 * exponentially growing bound, which spreads contenders best
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). Of `leftMs`, the time
 * that is left, it is at most half, so that all of it is used.
 */
export const delayMs = (
  attempt: number,
  { minMs, maxMs }: Backoff,
  random: () => number,
  leftMs = Number.POSITIVE_INFINITY,
): number => Math.max(0, Math.min(random() * Math.min(maxMs, minMs * 2 ** Math.min(attempt, 30)), leftMs / 2));

/** With less time than that, nothing is sent again, in ms. */
export const MIN_LEFT_MS = 10;
