/** What an operator does to locks that are not their own: functions beside the client, so that a bundle carries only what it uses. */
import { randomUUID } from "node:crypto";
import { LockError, LockOptionsError } from "../common/errors.ts";
import { type LockKey, NAMESPACE_SEPARATOR, toStoredKey } from "../common/key.ts";
import { holdingsOf, isOver, type LockRecord, withoutTokens } from "../common/record.ts";
import { checkArgument, checkOptions, show } from "../common/rules.ts";
import { readMany } from "../dynamodb/read-many.ts";
import { removeAsSeen } from "../dynamodb/remove.ts";
import { LOCK_CLIENT } from "../lambda/options.ts";
import { type LockClientLike, type Locks, locksIn } from "../lock/locks.ts";
import type { Item } from "../protocol/item.ts";
import { forceRelease as forceReleaseWrite, type ScanFilter, toFilter } from "../protocol/operate.ts";
import { LIST_LOCKS_RULES, type ListLocksFilter, PURGE_LOCKS_RULES, type PurgeLocksOptions } from "./options.ts";

export type { ListLocksFilter, PurgeLocksOptions };

/**
 * The records of the client's namespace (of the whole table if it has none), in no order, read page by page: leaving the loop
 * ends the scan. (`dynamoLock` has the function's name as namespace.) Items that something else wrote are passed over. A scan reads the whole table and costs accordingly, whatever
 * the filter (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Scan.html#Scan.FilterExpression).
 *
 * Needs `dynamodb:Scan`.
 *
 * @example
 * for await (const record of listLocks(locks, { status: "IN_PROGRESS", expired: true })) {
 *   console.warn(`${record.owner} never finished ${record.key}`);
 * }
 *
 * @throws LockOptionsError at the call; LockTableError, LockError from the loop
 */
export const listLocks = (
  locks: LockClientLike,
  filter: ListLocksFilter = {},
): AsyncGenerator<LockRecord, void, void> => {
  const internals = internalsOf("listLocks", locks);
  checkOptions("listLocks", filter, LIST_LOCKS_RULES);
  return scan(internals, filter);
};

/**
 * Deletes records that nobody needs any more, and says which: the keys as stored. Without options these are the released and
 * those whose time to be remembered has ended; TTL would delete them too, days later. `finished` and `olderThanMs` take away
 * more, on your responsibility. A lease that ended without a finish stays until it is `olderThanMs`: whoever takes the key over
 * is told of it, and its holder may still finish.
 *
 * A record is deleted only as it was seen: a lock taken or renewed meanwhile survives. So does one that was taken within
 * `clockSkewMs`, because fencing tokens begin at the clock, and the next must be greater. One failure doesn't stop the rest.
 *
 * The wall clock of the caller decides, with `expiry: 'observed'` too. If it is ahead of others by more than `clockSkewMs`,
 * finished keys are forgotten so much too early, and the next fencing token of a deleted key may be lower than its last.
 *
 * Needs `dynamodb:DeleteItem`, and `Scan`, or with `keys` `BatchGetItem`.
 *
 * @example
 * // At the start of a nightly run: forget last night's, and whatever has shown no sign of life for 20 minutes.
 * await purgeLocks(locks, { keys: ["report"], finished: true, olderThanMs: 20 * 60_000 });
 *
 * @throws LockOptionsError, LockKeyError, LockTableError, LockError, or AggregateError of the deletions that failed
 */
export const purgeLocks = async (locks: LockClientLike, options: PurgeLocksOptions = {}): Promise<string[]> => {
  const internals = internalsOf("purgeLocks", locks);
  checkOptions("purgeLocks", options, PURGE_LOCKS_RULES);
  const { keys, olderThanMs, finished = false } = options;
  const { table, clock, clockSkewMs } = internals;
  const { namespace } = internals.options;
  const isNeeded = (record: LockRecord) => {
    const now = clock.now();
    if (record.fencingToken > now - clockSkewMs) return true;
    if (olderThanMs !== undefined && record.updatedAt <= now - olderThanMs) return false;
    return !holdingsOf(record).every(
      ({ status, expiresAt }) =>
        status === "RELEASED" || (status === "FINISHED" && (finished || expiresAt <= now - clockSkewMs)),
    );
  };
  const records = keys
    ? await readMany(
        internals,
        keys.map((key) => toStoredKey(key, namespace)),
      )
    : scan(internals, {});
  return forEachRecord(records, "purged", async (record) => {
    if (isNeeded(record)) return undefined;
    try {
      return (await removeAsSeen(table, record)) ? record.key : undefined;
    } finally {
      internals.forget(record.key); // not before: until then a reply on its way may be about the record
    }
  });
};

