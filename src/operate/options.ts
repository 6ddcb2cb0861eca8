import type { LockKey } from "../common/key.ts";
import type { LockStatus } from "../common/record.ts";
import { BOOLEAN, KEYS, MS_OR_ZERO, type Rules, TEXT } from "../common/rules.ts";

export interface ListLocksFilter {
  /** Only records of this status. */
  readonly status?: LockStatus | undefined;
  /** The owner that holds it, or was the last to. */
  readonly owner?: string | undefined;
  /** How the key begins, without the client's namespace. */
  readonly keyPrefix?: string | undefined;
  /**
   * `true`: records that are over (released, lease or window ended), so that an acquisition would
   * succeed. `false`: the others.
   */
  readonly expired?: boolean | undefined;
  /**
   * Most items that one request looks at. Without it 1 MB of them.
   * @default none
   */
  readonly pageSize?: number | undefined;
  /**
   * Read the latest state of each item, at twice the price.
   * @default `false`
   */
  readonly consistentRead?: boolean | undefined;
}

export interface PurgeLocksOptions {
  /**
   * Only these keys.
   * @default every key of the client's namespace
   */
  readonly keys?: readonly LockKey[] | undefined;
  /**
   * Delete whatever has not been written for this long, in ms: also a lock that is held, and what
   * is still remembered. A renewal is a write.
   * @default none
   */
  readonly olderThanMs?: number | undefined;
  /**
   * Delete finished records before the time they are remembered has ended: their keys can run
   * again.
   * @default `false`
   */
  readonly finished?: boolean | undefined;
}

export const LIST_LOCKS_RULES: Rules<ListLocksFilter> = {
  status: "'IN_PROGRESS', 'FINISHED', 'RELEASED' or 'SEMAPHORE'",
  owner: TEXT,
  keyPrefix: TEXT,
  expired: BOOLEAN,
  pageSize: "a whole number from 1 to 2147483647",
  consistentRead: BOOLEAN,
};

export const PURGE_LOCKS_RULES: Rules<PurgeLocksOptions> = { keys: KEYS, olderThanMs: MS_OR_ZERO, finished: BOOLEAN };
