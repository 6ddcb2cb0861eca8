/**
 * Streamed responses and callbacks: they go on after the handler has returned, so no lock can cover
 * them.
 */
import { LockError, LockLostError, LockOptionsError } from "../common/errors.ts";
import type { Lock } from "../lock/lock.ts";

const AFTER_RETURN = "goes on after the handler has returned, and its key is settled then";

/**
 * A handler with a callback ends when it calls that, long after it has returned. Node.js 24 on
 * Lambda has no callbacks (https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html), and
 * tells such handlers by their number of parameters, too.
 */
export const refuseCallback = (caller: string, { length }: { readonly length: number }): void => {
  if (length < 3) return;
  throw new LockOptionsError(
    `${caller}: the handler must have at most 2 parameters, (event, context), and return a Promise, got ${length}. ` +
      `A callback or a response stream ${AFTER_RETURN}`,
  );
};

/**
 * In streaming mode `after` runs before the body does: the work is not done, and a repeat could not
 * be answered.
 */
export const isStream = (response: unknown): boolean => {
  try {
    return [response, Object(response).body].some(canBeRead);
  } catch {
    return false; // reading it throws
  }
};

/**
 * Whether a value is a stream of Node.js or of the web. A mock that answers to every name seems to
 * be both.
 */
const canBeRead = (value: unknown): boolean => {
  const { pipe, getReader } = Object(value) as { pipe?: unknown; getReader?: unknown };
  return (typeof pipe === "function") !== (typeof getReader === "function");
};

export const refuseStreaming = (lock?: Lock): LockError => {
  lock?.abandon("streaming", new LockLostError(lock.key, "expired"));
  return new LockError(
    "LOCK_STREAMING",
    `A streamed response can't be locked: it ${AFTER_RETURN}. Return the body as a string, or use no lock. The key is left ` +
      "to its lease",
  );
};
