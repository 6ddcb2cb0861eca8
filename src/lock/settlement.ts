import { anything, type Check, milliseconds, text } from "../common/check.ts";
import { encodeData } from "../common/json.ts";
import type { Keys } from "../common/key.ts";
import type { LockRecord } from "../common/record.ts";
import { type StorableResult, toFailure, toStorable } from "../common/result.ts";
import { itemBytes } from "../protocol/record.ts";
import type { Settlement } from "../protocol/requests.ts";

/** Options of `lock.release`. */
export interface ReleaseOptions {
  /** Replaces the data stored with the lock: any JSON value. Left out: it stays, for the next holder. */
  readonly data?: unknown;
}

/** Options of `lock.commit`: what is remembered with the finished key. */
export interface CommitOptions extends ReleaseOptions {
  /**
   * The response that repeats get, as JSON. Left out: none is stored, also not what the handler
   * returns. `undefined` is stored as such.
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

export type Finish = Extract<Settlement, { status: "FINISHED" }>;
/** With the whole response in it. */
export type WholeFinish = Omit<Finish, "result"> & { readonly result?: StorableResult };

/** What a finish is to write, and why its response can't be stored, if so. */
export interface FinishRequest {
  readonly finish: WholeFinish;
  readonly notStored?: string;
}

export const toFinish = (options: FinishOptions, defaultRememberMs: number): FinishRequest => {
  const { rememberMs = defaultRememberMs, status: finalStatus, error } = options;
  const finish: WholeFinish = { status: "FINISHED", rememberMs, finalStatus, data: encodeData(options.data) };
  if ("error" in options) return { finish: { ...finish, failure: toFailure(error) } };
  if (!("result" in options)) return { finish };
  const result = toStorable(options.result);
  return "reason" in result ? { finish, notStored: result.reason } : { finish: { ...finish, result } };
};

/** Of an acquisition, as the record has it. */
export interface Held extends Pick<LockRecord, "owner" | "token" | "fencingToken" | "acquiredAt"> {
  readonly keys: Keys;
  readonly keyList: string | undefined;
  readonly fingerprint: string | undefined;
  readonly execution: string | undefined;
  /** How long it is remembered when it is finished, unless that says otherwise. */
  readonly rememberMs: number;
  /** JSON of the application's data. */
  readonly dataJson: string | undefined;
  /** Of what the record has beside: names that the table gives, and the sort key. */
  readonly layoutBytes: number;
}

/** A write costs one unit per kB, also a refused one (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html). */
const WRITE_UNIT_BYTES = 1024;

/** Whether a response can stand in the record without costing a write unit more. */
export const fitsInRecord = (json: string, held: Held, { failure, finalStatus, data }: WholeFinish): boolean => {
  const { keys, keyList, owner, token, execution, fingerprint, dataJson, layoutBytes } = held;
  const failureJson = failure && JSON.stringify(failure);
  const texts = [keys[0], keyList, owner, token, execution, fingerprint, data ?? dataJson, failureJson, finalStatus];
  const bytes = itemBytes(texts) + layoutBytes;
  const units = (size: number) => Math.ceil(size / WRITE_UNIT_BYTES);
  return units(bytes + Buffer.byteLength(json)) === units(bytes);
};

/** The record as a finish leaves it, without the response. */
export const finishedRecord = (held: Held, finish: WholeFinish, leaseMs: number, now: number): LockRecord => {
  const { keys, keyList, owner, token, fencingToken, acquiredAt, fingerprint, execution } = held;
  const { rememberMs, failure, finalStatus, data = held.dataJson } = finish;
  return {
    key: keys[0],
    status: "FINISHED",
    owner,
    token,
    fencingToken,
    leaseMs,
    expiresAt: now + rememberMs,
    acquiredAt,
    updatedAt: now,
    ...(data !== undefined && { data: JSON.parse(data) as unknown }),
    ...(failure && { failure }),
    ...(finalStatus !== undefined && { finalStatus }),
    ...(fingerprint !== undefined && { fingerprint }),
    ...(execution !== undefined && { execution }),
    ...(keys.length > 1 && { keyCount: keys.length }),
    ...(keyList !== undefined && { keyList }),
  };
};
