/**
 * Options of all that takes keys around a handler: each is declared once, its type and text above,
 * its rule below.
 */
import type { Context } from "aws-lambda";
import type { LockKey } from "../common/key.ts";
import type { LockRecord } from "../common/record.ts";
import {
  ANYTHING,
  BOOLEAN,
  type Contradictions,
  checkArgument,
  checkOptions,
  FUNCTION,
  firstSet,
  join,
  MS_OF_INVOCATION,
  type Rule,
  type Rules,
  refuse,
} from "../common/rules.ts";
import {
  LEASE_CONTRADICTIONS,
  LEASE_RULES,
  type LeaseOptions,
  LOSS_RULES,
  type LossOptions,
  WAIT_RULES,
  type WaitOptions,
} from "../lock/lease-options.ts";
import type { Lock } from "../lock/lock.ts";
import { type LockClientLike, locksIn } from "../lock/locks.ts";
import {
  CLIENT_CONTRADICTIONS,
  REMEMBER_RULES,
  REPORT_RULES,
  type RememberOptions,
  type ReportOptions,
  SETTLE_TIME_RULES,
  type SettleTimeOptions,
  TABLE_RULES,
  type TableOptions,
} from "../lock/options.ts";

/** Whose locks are taken, and under which names. `TInput` is the event, or a record of a batch. */
export interface InvocationOptions<TInput> extends TableOptions, ReportOptions {
  /**
   * Gives the key to lock, from the event. Missing (`undefined`, `null` or `''`): see
   * `onMissingKey`. At most 2,048 bytes with the namespace. A number has to be a safe integer. It
   * is the same key as its decimal string, and as the bigint. An array: several keys, taken all or
   * none, at most 100. Once it is finished, another order of it is a `PayloadMismatchError`.
   * @default required
   */
  readonly key: (input: TInput, context: Context) => LockKey | readonly LockKey[];
  /**
   * An existing `LockClient`, with its table, client, logger, metrics and listener, in place of one
   * made here.
   * @default a new `LockClient`
   */
  readonly locks?: LockClientLike | undefined;
  /**
   * Prefix of the key, so that functions which share a table don't meet; `false`: none. Must not
   * contain '#'. Set it to a name that stays: a function that gets another name forgets every key
   * under the default, and runs finished work again.
   * @default that of `locks`, or `context.functionName`
   */
  readonly namespace?: string | false | undefined;
  /**
   * Gives the name of the one who takes the lock, for people who read the table. It proves nothing.
   * In a durable execution it is the ARN of that.
   * @default `context.awsRequestId`
   */
  readonly owner?: ((input: TInput, context: Context) => string) | undefined;
  /**
   * Without a key: `'throw'` a `LockKeyError`, or `'run'` without a lock.
   * @default `'throw'`
   */
  readonly onMissingKey?: "throw" | "run" | undefined;
  /**
   * When DynamoDB is away (throttled, failing, or without an answer) until the time for an
   * acquisition is over: `'throw'` its error, so that the event is retried, or `'run'` without a
   * lock, if running twice is better than not at all. Each such run is reported (`unavailable`).
   * @default `'throw'`
   */
  readonly onUnavailable?: "throw" | "run" | undefined;
  /**
   * Middy's `timeoutEarlyInMillis`, if you change that and have your own `timeoutEarlyResponse`: a
   * response in the last `timeoutEarlyMs` of the invocation may come from it while the handler
   * still runs, so the key is left to its lease.
   * @default 5
   */
  readonly timeoutEarlyMs?: number | undefined;
  /**
   * Run every handler without a lock, for local work: nothing is sent but the items that you
   * commit, and the lock in the context is a stand-in. The environment variable is read at each
   * invocation: `1`, `true`, `yes` or `on`.
   * @default `DYNAMO_LOCK_DISABLED`
   */
  readonly disabled?: boolean | undefined;
}

/** How the key is held while the handler runs. */
export interface HoldingOptions<TLease = number>
  extends LeaseOptions<TLease>,
    WaitOptions,
    LossOptions,
    SettleTimeOptions {}

/** How repeats are known, and for how long. */
export interface RepeatOptions<TInput> extends RememberOptions {
  /**
   * Gives what the handler works on, any JSON value (integers up to 2^53 - 1, or bigint): the same
   * key with another one is a `PayloadMismatchError` (422), whether the first run has finished or
   * not. In a batch that record alone fails, and comes back. Only a hash of the value is stored.
   */
  readonly fingerprint?: ((input: TInput, context: Context) => unknown) | undefined;
}

/** The invocation that is being answered. Middy's request has more. */
export interface LockRequest<TEvent = unknown> {
  readonly event: TEvent;
  readonly context: Context;
}

/** How a repeat is answered. */
export interface AnswerOptions<TEvent> {
  /**
   * Answers a repeat of a finished or held key: a value, of which each repeat gets a copy, or a
   * function of the record and the request. A value must be data, without functions and class
   * instances. Without `duplicateResponse` a finished key replays the stored response, and a held
   * one throws `LockHeldError`, so that the event is retried. A held key of a batch (SQS, Kinesis,
   * DynamoDB Streams, Kafka) throws it too, unless the answer has `batchItemFailures`.
   */
  readonly duplicateResponse?: DuplicateResponse<TEvent> | object | string | number | boolean | null | undefined;
}

