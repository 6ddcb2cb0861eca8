import type { Context } from "aws-lambda";
import { checkArgument } from "../common/rules.ts";
import type { Connect } from "../dynamodb/transport.ts";
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
import type { Over } from "../lock/options.ts";
import {
  CLOCK_CONTRADICTIONS,
  DYNAMO_SEMAPHORE_RULES,
  type DynamoSemaphoreOptions,
  SEMAPHORE_RULES,
} from "./options.ts";
import { permitOf } from "./take-permit.ts";

const guardOf = <TEvent>(caller: string, options: DynamoSemaphoreOptions<TEvent>, connect: Connect<never>) => {
  checkInvocation<DynamoSemaphoreOptions>(caller, options, DYNAMO_SEMAPHORE_RULES, CLOCK_CONTRADICTIONS);
  const { permits, ...rest } = options;
  checkArgument(caller, "permits", permits, SEMAPHORE_RULES.permits);
  return createGuard<TEvent>(caller, { ...rest, onSuccess: "release", semaphore: permitOf(permits) }, connect);
};

/** The middleware of semaphores, over what carries its requests. */
export interface DynamoSemaphore<TClient> {
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
  <TEvent = any>(
    options: Over<TClient, DynamoSemaphoreOptions<TEvent>> & WithLock,
  ): DynamoLockMiddleware<EventOf<TEvent>, Context & LockContext>;
  // biome-ignore lint/suspicious/noExplicitAny: see DynamoSemaphoreOptions
  <TEvent = any>(
    options: Over<TClient, DynamoSemaphoreOptions<TEvent>>,
  ): DynamoLockMiddleware<EventOf<TEvent>, Context & MaybeLockContext>;
}

export const dynamoSemaphoreOver = <TClient>(connect: Connect<TClient>): DynamoSemaphore<TClient> =>
  function dynamoSemaphore<TEvent>(options: DynamoSemaphoreOptions<TEvent>) {
    const guard = guardOf("dynamoSemaphore", options, connect);
    return createMiddleware("dynamoSemaphore", guard, options.timeoutEarlyMs);
  } as DynamoSemaphore<TClient>;

/** The wrapper of handlers under a semaphore, over what carries its requests. */
export interface WrapWithSemaphore<TClient> {
  /**
   * `dynamoSemaphore` around a plain Lambda handler, with the same options. It returns what the
   * handler returned, as it is.
   *
   * @example
   * export const handler = withSemaphore(callLegacyApi, { key: () => "legacy-api", permits: 5 });
   *
   * @throws as `dynamoSemaphore`.
   */
  <TEvent, TResult, TContext extends object = Context>(
    handler: (event: TEvent, context: TContext & LockContext) => PromiseLike<TResult> | TResult,
    options: Over<TClient, DynamoSemaphoreOptions<TEvent>> & WithLock,
  ): (event: TEvent, context: TContext) => Promise<TResult>;
  <TEvent, TResult, TContext extends object = Context>(
    handler: (event: TEvent, context: TContext & MaybeLockContext) => PromiseLike<TResult> | TResult,
    options: Over<TClient, DynamoSemaphoreOptions<TEvent>>,
  ): (event: TEvent, context: TContext) => Promise<TResult>;
}

export const withSemaphoreOver = <TClient>(connect: Connect<TClient>): WrapWithSemaphore<TClient> =>
  function withSemaphore<TEvent>(
    handler: (event: TEvent, context: Context & LockContext) => unknown,
    options: DynamoSemaphoreOptions<TEvent>,
  ) {
    checkHandler("withSemaphore", handler);
    return wrapHandler(handler, guardOf("withSemaphore", options, connect));
  } as WrapWithSemaphore<TClient>;
