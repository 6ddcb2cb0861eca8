/** Options of doors that commit without a lock: each is declared once, its type and text above, its rule below. */
import type { Context } from "aws-lambda";
import type { LockKey } from "../common/key.ts";
import { BOOLEAN, join, pick, type Rules } from "../common/rules.ts";
import {
  ANSWER_RULES,
  type AnswerOptions,
  INVOCATION_RULES,
  type InvocationOptions,
  REPEAT_RULES,
  type RepeatOptions,
} from "../lambda/options.ts";
import { SETTLE_TIME_RULES, type SettleTimeOptions } from "../lock/options.ts";
import type { CommitOptions } from "../lock/settle-options.ts";
import type { TransactWriteItem } from "../protocol/item.ts";

/**
 * Options of `dynamoCommit` and `withCommit`. Nothing is taken, so there is no lease, no `waitMs`
 * and no `onUnavailable`.
 */
// biome-ignore lint/suspicious/noExplicitAny: without a type argument, `(event) => event.id` has to compile.
export interface DynamoCommitOptions<TEvent = any>
  extends Omit<InvocationOptions<TEvent>, "onUnavailable">,
    RepeatOptions<TEvent>,
    AnswerOptions<TEvent>,
    SettleTimeOptions {
  /**
   * Gives the key that the commit finishes, from the event. Missing (`undefined`, `null` or `''`):
   * see `onMissingKey`. At most 2,048 bytes with the namespace. A number has to be a safe integer.
   * It is the same key as its decimal string, and as the bigint. One key: an array is an error.
   * @default required
   */
  readonly key: (event: TEvent, context: Context) => LockKey;
  /**
   * Look at the key before the handler, by one eventually consistent read: a repeat is answered
   * without running. That costs every run half a read unit and the time of a request, so it pays
   * where repeats are frequent, or dear. A run that comes at the same moment still runs, and is
   * refused by its commit. Needs `dynamodb:GetItem`.
   * @default `false`
   */
  readonly lookFirst?: boolean | undefined;
  /**
   * How far wall clocks may differ, in ms. The time that a finished key is remembered, and the lease
   * of a lock on the same key, are over this long after their end by the clock. Beside locks with
   * `expiry: 'observed'`, whose holders trust no clock, that is not safe: give `locks`, a
   * `LockClient` that has it too.
   * @default 1_000
   */
  readonly clockSkewMs?: number | undefined;
  /**
   * Without a key: `'throw'` a `LockKeyError`, or `'run'` the handler, whose commit writes its items
   * and finishes nothing.
   * @default `'throw'`
   */
  readonly onMissingKey?: "throw" | "run" | undefined;
  /**
   * Middy's `timeoutEarlyInMillis`, if you change that and have your own `timeoutEarlyResponse`: a
   * response in the last `timeoutEarlyMs` of the invocation may come from it while the handler
   * still runs, so the key is not finished with it, and a later commit is refused.
   * @default 5
   */
  readonly timeoutEarlyMs?: number | undefined;
  /**
   * Run every handler without a key, for local work: nothing is sent but the items that you commit.
   * The environment variable is read at each invocation: `1`, `true`, `yes` or `on`.
   * @default `DYNAMO_LOCK_DISABLED`
   */
  readonly disabled?: boolean | undefined;
}

/** The part of the context by which the handler commits. */
export interface CommitContext {
  /**
   * Writes `items` and finishes the key, in one transaction: all or nothing, and only if nobody has
   * finished the key, or holds it. Resolves to the `result`, so that it can be returned. A run
   * commits once.
   *
   * Refused, it throws, and refuses every later call unsent. Let the error pass: whatever the
   * handler then returns or throws, the caller gets the response of the run that has committed.
   *
   * @param items Puts, updates, deletes and condition checks on tables of the same account and
   * region, as `TransactWriteItems` takes them, with values in the form of
   * `@aws-sdk/client-dynamodb`: at most 99, 98 where the result is too large for the record, and at
   * most 4 MB in all
   * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html).
   *
   * @example
   * const item = { id: { S: event.id }, total: { N: String(total) } };
   * return context.commit([{ Put: { TableName: "orders", Item: item } }], { result: { statusCode: 201 } });
   *
   * @throws LockHeldError if another run has finished the key, or holds it under a lock, and
   * PayloadMismatchError if that had another `fingerprint`: nothing was written.
   * @throws TransactionCanceledException as DynamoDB sent it, if one of your conditions failed and
   * nobody has the key: nothing was written, `CancellationReasons` are in the order of your items,
   * and another commit may follow.
   * @throws LockError with code LOCK_REQUEST if it is not known whether it was written: commit the
   * same items again, or let it pass. Other errors of DynamoDB come as they are; nothing was written.
   * @throws LockOptionsError for what is no item, or would not be written as it stands there, and
   * after a commit that was written. LockTimeoutError after the end of the invocation. Nothing was
   * sent.
   */
  readonly commit: <T = undefined>(
    items: readonly TransactWriteItem[],
    options?: CommitOptions & { readonly result?: T },
  ) => Promise<T>;
}

export const DYNAMO_COMMIT_RULES: Rules<DynamoCommitOptions> = /* @__PURE__ */ join(
  /* @__PURE__ */ pick(
    INVOCATION_RULES,
    "key",
    "tableName",
    "client",
    "clientConfig",
    "clockSkewMs",
    "cacheSize",
    "logger",
    "metrics",
    "onEvent",
    "locks",
    "namespace",
    "owner",
    "onMissingKey",
    "timeoutEarlyMs",
    "disabled",
  ),
  SETTLE_TIME_RULES,
  REPEAT_RULES,
  ANSWER_RULES,
  { lookFirst: BOOLEAN },
);
