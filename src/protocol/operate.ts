/** The writes of an operator, as pure functions of what was seen. */
import type { Intervention, LockRecord, LockStatus, SemaphoreHolder } from "../common/record.ts";
import type { TableLayout } from "./expression.ts";
import { slotAttribute, slotInterventionAttribute } from "./fields.ts";
import { type Ending, MAX_SEMAPHORE_LEASE_MS, STATES, type Write } from "./writes.ts";

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

/** What an operator does to an acquisition. `token`: a new one, for the record. */
export interface OperatorAct extends Intervention {
  readonly token: string;
}

/** The note of it that stays in the record. */
const noteOf = ({ token: _, ...note }: OperatorAct): string => JSON.stringify(note satisfies Intervention);

/**
 * Ends the acquisition that was seen, if it is still in the state that was seen; renewed since or
 * not. The token is a new one: a late write of the holder must not take the record for one that it
 * settled itself.
 */
export const endSeen = (seen: LockRecord, operation: OperatorAct, ending: Ending): Write => {
  const { rememberMs = 0, ...rest } = ending;
  const overAt = operation.at + rememberMs;
  const set: Record<string, unknown> = {
    ...rest,
    token: operation.token,
    expiresAt: rememberMs && overAt,
    updatedAt: operation.at,
    intervention: noteOf(operation),
  };
  return {
    key: seen.key,
    condition: "#token = :seenToken AND #status = :seenStatus",
    values: { seenToken: seen.token, seenStatus: seen.status },
    set,
    remove: ["result", "failure", "finalStatus"].filter((field) => set[field] === undefined),
    neededUntil: overAt,
  };
};

/** Takes a permit of a semaphore from its holder, if that still has it. */
export const endHolder = (key: string, { slot, token }: SemaphoreHolder, operation: OperatorAct): Write => {
  const at = slotAttribute(slot);
  return {
    key,
    // Something else wrote a slot without a token: no acquisition would take it.
    condition: token ? `${at}.#token = :seenToken AND ${at}.#status = :held` : `attribute_not_exists(${at}.#token)`,
    values: { seenToken: token, held: STATES.held },
    set: {
      [`${at}.status`]: STATES.released,
      [`${at}.token`]: operation.token,
      [`${at}.expiresAt`]: 0,
      [slotInterventionAttribute(slot)]: noteOf(operation),
      updatedAt: operation.at,
    },
    neededUntil: operation.at + MAX_SEMAPHORE_LEASE_MS,
  };
};

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
