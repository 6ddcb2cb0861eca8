/** Middy's hooks, which only translate: the work is in the guard. */
import type { Context } from "aws-lambda";
import { LockLostError } from "../common/errors.ts";
import type { Lock } from "../lock/lock.ts";
import type { Guard } from "./guard.ts";
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
} from "./middy-request.ts";
import { isStream, refuseStreaming } from "./streams.ts";

type Middleware<TEvent> = DynamoLockMiddleware<TEvent, Context & { lock?: Lock }>;

/** The hooks carry the middleware's name, because Middy's profiling hooks show it. */
export const createMiddleware = <TEvent>(
  name: string,
  guard: Guard<TEvent>,
  timeoutEarlyMs = DEFAULT_TIMEOUT_EARLY_MS,
): Middleware<TEvent> => {
  const self = Symbol(name);
  const takeLock = (request: object) => take<ReturnType<typeof held>>(request, self)?.lock;
  const hooks: Record<string, Middleware<TEvent>["before"]> = {
    [`${name}MiddlewareBefore`]: async (request) => {
      const begun = await guard.begin(request);
      if (!begun.run) return answerEarly(request, begun.response);
      if (begun.lock) remember(request, self, held(begun.lock));
      request.context = begun.context;
    },

    [`${name}MiddlewareAfter`]: async (request) => {
      // Middy 7 doesn't wait for a handler's thenable that is no Promise. If it rejects, our
      // onError runs.
      if (isThenable(request.response) && holdsFor(request, self)) request.response = await request.response;
      const lock = takeLock(request);
      if (!lock) return;
      if (isPastEarlyTimeout(request, timeoutEarlyMs)) return abandonRunning(lock);
      if (isStream(request.response)) throw refuseStreaming(lock);
      await guard.succeed(lock, request.response, request.context);
    },

    [`${name}MiddlewareOnError`]: async (request) => {
      const lock = takeLock(request);
      if (!lock) return;
      if (isMiddyTimeout(request.error) || isPastEarlyTimeout(request, timeoutEarlyMs)) return abandonRunning(lock);
      await guard.fail(lock, request.error, request.context);
    },
  };
  const [before, after, onError] = Object.values(hooks);
  return { before, after, onError } as Middleware<TEvent>;
};

const held = (lock: Lock) => ({
  lock,
  async answeredEarly(response: unknown): Promise<unknown> {
    await lock[Symbol.asyncDispose]();
    return response;
  },
});

/** The handler may go on, but not under this lock. */
export const abandonRunning = (lock: Lock): void => lock.abandon("timeout", new LockLostError(lock.key, "expired"));
