import type { Context } from "aws-lambda";
import type { LockRecord } from "../common/record.ts";
import { ANYTHING, BOOLEAN, type Contradictions, join, type Rules } from "../common/rules.ts";
import {
  HOLDING_RULES,
  type HoldingOptions,
  INVOCATION_RULES,
  type InvocationOptions,
  REPEAT_RULES,
  type RepeatOptions,
} from "../lambda/options.ts";
import type { Lock } from "../lock/lock.ts";
import { PERMITS_RULES, type PermitsOptions } from "../lock/permits.ts";

/** What to do with the key when the handler fails. */
export type OnError = "release" | "finish" | "keep";

/** The invocation that is being answered. Middy's request has more. */
export interface LockRequest<TEvent = unknown> {
  readonly event: TEvent;
  readonly context: Context;
}

/** Options of `dynamoLock` and `withLock`. */
// biome-ignore lint/suspicious/noExplicitAny: without a type argument, `(event) => event.date` has to compile.
export interface DynamoLockOptions<TEvent = any>
  extends InvocationOptions<TEvent>,
    HoldingOptions,
    RepeatOptions<TEvent>,
    PermitsOptions {
  /**
   * What a handler that succeeds does to the key: `'finish'`: once only, repeats are answered without running;
   * `'release'`: once at a time, a repeat may run.
   * @default `'finish'`
   */
  readonly onSuccess?: "finish" | "release" | undefined;
  /**
   * What a handler that fails does to the key: `'release'`: a retry may run at once; `'finish'`: the failure is final,
   * repeats throw it as `ReplayedError`; `'keep'`: nobody may run until the lease ends; or a function that decides.
   * @default `'release'`
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
   * @default `true`
   */
  readonly storeResponse?: boolean | undefined;
  /**
   * Add the header `Idempotent-Replayed: true` to a stored HTTP response (an object with a `statusCode`) when it is replayed, and as
   * `headers` to a `ReplayedError`.
   * @default `false`
   */
  readonly replayedHeader?: boolean | undefined;
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

/** What `onError` may be, or return. */
export const ON_ERROR = "'release', 'finish' or 'keep'";

export const DYNAMO_LOCK_RULES: Rules<DynamoLockOptions> = /* @__PURE__ */ join(
  INVOCATION_RULES,
  HOLDING_RULES,
  REPEAT_RULES,
  PERMITS_RULES,
  {
    onSuccess: "'finish' or 'release'",
    onError: "'release', 'finish', 'keep' or a function",
    duplicateResponse: ANYTHING,
    storeResponse: BOOLEAN,
    replayedHeader: BOOLEAN,
  },
);

export const DYNAMO_LOCK_CONTRADICTIONS: Contradictions<DynamoLockOptions> = [
  [
    ({ onSuccess, storeResponse }) => onSuccess === "release" && storeResponse,
    "storeResponse needs onSuccess 'finish'",
  ],
  [
    ({ onSuccess, onError, rememberMs }) =>
      onSuccess === "release" && rememberMs !== undefined && onError !== "finish" && typeof onError !== "function",
    "rememberMs needs onSuccess or onError 'finish'",
  ],
];
