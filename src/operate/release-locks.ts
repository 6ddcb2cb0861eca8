import { randomUUID } from "node:crypto";
import { LockError } from "../common/errors.ts";
import { type LockKey, toStoredKey } from "../common/key.ts";
import { holdersOf, type LockRecord, withoutTokens } from "../common/record.ts";
import type { LockClientLike, Locks } from "../lock/locks.ts";
import { forceRelease as forceReleaseWrite } from "../protocol/operate.ts";
import { forEachRecord, locksToOperate, scan } from "./scan.ts";

/**
 * Breaks whatever lock is on the key, held or finished, and gives the record that was broken, or
 * `undefined` if the key was free already. The key can be taken at once; its fencing token goes on
 * from where it was. The holder is not stopped: its next write finds the lock `stolen`, and changes
 * nothing. Reported as `force-released`.
 *
 * Needs `dynamodb:GetItem` and `UpdateItem`.
 *
 * @example
 * const broken = await forceRelease(locks, "report-2026-11-21");
 * if (broken) console.warn(`took it from ${broken.owner}`);
 *
 * @throws LockKeyError, LockTableError, LockError
 */
export const forceRelease = async (
  locks: LockClientLike,
  key: LockKey,
  ...others: readonly never[]
): Promise<LockRecord | undefined> => {
  const internals = locksToOperate("forceRelease", locks, others);
  const record = await internals.table.read(toStoredKey(key, internals.options.namespace));
  return record && breakLock(internals, record, isTaken);
};

/**
 * Breaks every lock of the client's namespace that is held now, its lease over or not, and gives
 * their records as they were. A finished key stays, and so does a lock taken after the scan has
 * passed it. One failure doesn't stop the rest.
 *
 * Needs `dynamodb:Scan` and `UpdateItem`.
 *
 * @throws LockTableError, LockError, or AggregateError of the locks that could not be released
 */
export const releaseAllLocks = async (locks: LockClientLike, ...others: readonly never[]): Promise<LockRecord[]> => {
  const internals = locksToOperate("releaseAllLocks", locks, others);
  return forEachRecord(scan(internals, { consistentRead: true }), "released", (seen) =>
    // Taking another slot of a semaphore changes its record, but it is the same lock.
    breakLock(internals, seen, (record) => isHeld(record) && (record === seen || record.status === "SEMAPHORE")),
  );
};

const isTaken = (record: LockRecord) => holdersOf(record).some(({ status }) => status !== "RELEASED");
const isHeld = (record: LockRecord) => holdersOf(record).some(({ status }) => status === "IN_PROGRESS");

/** How often a lock that keeps changing hands is tried to break. */
const MAX_ATTEMPTS = 10;

/** Frees the key as long as what is there is `wanted`. Gives what was broken. */
const breakLock = async (
  locks: Locks,
  seen: LockRecord,
  wanted: (record: LockRecord) => boolean,
): Promise<LockRecord | undefined> => {
  const { table, clock } = locks;
  let record: LockRecord | undefined = seen;
  for (let attempt = 1; record && wanted(record); attempt++) {
    const token = randomUUID();
    const write = forceReleaseWrite(record, token, clock.now());
    // Also if it fails: it may have been applied.
    const reply = await table.write([write]).finally(() => locks.forget(seen.key));
    const item = reply.applied ? undefined : reply.refusals[0]?.item;
    const found = item && table.record(item, seen.key);
    // Our own token: the write applied and its reply was lost.
    if (reply.applied || found?.token === token) {
      const { key, owner, fencingToken, status, expiresAt, acquiredAt } = record;
      const elapsedMs = clock.now() - acquiredAt;
      const about = { key, owner, token: record.token, fencingToken, elapsedMs, status, expiresAt };
      locks.report({ type: "force-released", ...about });
      return withoutTokens(record);
    }
    if (attempt === MAX_ATTEMPTS) {
      throw new LockError(
        "LOCK_REQUEST",
        `Lock ${JSON.stringify(seen.key)} was not released: it changed ${attempt} times meanwhile`,
      );
    }
    record = found;
  }
  return undefined;
};
