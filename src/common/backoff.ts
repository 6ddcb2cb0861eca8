/** Bounds of the random delay between two attempts. */
export interface Backoff {
  /** Upper bound of the first delay, in ms. */
  readonly minMs: number;
  /** Upper bound of every delay, in ms. */
  readonly maxMs: number;
}

/**
 * The delay after an attempt (the first is 0), in ms. Full jitter: anywhere between 0 and an
 * exponentially growing bound, which spreads contenders best
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 */
export const delayMs = (attempt: number, { minMs, maxMs }: Backoff, random: () => number): number =>
  random() * Math.min(maxMs, minMs * 2 ** Math.min(attempt, 30));
