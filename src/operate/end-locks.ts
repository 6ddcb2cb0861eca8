import { LockOptionsError } from "../common/errors.ts";

import { toStorable } from "../common/result.ts";
import { checkOptions } from "../common/rules.ts";
import { compress } from "../dynamodb/compress.ts";
import type { LockClientLike, Locks } from "../lock/locks.ts";
import { DEFAULTS } from "../lock/options.ts";
import { companionKey } from "../protocol/fields.ts";
import { type Ending, storeResponse } from "../protocol/writes.ts";
import { type Ended, end, type OperatorResult } from "./end.ts";
import {
  BREAK_LOCK_RULES,
  type BreakLockOptions,
  FINISH_LOCK_RULES,
  type FinishLockOptions,
  type ForgetLockOptions,
  GUARD_CONTRADICTIONS,
} from "./operator-options.ts";
import type { OperatorKey } from "./readings.ts";
import { locksToOperate } from "./scan.ts";

/**
 * Breaks a lock that is held, or a permit of a semaphore: exactly the acquisition that was seen. If
 * another run has the key by now, or it has been finished, nothing is written, and the record comes
 * back. A lease that is over counts as held, because its holder may still finish.
 *
 * The key can be taken at once, and its fencing token goes on from where it was. The holder is not
 * stopped: its next write changes nothing, and throws a `LockLostError` with the reason `broken`,
 * `by` and `why`. Reported as `broken`. Of several keys that were taken together only this one is
 * broken, and the holder loses them all.
 *
 * Needs `dynamodb:GetItem` and `UpdateItem`.
 *
 * @param key A record or an event, or a key: as it is in the client's namespace, or as it is stored.
 * @example
 * for await (const record of listLocks(locks, { status: "IN_PROGRESS", owner: "i-0abc" })) {
 *   await breakLock(locks, record, { by: "ann", why: "the instance is gone" });
 * }
 * @example
 * const { outcome, record } = await breakLock(locks, "report-2026-11-21", { fencingToken: 1764525600123 });
 * if (outcome === "changed") console.warn(`now held by ${record.owner}`);
 *
 * @throws LockOptionsError without `fencingToken`, a record, or `any: true`; LockKeyError, also if
 * the key can be read in two ways and both are there; LockTableError, LockError
 */
export const breakLock = async (
  locks: LockClientLike,
  key: OperatorKey,
  options: BreakLockOptions = {},
): Promise<OperatorResult> => {
  const internals = locksToOperate("breakLock", locks);
  checkOptions("breakLock", options, BREAK_LOCK_RULES, GUARD_CONTRADICTIONS);
  return end(internals, key, options, { caller: "breakLock", did: "broken", from: "IN_PROGRESS" });
};

/**
 * Forgets a finished key, so that its next delivery runs: exactly the run that was seen. If it has
 * run again by now, or is running, nothing is written, and the record comes back. A response beside
 * the record stays until TTL deletes it. Reported as `forgotten`.
 *
 * Others keep what they have in memory (`cacheSize`) until its window ends.
 *
 * Needs `dynamodb:GetItem` and `UpdateItem`.
 *
 * @param key as in `breakLock`.
 * @example
 * const record = await locks.get("report-2026-11-21");
 * if (record) await forgetLock(locks, record, { by: "ann", why: "made of last year's prices" });
 *
 * @throws what `breakLock` throws
 */
export const forgetLock = async (
  locks: LockClientLike,
  key: OperatorKey,
  options: ForgetLockOptions = {},
): Promise<OperatorResult> => {
  const internals = locksToOperate("forgetLock", locks);
  checkOptions("forgetLock", options, BREAK_LOCK_RULES, GUARD_CONTRADICTIONS);
  return end(internals, key, options, { caller: "forgetLock", did: "forgotten", from: "FINISHED" });
};

/**
 * Finishes a held key for a process that can't say so any more, because its work is known to be
 * done: repeats don't run, and get `result`. Exactly the acquisition that was seen, as in
 * `breakLock`. Of several keys that were taken together only this one is finished. Reported as
 * `finished`, with `by` and `why`.
 *
 * Needs `dynamodb:GetItem` and `UpdateItem`.
 *
 * @param key as in `breakLock`.
 * @example
 * await finishLock(locks, "payment-7", { fencingToken: 1764525600123, result: { statusCode: 201 }, why: "paid, by the bank's list" });
 *
 * @throws what `breakLock` throws, and LockOptionsError for a `result` that can't be stored, and for
 * a semaphore, which is never finished
 */
export const finishLock = async (
  locks: LockClientLike,
  key: OperatorKey,
  options: FinishLockOptions = {},
): Promise<OperatorResult> => {
  const internals = locksToOperate("finishLock", locks);
  checkOptions("finishLock", options, FINISH_LOCK_RULES);
  const { rememberMs = internals.options.rememberMs ?? DEFAULTS.rememberMs, status: finalStatus } = options;
  const result = "result" in options ? await packed(options.result) : undefined;
  return end(internals, key, options, {
    caller: "finishLock",
    did: "finished",
    from: "IN_PROGRESS",
    ending: async (seen) => ({
      status: "FINISHED",
      rememberMs,
      finalStatus,
      result: result && (await stored(internals, seen, result, rememberMs)),
    }),
  });
};

/** A response that is small enough stands in the record. A larger one goes beside it, compressed. */
const MAX_PLAIN_BYTES = 1_024;

const packed = async (value: unknown): Promise<string | Uint8Array | null> => {
  const refuse = (reason: string) => new LockOptionsError(`finishLock: result can't be stored: ${reason}`);
  const storable = toStorable(value);
  if ("reason" in storable) throw refuse(storable.reason);
  const { json = null } = storable;
  if (json === null || Buffer.byteLength(json) <= MAX_PLAIN_BYTES) return json;
  return compress(json).catch((error: Error) => {
    throw refuse(error.message);
  });
};

/** The part of the ending that says where the response is. */
const stored = async (
  { table, clock }: Locks,
  { key, token }: Ended,
  result: string | Uint8Array,
  rememberMs: number,
): Promise<Ending["result"]> => {
  if (typeof result === "string" || result.length <= MAX_PLAIN_BYTES) return result;
  await table.write([storeResponse(companionKey(key, token, 1), result, rememberMs, clock.now())]);
  return 1;
};
