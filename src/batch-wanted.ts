import type { Context } from "aws-lambda";
import type { DynamoLockBatchOptions } from "./batch-options.ts";
import type { Batch, BatchItem } from "./batch-source.ts";
import { milliseconds } from "./check.ts";
import { LockOptionsError } from "./errors.ts";
import { type Execution, leaseOf, ownerOf } from "./execution.ts";
import { toFingerprint } from "./fingerprint.ts";
import { isMissing, toStoredKey } from "./key.ts";
import type { LockClient } from "./lock-client.ts";
import { checkObserved } from "./locks-of.ts";
import { notAsync } from "./not-async.ts";
import { checkAcquisition } from "./options.ts";

export interface BatchRequest {
  readonly caller: string;
  readonly locks: LockClient;
  readonly disabled: boolean;
  readonly options: DynamoLockBatchOptions;
  readonly records: readonly unknown[];
  readonly batch: Batch;
  readonly context: Context;
  readonly execution: Execution;
  /** The tokens of the locks around this run. */
  readonly around: readonly string[];
}

/** What a record asks for, by the user's functions. */
export interface Wanted {
  /** As stored. */
  readonly key: string;
  readonly owner: string;
  readonly leaseMs: number | undefined;
  readonly fingerprint: string | undefined;
}

/** Nothing, for a record that runs without a lock. Throws what is wrong with this record, or with what the user's functions make of it. */
export const wantedOf = (request: BatchRequest, index: number): Wanted | undefined => {
  const { options, records, batch, context, execution, locks, disabled } = request;
  const record = records[index];
  const toStored = (key: unknown) =>
    toStoredKey(key, options.namespace ?? locks.internals.namespace ?? execution.functionName);
  if (disabled) {
    const { identifier } = batch.items[index] as BatchItem;
    const owner = ownerOf(undefined, [], execution);
    return { key: toStored(identifier), owner, leaseMs: undefined, fingerprint: undefined };
  }
  const key = options.key(record, context);
  if (isMissing(key) && options.onMissingKey === "run") return undefined;
  return {
    key: toStored(key),
    owner: ownerOf(options.owner, [record, context], execution),
    leaseMs: leaseMsOf(request, record),
    fingerprint: options.fingerprint && toFingerprint(options.fingerprint(record, context)),
  };
};

/** What a function gives is checked as a number is at construction. */
const leaseMsOf = ({ caller, options, locks, execution }: BatchRequest, record: unknown): number | undefined => {
  if (typeof options.leaseMs !== "function") return options.leaseMs;
  const leaseMs = notAsync(options.leaseMs(record));
  const complaint = milliseconds(1)(leaseMs);
  if (complaint) throw new LockOptionsError(`${caller}: leaseMs ${complaint}, got ${leaseMs}`);
  const { heartbeatMs = locks.internals.heartbeatMs } = leaseOf(
    { leaseMs, heartbeatMs: options.heartbeatMs },
    execution,
  );
  checkAcquisition(caller, { heartbeatMs }, 1, leaseMs);
  checkObserved(caller, options, leaseMs);
  return leaseMs;
};
