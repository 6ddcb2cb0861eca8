/** The life of one invocation under a lock: before the handler, and after it. */
import type { Context } from "aws-lambda";
import { LockLostError, LockOptionsError, LockTimeoutError } from "../common/errors.ts";
import { toFingerprint } from "../common/fingerprint.ts";
import { isMissing, type Keys, toStoredKeys } from "../common/key.ts";
import { print } from "../common/print.ts";
import { type StorableResult, toStorable } from "../common/result.ts";
import { fits, show } from "../common/rules.ts";
import { isTransient } from "../dynamodb/aws-errors.ts";
import type { Connect } from "../dynamodb/transport.ts";
import { type AttemptOptions, attemptLock } from "../lock/attempt.ts";
import type { Lock } from "../lock/lock.ts";
import type { Locks } from "../lock/locks.ts";
import { isRefused } from "../lock/refused.ts";
import type { Unawaited } from "../lock/under-way.ts";
import { answer, toCopy } from "./answer.ts";
import { contextOfRun, tokensIn } from "./context.ts";
import {
  acquireTimeOf,
  describeExecution,
  type Execution,
  leaseOf,
  ownerOf,
  patienceOf,
  settleTimeOf,
  waitOf,
} from "./execution.ts";
import { locksOf } from "./locks-of.ts";
import {
  type AnswerOptions,
  type HoldingOptions,
  type InvocationOptions,
  type LockRequest,
  ON_ERROR,
  type OnError,
  type RepeatOptions,
} from "./options.ts";
import { hasRejected, partialBatchOf, refuseBatch, reportsFailures } from "./partial-batch.ts";
import { isStream } from "./streams.ts";

/** The options that a guard has to know. A door documents and checks its own of them. */
export interface GuardOptions<TEvent>
  extends InvocationOptions<TEvent>,
    HoldingOptions,
    RepeatOptions<TEvent>,
    AnswerOptions<TEvent>,
    Pick<AttemptOptions, "semaphore"> {
  readonly onSuccess?: "finish" | "release" | undefined;
  readonly onError?: OnError | ((error: unknown) => OnError | Promise<OnError>) | undefined;
  readonly storeResponse?: boolean | undefined;
  readonly replayedHeader?: boolean | undefined;
}

/**
 * The decision about an invocation: run the handler, with a lock if there is a key, or answer it as
 * a repeat.
 */
export type Begun =
  | { readonly run: true; readonly lock: Lock | undefined; readonly context: Context }
  | { readonly run: false; readonly response: unknown };

/**
 * The life of one invocation, the same for a middleware and for a wrapper: `begin` before the
 * handler, then `succeed` or `fail` once, and only if the handler is known to have ended.
 */
export interface Guard<TEvent> {
  begin(request: LockRequest<TEvent>): Promise<Begun>;
  /**
   * Gives what a repeat gets, where the response is stored for repeats. Throws the failure of a
   * commit that the handler has not awaited: the key is settled as after any failure then.
   */
  succeed(lock: Lock | undefined, response: unknown, context: object): Promise<StorableResult | undefined>;
  fail(lock: Lock, error: unknown, context: object): Promise<void>;
}

