/**
 * The parts that operators' functions have in common: whose locks they are about, and the records
 * they work on.
 */
import { LockOptionsError } from "../common/errors.ts";
import { NAMESPACE_SEPARATOR } from "../common/key.ts";
import { holdersOf, type LockRecord, withoutTokens } from "../common/record.ts";
import { checkArgument, show } from "../common/rules.ts";
import { LARGE_REPLY } from "../dynamodb/persist.ts";
import { LOCK_CLIENT } from "../lambda/options.ts";
import { type LockClientLike, type Locks, locksIn } from "../lock/locks.ts";
import { liveHolders } from "../protocol/expiry.ts";
import type { Item } from "../protocol/item.ts";
import { type ScanFilter, toFilter } from "../protocol/operate.ts";
import type { ListLocksFilter } from "./options.ts";

/**
 * Checks the arguments. A function without options refuses some that were meant to limit its work.
 */
export const locksToOperate = (caller: string, locks: LockClientLike, others: readonly unknown[] = []): Locks => {
  checkArgument(caller, "locks, the first argument,", locks, LOCK_CLIENT);
  if (others.length > 0) throw new LockOptionsError(`${caller}: takes no options, got ${show(others[0])}`);
  return locksIn(locks) as Locks;
};

/** The records of the namespace that the filter lets through, page by page. */
export async function* scan(
  { table, clock, clockSkewMs, options: { namespace } }: Locks,
  { status, owner, keyPrefix = "", expired, pageSize, consistentRead, onPage }: ListLocksFilter,
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
    (owner === undefined || holdersOf(record).some((holding) => holding.owner === owner)) &&
    (expired === undefined || (liveHolders(record, by).length === 0) === expired);

  const { TableName, ConditionExpression, ...rest } = table.toRequest(toFilter(filter, table.layout.sortKey));
  const { Key: _, ...expressions } = rest;
  let startKey: Item | undefined;
  const progress = { scanned: 0, found: 0, readUnits: 0 };
  do {
    const {
      Items = [],
      LastEvaluatedKey,
      ScannedCount,
      ConsumedCapacity,
    } = await table.send(
      "Scan",
      {
        TableName,
        FilterExpression: ConditionExpression,
        ...expressions,
        ...(startKey && { ExclusiveStartKey: startKey }),
        ...(pageSize !== undefined && { Limit: pageSize }),
        ...(consistentRead && { ConsistentRead: true }),
        ...(onPage && { ReturnConsumedCapacity: "TOTAL" }),
      },
      { tries: LARGE_REPLY },
    );
    const records = (Items as Item[]).flatMap((item) => table.recordIn(item) ?? []).filter(matches);
    progress.scanned += ScannedCount ?? Items.length;
    progress.found += records.length;
    progress.readUnits += ConsumedCapacity?.CapacityUnits ?? 0;
    onPage?.({ ...progress });
    yield* records.map(withoutTokens);
    startKey = LastEvaluatedKey;
  } while (startKey);
}

/** How many requests are in flight at once. */
const CONCURRENCY = 20;

/**
 * Does the work on all records, and gives what it gave. Failures are collected and thrown at the
 * end.
 */
export const forEachRecord = async <T>(
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
