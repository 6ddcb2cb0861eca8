import type { Clock } from "../common/clock.ts";

/** A lease, from before the write that begins or prolongs it. */
export interface LeaseTerm {
  readonly leaseMs: number;
  /** Monotonic. */
  readonly startedAt: number;
  /** Epoch ms. */
  readonly expiresAt: number;
}

export interface LeaseTimers {
  /** 0: never renew. */
  readonly heartbeatMs: number;
  /** How long before the end `expiring` is called, in ms. */
  readonly safeMs: number;
  /** Lets renewals go when it is their turn, where many leases are one's. */
  readonly inTurn?: ((work: () => Promise<void>) => Promise<void>) | undefined;
}

/** The calls by which a lease acts on its lock. */
export interface LeaseHandler {
  /**
   * Renews once; rejects when that failed for now. A renewal that is refused ends the lease itself.
   */
  renew(): Promise<void>;
  /** The lease is over. */
  expire(reason: "expired" | "unreachable"): void;
  /** `safeMs` are left, or less. Never called once the lease is over. */
  expiring?: (() => void) | undefined;
}

/** A failed renewal is tried again this often within a heartbeat. */
const RETRIES_PER_HEARTBEAT = 4;
const MIN_DELAY_MS = 50;

/**
 * The lease as its holder counts it: from before the write that began or prolonged it, on both
 * clocks. And its timers: they renew it in time, warn before it ends, say when it is over. A lease
 * ends by time alone, whatever a renewal in flight does: a hung request must not hide the end.
 * After a freeze all timers are late, so each looks at the lease before it does anything.
 */
export class Lease {
  readonly #clock: Clock;
  readonly #options: LeaseTimers;
  readonly #handler: LeaseHandler;
  #term: LeaseTerm;
  /** The last end that was asked for, whether or not it was written. */
  #lastEnd: number;
  #longestMs: number;
  #cancelHeartbeat = () => {};
  #cancelEnd = () => {};
  #isStopped = false;
  #isFailing = false;

  constructor(clock: Clock, first: LeaseTerm, options: LeaseTimers, handler: LeaseHandler) {
    this.#clock = clock;
    this.#options = options;
    this.#handler = handler;
    this.#term = first;
    this.#lastEnd = first.expiresAt;
    this.#longestMs = first.leaseMs;
    this.#watch();
  }

  get leaseMs(): number {
    return this.#term.leaseMs;
  }

  /** Epoch ms. */
  get expiresAt(): number {
    return this.#term.expiresAt;
  }

  /**
   * By the wall or the monotonic clock, whichever is first: a freeze may stop either. Never
   * negative.
   */
  get remainingMs(): number {
    return Math.max(0, Math.floor(Math.min(this.expiresAt - this.#clock.now(), this.#leftMs)));
  }

  /** By the monotonic clock alone. A wall clock that is set back may give the holder all of it. */
  get #leftMs(): number {
    const { leaseMs, startedAt } = this.#term;
    return leaseMs - (this.#clock.monotonic() - startedAt);
  }

  /**
   * The lease to ask for, so that `ms` are left from now, or what is left anyway if that is more:
   * its holder may rely on it, so those who watch must. A heartbeat asks for the longest lease so
   * far.
   *
   * Each end is later than every one before, also when the wall clock stands still or was set back.
   * So watchers see each renewal, no state that they have seen comes again, and a request that
   * arrives late can't undo a newer one.
   */
  renewal(ms = this.#longestMs): LeaseTerm {
    const startedAt = this.#clock.monotonic();
    const leaseMs = Math.max(ms, Math.ceil(this.#leftMs));
    this.#lastEnd = Math.max(this.#clock.now() + leaseMs, this.#lastEnd + 1);
    return { leaseMs, startedAt, expiresAt: this.#lastEnd };
  }

  /** The renewal stands in the record, and counts. */
  take(renewal: LeaseTerm): void {
    this.#term = renewal;
    this.#longestMs = Math.max(this.#longestMs, renewal.leaseMs);
    this.#isFailing = false;
    this.#watch();
  }

  /** From here on nothing renews it, and nobody is told of its end. */
  stop(): void {
    this.#isStopped = true;
    this.#cancelHeartbeat();
    this.#cancelEnd();
  }

  #watch(): void {
    if (this.#isStopped) return;
    this.#watchEnd();
    this.#scheduleHeartbeat(this.#options.heartbeatMs);
  }

  #watchEnd(): void {
    const { remainingMs } = this;
    const { expiring } = this.#handler;
    this.#cancelEnd();
    const cancelEnd = this.#clock.setTimer(remainingMs, () => {
      if (!this.#endIfOver()) this.#watchEnd(); // a timer can be early, or the lease too long for one
    });
    const cancelWarning =
      expiring &&
      this.#clock.setTimer(Math.max(0, remainingMs - this.#options.safeMs), () => {
        if (!this.#endIfOver()) expiring();
      });
    this.#cancelEnd = () => {
      cancelEnd();
      cancelWarning?.();
    };
  }

  #endIfOver(): boolean {
    if (this.#isStopped) return true;
    if (this.remainingMs > 0) return false;
    this.stop();
    this.#handler.expire(this.#isFailing ? "unreachable" : "expired");
    return true;
  }

  /** In `afterMs`, or earlier if the lease ends soon, because a renewal was slow. */
  #scheduleHeartbeat(afterMs: number): void {
    const { heartbeatMs, inTurn = (work) => work() } = this.#options;
    this.#cancelHeartbeat();
    if (heartbeatMs === 0 || this.#isStopped) return;
    const delayMs = Math.min(afterMs, Math.max(MIN_DELAY_MS, this.remainingMs / 2));
    this.#cancelHeartbeat = this.#clock.setTimer(delayMs, async () => {
      try {
        await inTurn(async () => {
          if (!this.#endIfOver()) await this.#handler.renew(); // and that schedules the next one
        });
      } catch {
        // Reported by the lock. One failure means nothing: only another token, or time, ends a
        // lease.
        this.#isFailing = true;
        this.#scheduleHeartbeat(Math.ceil(heartbeatMs / RETRIES_PER_HEARTBEAT));
      }
    });
  }
}
