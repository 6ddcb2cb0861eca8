import type { Clock } from "../common/clock.ts";

/** What the watch is told about its lease, and what it may do to it. */
export interface LeaseHandle {
  readonly clock: Clock;
  /** 0 when the lease is over. */
  remainingMs(): number;
  /** Renews once; rejects when that failed for now. A renewal that is refused ends the lease itself. */
  renew(): Promise<void>;
  /** The lease is over. */
  expire(reason: "expired" | "unreachable"): void;
  /** `safeMs` are left, or less. Never called once the lease is over. */
  expiring?: (() => void) | undefined;
}

export interface LeaseWatchOptions {
  /** 0: never renew. */
  readonly heartbeatMs: number;
  readonly safeMs: number;
  /** Lets renewals go when it is their turn, where many leases are one's. */
  readonly inTurn?: ((work: () => Promise<void>) => Promise<void>) | undefined;
}

/** A failed renewal is tried again this often within a heartbeat. */
const RETRIES_PER_HEARTBEAT = 4;
const MIN_DELAY_MS = 50;

/**
 * The timers of one lease: renew it in time, warn before it ends, say when it is over. A lease ends by time alone,
 * whatever a renewal in flight does: a hung request must not hide the end. After a freeze all timers are late, so
 * each looks at the lease before it does anything.
 */
export class LeaseWatch {
  readonly #lease: LeaseHandle;
  readonly #options: LeaseWatchOptions;
  #cancelHeartbeat = () => {};
  #cancelEnd = () => {};
  #cancelExpiring = () => {};
  #stopped = false;
  #failing = false;

  constructor(lease: LeaseHandle, options: LeaseWatchOptions) {
    this.#lease = lease;
    this.#options = options;
    this.renewed();
  }

  /** The lease has another end than before. */
  renewed(): void {
    this.#failing = false;
    if (this.#stopped) return;
    this.#watchEnd();
    this.#scheduleHeartbeat(this.#options.heartbeatMs);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelHeartbeat();
    this.#cancelEnd();
    this.#cancelExpiring();
  }

  #watchEnd(): void {
    const { clock, expiring } = this.#lease;
    const remainingMs = this.#lease.remainingMs();
    this.#cancelEnd();
    this.#cancelExpiring();
    this.#cancelEnd = clock.setTimer(remainingMs, () => {
      if (!this.#endIfOver()) this.#watchEnd(); // a timer can be early, or the lease too long for one
    });
    if (!expiring) return;
    this.#cancelExpiring = clock.setTimer(Math.max(0, remainingMs - this.#options.safeMs), () => {
      if (!this.#endIfOver()) expiring();
    });
  }

  #endIfOver(): boolean {
    if (this.#stopped) return true;
    if (this.#lease.remainingMs() > 0) return false;
    this.stop();
    this.#lease.expire(this.#failing ? "unreachable" : "expired");
    return true;
  }

  /** In `afterMs`, or earlier if the lease ends soon, because a renewal was slow. */
  #scheduleHeartbeat(afterMs: number): void {
    this.#cancelHeartbeat();
    if (this.#options.heartbeatMs === 0 || this.#stopped) return;
    const delayMs = Math.min(afterMs, Math.max(MIN_DELAY_MS, this.#lease.remainingMs() / 2));
    this.#cancelHeartbeat = this.#lease.clock.setTimer(delayMs, async () => {
      const { inTurn = (work) => work() } = this.#options;
      try {
        await inTurn(async () => {
          if (!this.#endIfOver()) await this.#lease.renew(); // and that schedules the next one
        });
      } catch {
        // Reported by the lock. One failure means nothing: only another token, or time, ends a lease.
        this.#failing = true;
        this.#scheduleHeartbeat(Math.ceil(this.#options.heartbeatMs / RETRIES_PER_HEARTBEAT));
      }
    });
  }
}
