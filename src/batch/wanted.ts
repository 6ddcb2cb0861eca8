import type { Context } from "aws-lambda";
import { toFingerprint } from "../common/fingerprint.ts";
import { isMissing, toStoredKey } from "../common/key.ts";
import { notAsync } from "../common/not-async.ts";
import { checkArgument, MS } from "../common/rules.ts";
import { type Execution, leaseOf, ownerOf } from "../lambda/execution.ts";
import { checkLease } from "../lambda/options.ts";
import type { Locks } from "../lock/locks.ts";
import type { DynamoLockBatchOptions } from "./options.ts";
import type { Batch, BatchItem } from "./source.ts";

export interface BatchRequest {
  readonly caller: string;
  readonly locks: Locks;
  readonly disabled: boolean;
  readonly options: DynamoLockBatchOptions;
  readonly records: readonly unknown[];
  readonly batch: Batch;
  readonly context: Context;
  readonly execution: Execution;
  /** The tokens of the locks around this run. */
  readonly around: readonly string[];
}

/** The wish of a record, by the user's functions. */
export interface Wanted {
  /** As stored. */
  readonly key: string;
  readonly owner: string;
  readonly leaseMs: number | undefined;
  readonly fingerprint: string | undefined;
}

/**
 * The key of a record as it is stored; undefined for a record that runs without a lock. Throws what
 * is wrong with the key.
 */
export const storedKeyOf = (request: BatchRequest, index: number): string | undefined => {
  const { options, records, batch, context, execution, locks, disabled } = request;
  const toStored = (key: unknown) =>
    toStoredKey(key, options.namespace ?? locks.options.namespace ?? execution.functionName);
  // Without locks every record runs, also each of those that share an identifier.
  if (disabled) return toStored(`${(batch.items[index] as BatchItem).identifier}/${index}`);
  const key = options.key(records[index], context);
  return isMissing(key) && options.onMissingKey === "run" ? undefined : toStored(key);
};

/**
 * The wish of a record with this key. Throws what is wrong with what the user's functions make of
 * it.
 */
export const wantedOf = (request: BatchRequest, index: number, key: string): Wanted => {
  const { options, records, context, execution, disabled } = request;
  if (disabled) return { key, owner: ownerOf(undefined, [], execution), leaseMs: undefined, fingerprint: undefined };
  const record = records[index];
  return {
    key,
    owner: ownerOf(options.owner, [record, context], execution),
    leaseMs: leaseMsOf(request, record),
    fingerprint: options.fingerprint && toFingerprint(options.fingerprint(record, context)),
  };
};

/** A function's result is checked as a number is at construction. */
const leaseMsOf = ({ caller, options, execution }: BatchRequest, record: unknown): number | undefined => {
  if (typeof options.leaseMs !== "function") return options.leaseMs;
  const leaseMs = notAsync(options.leaseMs(record));
  checkArgument(caller, "leaseMs", leaseMs, MS);
  const { heartbeatMs } = leaseOf({ leaseMs, heartbeatMs: options.heartbeatMs }, execution);
  checkLease(caller, { ...options, heartbeatMs }, leaseMs);
  return leaseMs;
};
