import type { Context } from "aws-lambda";
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
import type { Lock } from "../lock/lock.ts";
import { DYNAMO_LOCK_CONTRADICTIONS, DYNAMO_LOCK_RULES, type DynamoLockOptions } from "./options.ts";

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
export function dynamoLock<TEvent = any>(
  options: DynamoLockOptions<TEvent> & WithLock,
): DynamoLockMiddleware<EventOf<TEvent>, Context & LockContext>;
// biome-ignore lint/suspicious/noExplicitAny: see DynamoLockOptions
export function dynamoLock<TEvent = any>(
  options: DynamoLockOptions<TEvent>,
): DynamoLockMiddleware<EventOf<TEvent>, Context & MaybeLockContext>;
export function dynamoLock<TEvent>(
  options: DynamoLockOptions<TEvent>,
): DynamoLockMiddleware<TEvent, Context & { lock?: Lock }> {
  checkInvocation("dynamoLock", options, DYNAMO_LOCK_RULES, DYNAMO_LOCK_CONTRADICTIONS);
  return createMiddleware("dynamoLock", createGuard("dynamoLock", options), options.timeoutEarlyMs);
}
