import type { Clock } from "../common/clock.ts";
import type { LockRecord } from "../common/record.ts";

/** A lease as it was seen: what an acquisition may claim to have watched to its end. */
interface Sighting extends Pick<LockRecord, "token" | "expiresAt" | "leaseMs"> {
  /** Monotonic. */
  readonly since: number;
}

/**
 * How many leases a client watches: as many as Lambda's largest batch has records
 * (https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html).
 */
const MAX_SIGHTINGS = 10_000;

/**
 * Watches holders without trusting wall clocks: a lease is over when it was seen unchanged for its
 * length, by our monotonic clock alone. Every renewal changes `expires_at`. The holder counts its
 * lease from before the write that we saw, so ours ends later; and later still if our clock stands
 * still while the process is frozen. What was seen may be old by the time that it counts: the write
 * that relies on it requires that nothing has changed.
 */
export class Watch {
  readonly #clock: Clock;
  /** By key, the least recently seen first. */
  readonly #sightings = new Map<string, Sighting>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Notes a record. Gives the time until its lease is over by watching, in ms; `Infinity` when
   * there is none to watch.
   */
  see({ key, status, token, expiresAt, leaseMs }: LockRecord): number {
    const before = this.#sightings.get(key);
    this.#sightings.delete(key);
    if (status !== "IN_PROGRESS" || !(leaseMs > 0)) return Number.POSITIVE_INFINITY;
    const isSame = before?.token === token && before.expiresAt === expiresAt && before.leaseMs === leaseMs;
    const now = this.#clock.monotonic();
    const seen = isSame ? before : { token, expiresAt, leaseMs, since: now };
    this.#sightings.set(key, seen);
    const [oldest] = this.#sightings.keys();
    if (this.#sightings.size > MAX_SIGHTINGS) this.#sightings.delete(oldest as string);
    return Math.max(0, seen.since + leaseMs - now);
  }

  /** The lease of a key that was watched to its end. */
  over(key: string): Sighting | undefined {
    const seen = this.#sightings.get(key);
    return seen && seen.since + seen.leaseMs <= this.#clock.monotonic() ? seen : undefined;
  }
}
