import type { LockRecord } from "../common/record.ts";
import { checkOptions } from "../common/rules.ts";
import type { LockClientLike } from "../lock/locks.ts";
import { LIST_LOCKS_RULES, type ListLocksFilter } from "./options.ts";
import { locksToOperate, scan } from "./scan.ts";

/**
 * The records of the client's namespace (of the whole table if it has none), in no order, read page
 * by page: leaving the loop ends the scan. (`dynamoLock` has the function's name as namespace.)
 * Items that something else wrote are passed over. A scan reads the whole table and costs
 * accordingly, whatever the filter
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Scan.html#Scan.FilterExpression).
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
  const internals = locksToOperate("listLocks", locks);
  checkOptions("listLocks", filter, LIST_LOCKS_RULES);
  return scan(internals, filter);
};
