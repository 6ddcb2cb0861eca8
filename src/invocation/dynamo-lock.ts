import type { Context } from "aws-lambda";
import { LockLostError } from "../common/errors.ts";
import {
  answerEarly,
  DEFAULT_TIMEOUT_EARLY_MS,
  type DynamoLockMiddleware,
  holdsFor,
  isMiddyTimeout,
  isPastEarlyTimeout,
  isThenable,
  remember,
  take,
} from "../lambda/middy-request.ts";
import { isStream, refuseStreaming } from "../lambda/streams.ts";
import type { Lock } from "../lock/lock.ts";
import { createGuard } from "./guard.ts";
import type { DynamoLockOptions, LockContext, MaybeLockContext } from "./options.ts";

/**
 * Without a type argument the key function's event is `any`, which must not become the handler's.
 */
type EventOf<TEvent> = 0 extends 1 & TEvent ? unknown : TEvent;

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
  options: DynamoLockOptions<TEvent> & { readonly onMissingKey?: "throw" | undefined },
): DynamoLockMiddleware<EventOf<TEvent>, Context & LockContext>;
// biome-ignore lint/suspicious/noExplicitAny: see DynamoLockOptions
export function dynamoLock<TEvent = any>(
  options: DynamoLockOptions<TEvent>,
): DynamoLockMiddleware<EventOf<TEvent>, Context & MaybeLockContext>;
export function dynamoLock<TEvent>(
  options: DynamoLockOptions<TEvent>,
): DynamoLockMiddleware<TEvent, Context & { lock?: Lock }> {
  const guard = createGuard("dynamoLock", options);
  const timeoutEarlyMs = options.timeoutEarlyMs ?? DEFAULT_TIMEOUT_EARLY_MS;
  const self = Symbol("dynamoLock");
  type Hook = DynamoLockMiddleware<TEvent, Context & { lock?: Lock }>["before"];

  const dynamoLockMiddlewareBefore: Hook = async (request) => {
    const begun = await guard.begin(request);
    if (!begun.run) return answerEarly(request, begun.response);
    if (begun.lock) remember(request, self, held(begun.lock));
    request.context = begun.context;
  };

  const dynamoLockMiddlewareAfter: Hook = async (request) => {
    // Middy 7 doesn't wait for a handler's thenable that is no Promise. If it rejects, our onError
    // runs.
    if (isThenable(request.response) && holdsFor(request, self)) request.response = await request.response;
    const { lock } = take<ReturnType<typeof held>>(request, self) ?? {};
    if (!lock) return;
    if (isPastEarlyTimeout(request, timeoutEarlyMs)) return abandonRunning(lock);
    if (isStream(request.response)) throw refuseStreaming(lock);
    await guard.succeed(lock, request.response, request.context);
  };

  const dynamoLockMiddlewareOnError: Hook = async (request) => {
    const { lock } = take<ReturnType<typeof held>>(request, self) ?? {};
    if (!lock) return;
    if (isMiddyTimeout(request.error) || isPastEarlyTimeout(request, timeoutEarlyMs)) return abandonRunning(lock);
    await guard.fail(lock, request.error, request.context);
  };

  return {
    before: dynamoLockMiddlewareBefore,
    after: dynamoLockMiddlewareAfter,
    onError: dynamoLockMiddlewareOnError,
  };
}

const held = (lock: Lock) => ({
  lock,
  async answeredEarly(response: unknown): Promise<unknown> {
    await lock[Symbol.asyncDispose]();
    return response;
  },
});

/** The handler may go on, but not under this lock. */
const abandonRunning = (lock: Lock): void => lock.abandon("timeout", new LockLostError(lock.key, "expired"));
