import type { Take } from "../lock/acquire.ts";
import { liveHoldings } from "../protocol/expiry.ts";
import { acquireSlot, type SlotClaim } from "../protocol/semaphore.ts";

/** How often a slot is tried for while the record shows one free: each failure means that somebody else took one. */
const MAX_TRIES = 10;

/**
 * Takes one of several permits. The first request guesses a slot; a refusal shows all of them, and the second takes a
 * free one. Two requests are enough unless others take slots in between.
 *
 * Where the record has another number of permits than ours, the holders are counted instead, and the write requires
 * that nobody has acquired since (the fencing token is unchanged), so that a lowered number is never exceeded.
 */
export const takePermit: Take = async ({ table, clock, random, wanted, claim, taken, untilFree }) => {
  const { keys, clockSkewMs, semaphore } = wanted;
  const { permits = 1 } = semaphore ?? {};
  let slotClaim: SlotClaim = { slot: Math.floor(random() * permits), permits };
  for (let attempt = 1; ; attempt++) {
    const now = clock.now();
    const { slot, seen } = slotClaim;
    const reply = await table.write([acquireSlot(claim(keys[0]), slotClaim, now)], {
      returnsBefore: true,
      allowsAbsent: seen === undefined,
    });
    const outcome = taken(reply, now, { slot });
    if (!("length" in outcome) || attempt === MAX_TRIES) return outcome;
    const [record] = outcome;
    if (!record) {
      slotClaim = { slot: 0, permits }; // TTL has just deleted it
      continue;
    }
    if (untilFree(record) > 0) return outcome;
    const live = record.holders ? liveHoldings(record, clock.now() - clockSkewMs) : [];
    const taken_ = record.holders?.filter((holder) => live.includes(holder)).map(({ slot }) => slot) ?? [];
    const free = Array.from({ length: permits }, (_, each) => each).filter((each) => !taken_.includes(each));
    const isAgreed = record.status === "SEMAPHORE" && record.permits === permits;
    const setPermits = taken_.every((each) => each < permits);
    slotClaim = {
      slot: free[Math.floor(random() * free.length)] as number, // there is one: fewer hold than permits
      permits,
      seen: isAgreed ? undefined : { fencingToken: record.fencingToken, setPermits },
    };
  }
};
