import type { Clock } from "../common/clock.ts";

/** A lease, from before the write that begins or prolongs it. */
export interface LeaseTerm {
  readonly leaseMs: number;
  /** Monotonic. */
  readonly since: number;
  /** Epoch ms. */
  readonly expiresAt: number;
}

/** The lease as its holder counts it: from before the write that began or prolonged it, on both clocks. */
export class Lease {
  readonly #clock: Clock;
  #current: LeaseTerm;
  /** The last end that was asked for, whether or not it was written. */
  #lastEnd: number;
  #longestMs: number;

  constructor(clock: Clock, first: LeaseTerm) {
    this.#clock = clock;
    this.#current = first;
    this.#lastEnd = first.expiresAt;
    this.#longestMs = first.leaseMs;
  }

  get leaseMs(): number {
    return this.#current.leaseMs;
  }

  /** Epoch ms. */
  get expiresAt(): number {
    return this.#current.expiresAt;
  }

  /** By the wall or the monotonic clock, whichever is first: a freeze may stop either. Never negative. */
  get remainingMs(): number {
    const byWall = this.#current.expiresAt - this.#clock.now();
    return Math.max(0, Math.floor(Math.min(byWall, this.#leftMs)));
  }

  /** By the monotonic clock alone. A wall clock that is set back may give the holder all of it. */
  get #leftMs(): number {
    const { leaseMs, since } = this.#current;
    return leaseMs - (this.#clock.monotonic() - since);
  }

  /**
   * The lease to ask for, so that `ms` are left from now, or what is left anyway if that is more: its holder may rely on it, so
   * those who watch must. A heartbeat asks for the longest lease so far.
   *
   * Each end is later than every one before, also when the wall clock stands still or was set back. So watchers see each
   * renewal, no state that they have seen comes again, and a request that arrives late can't undo a newer one.
   */
  renewal(ms = this.#longestMs): LeaseTerm {
    const since = this.#clock.monotonic();
    const leaseMs = Math.max(ms, Math.ceil(this.#leftMs));
    this.#lastEnd = Math.max(this.#clock.now() + leaseMs, this.#lastEnd + 1);
    return { leaseMs, since, expiresAt: this.#lastEnd };
  }

  /** It stands in the record, and counts. */
  take(renewal: LeaseTerm): void {
    this.#current = renewal;
    this.#longestMs = Math.max(this.#longestMs, renewal.leaseMs);
  }
}
