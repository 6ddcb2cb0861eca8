import type { Clock } from "../common/clock.ts";
import { ANYTHING, BOOLEAN, FUNCTION, join, MS, type Rules } from "../common/rules.ts";
import {
  OWNER_RULES,
  type OwnerOptions,
  PATIENCE_RULES,
  type PatienceOptions,
  TAKE_RULES,
  type TakeOptions,
} from "../lock/acquire-options.ts";
import { ATTRIBUTE_RULES, LAYOUT_RULES, type LayoutOptions } from "../lock/layout.ts";
import { LEASE_RULES, type LeaseOptions } from "../lock/lease-options.ts";
import {
  CLOCK,
  REMEMBER_RULES,
  REPORT_RULES,
  type RememberOptions,
  type ReportOptions,
  SETTLE_TIME_RULES,
  type SettleTimeOptions,
  TABLE_RULES,
  type TableOptions,
} from "../lock/options.ts";
import { COMMIT_RULES, type CommitOptions } from "../lock/settle-options.ts";

/**
 * Options of `LockClient`: where the records are, who takes locks, and what holds for all of them
 * unless a call says otherwise.
 */
export interface LockClientOptions
  extends TableOptions,
    LayoutOptions,
    ReportOptions,
    LeaseOptions,
    RememberOptions,
    OwnerOptions,
    SettleTimeOptions {
  /**
   * Prefix of every key, so that programs which share a table don't meet. Must not contain '#'. The
   * locks of one function have its name as namespace. `false`: none, for the whole table, where keys
   * are as they are stored.
   * @default `false`
   */
  readonly namespace?: string | false | undefined;
  /**
   * Create the table, with `createLockTable`'s defaults, when it turns out to be missing. Needs
   * `dynamodb:CreateTable`, and `UpdateTimeToLive`, without which TTL stays off.
   * @default `false`
   */
  readonly ensureTable?: boolean | undefined;
  /** Time, for tests. */
  readonly clock?: Clock | undefined;
  /** Chance, for tests: 0 <= n < 1. */
  readonly random?: (() => number) | undefined;
}

/** Options of `close`: how long the locks that are still held are tried to release. */
export interface CloseOptions extends SettleTimeOptions {}

/** Options of `tryAcquire`, which doesn't wait. */
export interface TryAcquireOptions extends TakeOptions {
  /**
   * If this client holds the key for the same owner already, count one more hold on that lock: it
   * is free after as many releases.
   * @default `false`
   */
  readonly reentrant?: boolean | undefined;
}

/** Options of `acquire`, which may wait. */
export interface AcquireOptions extends TryAcquireOptions, PatienceOptions {}

/** Options of `run`: those of `acquire`, and a limit on the work. */
export interface RunOptions extends AcquireOptions {
  /**
   * Limit on the work itself, in ms: then `lock.signal` is aborted, and `run` throws a
   * `LockTimeoutError`. The key is released when the work ends after all, or else when its lease
   * does.
   */
  readonly timeoutMs?: number | undefined;
}

/** Options of `once`: those of `acquire`, and how the key is finished. A semaphore can't be. */
export interface OnceOptions extends TakeOptions, PatienceOptions, RememberOptions {
  /**
   * Keep what JSON makes of what the function returned, and give that to all callers. `false`: the
   * first caller gets what the function returned, repeats get `undefined`.
   * @default `true`
   */
  readonly storeResult?: boolean | undefined;
  /**
   * The payload that is worked on under the key, any JSON value (integers up to 2^53 - 1, or
   * bigint). The same key with another one is a `PayloadMismatchError`.
   */
  readonly fingerprint?: unknown;
}

/** Options of `commitOnce`: what is remembered with the finished key, and of whom. */
export interface CommitOnceOptions extends CommitOptions, OwnerOptions, SettleTimeOptions {
  /**
   * The payload that is worked on under the key, any JSON value (integers up to 2^53 - 1, or
   * bigint). The same key with another one is a `PayloadMismatchError`.
   */
  readonly fingerprint?: unknown;
}

export const LOCK_CLIENT_RULES: Rules<LockClientOptions> = /* @__PURE__ */ join(
  TABLE_RULES,
  ATTRIBUTE_RULES,
  LAYOUT_RULES,
  REPORT_RULES,
  LEASE_RULES,
  REMEMBER_RULES,
  OWNER_RULES,
  SETTLE_TIME_RULES,
  {
    namespace: "false or a non-empty string of whole characters, without '#'",
    ensureTable: BOOLEAN,
    clock: CLOCK,
    random: FUNCTION,
  },
);

export const TRY_ACQUIRE_RULES: Rules<TryAcquireOptions> = /* @__PURE__ */ join(TAKE_RULES, {
  reentrant: BOOLEAN,
});
export const ACQUIRE_RULES: Rules<AcquireOptions> = /* @__PURE__ */ join(TRY_ACQUIRE_RULES, PATIENCE_RULES);
export const RUN_RULES: Rules<RunOptions> = /* @__PURE__ */ join(ACQUIRE_RULES, { timeoutMs: MS });
export const ONCE_RULES: Rules<OnceOptions> = /* @__PURE__ */ join(TAKE_RULES, PATIENCE_RULES, REMEMBER_RULES, {
  storeResult: BOOLEAN,
  fingerprint: ANYTHING,
});
export const COMMIT_ONCE_RULES: Rules<CommitOnceOptions> = /* @__PURE__ */ join(
  COMMIT_RULES,
  OWNER_RULES,
  SETTLE_TIME_RULES,
  { fingerprint: ANYTHING },
);
