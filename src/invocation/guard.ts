import type { Context } from "aws-lambda";
import type { AttemptOptions, LockClient } from "../client/lock-client.ts";
import { LockError, LockLostError, LockOptionsError, LockTimeoutError } from "../common/errors.ts";
import { print } from "../common/events.ts";
import { toFingerprint } from "../common/fingerprint.ts";
import { isMissing, type Keys, toStoredKeys } from "../common/key.ts";
import { type LockRecord, withoutTokens } from "../common/record.ts";
import { type StorableResult, toStorable } from "../common/result.ts";
import { fits, show } from "../common/rules.ts";
import { contextOfRun, tokensIn } from "../lambda/context.ts";
import { describeExecution, type Execution, leaseOf, ownerOf, patienceOf, waitOf } from "../lambda/execution.ts";
import { locksOf } from "../lambda/locks-of.ts";
import { checkInvocation } from "../lambda/options.ts";
import {
  hasRejected,
  type PartialBatch,
  partialBatchOf,
  refuseBatch,
  reportsFailures,
} from "../lambda/partial-batch.ts";
import { Lock } from "../lock/lock.ts";
import { INVOCATION_PERMITS_CONTRADICTIONS } from "../lock/permits.ts";
import { Refused } from "../lock/refused.ts";
import {
  type DuplicateResponse,
  DYNAMO_LOCK_CONTRADICTIONS,
  DYNAMO_LOCK_RULES,
  type DynamoLockOptions,
  type LockRequest,
  ON_ERROR,
  type OnError,
} from "./options.ts";

/** What to do with an invocation: run the handler, with a lock if there is a key, or answer it as a repeat. */
export type Begun =
  | { readonly run: true; readonly lock: Lock | undefined; readonly context: Context }
  | { readonly run: false; readonly response: unknown };

/**
 * The life of one invocation, the same for `dynamoLock` and `withLock`: `begin` before the handler, then `succeed` or
 * `fail` once, and only if the handler is known to have ended.
 */
export interface Guard<TEvent> {
  begin(request: LockRequest<TEvent>): Promise<Begun>;
  /**
   * Gives what a repeat gets, where the response is stored for repeats. Throws the failure of a commit that the handler has not
   * awaited: the key is settled as after any failure then.
   */
  succeed(lock: Lock | undefined, response: unknown, context: object): Promise<StorableResult | undefined>;
  fail(lock: Lock, error: unknown, context: object): Promise<void>;
}

