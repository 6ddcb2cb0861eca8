import type { Clock } from "../common/clock.ts";
import {
  ANYTHING,
  BOOLEAN,
  FUNCTION,
  hasShape,
  join,
  MS,
  MS_OR_ZERO,
  type Rule,
  type Rules,
  SIGNAL,
  TEXT,
} from "../common/rules.ts";
import { ATTRIBUTE_RULES, LAYOUT_RULES, type LayoutOptions } from "../lock/layout.ts";
import {
  LEASE_RULES,
  type LeaseOptions,
  LOSS_RULES,
  type LossOptions,
  WAIT_RULES,
  type WaitOptions,
} from "../lock/lease-options.ts";
import type { Lock } from "../lock/lock.ts";
import {
  CLOCK,
  REMEMBER_RULES,
  REPORT_RULES,
  type RememberOptions,
  type ReportOptions,
  TABLE_RULES,
  type TableOptions,
} from "../lock/options.ts";
import { PERMITS_RULES, type PermitsOptions } from "../lock/permits.ts";
import type { Backoff } from "../protocol/wait.ts";

interface OwnerOptions {
  /**
   * Who takes the locks, for people who read the table. Not a proof of ownership.
   * @default a random UUID per client
   */
  readonly owner?: string | undefined;
}

/** Options of `LockClient`: where the records are, who takes locks, and what holds for all of them unless a call says otherwise. */
export interface LockClientOptions
  extends TableOptions,
    LayoutOptions,
    ReportOptions,
    LeaseOptions,
    RememberOptions,
    OwnerOptions {
  /** Prefix of every key, so that programs which share a table don't meet. Must not contain '#'. */
  readonly namespace?: string | undefined;
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

/** What `acquire` and `once` have in common. The lease and the owner are the client's unless they are set here. */
interface TakeOptions extends LeaseOptions, LossOptions, OwnerOptions {
  /**
   * Take the key whatever its state: held, or finished. Then it costs two requests.
   * @default `false`
   */
  readonly force?: boolean | undefined;
  /**
   * Any JSON value, stored with the lock for others to read; what JSON would change is an error.
   * Left out: what the holder before left stays.
   */
  readonly data?: unknown;
  /**
   * When `onExpiring` is called, in ms before the lease ends.
   * @default a quarter of the lease
   */
  readonly safeMs?: number | undefined;
  /** Called when `safeMs` are left of the lease and it has not been renewed; never after its end. */
  readonly onExpiring?: ((lock: Lock) => void) | undefined;
}

/** How a held key is waited for. Throttling and faults of the network are retried as long, too. */
interface PatienceOptions extends WaitOptions {
  /** Gives up waiting; the call then throws its reason. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Bounds of the random delay between two looks at a held key, in ms: it grows from below the first
   * to below the second.
   * @default `{ minMs: 25, maxMs: 500 }`
   */
  readonly backoff?: Backoff | undefined;
}

/** Options of `tryAcquire`, which doesn't wait. */
export interface TryAcquireOptions extends TakeOptions, PermitsOptions {
  /**
   * If this client holds the key for the same owner already, count one more hold on that lock: it is
   * free after as many releases.
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
   * `LockTimeoutError`. The key is released when the work ends after all, or else when its lease does.
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
   * What is done under the key, any JSON value (integers up to 2^53 - 1, or bigint). The same key
   * with another one is a `PayloadMismatchError`.
   */
  readonly fingerprint?: unknown;
}

const OWNER_RULES: Rules<OwnerOptions> = { owner: TEXT };

export const LOCK_CLIENT_RULES: Rules<LockClientOptions> = /* @__PURE__ */ join(
  TABLE_RULES,
  ATTRIBUTE_RULES,
  LAYOUT_RULES,
  REPORT_RULES,
  LEASE_RULES,
  REMEMBER_RULES,
  OWNER_RULES,
  {
    namespace: "a non-empty string of whole characters, without '#'",
    ensureTable: BOOLEAN,
    clock: CLOCK,
    random: FUNCTION,
  },
);

const TAKE_RULES: Rules<TakeOptions> = /* @__PURE__ */ join(LEASE_RULES, LOSS_RULES, OWNER_RULES, {
  force: BOOLEAN,
  data: ANYTHING,
  safeMs: MS_OR_ZERO,
  onExpiring: FUNCTION,
});

const BACKOFF: Rule = [
  "{ minMs, maxMs } with whole numbers, 1 <= minMs <= maxMs",
  (value) => {
    const shape = hasShape(value, { minMs: MS, maxMs: MS });
    return shape === true ? (value as Backoff).minMs <= (value as Backoff).maxMs : shape;
  },
];

const PATIENCE_RULES: Rules<PatienceOptions> = /* @__PURE__ */ join(WAIT_RULES, { signal: SIGNAL, backoff: BACKOFF });

export const TRY_ACQUIRE_RULES: Rules<TryAcquireOptions> = /* @__PURE__ */ join(TAKE_RULES, PERMITS_RULES, {
  reentrant: BOOLEAN,
});
export const ACQUIRE_RULES: Rules<AcquireOptions> = /* @__PURE__ */ join(TRY_ACQUIRE_RULES, PATIENCE_RULES);
export const RUN_RULES: Rules<RunOptions> = /* @__PURE__ */ join(ACQUIRE_RULES, { timeoutMs: MS });
export const ONCE_RULES: Rules<OnceOptions> = /* @__PURE__ */ join(TAKE_RULES, PATIENCE_RULES, REMEMBER_RULES, {
  storeResult: BOOLEAN,
  fingerprint: ANYTHING,
});
