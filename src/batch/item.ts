import type { Context } from "aws-lambda";
import type { Clock } from "../common/clock.ts";
import { LockError } from "../common/errors.ts";
import { toFingerprint } from "../common/fingerprint.ts";
import { isMissing, toStoredKey } from "../common/key.ts";
import { notAsync } from "../common/not-async.ts";
import { inParallel } from "../common/parallel.ts";
import type { LockRecord } from "../common/record.ts";
import type { Reporter } from "../common/report.ts";
import { checkArgument, MS } from "../common/rules.ts";
import type { Table } from "../dynamodb/table.ts";
import { type Execution, leaseOf, ownerOf, timeUntil } from "../lambda/execution.ts";
import { checkLease } from "../lambda/options.ts";
import type { Lock } from "../lock/lock.ts";
import type { SettleTime } from "../lock/lock-writes.ts";
import type { Locks } from "../lock/locks.ts";
import { BATCH_DEFAULTS, type DynamoLockBatchOptions } from "./options.ts";
import type { Ordered } from "./order.ts";
import type { Batch, Place } from "./source.ts";

/** One invocation with a batch. */
export interface BatchRequest {
  readonly caller: string;
  readonly options: DynamoLockBatchOptions;
  readonly locks: Locks;
  /** A way to the table of `locks` for many keys at once. */
  readonly table: Table | undefined;
  readonly clock: Clock;
  readonly report: Reporter;
  /** Whether the client only pretends. */
  readonly disabled: boolean;
  readonly batch: Batch;
  readonly context: Context;
  readonly execution: Execution;
  /** How long a lock is tried to settle. Once settling has begun, all locks share the time. */
  settleTime: () => SettleTime;
  /**
   * Acquisitions that have not ended: one that comes too late gives back what it took. None may
   * outlive the answer.
   */
  readonly underWay: Set<Promise<void>>;
  /** The tokens of the locks around this run. */
  readonly around: readonly string[];
}

/** A record, and everything that becomes known of it. */
export interface BatchItem extends Place, Ordered {
  readonly group: Place["group"];
  leader?: BatchItem | undefined;
  /** As stored. Undefined if the record runs without a lock, or its key could not be made. */
  key?: string | undefined;
  /** How its key is to be taken. */
  wish?: ReturnType<typeof wishOf>;
  /** Whether its next request may wait: at once without order, otherwise one record at a time. */
  mayWait: boolean;
  /** The lock of a key that is `owned`. */
  lock?: Lock | undefined;
  /** The record of the run that has `finished` the key. */
  finished?: LockRecord | undefined;
  /** Why the key was not to be had. */
  reason?: unknown;
  failure?: { readonly error: unknown } | undefined;
  /**
   * A call on the lock hangs, which the handler has not awaited: nobody knows what becomes of it.
   */
  hangs?: boolean | undefined;
}

/** Works in parallel until `reserveMs` of the invocation are left: see `inParallel`. */
export const inTime = <T>(
  { options: { concurrency = BATCH_DEFAULTS.concurrency }, clock, execution }: BatchRequest,
  reserveMs: number,
  all: Iterable<T>,
  work: (one: T) => Promise<void>,
): Promise<boolean> => inParallel(all, concurrency, work, { clock, ms: timeUntil(reserveMs, execution) });

/**
 * Asks the user's functions about each record. If one of them throws, the record has failed, and is
 * reported.
 */
export const toItems = (request: BatchRequest): BatchItem[] => {
  const leaders = new Map<string, BatchItem>();
  return request.batch.places.map((place, index) => {
    const item: BatchItem = { ...place, mayWait: typeof place.group === "number", state: "untried" };
    try {
      item.key = keyOf(request, place, index);
      if (item.key === undefined) item.state = "owned";
      else {
        item.wish = wishOf(request, place.record);
        // Only an equal key with an equal payload makes a repeat. With another payload it is tried
        // for, and refused. Records with one identifier may be of different things.
        const name = `${item.wish.fingerprint ?? ""} ${item.key}`;
        item.leader = leaders.get(name);
        if (!item.leader) leaders.set(name, item);
      }
    } catch (thrown) {
      fail(item, readable(thrown));
      reportFailed(request, item);
    }
    return item;
  });
};

/** The record comes back. */
export const fail = (item: BatchItem, reason: unknown): void => {
  item.state = "failed";
  item.reason = reason;
};

export const reportFailed = ({ batch, report }: BatchRequest, { identifier, key, reason: error }: BatchItem): void =>
  report(
    { type: "record-failed", identifier, error },
    `Record ${identifier} of a batch (${batch.source}${key === undefined ? "" : `, key ${key}`}) comes back, without having run`,
  );

const keyOf = (request: BatchRequest, { record, identifier }: Place, index: number): string | undefined => {
  const { options, context, execution, locks, disabled } = request;
  // Without locks every record runs, also each of those that share an identifier.
  const key = disabled ? `${identifier}/${index}` : options.key(record, context);
  if (isMissing(key) && options.onMissingKey === "run") return undefined;
  return toStoredKey(key, options.namespace ?? locks.options.namespace ?? execution.functionName);
};

/** Asks the user's functions how the key of a record is to be taken. */
const wishOf = (request: BatchRequest, record: unknown) => {
  const { options, context, execution, disabled } = request;
  if (disabled) return { owner: ownerOf(undefined, [], execution) };
  return {
    owner: ownerOf(options.owner, [record, context], execution),
    leaseMs: leaseMsOf(request, record),
    fingerprint: options.fingerprint && toFingerprint(options.fingerprint(record, context)),
  };
};

/** Checks what a function gives as a number is checked at construction. */
const leaseMsOf = ({ caller, options, execution }: BatchRequest, record: unknown): number | undefined => {
  if (typeof options.leaseMs !== "function") return options.leaseMs;
  const leaseMs = notAsync(options.leaseMs(record));
  checkArgument(caller, "leaseMs", leaseMs, MS);
  const { heartbeatMs } = leaseOf({ leaseMs, heartbeatMs: options.heartbeatMs }, execution);
  checkLease(caller, { ...options, heartbeatMs }, leaseMs);
  return leaseMs;
};

/** Gives back what was thrown, or an error in its place if it can't even be asked for its class. */
const readable = (thrown: unknown): unknown => {
  try {
    Object.getPrototypeOf(Object(thrown));
    return thrown;
  } catch {
    return new LockError("LOCK_BATCH", "What was thrown can't be read");
  }
};
