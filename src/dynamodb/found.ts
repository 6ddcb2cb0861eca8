/** What stands under the keys of late, and what a request does best to begin with. */
import type { LockRecord } from "../common/record.ts";

/** `other`: a lock that is free or held, or no lock. */
export type Found = "absent" | "finished" | "other";

/** The weight of the newest key among those of late: about ten of them outweigh all before. */
const WEIGHT = 0.1;

/**
 * The first try costs a request. It is an INSERT while most keys are new, a look while most are
 * finished, and no try of its own while most are neither: such as the id of an entity, whose record
 * stays.
 */
export class Expectation {
  readonly #shares: Record<Found, number> = { absent: 1, finished: 0, other: 0 };

  get likely(): Found {
    const { absent, finished, other } = this.#shares;
    return absent >= Math.max(finished, other) ? "absent" : finished >= other ? "finished" : "other";
  }

  learn(found: Found): void {
    for (const each of Object.keys(this.#shares) as Found[]) {
      this.#shares[each] += WEIGHT * (Number(each === found) - this.#shares[each]);
    }
  }
}

/**
 * Whether a record that was read just now refuses an acquisition as its condition would: a run has
 * finished it, and is remembered. `over`: epoch ms, as in the condition.
 */
export const isRemembered = (record: LockRecord | undefined, over: number): boolean =>
  record?.status === "FINISHED" && record.expiresAt > over;