/**
 * Breaks whatever lock is on the key, held or finished, and gives the record that was broken, or `undefined` if the key was free
 * already. The key can be taken at once; its fencing token goes on from where it was. The holder is not stopped: its next
 * write finds the lock `stolen`, and changes nothing. Reported as `force-released`.
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
  const internals = internalsOf("forceRelease", locks, others);
  const record = await internals.table.read(toStoredKey(key, internals.options.namespace));
  return record && breakLock(internals, record, isTaken);
};

/**
 * Breaks every lock of the client's namespace that is held now, its lease over or not, and gives their records as they were.
 * What is finished stays, and so does a lock taken after the scan has passed it. One failure doesn't stop the rest.
 *
 * Needs `dynamodb:Scan` and `UpdateItem`.
 *
 * @throws LockTableError, LockError, or AggregateError of the locks that could not be released
 */
export const releaseAllLocks = async (locks: LockClientLike, ...others: readonly never[]): Promise<LockRecord[]> => {
  const internals = internalsOf("releaseAllLocks", locks, others);
  return forEachRecord(scan(internals, { consistentRead: true }), "released", (seen) =>
    // Taking another slot of a semaphore changes its record, but it is the same lock.
    breakLock(internals, seen, (record) => isHeld(record) && (record === seen || record.status === "SEMAPHORE")),
  );
};

/** Checks the arguments. A function without options refuses some that were meant to limit its work. */
const internalsOf = (caller: string, locks: LockClientLike, others: readonly unknown[] = []): Locks => {
  checkArgument(caller, "locks, the first argument,", locks, LOCK_CLIENT);
  if (others.length > 0) throw new LockOptionsError(`${caller}: takes no options, got ${show(others[0])}`);
  return locksIn(locks) as Locks;
};

const isTaken = (record: LockRecord) => holdingsOf(record).some(({ status }) => status !== "RELEASED");
const isHeld = (record: LockRecord) => holdingsOf(record).some(({ status }) => status === "IN_PROGRESS");

async function* scan(
  { table, clock, clockSkewMs, options: { namespace } }: Locks,
  { status, owner, keyPrefix = "", expired, pageSize, consistentRead }: ListLocksFilter,
): AsyncGenerator<LockRecord, void, void> {
  const prefix = namespace === undefined ? keyPrefix : `${namespace}${NAMESPACE_SEPARATOR}${keyPrefix}`;
  const by = clock.now() - clockSkewMs;
  const filter: ScanFilter = {
    keyPrefix: prefix || undefined,
    status,
    owner,
    ended: expired === undefined ? undefined : { over: expired, by },
  };
  const matches = (record: LockRecord) =>
    (owner === undefined || holdingsOf(record).some((holding) => holding.owner === owner)) &&
    (expired === undefined || isOver(record, by) === expired);

  const { TableName, ConditionExpression, ...rest } = table.toRequest(toFilter(filter, table.layout.sortKey));
  const { Key: _, ...expressions } = rest;
  let startKey: Item | undefined;
  do {
    const { Items = [], LastEvaluatedKey } = await table.send("Scan", {
      TableName,
      FilterExpression: ConditionExpression,
      ...expressions,
      ...(startKey && { ExclusiveStartKey: startKey }),
      ...(pageSize !== undefined && { Limit: pageSize }),
      ...(consistentRead && { ConsistentRead: true }),
    });
    const records = (Items as Item[]).flatMap((item) => table.recordIn(item) ?? []);
    yield* records.filter(matches).map(withoutTokens);
    startKey = LastEvaluatedKey;
  } while (startKey);
}

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

/** How many requests are in flight at once. */
const CONCURRENCY = 20;

/** Does the work on all records, and gives what it gave. Failures are collected and thrown at the end. */
const forEachRecord = async <T>(
  records: Iterable<LockRecord> | AsyncIterable<LockRecord>,
  done: string,
  work: (record: LockRecord) => Promise<T | undefined>,
): Promise<T[]> => {
  const outcomes: PromiseSettledResult<T | undefined>[] = [];
  let batch: LockRecord[] = [];
  const finishBatch = async () => {
    outcomes.push(...(await Promise.allSettled(batch.map(work))));
    batch = [];
  };
  for await (const record of records) {
    batch.push(record);
    if (batch.length === CONCURRENCY) await finishBatch();
  }
  await finishBatch();
  const errors = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
  if (errors.length > 0) throw new AggregateError(errors, `${errors.length} of ${outcomes.length} locks not ${done}`);
  return outcomes.flatMap((outcome) =>
    outcome.status === "fulfilled" && outcome.value !== undefined ? [outcome.value] : [],
  );
};
