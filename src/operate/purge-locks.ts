import { holdersOf, type LockRecord } from "../common/record.ts";
import { checkOptions } from "../common/rules.ts";
import { readMany } from "../dynamodb/read-many.ts";
import { removeAsSeen } from "../dynamodb/remove.ts";
import type { LockClientLike } from "../lock/locks.ts";
import { PURGE_CONTRADICTIONS, PURGE_LOCKS_RULES, type PurgeLocksOptions } from "./options.ts";
import { type OperatorKey, oneOf, readingsOf } from "./readings.ts";
import { forEachRecord, locksToOperate, scan } from "./scan.ts";

/**
 * Deletes records that nobody needs any more, and says which: the keys as stored. Without options
 * these are the released and those whose time to be remembered has ended; TTL would delete them
 * too, days later. `finished` and `olderThanMs` take away more, on your responsibility. A lease
 * that ended without a finish stays until it is `olderThanMs`: whoever takes the key over is told
 * of it, and its holder may still finish.
 *
 * A record is deleted only as it was seen: a lock taken or renewed meanwhile survives. So does one
 * that was taken within `clockSkewMs`, because fencing tokens begin at the clock, and the next must
 * be greater. One failure doesn't stop the rest.
 *
 * The wall clock of the caller decides, with `expiry: 'observed'` too. If it is ahead of others by
 * more than `clockSkewMs`, finished keys are forgotten so much too early, and the next fencing
 * token of a deleted key may be lower than its last.
 *
 * Needs `dynamodb:DeleteItem`, and `Scan`, or with `keys` `BatchGetItem`.
 *
 * @example
 * // At the start of a nightly run: forget last night's, and whatever has shown no sign of life for 20 minutes.
 * await purgeLocks(locks, { keys: ["report"], finished: true, olderThanMs: 20 * 60_000 });
 *
 * @throws LockOptionsError, LockKeyError, LockTableError, LockError, or AggregateError of the
 * deletions that failed
 */
export const purgeLocks = async (locks: LockClientLike, options: PurgeLocksOptions = {}): Promise<string[]> => {
  const internals = locksToOperate("purgeLocks", locks);
  checkOptions("purgeLocks", options, PURGE_LOCKS_RULES, PURGE_CONTRADICTIONS);
  const { keys, keyPrefix, olderThanMs, finished = false, dryRun = false, onPage } = options;
  const { table, clock, clockSkewMs } = internals;
  const { namespace } = internals.options;
  const isNeeded = (record: LockRecord) => {
    const now = clock.now();
    if (record.fencingToken > now - clockSkewMs) return true;
    if (olderThanMs !== undefined && record.updatedAt <= now - olderThanMs) return false;
    return !holdersOf(record).every(
      ({ status, expiresAt }) =>
        status === "RELEASED" || (status === "FINISHED" && (finished || expiresAt <= now - clockSkewMs)),
    );
  };
  const meant = async (asked: readonly OperatorKey[]) => {
    const readings = asked.map((key) => readingsOf(key, namespace));
    const found = new Map((await readMany(internals, readings.flat())).map((record) => [record.key, record]));
    const records = readings.map((some) => oneOf(some.flatMap((key) => found.get(key) ?? [])));
    return new Set(records.filter((record) => record !== undefined));
  };
  const records = keys ? await meant(keys) : scan(internals, { keyPrefix, onPage });
  return forEachRecord(records, "purged", async (record) => {
    if (isNeeded(record)) return undefined;
    if (dryRun) return record.key;
    try {
      return (await removeAsSeen(table, record)) ? record.key : undefined;
    } finally {
      internals.forget(record.key); // not before: until then a reply on its way may be about the record
    }
  });
};
