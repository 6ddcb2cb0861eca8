import type { Context } from "aws-lambda";
import type { LockClient } from "../client/lock-client.ts";
import type { DynamoDBClientConfigLike, DynamoDBClientLike } from "../common/aws.ts";
import { anyOf, anything, type Check, milliseconds, ofType, oneOf } from "../common/check.ts";
import type { LockLostError } from "../common/errors.ts";
import type { LockEventListener, LockLogger, LockMetrics } from "../common/events.ts";
import type { LockKey } from "../common/key.ts";
import type { LockRecord } from "../common/record.ts";
import type { Lock } from "../lock/lock.ts";
import { acquireChecks, namespaceCheck, sharedChecks } from "../lock/options.ts";

/** What to do with the key when the handler fails. */
export type OnError = "release" | "finish" | "keep";

/** The invocation that is being answered. Middy's request has more. */
export interface LockRequest<TEvent = unknown> {
  readonly event: TEvent;
  readonly context: Context;
}

/** Options of `dynamoLock` and `withLock`. */
// biome-ignore lint/suspicious/noExplicitAny: without a type argument, `(event) => event.date` has to compile.
export interface DynamoLockOptions<TEvent = any> {
  /**
   * What to lock, from the event. Missing (`undefined`, `null` or `''`): see `onMissingKey`. At
   * most 2,048 bytes with the namespace. A number has to be a safe integer. It is the same key as
   * its decimal string, and as the bigint. An array: several keys, taken all or none, at most 100.
   * Once it is finished, another order of it is a `PayloadMismatchError`.
   */
  readonly key: (event: TEvent, context: Context) => LockKey | readonly LockKey[];
  /**
   * Name or ARN of the table.
   * @default process.env.DYNAMO_LOCK_TABLE, or 'dynamo-locks'
   */
  readonly tableName?: string | undefined;
  /** A `DynamoDBClient` of yours. Without it one is made, with short timeouts (see `clientConfig`). */
  readonly client?: DynamoDBClientLike | undefined;
  /** Configuration of the client that is made: region, endpoint. By default 500 ms to connect, 1,000 ms for a reply, 3 attempts. */
  readonly clientConfig?: DynamoDBClientConfigLike | undefined;
  /** An existing `LockClient`, with its table, client, logger, metrics and listener, in place of one made here. */
  readonly locks?: LockClient | undefined;
  /**
   * Prefix of the key, so that functions which share a table don't meet; `false`: none. Must not
   * contain '#'. Set it to a name that stays: a function that gets another name forgets every key
   * under the default, and runs finished work again.
   * @default the namespace of `locks`, or context.functionName
   */
  readonly namespace?: string | false | undefined;
  /**
   * Who takes the lock, for people who read the table. Not a proof of ownership.
   * @default context.awsRequestId; in a durable execution its ARN
   */
  readonly owner?: ((event: TEvent, context: Context) => string) | undefined;
  /**
   * What a handler that succeeds does to the key: `'finish'`: once only, repeats are answered without running;
   * `'release'`: once at a time, a repeat may run.
   * @default 'finish'
   */
  readonly onSuccess?: "finish" | "release" | undefined;
  /**
   * What a handler that fails does to the key: `'release'`: a retry may run at once; `'finish'`: the failure is final,
   * repeats throw it as `ReplayedError`; `'keep'`: nobody may run until the lease ends; or a function that decides.
   * @default 'release'
   */
  readonly onError?: OnError | ((error: unknown) => OnError | Promise<OnError>) | undefined;
  /**
   * Answers a repeat of a finished or held key: a value, of which each repeat gets a copy, or a function of the record
   * and the request. A value must be data, without functions and class instances. Without `duplicateResponse` a
   * finished key replays the stored response, and a held one throws `LockHeldError`, so that the event is retried.
   * A held key of a batch (SQS, Kinesis, DynamoDB Streams, Kafka) throws it too, unless the answer has `batchItemFailures`.
   */
  readonly duplicateResponse?: DuplicateResponse<TEvent> | object | string | number | boolean | null | undefined;
  /**
   * Keep what JSON makes of the response with the finished key, for repeats, as Lambda sends it to
   * the first caller. What JSON can't carry (a BigInt, a circular structure) is not stored and
   * reported; repeats then get `undefined`. What the handler settles itself keeps the `result` that
   * it gave `finish` or `commit`, and no other.
   * @default true
   */
  readonly storeResponse?: boolean | undefined;
  /**
   * How long a finished key blocks repeats, in ms: longer than the event's source, and its dead-letter queue, can deliver it again.
   * @default 3_600_000
   */
  readonly rememberMs?: number | undefined;
  /**
   * How long the lock is held without a sign of life, in ms.
   * @default the remaining time of the invocation; outside Lambda the `LockClient`'s
   */
  readonly leaseMs?: number | undefined;
  /**
   * How far wall clocks may differ, in ms: by the clock, a lease and the time that a finished key is remembered are over for
   * others this long after their end. The latter with `expiry: 'observed'` too.
   * @default 1_000
   */
  readonly clockSkewMs?: number | undefined;
  /**
   * How long to wait for a held key, in ms, and never into the last 500 ms of the invocation. A key that finishes
   * meanwhile is replayed. The time is the handler's too: it counts against the function's timeout. In vain is a
   * `LockTimeoutError`. Needs `dynamodb:GetItem`.
   * @default 0
   */
  readonly waitMs?: number | undefined;
  /**
   * How often a `leaseMs` that is shorter than the invocation is renewed, in ms; `false`: never.
   * @default a third of `leaseMs`
   */
  readonly heartbeatMs?: number | false | undefined;
  /**
   * `'observed'`: no wall clock ends a lease: it is over only when it was watched unchanged for its length, within the wait or
   * in invocations before it. How long a finished key is remembered goes by the wall clock even so, within `clockSkewMs`.
   * @default 'clock'
   */
  readonly expiry?: "clock" | "observed" | undefined;
  /**
   * How many invocations may hold the key at once, up to 100. More than one go with `onSuccess: 'release'`.
   * @default 1
   */
  readonly permits?: number | undefined;
  /** Called once when the lock is lost while the handler runs, after `context.lock.signal` was aborted. */
  readonly onLost?: ((lock: Lock, error: LockLostError) => void) | undefined;
  /**
   * What of the event the handler works on, any JSON value (integers up to 2^53 - 1, or bigint):
   * the same key with another one is a `PayloadMismatchError` (422), whether the first run has
   * finished or not. Only a hash of it is stored.
   */
  readonly fingerprint?: ((event: TEvent, context: Context) => unknown) | undefined;
  /**
   * How many finished records are kept in memory at least, the least recently used going first when there are twice as many:
   * a repeat in the same environment then costs no request. 0: none.
   * @default 0
   */
  readonly cacheSize?: number | undefined;
  /**
   * Add the header `Idempotent-Replayed: true` to a stored HTTP response (an object with a `statusCode`) when it is replayed, and as
   * `headers` to a `ReplayedError`.
   * @default false
   */
  readonly replayedHeader?: boolean | undefined;
  /**
   * Without a key: `'throw'` a `LockKeyError`, or `'run'` without a lock.
   * @default 'throw'
   */
  readonly onMissingKey?: "throw" | "run" | undefined;
  /**
   * Middy's `timeoutEarlyInMillis`, if you change that and have your own `timeoutEarlyResponse`: a response in the last
   * `timeoutEarlyMs` of the invocation may come from it while the handler still runs, so the key is left to its lease.
   * @default 5, as in Middy
   */
  readonly timeoutEarlyMs?: number | undefined;
  /** Powertools' Logger, `console`, or anything with `debug`, `warn` and `error`. */
  readonly logger?: LockLogger | undefined;
  /**
   * Powertools' Metrics, or anything with `addMetric`: counts of what becomes of keys, wait and hold times, without dimensions
   * of their own. They are printed with yours, by `logMetrics` or `publishStoredMetrics`.
   */
  readonly metrics?: LockMetrics | undefined;
  /** Called for every transition, synchronously. */
  readonly onEvent?: LockEventListener | undefined;
  /**
   * Run every handler without a lock, for local work: nothing is sent but the items that you commit, and `context.lock` is a
   * stand-in.
   * @default process.env.DYNAMO_LOCK_DISABLED is '1', 'true', 'yes' or 'on' at the invocation
   */
  readonly disabled?: boolean | undefined;
}

/** A function of the record and the request that answers a repeat. */
export type DuplicateResponse<TEvent = unknown> = (record: LockRecord, request: LockRequest<TEvent>) => unknown;

/** What the handler finds in its context. */
export interface LockContext {
  readonly lock: Lock;
}

/** With `onMissingKey: 'run'` there may be no lock. */
export interface MaybeLockContext {
  readonly lock?: Lock;
}

export const dynamoLockChecks: Record<string, Check> = {
  key: ofType("function"),
  ...sharedChecks,
  locks: ofType("object"),
  namespace: (value) => (value === false ? undefined : namespaceCheck(value)),
  owner: ofType("function"),
  onSuccess: oneOf("finish", "release"),
  onError: anyOf(oneOf("release", "finish", "keep"), ofType("function")),
  duplicateResponse: anything,
  storeResponse: ofType("boolean"),
  waitMs: acquireChecks.waitMs,
  permits: acquireChecks.permits,
  onLost: acquireChecks.onLost,
  fingerprint: ofType("function"),
  replayedHeader: ofType("boolean"),
  onMissingKey: oneOf("throw", "run"),
  timeoutEarlyMs: milliseconds(0, 900_000),
  disabled: ofType("boolean"),
};
