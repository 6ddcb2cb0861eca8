/** The protocol of a semaphore: the same item with status SEMAPHORE, in which each holder has a map `slot_<n>` of its own. */

import type { Item } from "./item.ts";
import { ATTRIBUTES } from "./record.ts";
import {
  CLAIMED,
  type Claim,
  type ConditionalUpdate,
  claimValues,
  NEXT_FENCE,
  number,
  OURS,
  STATES,
  type TableLayout,
  ttlAfter,
  update,
} from "./requests.ts";

/** A slot of a semaphore to take, and what has to be true for it. */
export interface SlotClaim {
  readonly slot: number;
  readonly permits: number;
  /**
   * Without it: the record has this number of permits. With it: nobody has acquired since the record was seen at this
   * fencing token with room left. `permits` is then written only when no holder is left above it.
   */
  readonly seen?: { readonly fencingToken: number; readonly setPermits: boolean } | undefined;
}

/** Takes a slot of a semaphore if it is free. */
export const acquireSlotRequest = (
  layout: TableLayout,
  claim: Claim,
  { slot, permits, seen }: SlotClaim,
  now: number,
): ConditionalUpdate => {
  const slotFree = "(attribute_not_exists(#slot) OR #slot.#expiresAt <= :expired)";
  const condition = seen
    ? `#fence = :seenFence AND #token <> :token AND (#status = :semaphore AND ${slotFree} OR #status <> :semaphore AND #expiresAt <= :expired)`
    : `attribute_not_exists(#key) OR (${OURS} AND #status = :semaphore AND #permits = :permits AND ${slotFree})`;
  const set =
    `SET #status = :semaphore, ${CLAIMED}, #fence = ${NEXT_FENCE}, #slotFence = ${NEXT_FENCE}, #slot = :slot` +
    (!seen || seen.setPermits ? ", #permits = :permits" : "") +
    (claim.data === undefined ? "" : ", #data = :data");
  const all = {
    ...claimValues(layout, claim, now),
    ":permits": number(permits),
    ":ttl": ttlAfter(layout, now + claim.leaseMs, { slot }),
    ":seenFence": seen && number(seen.fencingToken),
  };
  const holder: Item = {
    [ATTRIBUTES.status]: STATES[":inProgress"],
    [ATTRIBUTES.owner]: all[":owner"],
    [ATTRIBUTES.token]: all[":token"],
    [ATTRIBUTES.leaseMs]: all[":leaseMs"],
    [ATTRIBUTES.expiresAt]: all[":expiresAt"],
    [ATTRIBUTES.acquiredAt]: all[":now"],
  };
  return update(
    layout,
    claim.key,
    condition,
    `${set} REMOVE #result, #failure, #finalStatus, #fingerprint`,
    { ...all, ":slot": { M: holder } },
    slot,
  );
};
