/** Finishes a key that nobody holds, without having taken it. */
import { acquire, type Claim, type Ending, type Write } from "./writes.ts";

const FINISHED = Symbol(":finished");

/**
 *   absent | RELEASED | over ──finishFree──▶ FINISHED
 *
 * Its condition is that of an acquisition, so that both may be used on one key: it is refused where
 * an acquisition is, an acquisition is refused after it, and fencing tokens count on. The record is
 * as if a run had taken the key and finished it in one moment. It has no lease.
 */
export const finishFree = (claim: Omit<Claim, "leaseMs" | "fence">, ending: Ending, now: number): Write => {
  const { rememberMs = 0, result, failure, finalStatus, data = claim.data } = ending;
  const { set, remove = [], ...write } = acquire({ ...claim, leaseMs: 0 }, now);
  const own: Record<string, unknown> = { result, failure, finalStatus };
  return {
    ...write,
    set: { ...set, ...own, data, status: FINISHED, leaseMs: undefined, expiresAt: now + rememberMs },
    remove: [...remove.filter((field) => own[field] === undefined), "leaseMs"],
    neededUntil: now + rememberMs,
  };
};
