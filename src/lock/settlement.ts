import type { Keys } from "../common/key.ts";
import type { LockRecord } from "../common/record.ts";
import { encodeData, type StorableResult, toFailure, toStorable } from "../common/result.ts";
import { itemBytes } from "../protocol/record.ts";
import type { Settlement } from "../protocol/requests.ts";
import type { FinishOptions } from "./settle-options.ts";

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