/** Takes options that a door has checked. */
export const createGuard = <TEvent>(
  caller: string,
  options: GuardOptions<TEvent>,
  connect: Connect<never>,
): Guard<TEvent> => {
  const locksInUse = locksOf(caller, options, connect);
  const duplicates = {
    ...options,
    duplicateResponse: toCopy(caller, options.duplicateResponse as never),
  } as GuardOptions<TEvent>;
  const { onSuccess = "finish", storeResponse = true } = options;
  const ofBatches = new WeakSet<Lock>();

  const settleFailed = async (lock: Lock, error: unknown): Promise<void> => {
    const action = await decide(options, error);
    if (action === "keep") return lock.abandon("on-error");
    const settled = action === "finish" ? lock.finish({ error }) : lock.release();
    await settled.catch(() => {}); // must not hide the handler's error; the lock has reported its own
  };

  /**
   * Waits for what the handler has begun on the lock and not awaited. If that failed, or the
   * handler did, nothing is finished.
   */
  const conclude = async (lock: Lock, context: object, failed?: { readonly error: unknown }): Promise<Unawaited> => {
    const unawaited = await lock.unawaited(patienceOf(describeExecution(context)));
    const failure = failed ?? unawaited.failure;
    // While a call hangs, nothing can be written behind it.
    if (unawaited.hangs) lock.abandon("unsettled", new LockLostError(lock.key, "unreachable"));
    else if (failure) await settleFailed(lock, failure.error);
    return unawaited;
  };

  return {
    async begin(request) {
      const { event, context } = request;
      const { locks, disabled } = locksInUse();
      const execution = describeExecution(context);
      const toKeys = (key: unknown) =>
        toStoredKeys(key, options.namespace ?? locks.options.namespace ?? execution.functionName);
      if (disabled) {
        const keys = keysIfAny(() => toKeys(options.key(event, context)));
        return begun((await attemptLock(locks, keys, { semaphore: options.semaphore })) as Lock, context);
      }
      const key = options.key(event, context);
      const isWithout = isMissing(key) || (Array.isArray(key) && key.length === 0);
      if (isWithout && options.onMissingKey === "run") return begun(undefined, context);
      const isOfBatch = isBatch(caller, options, event);
      const keys = toKeys(key);
      const owner = ownerOf(options.owner, [event, context], execution);
      const fingerprint = options.fingerprint && toFingerprint(options.fingerprint(event, context));
      const around = tokensIn(context);
      const wanted = { ...acquisitionOf(options, locks, execution), owner, fingerprint, around };
      const attempt = await attemptLock(locks, keys, wanted).catch((error: unknown) => {
        if (error instanceof LockTimeoutError && error.record && options.duplicateResponse !== undefined) return error;
        if (options.onUnavailable !== "run" || !isTransient(error)) throw error;
        locks.report({ type: "unavailable", key: keys[0], owner, error });
        return undefined;
      });
      if (attempt && (isRefused(attempt) || attempt instanceof LockTimeoutError))
        return { run: false, response: await answer(locks, attempt, duplicates, request) };
      if (attempt && isOfBatch) ofBatches.add(attempt);
      return begun(attempt, context);
    },

    async succeed(lock, response, context) {
      const isStored = onSuccess === "finish" && storeResponse;
      if (!lock) return isStored ? withoutLock(response) : undefined;
      const { hangs, failure } = await conclude(lock, context);
      if (failure) throw failure.error;
      if (hangs) return undefined;
      // Before it is sent, a middleware outside may make a report of what Promise.allSettled gave.
      const isFailure = reportsFailures(response) || (ofBatches.has(lock) && hasRejected(response));
      if (isStored && !isFailure) return lock.finishWith(response);
      const settled = onSuccess === "release" || isFailure ? lock.release() : lock.finish();
      await settled.catch(() => {}); // the handler succeeded; the lock has reported its loss or failure
      return undefined;
    },

    async fail(lock, error, context) {
      await conclude(lock, context, { error });
    },
  };
};

/** Without a lock a response is of the same type as with one; only there it may be a stream. */
const withoutLock = (response: unknown): StorableResult | undefined => {
  const result = isStream(response) ? undefined : toStorable(response);
  return result && "reason" in result ? undefined : result;
};

/** Without locks, an event that has no key is no error. */
const keysIfAny = (toKeys: () => Keys): Keys => {
  try {
    return toKeys();
  } catch {
    return ["disabled"];
  }
};

/** A run with its context. One that can't be made must not leave the key taken. */
const begun = async (lock: Lock | undefined, context: Context): Promise<Begun> => {
  try {
    return { run: true, lock, context: contextOfRun(context, "lock", lock, lock ? [lock.token] : []) };
  } catch (error) {
    await lock?.[Symbol.asyncDispose]();
    throw error;
  }
};

/**
 * Whether the event is a batch of which its source takes back a part.
 *
 * @throws LockBatchError if one key for all its records would remember, or answer, that those are
 * done which are not.
 */
const isBatch = (caller: string, { onSuccess, duplicateResponse }: GuardOptions<never>, event: unknown): boolean => {
  const batch = partialBatchOf(event);
  const isConstant = duplicateResponse !== undefined && typeof duplicateResponse !== "function";
  const acknowledges = isConstant && !reportsFailures(duplicateResponse);
  if (batch && batch.records > 1 && (onSuccess !== "release" || acknowledges)) throw refuseBatch(caller, batch);
  return batch !== undefined;
};

/**
 * A function that fails to decide must not hide the handler's error: the key is released, as by
 * default.
 */
const decide = async ({ onError = "release", semaphore }: GuardOptions<never>, error: unknown): Promise<OnError> => {
  if (typeof onError !== "function") return onError;
  try {
    const action = await onError(error);
    const rule = semaphore ? "'release' or 'keep'" : ON_ERROR;
    if (fits(action, rule)) return action;
    print("error", `onError must return ${rule}, got ${show(action)}: the key is released`);
  } catch (failure) {
    print("error", "onError failed, so the key is released", failure);
  }
  return "release";
};

const acquisitionOf = (options: GuardOptions<never>, locks: Locks, execution: Execution): AttemptOptions => {
  const { leaseMs, expiry, semaphore, onLost } = options;
  const { durableArn } = execution;
  if (leaseMs === undefined && durableArn !== undefined && !semaphore) {
    throw new LockOptionsError(
      "leaseMs must be set in a durable execution, which outlives its invocations: at least its execution timeout",
    );
  }
  const waitMs = waitOf(options.waitMs, execution);
  const askedMs = waitMs < (options.waitMs ?? 0) ? options.waitMs : undefined;
  const lease = leaseOf({ leaseMs, heartbeatMs: options.heartbeatMs }, execution);
  return {
    ...lease,
    expiry,
    semaphore,
    onLost,
    waitMs,
    askedMs,
    withinMs: acquireTimeOf(execution),
    settleTime: settleTimeOf(options.settleMs, locks, execution),
    rememberMs: options.rememberMs,
    execution: durableArn,
  };
};
