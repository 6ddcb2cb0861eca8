/**
 * The protocol of a semaphore: one item with status SEMAPHORE, in which each holder has a map
 * `slot_<n>` of its own.
 */
import { slotAttribute, slotFenceAttribute } from "./fields.ts";
import { type Claim, MAX_SEMAPHORE_LEASE_MS, NEXT_FENCE, OURS, STATES, type Write } from "./writes.ts";

/** A slot of a semaphore to take, and what has to be true for it. */
export interface SlotClaim {
  readonly slot: number;
  readonly permits: number;
  /**
   * Without it: the record has this number of permits. With it: nobody has acquired since the
   * record was seen at this fencing token with room left. `permits` is then written only when no
   * holder is left above it.
   */
  readonly seen?: { readonly fencingToken: number; readonly setPermits: boolean } | undefined;
}

/** Takes a slot of a semaphore if it is free. */
export const acquireSlot = (claim: Claim, { slot, permits, seen }: SlotClaim, now: number): Write => {
  const { key, owner, token, leaseMs, clockSkewMs, data } = claim;
  const at = slotAttribute(slot);
  const isFree = `(attribute_not_exists(${at}) OR ${at}.#expiresAt <= :over)`;
  const holder = { status: STATES.held, owner, token, leaseMs, expiresAt: now + leaseMs, acquiredAt: now };
  return {
    key,
    condition: seen
      ? `#fencingToken = :seenFence AND #token <> :token AND (#status = :status AND ${isFree} OR #status <> :status AND #expiresAt <= :over)`
      : `attribute_not_exists(#key) OR ${OURS} AND #expiresAt >= :zero AND #status = :status AND #permits = :wanted AND ${isFree}`,
    values: { one: 1, zero: 0, over: now - clockSkewMs, seenFence: seen?.fencingToken, wanted: permits },
    set: {
      ...holder,
      status: "SEMAPHORE",
      updatedAt: now,
      fencingToken: NEXT_FENCE,
      [slotFenceAttribute(slot)]: NEXT_FENCE,
      [at]: holder,
      permits: !seen || seen.setPermits ? permits : undefined,
      data,
    },
    remove: ["result", "failure", "finalStatus", "fingerprint"],
    neededUntil: now + leaseMs + MAX_SEMAPHORE_LEASE_MS,
  };
};
