import { anything, type Check, milliseconds, text } from "../common/check.ts";
import { encodeData } from "../common/json.ts";
import { type StorableResult, toFailure, toStorable } from "../common/result.ts";
import type { Ending } from "../protocol/writes.ts";

/** Options of `lock.release`. */
export interface ReleaseOptions {
  /** Replaces the data stored with the lock: any JSON value. Left out: it stays, for the next holder. */
  readonly data?: unknown;
}

/** Options of `lock.commit`: what is remembered with the finished key. */
export interface CommitOptions extends ReleaseOptions {
  /**
   * The response that repeats get, as JSON. Left out: none is stored, also not what the handler returns. `undefined` is
   * stored as such.
   */
  readonly result?: unknown;
  /** A status of the application's own, such as `"shipped"`, for who reads the record. At most 100 characters. */
  readonly status?: string | undefined;
  /**
   * How long repeats are blocked, in ms.
   * @default that of the middleware or of `once`, or the client's
   */
  readonly rememberMs?: number | undefined;
}

/** Options of `lock.finish`. */
export interface FinishOptions extends CommitOptions {
  /** Remember a final failure instead: repeats throw a `ReplayedError` with its name, message and status code. */
  readonly error?: unknown;
}

export const releaseChecks: Record<string, Check> = { data: anything };

export const commitChecks: Record<string, Check> = {
  ...releaseChecks,
  result: anything,
  status: (value) => text(value) ?? (String(value).length > 100 ? "must have at most 100 characters" : undefined),
  rememberMs: milliseconds(1),
};

export const finishChecks: Record<string, Check> = { ...commitChecks, error: anything };

/** How a finish is to end the lock. The response is not in `ending` yet: where it goes depends on its size. */
export interface Finish {
  readonly ending: Ending;
  readonly response: StorableResult | undefined;
  /** Why the response can't be stored, if so. */
  readonly notStored?: string | undefined;
}

export const toFinish = (options: FinishOptions, defaultRememberMs: number): Finish => {
  const { rememberMs = defaultRememberMs, status: finalStatus, error } = options;
  const failure = "error" in options ? JSON.stringify(toFailure(error)) : undefined;
  const ending = { status: "FINISHED", rememberMs, finalStatus, failure, data: encodeData(options.data) } as const;
  const response = "result" in options && !failure ? toStorable(options.result) : undefined;
  return response && "reason" in response
    ? { ending, response: undefined, notStored: response.reason }
    : { ending, response };
};
