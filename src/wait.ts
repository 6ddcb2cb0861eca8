import type { Clock } from "./clock.ts";
import type { LockRecord } from "./record.ts";

export interface Backoff {
  /** Upper bound of the first delay, in ms. */
  readonly minMs: number;
  /** Upper bound of every delay, in ms. */
  readonly maxMs: number;
}

/**
 * Full jitter: a delay anywhere between 0 and an exponentially growing bound, which spreads contenders best
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 */
export const jitteredDelay = (attempt: number, { minMs, maxMs }: Backoff, random: () => number): number =>
  random() * Math.min(maxMs, minMs * 2 ** Math.min(attempt, 30));

/** The holders of a semaphore whose lease is not over. */
export const liveHolders = ({ holders = [] }: LockRecord, now: number, clockSkewMs: number) =>
  holders.filter(({ status, expiresAt }) => status === "IN_PROGRESS" && expiresAt > now - clockSkewMs);

/** Until a record is over by the clock, in ms; 0 when it is, or when a semaphore has a permit left. */
export const untilOver = (record: LockRecord, now: number, clockSkewMs: number, permits = 1): number => {
  if (record.status !== "SEMAPHORE") return Math.max(0, record.expiresAt + clockSkewMs - now);
  const live = liveHolders(record, now, clockSkewMs);
  if (live.length < permits) return 0;
  return Math.min(...live.map(({ expiresAt }) => expiresAt)) + clockSkewMs - now;
};

/** A lease seen unchanged: what an acquisition may claim to have watched. */
export interface Sighting {
  readonly key: string;
  readonly token: string;
  readonly expiresAt: number;
}

/**
 * Watches a holder without trusting clocks: a lease is over when token and `expires_at` have not changed for its length,
 * by our monotonic clock alone. The holder counts its lease from before the write that we saw, so ours ends later.
 */
export class Watch {
  readonly #clock: Clock;
  #sighting: Sighting | undefined;
  #since = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Until the lease of the record is over by watching, in ms; `Infinity` when there is no lease to watch. */
  untilOver(record: LockRecord): number {
    if (record.status !== "IN_PROGRESS") return Number.POSITIVE_INFINITY;
    const { key, token, expiresAt, leaseMs } = record;
    const now = this.#clock.monotonic();
    const seen = this.#sighting;
    if (seen?.key !== key || seen.token !== token || seen.expiresAt !== expiresAt) {
      this.#sighting = { key, token, expiresAt };
      this.#since = now;
    }
    return Math.max(0, this.#since + leaseMs - now);
  }

  /** What was last watched, if that is over. */
  over(record: LockRecord | undefined): Sighting | undefined {
    return record && this.untilOver(record) === 0 ? this.#sighting : undefined;
  }
}
