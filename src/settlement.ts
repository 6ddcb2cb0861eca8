import { anything, type Check, milliseconds, text } from "./check.ts";
import type { Settlement } from "./requests.ts";
import { encodeData, type StorableResult, toFailure, toStorable } from "./result.ts";

export interface ReleaseOptions {
  /** Replaces the data stored with the lock: any JSON value. Left out: it stays, for the next holder. */
  readonly data?: unknown;
}

export interface CommitOptions extends ReleaseOptions {
  /** The response that repeats get. Left out: none is stored. `undefined` is stored as such. */
  readonly result?: unknown;
  /** A status of the application's own, such as `"shipped"`, for who reads the record. At most 100 characters. */
  readonly status?: string;
  /**
   * How long repeats are blocked, in ms.
   * @default 3_600_000, or the client's
   */
  readonly rememberMs?: number;
}

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

export type Finish = Extract<Settlement, { status: "FINISHED" }>;
/** With the whole response. */
export type WholeFinish = Finish & { readonly result?: StorableResult };

/** What a finish writes, with the whole response in it, and why that can't be stored, if so. */
export const toFinish = (
  options: FinishOptions,
  defaultRememberMs: number,
): { readonly finish: WholeFinish; readonly notStored?: string } => {
  const { rememberMs = defaultRememberMs, status: finalStatus, error } = options;
  const finish: WholeFinish = { status: "FINISHED", rememberMs, finalStatus, data: encodeData(options.data) };
  if ("error" in options) return { finish: { ...finish, failure: toFailure(error) } };
  if (!("result" in options)) return { finish };
  const result = toStorable(options.result);
  return "reason" in result ? { finish, notStored: result.reason } : { finish: { ...finish, result } };
};
