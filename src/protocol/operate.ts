/** The writes of an operator, as pure functions of what was seen. */
import type { LockRecord, LockStatus } from "../common/record.ts";
import type { TableLayout } from "./expression.ts";
import { STATES, slotsOf, type Write } from "./writes.ts";

/**
 * The condition that a record is still as it was seen, to delete it. The next acquisition of the
 * key takes its fencing token from the clock, so the deleted one has to be behind the clock by
 * then.
 */
export const asSeen = ({ key, token, status, expiresAt, updatedAt, fencingToken }: LockRecord): Write => ({
  key,
  condition:
    "#token = :token AND #status = :status AND #expiresAt = :expiresAt AND #updatedAt = :updatedAt AND #fencingToken = :fencingToken",
  values: { token, status, expiresAt, updatedAt, fencingToken },
});

/**
 * Frees a key whoever holds it, if it is the acquisition that was seen; renewed since or not. The
 * token is a new one: a late write of the holder must not take the record for one that it settled
 * itself. A semaphore loses all its holders.
 */
export const forceRelease = (seen: LockRecord, token: string, now: number): Write => ({
  key: seen.key,
  condition: "#token = :seenToken AND #status = :seenStatus",
  values: { seenToken: seen.token, seenStatus: seen.status },
  set: { status: STATES.released, token, expiresAt: 0, updatedAt: now },
  remove: ["result", "failure", "permits", ...slotsOf(seen)],
  neededUntil: now,
});

/** Which records a scan gives back. */
export interface ScanFilter {
  /** How the stored key begins. */
  readonly keyPrefix?: string | undefined;
  readonly status?: LockStatus | undefined;
  readonly owner?: string | undefined;
  /** `over`: records that ended before `by`, epoch ms, or those that did not. */
  readonly ended?: { readonly over: boolean; readonly by: number } | undefined;
}

/**
 * The filter of a scan. It saves the transfer of items, not their read units
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Scan.html#Scan.FilterExpression).
 * A semaphore's owners and ends are those of its holders, which an expression can't reach: the
 * reader of the page filters them.
 */
export const toFilter = ({ keyPrefix, status, owner, ended }: ScanFilter, sortKey: TableLayout["sortKey"]): Write => ({
  key: "",
  condition: [
    status ? "#status = :status" : "#status IN (:held, :finished, :released, :semaphore)",
    sortKey && "#sortKey = :sortKey",
    keyPrefix !== undefined && "begins_with(#key, :keyPrefix)",
    owner !== undefined && "(#status = :semaphore OR #owner = :owner)",
    ended && `(#status = :semaphore OR #expiresAt ${ended.over ? "<=" : ">"} :by)`,
  ]
    .filter(Boolean)
    .join(" AND "),
  values: { ...STATES, semaphore: "SEMAPHORE", status, sortKey: sortKey?.value, keyPrefix, owner, by: ended?.by },
});
