/** A commit of a run that holds nothing, as it is to be sent, and as a reader finds it when it was written. */
import { randomUUID } from "node:crypto";
import { LockOptionsError } from "../common/errors.ts";
import type { LockRecord } from "../common/record.ts";
import { fromStorable } from "../common/result.ts";
import type { FreeCommit } from "../dynamodb/free-commit.ts";
import { untilOver } from "../protocol/expiry.ts";
import { companionKey } from "../protocol/fields.ts";
import { finishFree } from "../protocol/finish-free.ts";
import type { TransactWriteItem } from "../protocol/item.ts";
import { type Ending, storeResponse } from "../protocol/writes.ts";
import type { Finish } from "./ending.ts";
import type { SettleTime } from "./lock-writes.ts";
import type { Locks } from "./locks.ts";
import { placeResponse, roomIn } from "./place-response.ts";

/** The wish of a run that may commit. Its key is as stored. */
export interface CommitWanted {
  readonly key: string;
  readonly owner: string;
  readonly fingerprint?: string | undefined;
  readonly rememberMs: number;
  /** How long a commit is tried, from when it is asked for. */
  readonly settleTime: () => SettleTime;
  /** The tokens of the locks around the run. */
  readonly around?: readonly string[] | undefined;
}

/** A commit with what a record of it says. */
export interface PreparedCommit extends FreeCommit {
  readonly finish: Finish;
  readonly ending: Ending;
  /** Why its response is not stored, if so. */
  readonly notStored: string | undefined;
}

/** The most items of the application's, where the response is one more item of the transaction. */
const MOST_BESIDE_RESPONSE = 98;

/**
 * A response that is too large for the record is one more item of the same transaction, so that a
 * run that loses leaves nothing behind.
 */
export const prepareCommit = async (
  { table, clockSkewMs, options, watch, clock }: Locks,
  { key, owner, fingerprint }: CommitWanted,
  items: readonly TransactWriteItem[],
  finish: Finish,
): Promise<PreparedCommit> => {
  const { response } = finish;
  const { rememberMs = 0, data, finalStatus } = finish.ending;
  const token = randomUUID();
  let { notStored } = finish;
  let result: Ending["result"];
  let beside: Uint8Array | undefined;
  try {
    const room = roomIn(table.layout, [key, owner, token, fingerprint, data, finalStatus]);
    const placed = response && (await placeResponse(response.json, room));
    if (placed && "beside" in placed) beside = placed.beside;
    result = placed && ("result" in placed ? placed.result : 1);
  } catch (error) {
    notStored = (error as RangeError).message;
  }
  if (beside && items.length > MOST_BESIDE_RESPONSE) {
    throw new LockOptionsError(
      `commit: items must be at most ${MOST_BESIDE_RESPONSE} where the result is too large for the record, got ${items.length}: ` +
        "it is one more item of the transaction",
    );
  }
  const ending = { ...finish.ending, result };
  const commit: PreparedCommit = {
    key,
    token,
    items,
    finish,
    ending,
    notStored,
    inDoubt: false,
    isInTheWay: (record) => isInTheWay({ clock, clockSkewMs, options, watch }, record),
    writesAt: (now) => {
      const claim = { key, owner, token, fingerprint, clockSkewMs, expiry: options.expiry, seen: commit.over };
      const own = finishFree({ ...claim, watched: watch.over(key) }, ending, now);
      return beside ? [storeResponse(companionKey(key, token, 1), beside, rememberMs, now), own] : [own];
    },
  };
  return commit;
};

/** As an acquisition sees it: by the clock, or because it was watched for the length of its lease. */
export const isInTheWay = (
  { clock, clockSkewMs, options, watch }: Pick<Locks, "clock" | "clockSkewMs" | "options" | "watch">,
  record: LockRecord,
): boolean => {
  const isByClock = options.expiry !== "observed" || record.status === "FINISHED";
  const now = isByClock ? clock.now() : Number.NEGATIVE_INFINITY;
  return Math.min(watch.see(record), untilOver(record, now - clockSkewMs)) > 0;
};

/** The record of a commit that was written. A transaction doesn't tell the fencing token: it is 0 here. */
export const finishedRecord = (
  { key, owner, fingerprint }: CommitWanted,
  { token, ending, finish, notStored, request }: PreparedCommit,
): LockRecord => {
  const { rememberMs = 0, finalStatus, data } = ending;
  const at = request?.at ?? 0;
  const { response } = finish;
  return {
    key,
    status: "FINISHED",
    owner,
    token,
    fencingToken: 0,
    leaseMs: 0,
    expiresAt: at + rememberMs,
    acquiredAt: at,
    updatedAt: at,
    ...(fingerprint !== undefined && { fingerprint }),
    ...(finalStatus !== undefined && { finalStatus }),
    ...(data !== undefined && { data: JSON.parse(data) }),
    ...(response && notStored === undefined && { result: { value: fromStorable(response) } }),
  };
};
