import type { LockRecord } from "../common/record.ts";

/** The tokens of the locks that this process holds, whichever client took them. */
export const heldHere = new Set<string>();

/**
 * Whether a lock around the run holds the key: that run can't end before this one has. `around` are
 * the tokens of such locks.
 */
export const isAround = ({ status, token }: LockRecord, around: readonly string[]): boolean =>
  status === "IN_PROGRESS" && around.includes(token);

/**
 * Says in an error's words by whom the key of a record is held. Owners can have one name, tokens
 * can't.
 */
export const holderOf = (record: LockRecord, around: readonly string[]): string => {
  if (isAround(record, around)) return "this invocation itself, under a lock around this one,";
  return heldHere.has(record.token) ? "another run of this process, or by this invocation itself," : "another run";
};
