import { anything, type Check, milliseconds, text } from "./check.ts";
import type { Keys } from "./key.ts";
import { type LockRecord, recordBytes } from "./record.ts";
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
/** With the whole response in it. */
type WholeFinish = Omit<Finish, "result"> & { readonly result?: StorableResult };

/** What a finish is to write, and why its response can't be stored, if so. */
export interface FinishRequest {
  readonly finish: WholeFinish;
  readonly notStored?: string;
}

/** How a key was finished. */
export interface Ending {
  /** As written. */
  readonly settlement: Finish;
  /** The record that this leaves, without the response; `expiresAt` is not later than the stored one. */
  readonly record: LockRecord;
  /** The response, wherever it is stored. */
  readonly result: StorableResult | undefined;
}

export const toFinish = (options: FinishOptions, defaultRememberMs: number): FinishRequest => {
  const { rememberMs = defaultRememberMs, status: finalStatus, error } = options;
  const finish: WholeFinish = { status: "FINISHED", rememberMs, finalStatus, data: encodeData(options.data) };
  if ("error" in options) return { finish: { ...finish, failure: toFailure(error) } };
  if (!("result" in options)) return { finish };
  const result = toStorable(options.result);
  return "reason" in result ? { finish, notStored: result.reason } : { finish: { ...finish, result } };
};

/** A write costs one unit per kB, also a refused one (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html). */
const WRITE_UNIT_BYTES = 1024;

/** The response stays in the record while that costs nothing; a larger one goes beside it, before the record says so. */
export const placeResult = async (
  { result, ...finish }: WholeFinish,
  record: LockRecord,
  storeBeside: (json: string) => Promise<void>,
): Promise<Omit<Ending, "record"> & { readonly notStored?: string; readonly error?: unknown }> => {
  if (!result) return { settlement: finish, result };
  const { json } = result;
  const units = (bytes: number) => Math.ceil(bytes / WRITE_UNIT_BYTES);
  const bytes = recordBytes(record);
  if (json === undefined || units(bytes + Buffer.byteLength(json)) === units(bytes)) {
    return { settlement: { ...finish, result }, result };
  }
  try {
    await storeBeside(json);
    return { settlement: { ...finish, result: { stored: "in companion" } }, result };
  } catch (error) {
    const notStored = error instanceof RangeError ? error.message : "it could not be written beside the record";
    return { settlement: finish, result: undefined, notStored, error };
  }
};

/** Of an acquisition, as the record has it. */
interface Held extends Pick<LockRecord, "owner" | "token" | "fencingToken" | "acquiredAt" | "leaseMs" | "data"> {
  readonly keys: Keys;
  readonly fingerprint: string | undefined;
  readonly execution: string | undefined;
}

/** The record as a finish leaves it, without the response. */
export const finishedRecord = (
  held: Held,
  { rememberMs, failure, finalStatus, data }: WholeFinish,
  now: number,
): LockRecord => {
  const { keys, owner, token, fencingToken, acquiredAt, leaseMs, fingerprint, execution } = held;
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
    data: data === undefined ? held.data : JSON.parse(data),
    ...(failure && { failure }),
    ...(finalStatus !== undefined && { finalStatus }),
    ...(fingerprint !== undefined && { fingerprint }),
    ...(execution !== undefined && { execution }),
    ...(keys.length > 1 && { keyCount: keys.length }),
  };
};
