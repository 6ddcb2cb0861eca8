import type { Context } from "aws-lambda";
import { checkArgument } from "../common/rules.ts";
import { createGuard } from "../lambda/guard.ts";
import { createMiddleware } from "../lambda/middleware.ts";
import type { DynamoLockMiddleware } from "../lambda/middy-request.ts";
import {
  checkInvocation,
  type EventOf,
  type LockContext,
  type MaybeLockContext,
  type WithLock,
} from "../lambda/options.ts";
import { checkHandler, wrapHandler } from "../lambda/wrapper.ts";
import type { Lock } from "../lock/lock.ts";
import {
  CLOCK_CONTRADICTIONS,
  DYNAMO_SEMAPHORE_RULES,
  type DynamoSemaphoreOptions,
  SEMAPHORE_RULES,
} from "./options.ts";
import { permitOf } from "./take-permit.ts";

const guardOf = <TEvent>(caller: string, options: DynamoSemaphoreOptions<TEvent>) => {
  checkInvocation<DynamoSemaphoreOptions>(caller, options, DYNAMO_SEMAPHORE_RULES, CLOCK_CONTRADICTIONS);
  const { permits, ...rest } = options;
  checkArgument(caller, "permits", permits, SEMAPHORE_RULES.permits);
  return createGuard<TEvent>(caller, { ...rest, onSuccess: "release", semaphore: permitOf(permits) });
};

/**
 * Middy middleware: lets at most `permits` invocations run at once per key, and gives the permit
 * back after the handler. Those for whom none is left throw `LockHeldError`, wait up to `waitMs`, or
 * get the `duplicateResponse`. Register it last: a middleware after it that answers early skips its
 * `after`, and the permit stays taken until the lease ends.
 *
 * The permit is `context.lock`. It can be released early; `finish` and `commit` are refused. In a
 * durable execution there are no permits, because it could not find its own again.
 *
 * @example
 * export const handler = middy<ScheduledEvent>()
 *   .use(dynamoSemaphore<ScheduledEvent>({ key: () => "legacy-api", permits: 5, waitMs: 10_000 }))
 *   .handler(callLegacyApi);
 *
 * @throws LockOptionsError at construction. In an invocation: LockHeldError, LockTimeoutError after
 * waiting, LockKeyError, LockTableError, LockError, LockOptionsError for several keys and in a
 * durable execution, and LockBatchError where one `duplicateResponse` would acknowledge a batch.
 */
// biome-ignore lint/suspicious/noExplicitAny: see DynamoSemaphoreOptions
export function dynamoSemaphore<TEvent = any>(
  options: DynamoSemaphoreOptions<TEvent> & WithLock,
): DynamoLockMiddleware<EventOf<TEvent>, Context & LockContext>;
// biome-ignore lint/suspicious/noExplicitAny: see DynamoSemaphoreOptions
export function dynamoSemaphore<TEvent = any>(
  options: DynamoSemaphoreOptions<TEvent>,
): DynamoLockMiddleware<EventOf<TEvent>, Context & MaybeLockContext>;
export function dynamoSemaphore<TEvent>(
  options: DynamoSemaphoreOptions<TEvent>,
): DynamoLockMiddleware<TEvent, Context & { lock?: Lock }> {
  return createMiddleware("dynamoSemaphore", guardOf("dynamoSemaphore", options), options.timeoutEarlyMs);
}

/**
 * `dynamoSemaphore` around a plain Lambda handler, with the same options. It returns what the
 * handler returned, as it is.
 *
 * @example
 * export const handler = withSemaphore(callLegacyApi, { key: () => "legacy-api", permits: 5 });
 *
 * @throws as `dynamoSemaphore`.
 */
export function withSemaphore<TEvent, TResult, TContext extends object = Context>(
  handler: (event: TEvent, context: TContext & LockContext) => PromiseLike<TResult> | TResult,
  options: DynamoSemaphoreOptions<TEvent> & WithLock,
): (event: TEvent, context: TContext) => Promise<TResult>;
export function withSemaphore<TEvent, TResult, TContext extends object = Context>(
  handler: (event: TEvent, context: TContext & MaybeLockContext) => PromiseLike<TResult> | TResult,
  options: DynamoSemaphoreOptions<TEvent>,
): (event: TEvent, context: TContext) => Promise<TResult>;
export function withSemaphore<TEvent>(
  handler: (event: TEvent, context: Context & LockContext) => unknown,
  options: DynamoSemaphoreOptions<TEvent>,
): (event: TEvent, context: Context) => Promise<unknown> {
  checkHandler("withSemaphore", handler);
  return wrapHandler(handler, guardOf("withSemaphore", options));
}
