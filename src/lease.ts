import type { Clock } from "./clock.ts";

/** A lease that is to be, from before the write that asks for it. */
export interface Renewal {
  readonly ms: number;
  /** Monotonic. */
  readonly since: number;
  /** Epoch ms. */
  readonly expiresAt: number;
  /** Than the lease that it is to replace. */
  readonly isShorter: boolean;
  /** First and last end that the record may have: they differ after a renewal whose fate is unknown. */
  readonly knownEnds: readonly number[];
}

/** The lease as its holder counts it: from before the write that began or prolonged it, on both clocks. */
export class Lease {
  readonly #clock: Clock;
  #current: Pick<Renewal, "ms" | "since" | "expiresAt">;
  #ends: readonly number[];

  constructor(clock: Clock, current: Pick<Renewal, "ms" | "since" | "expiresAt">) {
    this.#clock = clock;
    this.#current = current;
    this.#ends = [current.expiresAt];
  }

  get ms(): number {
    return this.#current.ms;
  }

  /** Epoch ms. */
  get expiresAt(): number {
    return this.#current.expiresAt;
  }

  /** By the wall or the monotonic clock, whichever is first: a freeze may stop either. Never negative. */
  get remainingMs(): number {
    const { ms, since, expiresAt } = this.#current;
    const left = Math.min(expiresAt - this.#clock.now(), ms - (this.#clock.monotonic() - since));
    return Math.max(0, Math.floor(left));
  }

  /** What to ask for, so that `ms` are left from now. From here on the record may have either end. */
  renewal(ms: number): Renewal {
    const since = this.#clock.monotonic();
    const isShorter = since + ms < this.#current.since + this.#current.ms;
    const knownEnds = this.#ends;
    // Another end than before, also when the wall clock stands still or was set back: watchers must see the renewal.
    const later = isShorter ? [] : knownEnds.map((end) => end + 1);
    const expiresAt = Math.max(this.#clock.now() + ms, ...later);
    this.#ends = [Math.min(...knownEnds, expiresAt), Math.max(...knownEnds, expiresAt)];
    const renewal = { ms, since, expiresAt, isShorter, knownEnds };
    // A shorter lease holds for us from now on, whether or not we hear that it was written.
    if (isShorter) this.#current = renewal;
    return renewal;
  }

  /** It stands in the record. */
  written({ expiresAt }: Renewal): void {
    this.#ends = [expiresAt];
  }

  /** It counts. */
  take(renewal: Renewal): void {
    this.#current = renewal;
  }
}
