/** Options of what a lock is settled with. */
import { ANYTHING, fits, join, type Rules, TEXT } from "../common/rules.ts";
import { REMEMBER_RULES, type RememberOptions } from "./options.ts";

/** Options of `lock.release`. */
export interface ReleaseOptions {
  /**
   * Replaces the data stored with the lock: any JSON value. Left out: it stays, for the next
   * holder.
   */
  readonly data?: unknown;
}

/** Options of `lock.commit`: what is remembered with the finished key. */
export interface CommitOptions extends ReleaseOptions {
  /**
   * The response that repeats get, as JSON. Left out: none is stored, also not what the handler
   * returns. `undefined` is stored as such.
   */
  readonly result?: unknown;
  /**
   * A status of the application's own, such as `"shipped"`, for who reads the record. At most 100
   * characters.
   */
  readonly status?: string | undefined;
  /**
   * How long repeats are blocked, in ms.
   * @default that of the middleware or of `once`, or the client's
   */
  readonly rememberMs?: RememberOptions["rememberMs"];
}

/** Options of `lock.finish`. */
export interface FinishOptions extends CommitOptions {
  /**
   * Remember a final failure instead: repeats throw a `ReplayedError` with its name, message and
   * status code.
   */
  readonly error?: unknown;
}

export const RELEASE_RULES: Rules<ReleaseOptions> = { data: ANYTHING };

export const COMMIT_RULES: Rules<CommitOptions> = /* @__PURE__ */ join(RELEASE_RULES, REMEMBER_RULES, {
  result: ANYTHING,
  status: [
    "a non-empty string of whole characters, at most 100 long",
    (value: unknown) => fits(value, TEXT) && String(value).length <= 100,
  ],
} as const);

export const FINISH_RULES: Rules<FinishOptions> = /* @__PURE__ */ join(COMMIT_RULES, { error: ANYTHING });
