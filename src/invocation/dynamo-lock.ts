import type { Context } from "aws-lambda";
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
import type { Over } from "../lock/options.ts";
import { DYNAMO_LOCK_CONTRADICTIONS, DYNAMO_LOCK_RULES, type DynamoLockOptions } from "./options.ts";

/** The middleware, over what carries its requests. */
export interface DynamoLock<TClient> {
  /**
   * Middy middleware: takes a lock before the handler, and finishes or releases it after. Register it
   * last: a middleware after it that answers early skips its `after`, and the key stays taken until
   * the lease ends.
   *
   * @example
   * export const handler = middy<ScheduledEvent>()
   *   .use(dynamoLock<ScheduledEvent>({ key: (event) => event.detail.date })) // Middy doesn't hand on the event's type
   *   .handler(async (event, context) => report(event.detail.date, context.lock.fencingToken));
   *
   * @throws LockOptionsError at construction. In an invocation: LockHeldError, LockTimeoutError after
   * waiting, PayloadMismatchError, ReplayedError, LockKeyError, LockTableError, LockError, and
   * LockBatchError for a batch of which a part may fail.
   */
  // biome-ignore lint/suspicious/noExplicitAny: see DynamoLockOptions
  <TEvent = any>(
    options: Over<TClient, DynamoLockOptions<TEvent>> & WithLock,
  ): DynamoLockMiddleware<EventOf<TEvent>, Context & LockContext>;
  // biome-ignore lint/suspicious/noExplicitAny: see DynamoLockOptions
  <TEvent = any>(
    options: Over<TClient, DynamoLockOptions<TEvent>>,
  ): DynamoLockMiddleware<EventOf<TEvent>, Context & MaybeLockContext>;
}

export const dynamoLockOver = <TClient>(connect: Connect<TClient>): DynamoLock<TClient> =>
  function dynamoLock<TEvent>(options: DynamoLockOptions<TEvent>) {
    checkInvocation("dynamoLock", options, DYNAMO_LOCK_RULES, DYNAMO_LOCK_CONTRADICTIONS);
    return createMiddleware("dynamoLock", createGuard("dynamoLock", options, connect), options.timeoutEarlyMs);
  } as DynamoLock<TClient>;