export const createGuard = <TEvent>(caller: string, options: DynamoLockOptions<TEvent>): Guard<TEvent> => {
  const contradictions = [DYNAMO_LOCK_CONTRADICTIONS, INVOCATION_PERMITS_CONTRADICTIONS];
  checkInvocation(caller, options, DYNAMO_LOCK_RULES, ...contradictions);
  const locksInUse = locksOf(caller, options);
  const duplicates = { ...options, duplicateResponse: toCopy(caller, options.duplicateResponse) };
  const { onSuccess = "finish", storeResponse = true } = options;
  const ofBatches = new WeakSet<Lock>();

  const settleFailed = async (lock: Lock, error: unknown): Promise<void> => {
    const action = await decide(options, error);
    if (action === "keep") return lock.abandon("on-error");
    const settled = action === "finish" ? lock.finish({ error }) : lock.release();
    await settled.catch(() => {}); // must not hide the handler's error; the lock has reported its own
  };

  return {
    async begin(request) {
      const { event, context } = request;
      const { locks, disabled } = locksInUse();
      const execution = describeExecution(context);
      const toKeys = (key: unknown) =>
        toStoredKeys(key, options.namespace ?? locks.internals.namespace ?? execution.functionName);
      if (disabled) {
        const keys = keysIfAny(() => toKeys(options.key(event, context)));
        return begun(await locks.acquire(keys), context);
      }
      const key = options.key(event, context);
      const isWithout = isMissing(key) || (Array.isArray(key) && key.length === 0);
      if (isWithout && options.onMissingKey === "run") return begun(undefined, context);
      const batch = checkBatch(caller, options, event);
      const keys = toKeys(key);
      const owner = ownerOf(options.owner, [event, context], execution);
      const fingerprint = options.fingerprint && toFingerprint(options.fingerprint(event, context));
      const around = tokensIn(context);
      const attempt = await locks
        .attempt(caller, keys, { ...acquisitionOf(options, execution), owner, fingerprint, around })
        .catch((error: unknown) => {
          if (error instanceof LockTimeoutError && error.record && options.duplicateResponse !== undefined)
            return error;
          throw error;
        });
      if (!(attempt instanceof Lock))
        return { run: false, response: await answer(locks, attempt, duplicates, request) };
      if (batch) ofBatches.add(attempt);
      return begun(attempt, context);
    },

    async succeed(lock, response, context) {
      const isStored = onSuccess === "finish" && storeResponse;
      if (!lock) return isStored ? withoutLock(response) : undefined;
      const { hangs, failure } = await lock.unawaited(patienceOf(describeExecution(context)));
      if (hangs) leave(lock);
      else if (failure) await settleFailed(lock, failure.error);
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
      const { hangs } = await lock.unawaited(patienceOf(describeExecution(context)));
      if (hangs) leave(lock);
      else await settleFailed(lock, error);
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
 * A handler with a callback ends when it calls that, long after it has returned. Node.js 24 on Lambda has no callbacks
 * (https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html), and tells such handlers by their number of parameters, too.
 */
export const refuseCallback = (caller: string, handler: { readonly length: number }): void => {
  if (handler.length < 3) return;
  throw new LockOptionsError(
    `${caller}: the handler must have at most 2 parameters, (event, context), and return a Promise, got ${handler.length}. ` +
      "A callback or a response stream would still be in use after the handler has returned, and the key is settled then",
  );
};

/** In streaming mode `after` runs before the body does: the work is not done, and a repeat could not be answered. */
export const isStream = (response: unknown): boolean => {
  try {
    const { body } = Object(response) as { body?: unknown };
    return [response, body].some(canBeRead);
  } catch {
    return false; // reading it throws
  }
};

/** A stream of Node.js or of the web. A mock that answers to every name seems to be both. */
const canBeRead = (value: unknown): boolean => {
  const { pipe, getReader } = Object(value) as { pipe?: unknown; getReader?: unknown };
  return (typeof pipe === "function") !== (typeof getReader === "function");
};

export const refuseStreaming = (lock?: Lock): LockError => {
  lock?.abandon("streaming", new LockLostError(lock.key, "expired"));
  return new LockError(
    "LOCK_STREAMING",
    "A streamed response can't be locked: it goes on after the handler returned. Return the body as a string, or don't " +
      "put a lock around this handler. The key is left to its lease",
  );
};

/**
 * The batch that the event is, if its source takes back a part of it.
 *
 * @throws LockBatchError if one key for all its records would remember, or answer, that those are
 * done which are not.
 */
const checkBatch = (caller: string, options: DynamoLockOptions, event: unknown): PartialBatch | undefined => {
  const batch = partialBatchOf(event);
  if (!batch || batch.records === 1) return batch;
  const { onSuccess, duplicateResponse } = options;
  if (onSuccess !== "release") {
    throw refuseBatch(caller, batch, "one key for all of them would remember those that fail as done");
  }
  const isConstant = duplicateResponse !== undefined && typeof duplicateResponse !== "function";
  if (isConstant && !reportsFailures(duplicateResponse)) {
    throw refuseBatch(caller, batch, "duplicateResponse would acknowledge all of them though they did not run");
  }
  return batch;
};

/** `refused`, or waited for in vain. */
const answer = async <TEvent>(
  locks: LockClient,
  refused: Refused | LockTimeoutError,
  { duplicateResponse, replayedHeader }: DynamoLockOptions<TEvent>,
  request: LockRequest<TEvent>,
): Promise<unknown> => {
  const finished = refused instanceof Refused ? locks.finishedBy(refused) : undefined;
  if (duplicateResponse === undefined && finished) {
    const response = await locks.replay(finished, replayedHeader ? { [REPLAYED]: "true" } : undefined);
    return replayedHeader ? markReplayed(response) : response;
  }
  const record = (finished ?? refused.record) as LockRecord;
  if (refused instanceof Refused) {
    locks.reportHeld(record);
    if (duplicateResponse === undefined || refused.isOwn) throw refused.error;
  }
  const response =
    typeof duplicateResponse === "function"
      ? await (duplicateResponse as DuplicateResponse<TEvent>)(withoutTokens(await locks.withResult(record)), request)
      : structuredClone(duplicateResponse);
  // Another run that holds the key may still fail: its records must not be acknowledged.
  if (finished || !partialBatchOf(request.event) || reportsFailures(response)) return response;
  throw refused instanceof LockTimeoutError ? refused : refused.error;
};

/** Each repeat gets a copy of a `duplicateResponse`, because a middleware may add to it what is one caller's. */
const toCopy = (caller: string, value: DynamoLockOptions["duplicateResponse"]): typeof value => {
  if (value === undefined || typeof value === "function") return value;
  try {
    const copy: unknown = structuredClone(value);
    if (isWholeCopy(copy, value)) return copy as typeof value;
  } catch {
    // Reported below: it has a function in it, or a reference to itself.
  }
  throw new LockOptionsError(
    `${caller}: duplicateResponse must be data that can be copied for each repeat, got ${show(value)} with a function, an ` +
      "instance of a class, or a reference to itself: give a function that makes the response",
  );
};

/** `structuredClone` makes a plain object of an instance. By name, because a copy may be of another realm. */
const isWholeCopy = (copy: unknown, value: unknown): boolean => {
  if (typeof value !== "object" || value === null) return true;
  const [copied, original] = [copy, value] as Record<string, unknown>[] as [
    Record<string, unknown>,
    Record<string, unknown>,
  ];
  return (
    classOf(copied) === classOf(original) &&
    Object.keys(original).every((name) => isWholeCopy(copied[name], original[name]))
  );
};

const classOf = (value: object): string =>
  (Object.getPrototypeOf(value) as object | null)?.constructor.name ?? "Object";

/** The header that Stripe's API has for it (https://docs.stripe.com/error-low-level#idempotency). */
const REPLAYED = "Idempotent-Replayed";

const markReplayed = (response: unknown): unknown => {
  const { statusCode, headers, multiValueHeaders } = Object(response) as Record<string, object | undefined>;
  if (statusCode === undefined) return response;
  const others = (all: object | undefined) =>
    Object.fromEntries(Object.entries(all ?? {}).filter(([name]) => name.toLowerCase() !== REPLAYED.toLowerCase()));
  // Where there are both, API Gateway takes a header that has several values, and a load balancer those alone.
  const marked = multiValueHeaders
    ? { multiValueHeaders: { ...others(multiValueHeaders), [REPLAYED]: ["true"] } }
    : { headers: { ...others(headers), [REPLAYED]: "true" } };
  return { ...(response as object), ...marked };
};

/** A function that fails to decide must not hide the handler's error: the key is released, as by default. */
const decide = async ({ onError = "release", permits = 1 }: DynamoLockOptions, error: unknown): Promise<OnError> => {
  if (typeof onError !== "function") return onError;
  try {
    const action = await onError(error);
    const rule = permits > 1 ? "'release' or 'keep'" : ON_ERROR;
    if (fits(action, rule)) return action;
    print("error", `onError must return ${rule}, got ${show(action)}: the key is released`);
  } catch (failure) {
    print("error", "onError failed, so the key is released", failure);
  }
  return "release";
};

/** What is left of the invocation for the handler, after waiting. */
const WAIT_RESERVE_MS = 500;

/** A call on the lock hangs while the invocation ends, and nothing can be written behind it. */
const leave = (lock: Lock): void => lock.abandon("unsettled", new LockLostError(lock.key, "unreachable"));

const acquisitionOf = (options: DynamoLockOptions, execution: Execution): AttemptOptions => {
  const { leaseMs, expiry, permits, onLost } = options;
  const { durableArn } = execution;
  if (leaseMs === undefined && durableArn !== undefined) {
    throw new LockOptionsError(
      "leaseMs must be set in a durable execution, which outlives its invocations: at least its execution timeout",
    );
  }
  if ((permits ?? 1) > 1 && durableArn !== undefined) {
    throw new LockOptionsError(
      "permits and a durable execution contradict each other: it could not find its own again",
    );
  }
  const waitMs = waitOf(options.waitMs, WAIT_RESERVE_MS, execution);
  const askedMs = waitMs < (options.waitMs ?? 0) ? options.waitMs : undefined;
  const lease = leaseOf({ leaseMs, heartbeatMs: options.heartbeatMs }, execution);
  return { ...lease, expiry, permits, onLost, waitMs, askedMs, rememberMs: options.rememberMs, execution: durableArn };
};