/** A function of the record and the request that answers a repeat. */
export type DuplicateResponse<TEvent = unknown> = (record: LockRecord, request: LockRequest<TEvent>) => unknown;

/** The fate of the key when the handler fails. */
export type OnError = "release" | "finish" | "keep";

/**
 * Without a type argument the key function's event is `any`, which must not become the handler's.
 */
export type EventOf<TEvent> = 0 extends 1 & TEvent ? unknown : TEvent;

/** The part of the context that is the handler's lock. */
export interface LockContext {
  readonly lock: Lock;
}

/** With `onMissingKey` or `onUnavailable` as `'run'` there may be no lock. */
export interface MaybeLockContext {
  readonly lock?: Lock;
}

/** Options under which every handler has a lock, or its records have. */
export interface WithLock {
  readonly onMissingKey?: "throw" | undefined;
  readonly onUnavailable?: "throw" | undefined;
}

/** The rule for `onError`, and for what it returns. */
export const ON_ERROR = "'release', 'finish' or 'keep'";

export const ANSWER_RULES: Rules<AnswerOptions<never>> = { duplicateResponse: ANYTHING };

export const LOCK_CLIENT: Rule = ["a LockClient", (value) => locksIn(value) !== undefined];

export const INVOCATION_RULES: Rules<InvocationOptions<never>> = /* @__PURE__ */ join(
  { key: FUNCTION },
  TABLE_RULES,
  REPORT_RULES,
  {
    locks: LOCK_CLIENT,
    namespace: "false or a non-empty string of whole characters, without '#'",
    owner: FUNCTION,
    onMissingKey: "'throw' or 'run'",
    onUnavailable: "'throw' or 'run'",
    timeoutEarlyMs: MS_OF_INVOCATION,
    disabled: BOOLEAN,
  },
);

export const HOLDING_RULES: Rules<HoldingOptions> = /* @__PURE__ */ join(
  LEASE_RULES,
  WAIT_RULES,
  LOSS_RULES,
  SETTLE_TIME_RULES,
);

export const REPEAT_RULES: Rules<RepeatOptions<never>> = /* @__PURE__ */ join(REMEMBER_RULES, {
  fingerprint: FUNCTION,
});

/** The options that `locks` has already. */
export const ofLocks = (): string[] => Object.keys({ ...TABLE_RULES, ...REPORT_RULES });

type HeldOptions = InvocationOptions<never> & HoldingOptions<unknown>;

const INVOCATION_CONTRADICTIONS: Contradictions<HeldOptions> = [
  [
    (options) => options.locks !== undefined && firstSet(options, ofLocks()),
    "locks and {} contradict each other: set it on the LockClient",
  ],
  [
    ({ heartbeatMs, leaseMs }) => heartbeatMs !== undefined && leaseMs === undefined,
    "heartbeatMs needs leaseMs: a lease as long as the invocation is not renewed",
  ],
];

/**
 * A lease that nobody ends by the clock. Without a number as `leaseMs`, it has to be waited for at
 * all.
 */
const OBSERVED_CONTRADICTIONS: Contradictions<WaitOptions & LeaseOptions> = [
  [
    ({ expiry, leaseMs, waitMs = 0 }) => expiry === "observed" && !(waitMs > (leaseMs || 1)),
    "expiry 'observed' needs leaseMs and a longer waitMs: only watching ends a lease then",
  ],
];

/** Checks all options of a middleware, or of a wrapper of handlers. */
export const checkInvocation = <T extends HeldOptions>(
  caller: string,
  options: T,
  rules: Rules<NoInfer<T>>,
  ...contradictions: readonly Contradictions<NoInfer<T>>[]
): void => {
  checkKeyed<T>(caller, options, rules, ...contradictions);
  checkLease(caller, options, Number(options.leaseMs ?? Number.POSITIVE_INFINITY)); // a function is NaN: each record's when it is known
};

/** Checks the options of what has a key, and may have a lease. */
export const checkKeyed = <T extends HeldOptions>(
  caller: string,
  options: T,
  rules: Rules<NoInfer<T>>,
  ...contradictions: readonly Contradictions<NoInfer<T>>[]
): void => {
  checkOptions<T>(caller, options, rules, INVOCATION_CONTRADICTIONS, CLIENT_CONTRADICTIONS, ...contradictions);
  checkArgument(caller, "key", options.key, FUNCTION);
};

/** Checks a lease that is known, with what `locks` says where the options say nothing. */
export const checkLease = (caller: string, options: HeldOptions, leaseMs: number): void => {
  const defaults = locksIn(options.locks)?.options;
  const { heartbeatMs = defaults?.heartbeatMs, expiry = defaults?.expiry } = options;
  const known = { ...options, leaseMs, heartbeatMs, expiry };
  refuse(caller, known, LEASE_CONTRADICTIONS, OBSERVED_CONTRADICTIONS);
};
