import type { Clock } from "../common/clock.ts";
import type { AcquireReply, Store } from "../dynamodb/store.ts";
import type { Claim } from "../protocol/requests.ts";
import { liveHolders, untilOver } from "../protocol/wait.ts";

/** How often a slot is tried for while the record shows one free: each failure means that somebody else took one. */
const MAX_ATTEMPTS = 10;

/**
 * Takes one of several permits. The first request guesses a slot; a refusal shows all of them, and the second takes a
 * free one. Two requests are enough unless others take slots in between.
 *
 * Where the record has another number of permits than ours, the holders are counted instead, and the write requires that
 * nobody has acquired since (the fencing token is unchanged), so that a lowered number is never exceeded.
 */
export const acquirePermit = async (
  store: Store,
  clock: Clock,
  random: () => number,
  claim: Claim,
  permits: number,
): Promise<AcquireReply> => {
  let reply = await store.acquireSlot(claim, { slot: Math.floor(random() * permits), permits });
  for (let attempt = 1; attempt < MAX_ATTEMPTS && !reply.acquired; attempt++) {
    const { record } = reply;
    if (!record) {
      reply = await store.acquireSlot(claim, { slot: 0, permits }); // TTL has just deleted it
      continue;
    }
    const now = clock.now();
    if (untilOver(record, now, claim.clockSkewMs, permits) > 0) return reply;
    const live = liveHolders(record, now, claim.clockSkewMs);
    const taken = live.map((holder) => holder.slot);
    const free = Array.from({ length: permits }, (_, slot) => slot).filter((slot) => !taken.includes(slot));
    const slot = free[Math.floor(random() * free.length)] as number; // there is one: fewer hold than permits
    const agreed = record.status === "SEMAPHORE" && record.permits === permits;
    const setPermits = live.every((holder) => holder.slot < permits);
    const seen = { fencingToken: record.fencingToken, setPermits };
    reply = await store.acquireSlot(claim, agreed ? { slot, permits } : { slot, permits, seen });
  }
  return reply;
};
