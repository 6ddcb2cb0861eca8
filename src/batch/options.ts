import type { Context } from "aws-lambda";
import { anyOf, type Check, milliseconds, ofType, wholeNumber } from "../common/check.ts";
import type { LockKey } from "../common/key.ts";
import { type DynamoLockOptions, dynamoLockChecks } from "../invocation/options.ts";
import type { Lock } from "../lock/lock.ts";
import { sharedChecks } from "../lock/options.ts";

type AsInDynamoLock =
  | "tableName"
  | "client"
  | "clientConfig"
  | "locks"
  | "namespace"
  | "rememberMs"
  | "cacheSize"
  | "clockSkewMs"
  | "heartbeatMs"
  | "expiry"
  | "onLost"
  | "onMissingKey"
  | "timeoutEarlyMs"
  | "logger"
  | "metrics"
  | "onEvent"
  | "disabled";

/** Options of `dynamoLockBatch`. */
// biome-ignore lint/suspicious/noExplicitAny: without a type argument, `(record) => record.body` has to compile.
export interface DynamoLockBatchOptions<TRecord = any> extends Pick<DynamoLockOptions, AsInDynamoLock> {
  /**
   * What to lock, from a record: what is the same whenever the same thing is to be done. Missing (`undefined`, `null` or `''`): see
   * `onMissingKey`. At most 2,048 bytes with the namespace. A record whose key function throws fails alone.
   */
  readonly key: (record: TRecord, context: Context) => LockKey;
  /**
   * What of a record the handler works on, any JSON value (integers up to 2^53 - 1, or bigint): a
   * record with the same key and another one fails alone, and comes back, also within a batch. Only
   * a hash of it is stored.
   */
  readonly fingerprint?: ((record: TRecord, context: Context) => unknown) | undefined;
  /**
   * Who takes the locks, for people who read the table. Not a proof of ownership.
   * @default context.awsRequestId
   */
  readonly owner?: ((record: TRecord, context: Context) => string) | undefined;
  /**
   * How long a lock is held without a sign of life, in ms: a number, or a function of the record, which fails alone if it is wrong.
   * @default the remaining time of the invocation; outside Lambda the `LockClient`'s
   */
  readonly leaseMs?: number | ((record: TRecord) => number) | undefined;
  /**
   * For streams, whose retries come at once: how long a batch waits for held records, in ms, until 250 before `reserveMs`. One that
   * finishes meanwhile is acknowledged. Of a message group or a stream, one record at a time is waited for, while nothing behind it
   * is held. Needs `dynamodb:GetItem`.
   * @default 0
   */
  readonly waitMs?: number | undefined;
  /**
   * How many requests to DynamoDB may be on their way at once. As many heartbeats may be beside them, where `leaseMs` is short: let
   * it be long enough for all records of a batch to be renewed within a third of it.
   * @default 50, which is how many connections the AWS SDK opens
   */
  readonly concurrency?: number | undefined;
  /**
   * What has to be left of the invocation for the handler, in ms: with less, no record is begun, and all come back. What DynamoDB has
   * not answered by then comes back too. Set it to what the handler needs for a batch.
   * @default 500
   */
  readonly reserveMs?: number | undefined;
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

/** What the handler finds in its context. */
// biome-ignore lint/suspicious/noExplicitAny: see DynamoLockBatchOptions
export interface LocksContext<TRecord = any> {
  readonly locks: BatchLocks<TRecord>;
}

/** With `onMissingKey: 'run'` a record may have no lock. */
// biome-ignore lint/suspicious/noExplicitAny: see DynamoLockBatchOptions
export interface MaybeLocksContext<TRecord = any> {
  readonly locks: BatchLocks<TRecord, Lock | undefined>;
}

/** The SDK's own bound on sockets per host (https://docs.aws.amazon.com/sdk-for-javascript/v3/developer-guide/node-configuring-maxsockets.html). */
export const DEFAULT_CONCURRENCY = 50;
export const DEFAULT_RESERVE_MS = 500;
/** What is left of the invocation for its response: then no lock is settled any more. */
export const RESPONSE_RESERVE_MS = 50;

const perRecord = (({ onSuccess, onError, duplicateResponse, storeResponse, replayedHeader, permits, ...rest }) =>
  rest)(dynamoLockChecks);

export const dynamoLockBatchChecks: Record<string, Check> = {
  ...perRecord,
  leaseMs: anyOf(sharedChecks.leaseMs, ofType("function")),
  concurrency: wholeNumber(1, 1_000),
  reserveMs: milliseconds(0, 900_000),
};
