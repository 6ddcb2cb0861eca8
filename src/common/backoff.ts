/** Bounds of a delay that grows from one attempt to the next, in ms. */
export interface Backoff {
  /** Upper bound of the first delay, in ms. */
  readonly minMs: number;
  /** Upper bound of every delay, in ms. */
  readonly maxMs: number;
}

/**
 * Full jitter: a delay anywhere between 0 and an exponentially growing bound, which spreads
 * contenders best (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 * `attempt` counts from 0.
 */
export const delayMs = (attempt: number, { minMs, maxMs }: Backoff, random: () => number): number =>
  random() * Math.min(maxMs, minMs * 2 ** Math.min(attempt, 30));
