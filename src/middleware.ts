import type { Context } from "aws-lambda";
import { cleanUpMiddlewares } from "./clean-up.ts";
import { systemClock } from "./clock.ts";
import { LockLostError } from "./errors.ts";
import { createGuard, isStream, refuseStreaming } from "./invocation.ts";
import type { DynamoLockOptions, LockContext, MaybeLockContext } from "./invocation-options.ts";
import type { Lock } from "./lock.ts";

/** Middy's request, as far as it is used here: the same in Middy 6 and 7. */
interface MiddyRequest<TEvent, TContext> {
  event: TEvent;
  context: TContext;
  // biome-ignore lint/suspicious/noExplicitAny: a middleware fits handlers of any response, as in Middy's own types.
  response: any;
  // biome-ignore lint/suspicious/noExplicitAny: see response
  earlyResponse?: any;
  error: Error | null | undefined;
  // biome-ignore lint/complexity/noBannedTypes: Middy's own default for a middleware that keeps nothing there.
  internal: {};
}

/** Fits Middy's `MiddlewareObj`. */
export interface DynamoLockMiddleware<TEvent, TContext> {
  before(request: MiddyRequest<TEvent, TContext>): Promise<void>;
  after(request: MiddyRequest<TEvent, TContext>): Promise<void>;
  onError(request: MiddyRequest<TEvent, TContext>): Promise<void>;
}

/** Without a type argument the key function's event is `any`, which must not become the handler's. */
type EventOf<TEvent> = 0 extends 1 & TEvent ? unknown : TEvent;

/**
 * Middy middleware: takes a lock before the handler, and finishes or releases it after. Register it last: a middleware
 * after it that answers early skips its `after`, and the key stays taken until the lease ends.
 *
 * @example
 * export const handler = middy<ScheduledEvent>()
 *   .use(dynamoLock({ key: (event) => event.detail.date }))
 *   .handler(async (event, context) => report(event.detail.date, context.lock.fencingToken));
 *
 * @throws LockOptionsError at construction. In an invocation: LockHeldError, ReplayedError, LockKeyError,
 * LockTableError, LockError.
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
  const timeoutEarlyMs = options.timeoutEarlyMs ?? 5;
  const self = Symbol("dynamoLock");
  type Hook = DynamoLockMiddleware<TEvent, Context & { lock?: Lock }>["before"];

  const dynamoLockMiddlewareBefore: Hook = async (request) => {
    const begun = await guard.begin(request);
    if (begun.run) {
      if (begun.lock) remember(request, self, begun.lock);
      return;
    }
    // No after runs when a before answers: what instances before this one hold would stay taken.
    await Promise.all(takeAll(request).map((lock) => lock[Symbol.asyncDispose]()));
    await cleanUpMiddlewares(request); // last: what was reported until here is in the metrics that this prints
    request.earlyResponse = begun.response; // not returned: Middy would take a returned undefined for "go on"
  };

  const dynamoLockMiddlewareAfter: Hook = async (request) => {
    // Middy 7 doesn't wait for a handler's thenable that is no Promise. If it rejects, our onError runs.
    if (isThenable(request.response) && heldBy(request, self)) request.response = await request.response;
    const lock = take(request, self);
    if (!lock) return;
    if (isPastEarlyTimeout(request, timeoutEarlyMs)) return abandonRunning(lock);
    if (isStream(request.response)) throw refuseStreaming(lock);
    await guard.succeed(lock, request.response);
  };

  const dynamoLockMiddlewareOnError: Hook = async (request) => {
    const lock = take(request, self);
    if (!lock) return;
    if (isMiddyTimeout(request.error) || isPastEarlyTimeout(request, timeoutEarlyMs)) return abandonRunning(lock);
    await guard.fail(lock, request.error);
  };

  return {
    before: dynamoLockMiddlewareBefore,
    after: dynamoLockMiddlewareAfter,
    onError: dynamoLockMiddlewareOnError,
  };
}

/**
 * What each instance holds for a request, and until when the invocation lasts. Not in `request.internal`, which Middy 6
 * shares between requests when the user supplies it.
 */
const invocations = new WeakMap<object, { readonly locks: Map<symbol, Lock>; readonly deadline: number }>();

const remember = (request: { context: Context }, instance: symbol, lock: Lock): void => {
  const deadline = systemClock.monotonic() + remainingMs(request.context);
  const invocation = invocations.get(request) ?? { locks: new Map<symbol, Lock>(), deadline };
  invocation.locks.set(instance, lock);
  invocations.set(request, invocation);
};

const heldBy = (request: object, instance: symbol): boolean => invocations.get(request)?.locks.has(instance) ?? false;

/** The lock to settle, once: `after` may be followed by `onError`. Nothing, if this request acquired nothing. */
const take = (request: object, instance: symbol): Lock | undefined => {
  const locks = invocations.get(request)?.locks;
  const lock = locks?.get(instance);
  locks?.delete(instance);
  return lock;
};

const takeAll = (request: object): Lock[] => {
  const locks = invocations.get(request)?.locks;
  const all = [...(locks?.values() ?? [])];
  locks?.clear();
  return all;
};

/** The handler may go on, but not under this lock. */
const abandonRunning = (lock: Lock): void => lock.abandon("timeout", new LockLostError(lock.key, "expired"));

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof (Object(value) as { then?: unknown }).then === "function";

/** Middy's default `timeoutEarlyResponse` throws this while the handler still runs. */
const isMiddyTimeout = (error: unknown): boolean => {
  const { name, cause } = Object(error) as { name?: unknown; cause?: unknown };
  return name === "TimeoutError" && Object(cause).package === "@middy/core";
};

/** Timers and `Date.now()` round to milliseconds, so a timer may seem to fire this much early. */
const TIMER_SLACK_MS = 2;

/**
 * A `timeoutEarlyResponse` that answers, or throws an error of its own, looks to our hooks like a handler that ended.
 * Only time tells them apart: Middy's timer fires when `timeoutEarlyInMillis` are left, and a handler that ended by
 * itself had more. By the monotonic clock too, because the wall clock may have been set back meanwhile.
 */
const isPastEarlyTimeout = (request: { context: Context }, timeoutEarlyMs: number): boolean => {
  const byMonotonic = (invocations.get(request)?.deadline ?? Number.POSITIVE_INFINITY) - systemClock.monotonic();
  return Math.min(remainingMs(request.context), byMonotonic) <= timeoutEarlyMs + TIMER_SLACK_MS;
};

const remainingMs = (context: Partial<Context>): number => {
  const { lambdaContext = context } = context as { lambdaContext?: Partial<Context> };
  return lambdaContext.getRemainingTimeInMillis?.() ?? Number.POSITIVE_INFINITY;
};
