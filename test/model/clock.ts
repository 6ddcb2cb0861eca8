import type { Clock } from "../../src/index.ts";

export const EPOCH = Date.UTC(2026, 10, 21);

/**
 * A client's own view of the world's time: its wall clock is off by `skew`, its monotonic clock may have stood still in a
 * freeze, and while it is frozen both stand still and no timer fires.
 */
export class SimulatedClock implements Clock {
  /** By how much the wall clock is ahead, in ms. */
  skew = 0;
  readonly #worldTime: () => number;
  readonly #timers = new Map<object, { readonly at: number; readonly callback: () => void }>();
  #stoodStillMs = 0;
  #frozen: { readonly since: number; readonly now: number; readonly monotonic: number } | undefined;

  constructor(worldTime: () => number) {
    this.#worldTime = worldTime;
  }

  now(): number {
    return this.#frozen?.now ?? Math.floor(EPOCH + this.#worldTime() + this.skew);
  }

  monotonic(): number {
    return this.#frozen?.monotonic ?? this.#worldTime() - this.#stoodStillMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = this.setTimer(ms, resolve);
      signal?.addEventListener("abort", () => {
        cancel();
        reject(signal.reason);
      });
    });
  }

  setTimer(ms: number, callback: () => void): () => void {
    const id = {};
    this.#timers.set(id, { at: this.monotonic() + ms, callback });
    return () => {
      this.#timers.delete(id);
    };
  }

  get isFrozen(): boolean {
    return this.#frozen !== undefined;
  }

  freeze(): void {
    this.#frozen = { since: this.#worldTime(), now: this.now(), monotonic: this.monotonic() };
  }

  /** Says for how long it was frozen, in ms. Timers that are due meanwhile wait for `fireDueTimers`. */
  thaw({ monotonicStoodStill }: { readonly monotonicStoodStill: boolean }): number {
    const ms = this.#worldTime() - (this.#frozen?.since ?? this.#worldTime());
    if (monotonicStoodStill) this.#stoodStillMs += ms;
    this.#frozen = undefined;
    return ms;
  }

  fireDueTimers(): void {
    if (this.isFrozen) return;
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= this.monotonic());
      const [first] = due.sort(([, a], [, b]) => a.at - b.at);
      if (!first) return;
      const [id, { callback }] = first;
      this.#timers.delete(id);
      callback();
    }
  }

  /** When the next timer is due, by the world's time. */
  get nextTimerAt(): number {
    if (this.isFrozen) return Number.POSITIVE_INFINITY;
    return Math.min(...[...this.#timers.values()].map(({ at }) => at + this.#stoodStillMs));
  }
}
