import type { Context } from "aws-lambda";
import { LockLostError } from "../common/errors.ts";
import { fromStorable, type Jsonified } from "../common/result.ts";
import { checkArgument, FUNCTION } from "../common/rules.ts";
import { isMiddyTimeout } from "../lambda/middy-request.ts";
import { createGuard, isStream, refuseCallback, refuseStreaming } from "./guard.ts";
import type { DynamoLockOptions, LockContext, MaybeLockContext } from "./options.ts";

/** Options under which a repeat doesn't get the response. */
type NotStored = { readonly storeResponse: false } | { readonly onSuccess: "release" };

/**
 * `dynamoLock` around a plain Lambda handler, with the same options. Nothing can return past it, and it knows when the
 * handler has ended: prefer it where other middlewares answer early, or where Middy's `timeoutEarlyResponse` does.
 *
 * All callers get the same response: what JSON makes of it, as Lambda does. With
 * `storeResponse: false`, and with `onSuccess: 'release'`, it is the handler's own.
 *
 * @example
 * export const handler = withLock(
 *   async (event: ScheduledEvent, context) => report(event.time, context.lock.fencingToken),
 *   { key: (event) => event.time.slice(0, 10) },
 * );
 *
 * @throws LockOptionsError at construction. In an invocation: LockHeldError, LockTimeoutError after waiting,
 * PayloadMismatchError, ReplayedError, LockKeyError, LockTableError, LockError, and LockBatchError
 * for a batch of which a part may fail.
 */
export function withLock<TEvent, TResult, TContext extends object = Context>(
  handler: (event: TEvent, context: TContext & LockContext) => PromiseLike<TResult> | TResult,
  options: DynamoLockOptions<TEvent> & NotStored & { readonly onMissingKey?: "throw" | undefined },
): (event: TEvent, context: TContext) => Promise<TResult>;
export function withLock<TEvent, TResult, TContext extends object = Context>(
  handler: (event: TEvent, context: TContext & MaybeLockContext) => PromiseLike<TResult> | TResult,
  options: DynamoLockOptions<TEvent> & NotStored,
): (event: TEvent, context: TContext) => Promise<TResult>;
export function withLock<TEvent, TResult, TContext extends object = Context>(
  handler: (event: TEvent, context: TContext & LockContext) => PromiseLike<TResult> | TResult,
  options: DynamoLockOptions<TEvent> & { readonly onMissingKey?: "throw" | undefined },
): (event: TEvent, context: TContext) => Promise<Jsonified<TResult>>;
export function withLock<TEvent, TResult, TContext extends object = Context>(
  handler: (event: TEvent, context: TContext & MaybeLockContext) => PromiseLike<TResult> | TResult,
  options: DynamoLockOptions<TEvent>,
): (event: TEvent, context: TContext) => Promise<Jsonified<TResult>>;
export function withLock<TEvent>(
  handler: (event: TEvent, context: Context & LockContext) => unknown,
  options: DynamoLockOptions<TEvent>,
): (event: TEvent, context: Context) => Promise<unknown> {
  checkArgument("withLock", "the handler, the first argument,", handler, FUNCTION);
  refuseCallback("withLock", handler);
  const guard = createGuard("withLock", options);
  return async (event, callers) => {
    if (isStream(callers)) throw refuseStreaming(); // awslambda.streamifyResponse puts the stream second
    const begun = await guard.begin({ event, context: callers ?? {} }); // a test may leave it out
    if (!begun.run) return begun.response;
    const { lock, context } = begun;
    let response: unknown;
    try {
      response = await handler(event, context as Context & LockContext);
    } catch (error) {
      // Of a Middy within: its handler may go on, but not under this lock.
      if (isMiddyTimeout(error)) lock?.abandon("timeout", new LockLostError(lock.key, "expired"));
      else if (lock) await guard.fail(lock, error, context);
      throw error;
    }
    if (lock && isStream(response)) throw refuseStreaming(lock);
    const stored = await guard.succeed(lock, response, context);
    return stored ? fromStorable(stored) : response;
  };
}
