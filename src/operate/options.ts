import type { LockStatus } from "../common/record.ts";
import { BOOLEAN, type Contradictions, FUNCTION, KEYS, MS_OR_ZERO, type Rules, TEXT } from "../common/rules.ts";
import type { OperatorKey } from "./readings.ts";

/** The progress of a scan, after each of its requests. */
export interface ScanProgress {
  /** How many items have been looked at. */
  readonly scanned: number;
  /** How many records were let through by the filter. */
  readonly found: number;
  /** What it has cost so far, in read units; 0 where the engine doesn't say. */
  readonly readUnits: number;
}

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
  /** Called after each request with what has been looked at, and what that has cost. */
  readonly onPage?: ((progress: ScanProgress) => void) | undefined;
}

export interface PurgeLocksOptions {
  /**
   * Only these keys: records, or keys as they are in the client's namespace, or as they are stored.
   * @default every key of the client's namespace
   */
  readonly keys?: readonly OperatorKey[] | undefined;
  /** Only keys that begin so, without the client's namespace. */
  readonly keyPrefix?: string | undefined;
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
  /**
   * Delete nothing, and say what would be deleted.
   * @default `false`
   */
  readonly dryRun?: boolean | undefined;
  /** Called after each request of the scan with what has been looked at, and what that has cost. */
  readonly onPage?: ((progress: ScanProgress) => void) | undefined;
}

export const LIST_LOCKS_RULES: Rules<ListLocksFilter> = {
  status: "'IN_PROGRESS', 'FINISHED', 'RELEASED' or 'SEMAPHORE'",
  owner: TEXT,
  keyPrefix: TEXT,
  expired: BOOLEAN,
  pageSize: "a whole number from 1 to 2147483647",
  consistentRead: BOOLEAN,
  onPage: FUNCTION,
};

export const PURGE_LOCKS_RULES: Rules<PurgeLocksOptions> = {
  keys: KEYS,
  keyPrefix: TEXT,
  olderThanMs: MS_OR_ZERO,
  finished: BOOLEAN,
  dryRun: BOOLEAN,
  onPage: FUNCTION,
};

export const PURGE_CONTRADICTIONS: Contradictions<PurgeLocksOptions> = [
  [({ keys, keyPrefix }) => keys !== undefined && keyPrefix !== undefined, "keys and keyPrefix contradict each other"],
];
