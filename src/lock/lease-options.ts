/** Options of what holds a key, whichever door it comes through. */
import type { LockLostError } from "../common/errors.ts";
import { type Contradictions, FUNCTION, MS, MS_OR_ZERO, type Rules } from "../common/rules.ts";
import type { Lock } from "./lock.ts";

/** How long a lock is held. */
export interface LeaseOptions<TLease = number> {
  /**
   * How long a lock is held without a sign of life, in ms. In a batch it may be a function of the
   * record, which fails alone if the result is wrong.
   * @default 20_000; for a handler the rest of its invocation
   */
  readonly leaseMs?: TLease | undefined;
  /**
   * How often a lease is renewed, in ms: at most half of it; `false`: never. A lease as long as the
   * invocation needs no renewal.
   * @default a third of `leaseMs`
   */
  readonly heartbeatMs?: number | false | undefined;
  /**
   * `'observed'`: no wall clock ends a lease. It is over only when it was watched unchanged for its
   * length, in this call or in calls before it. How long a finished key is remembered goes by the
   * wall clock even so, within `clockSkewMs`.
   * @default `'clock'`
   */
  readonly expiry?: "clock" | "observed" | undefined;
}

export interface WaitOptions {
  /**
   * How long to wait for a held key, in ms. A key that finishes meanwhile is not waited for any
   * longer: it is replayed, or a record of a batch is acknowledged. After waiting in vain there is
   * a `LockTimeoutError`, or the record comes back. In a Lambda the time is the handler's too: the
   * wait ends 500 ms before the invocation, and for a batch 250 ms before `reserveMs`. Needs
   * `dynamodb:GetItem`.
   * @default 0
   */
  readonly waitMs?: number | undefined;
}

export interface LossOptions {
  /** Called once when the lock is lost while it is in use, after its signal was aborted. */
  readonly onLost?: ((lock: Lock, error: LockLostError) => void) | undefined;
}

export const LEASE_RULES: Rules<LeaseOptions> = {
  leaseMs: MS,
  heartbeatMs: "a whole number of milliseconds from 1 to 3153600000000 or false",
  expiry: "'clock' or 'observed'",
};

export const WAIT_RULES: Rules<WaitOptions> = { waitMs: MS_OR_ZERO };
export const LOSS_RULES: Rules<LossOptions> = { onLost: FUNCTION };

/** A lease, as long as it is where something may have another default. */
export interface KnownLease {
  readonly leaseMs: number;
  readonly heartbeatMs?: number | false | undefined;
  readonly safeMs?: number | undefined;
}

export const LEASE_CONTRADICTIONS: Contradictions<KnownLease> = [
  [({ heartbeatMs, leaseMs }) => Number(heartbeatMs) > leaseMs / 2, "heartbeatMs must be at most half of leaseMs"],
  [({ safeMs, leaseMs }) => Number(safeMs) >= leaseMs, "safeMs must be less than leaseMs"],
];
