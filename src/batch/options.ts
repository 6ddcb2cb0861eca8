import type { Context } from "aws-lambda";
import type { LockKey } from "../common/key.ts";
import { BOOLEAN, join, MS_OF_INVOCATION, type Rules } from "../common/rules.ts";
import {
  HOLDING_RULES,
  type HoldingOptions,
  INVOCATION_RULES,
  type InvocationOptions,
  REPEAT_RULES,
  type RepeatOptions,
} from "../lambda/options.ts";
import type { Lock } from "../lock/lock.ts";

/** Options of `dynamoLockBatch`. */
// biome-ignore lint/suspicious/noExplicitAny: without a type argument, `(record) => record.body` has to compile.
export interface DynamoLockBatchOptions<TRecord = any>
  extends InvocationOptions<TRecord>,
    HoldingOptions<number | ((record: TRecord) => number)>,
    RepeatOptions<TRecord> {
  /**
   * Gives the key to lock, from a record: it is the same whenever the same thing is to be done.
   * Missing (`undefined`, `null` or `''`): see `onMissingKey`. At most 2,048 bytes with the
   * namespace. A record whose key function throws fails alone.
   * @default required
   */
  readonly key: (record: TRecord, context: Context) => LockKey;
  /**
   * How many requests to DynamoDB may be on their way at once. As many heartbeats may be beside
   * them, where `leaseMs` is short: let it be long enough for all records of a batch to be renewed
   * within a third of it.
   * @default 50
   */
  readonly concurrency?: number | undefined;
  /**
   * The time of the invocation that is left to the handler, in ms: with less, no record is begun,
   * and all come back. What DynamoDB has not answered by then comes back too. Set it to what the
   * handler needs for a batch.
   * @default 500
   */
  readonly reserveMs?: number | undefined;
  /**
   * Take and finish up to 25 keys with one request, and find up to 100 finished repeats with one.
   * What can't be done so is done as ever. It needs the permissions `dynamodb:PartiQLInsert`,
   * `dynamodb:PartiQLUpdate` and `dynamodb:BatchGetItem`. If one is missing, that is reported once
   * (`bulk-denied`), and each key has requests of its own. So it has in a table with an ARN or an
   * unusual attribute name.
   * @default false
   */
  readonly bulk?: boolean | undefined;
}

/** The locks of the records that the handler was given. */
// biome-ignore lint/suspicious/noExplicitAny: see DynamoLockBatchOptions
export interface BatchLocks<TRecord = any, TLock = Lock> {
  /**
   * The lock of a record. It is found by the record itself, or for a copy by its identifier. What
   * the handler settles itself stays so. If it releases one, and doesn't say that the record
   * failed, that is acknowledged, as are its repeats in the batch.
   *
   * @throws LockBatchError for a record that the handler was not given, and for a copy of one of
   * several that share an identifier.
   */
  get(record: TRecord): TLock;
}

/** The part of the context that has the locks of the handler's records. */
// biome-ignore lint/suspicious/noExplicitAny: see DynamoLockBatchOptions
export interface LocksContext<TRecord = any> {
  readonly locks: BatchLocks<TRecord>;
}

/** With `onMissingKey` or `onUnavailable` as `'run'` a record may have no lock. */
// biome-ignore lint/suspicious/noExplicitAny: see DynamoLockBatchOptions
export interface MaybeLocksContext<TRecord = any> {
  readonly locks: BatchLocks<TRecord, Lock | undefined>;
}

export const BATCH_DEFAULTS = {
  /**
   * The SDK's own bound on sockets per host
   * (https://docs.aws.amazon.com/sdk-for-javascript/v3/developer-guide/node-configuring-maxsockets.html).
   */
  concurrency: 50,
  reserveMs: 500,
} as const;
/** The time that is kept for the response: no lock is settled in it any more, in ms. */
export const RESPONSE_RESERVE_MS = 50;

export const DYNAMO_LOCK_BATCH_RULES: Rules<DynamoLockBatchOptions> = /* @__PURE__ */ join(
  INVOCATION_RULES,
  HOLDING_RULES,
  REPEAT_RULES,
  {
    leaseMs: "a whole number of milliseconds from 1 to 3153600000000 or a function",
    concurrency: "a whole number from 1 to 1000",
    reserveMs: MS_OF_INVOCATION,
    bulk: BOOLEAN,
  },
);
