import { LockOptionsError } from "../common/errors.ts";
import { fits } from "../common/rules.ts";
import type { Take, Wanted } from "../lock/acquire.ts";
import { liveHolders } from "../protocol/expiry.ts";
import { acquireSlot, type SlotClaim } from "../protocol/semaphore.ts";
import { PERMIT_LEASE } from "./options.ts";

/**
 * How often a slot is tried for while the record shows one free: each failure means that somebody
 * else took one.
 */
const MAX_TRIES = 10;

/**
 * Takes one of several permits. The first request guesses a slot; a refusal shows all of them, and
 * the second takes a free one. Two requests are enough unless others take slots in between.
 *
 * Where the record has another number of permits than ours, the holders are counted instead, and the
 * write requires that nobody has acquired since (the fencing token is unchanged), so that a lowered
 * number is never exceeded.
 */
const takePermit: Take = async ({ table, clock, random, wanted, leaseMs, bounds, claim, taken, untilFree }) => {
  const { keys, clockSkewMs, execution } = wanted;
  const { permits } = wanted.semaphore as NonNullable<Wanted["semaphore"]>;
  if (keys.length > 1) throw new LockOptionsError("a semaphore has one key: take several one after the other");
  if (execution !== undefined) {
    throw new LockOptionsError("a semaphore can't be held by a durable execution: it could not find its permit again");
  }
  if (!fits(leaseMs, PERMIT_LEASE)) {
    throw new LockOptionsError(
      `leaseMs of a semaphore must be ${PERMIT_LEASE}, got ${leaseMs}: the LockClient's is longer`,
    );
  }
  let slotClaim: SlotClaim = { slot: Math.floor(random() * permits), permits };
  for (let attempt = 1; ; attempt++) {
    const now = clock.now();
    const { slot, seen } = slotClaim;
    const write = acquireSlot(claim(keys[0]), slotClaim, now);
    const reply = await table.write([write], { ...bounds, returnsBefore: true, allowsAbsent: !seen });
    const outcome = taken(reply, now, { slot });
    if (!("length" in outcome) || attempt === MAX_TRIES) return outcome;
    const [record] = outcome;
    if (!record) {
      slotClaim = { slot: 0, permits }; // TTL has just deleted it
      continue;
    }
    if (untilFree(record) > 0) return outcome;
    const live = liveHolders(record, clock.now() - clockSkewMs);
    const held = (record.holders ?? []).filter((holder) => live.includes(holder)).map((holder) => holder.slot);
    const free = Array.from({ length: permits }, (_, each) => each).filter((each) => !held.includes(each));
    const isAgreed = record.status === "SEMAPHORE" && record.permits === permits;
    const setPermits = held.every((each) => each < permits);
    slotClaim = {
      slot: free[Math.floor(random() * free.length)] as number, // there is one: fewer hold than permits
      permits,
      seen: isAgreed ? undefined : { fencingToken: record.fencingToken, setPermits },
    };
  }
};

/** Makes an acquisition that of a permit. */
export const permitOf = (permits: number): NonNullable<Wanted["semaphore"]> => ({
  permits,
  take: takePermit,
  leaseRule: PERMIT_LEASE,
});
