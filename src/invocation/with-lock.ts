import type { Context } from "aws-lambda";
import type { Jsonified } from "../common/jsonified.ts";
import type { Connect } from "../dynamodb/transport.ts";
import { createGuard } from "../lambda/guard.ts";
import { checkInvocation, type LockContext, type MaybeLockContext, type WithLock } from "../lambda/options.ts";
import { checkHandler, wrapHandler } from "../lambda/wrapper.ts";
import type { Over } from "../lock/options.ts";
import { DYNAMO_LOCK_CONTRADICTIONS, DYNAMO_LOCK_RULES, type DynamoLockOptions } from "./options.ts";

/** Options under which a repeat doesn't get the response. */
type NotStored = { readonly storeResponse: false } | { readonly onSuccess: "release" };

/** The wrapper of handlers, over what carries its requests. */
export interface WrapWithLock<TClient> {
  /**
   * `dynamoLock` around a plain Lambda handler, with the same options. Nothing can return past it,
   * and it knows when the handler has ended: prefer it where other middlewares answer early, or where
   * Middy's `timeoutEarlyResponse` does.
   *
   * All callers get the same response: what JSON makes of it, as Lambda does. With `storeResponse:
   * false`, and with `onSuccess: 'release'`, it is the handler's own.
   *
   * @example
   * export const handler = withLock(
   *   async (event: ScheduledEvent, context) => report(event.time, context.lock.fencingToken),
   *   { key: (event) => event.time.slice(0, 10) },
   * );
   *
   * @throws LockOptionsError at construction. In an invocation: LockHeldError, LockTimeoutError after
   * waiting, PayloadMismatchError, ReplayedError, LockKeyError, LockTableError, LockError, and
   * LockBatchError for a batch of which a part may fail.
   */
  <TEvent, TResult, TContext extends object = Context>(
    handler: (event: TEvent, context: TContext & LockContext) => PromiseLike<TResult> | TResult,
    options: Over<TClient, DynamoLockOptions<TEvent>> & NotStored & WithLock,
  ): (event: TEvent, context: TContext) => Promise<TResult>;
  <TEvent, TResult, TContext extends object = Context>(
    handler: (event: TEvent, context: TContext & MaybeLockContext) => PromiseLike<TResult> | TResult,
    options: Over<TClient, DynamoLockOptions<TEvent>> & NotStored,
  ): (event: TEvent, context: TContext) => Promise<TResult>;
  <TEvent, TResult, TContext extends object = Context>(
    handler: (event: TEvent, context: TContext & LockContext) => PromiseLike<TResult> | TResult,
    options: Over<TClient, DynamoLockOptions<TEvent>> & WithLock,
  ): (event: TEvent, context: TContext) => Promise<Jsonified<TResult>>;
  <TEvent, TResult, TContext extends object = Context>(
    handler: (event: TEvent, context: TContext & MaybeLockContext) => PromiseLike<TResult> | TResult,
    options: Over<TClient, DynamoLockOptions<TEvent>>,
  ): (event: TEvent, context: TContext) => Promise<Jsonified<TResult>>;
}

export const withLockOver = <TClient>(connect: Connect<TClient>): WrapWithLock<TClient> =>
  function withLock<TEvent>(
    handler: (event: TEvent, context: Context & LockContext) => unknown,
    options: DynamoLockOptions<TEvent>,
  ) {
    checkHandler("withLock", handler);
    checkInvocation("withLock", options, DYNAMO_LOCK_RULES, DYNAMO_LOCK_CONTRADICTIONS);
    return wrapHandler(handler, createGuard("withLock", options, connect));
  } as WrapWithLock<TClient>;
