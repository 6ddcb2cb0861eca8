/** A plain handler under a guard, without Middy. */
import type { Context } from "aws-lambda";
import { fromStorable } from "../common/result.ts";
import { checkArgument, FUNCTION } from "../common/rules.ts";
import type { Guard } from "./guard.ts";
import { abandonRunning } from "./middleware.ts";
import { isMiddyTimeout } from "./middy-request.ts";
import { isStream, refuseCallback, refuseStreaming } from "./streams.ts";

/** @throws LockOptionsError for what is no handler that ends when its Promise does. */
export const checkHandler = (caller: string, handler: (...all: never) => unknown): void => {
  checkArgument(caller, "the handler, the first argument,", handler, FUNCTION);
  refuseCallback(caller, handler);
};

export const wrapHandler =
  <TEvent>(handler: (event: TEvent, context: never) => unknown, guard: Guard<TEvent>) =>
  async (event: TEvent, callers: Context): Promise<unknown> => {
    if (isStream(callers)) throw refuseStreaming(); // awslambda.streamifyResponse puts the stream second
    const begun = await guard.begin({ event, context: callers ?? {} }); // a test may leave it out
    if (!begun.run) return begun.response;
    const { lock, context } = begun;
    let response: unknown;
    try {
      response = await handler(event, context as never);
    } catch (error) {
      if (lock && isMiddyTimeout(error))
        abandonRunning(lock); // of a Middy within: its handler may go on
      else if (lock) await guard.fail(lock, error, context);
      throw error;
    }
    if (lock && isStream(response)) throw refuseStreaming(lock);
    const stored = await guard.succeed(lock, response, context);
    return stored ? fromStorable(stored) : response;
  };
