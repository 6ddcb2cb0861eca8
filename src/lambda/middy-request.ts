import type { Context } from "aws-lambda";
import { systemClock } from "../common/clock.ts";
import { cleanUpMiddlewares } from "./clean-up.ts";
import { remainingMsOf } from "./context.ts";

/** Middy's request, as far as it is used here: the same in Middy 6 and 7. */
export interface MiddyRequest<TEvent, TContext> {
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

/** The lock or batch that one instance holds for a request, and has to settle once. */
export interface HeldByRequest {
  /**
   * Settles when a `before` behind this instance's has answered, so that no `after` runs. Gives the
   * answer that goes out.
   */
  readonly answeredEarly: (response: unknown) => Promise<unknown>;
}

/**
 * By request: what each instance holds, and until when the invocation lasts. It is not kept in
 * `request.internal`, which Middy 6 shares between requests when the user supplies it.
 */
const invocations = new WeakMap<object, { readonly held: Map<symbol, HeldByRequest>; readonly deadline: number }>();

export const remember = (request: { context: Context }, instance: symbol, held: HeldByRequest): void => {
  const deadline = systemClock.monotonic() + remainingMsOf(request.context);
  const invocation = invocations.get(request) ?? { held: new Map<symbol, HeldByRequest>(), deadline };
  invocation.held.set(instance, held);
  invocations.set(request, invocation);
};

export const holdsFor = (request: object, instance: symbol): boolean =>
  invocations.get(request)?.held.has(instance) ?? false;

/**
 * Gives what is to be settled, and only once: `onError` may follow `after`. Undefined if this
 * request holds nothing.
 */
export const take = <T extends HeldByRequest>(request: object, instance: symbol): T | undefined => {
  const all = invocations.get(request)?.held;
  const held = all?.get(instance) as T | undefined;
  all?.delete(instance);
  return held;
};

/**
 * Answers a request early. No `after` runs when a `before` answers, so what other instances hold is
 * settled here, the innermost first. Where one throws, the `onError`s of the others settle theirs.
 */
export const answerEarly = async (
  request: { internal: object; earlyResponse?: unknown },
  response: unknown,
): Promise<void> => {
  const held = invocations.get(request)?.held ?? new Map<symbol, HeldByRequest>();
  let answer = response;
  for (const [instance, { answeredEarly }] of [...held].reverse()) {
    held.delete(instance);
    answer = await answeredEarly(answer);
  }
  await cleanUpMiddlewares(request); // last: what was reported until here is in the metrics that this prints
  request.earlyResponse = answer; // not returned: Middy would take a returned undefined for "go on"
};

export const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof (Object(value) as { then?: unknown }).then === "function";

/** Middy's default `timeoutEarlyResponse` throws this while the handler still runs. */
export const isMiddyTimeout = (error: unknown): boolean => {
  try {
    const { name, cause } = Object(error) as { name?: unknown; cause?: unknown };
    return name === "TimeoutError" && Object(cause).package === "@middy/core";
  } catch {
    return false; // reading what the handler threw throws
  }
};

/** Middy's own `timeoutEarlyInMillis`. */
export const DEFAULT_TIMEOUT_EARLY_MS = 5;

/** Timers and `Date.now()` round to milliseconds, so a timer may seem to fire this much early. */
const TIMER_SLACK_MS = 2;

/**
 * A `timeoutEarlyResponse` that answers, or throws an error of its own, looks to our hooks like a
 * handler that ended. Only time tells them apart: Middy's timer fires when `timeoutEarlyInMillis`
 * are left, and a handler that ended by itself had more. The monotonic clock is asked too, because
 * the wall clock may have been set back.
 */
export const isPastEarlyTimeout = (request: { context: Context }, timeoutEarlyMs: number): boolean => {
  const byMonotonic = (invocations.get(request)?.deadline ?? Number.POSITIVE_INFINITY) - systemClock.monotonic();
  return Math.min(remainingMsOf(request.context), byMonotonic) <= timeoutEarlyMs + TIMER_SLACK_MS;
};
