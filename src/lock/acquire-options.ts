/** Options of what takes a lock, whichever door it comes through. */
import type { Backoff } from "../common/backoff.ts";
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
import {
  LEASE_RULES,
  type LeaseOptions,
  LOSS_RULES,
  type LossOptions,
  WAIT_RULES,
  type WaitOptions,
} from "./lease-options.ts";
import type { Lock } from "./lock.ts";

export interface OwnerOptions {
  /**
   * The name of the one who takes the locks, for people who read the table. It proves nothing.
   * @default a random UUID per client
   */
  readonly owner?: string | undefined;
}

/**
 * The options that `acquire` and `once` have in common. The lease and the owner are the client's
 * unless they are set here.
 */
export interface TakeOptions extends LeaseOptions, LossOptions, OwnerOptions {
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
  /**
   * Called when `safeMs` are left of the lease and it has not been renewed; never after its end.
   */
  readonly onExpiring?: ((lock: Lock) => void) | undefined;
}

/** How a held key is waited for. Throttling and faults of the network are retried as long, too. */
export interface PatienceOptions extends WaitOptions {
  /** Gives up waiting; the call then throws its reason. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Bounds of the random delay between two looks at a held key, in ms: it grows from below the
   * first to below the second.
   * @default `{ minMs: 25, maxMs: 500 }`
   */
  readonly backoff?: Backoff | undefined;
}

export const OWNER_RULES: Rules<OwnerOptions> = { owner: TEXT };

export const TAKE_RULES: Rules<TakeOptions> = /* @__PURE__ */ join(LEASE_RULES, LOSS_RULES, OWNER_RULES, {
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

export const PATIENCE_RULES: Rules<PatienceOptions> = /* @__PURE__ */ join(WAIT_RULES, {
  signal: SIGNAL,
  backoff: BACKOFF,
});
