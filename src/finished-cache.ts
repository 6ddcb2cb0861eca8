import QuickLRU from "quick-lru";
import type { Clock } from "./clock.ts";
import type { LockRecord } from "./record.ts";

/**
 * Finished records, which don't change before their window ends: a repeat in the same process needs no request. Copies go
 * in and out, so that who gets a response may change it.
 */
export class FinishedCache {
  readonly #records: QuickLRU<string, LockRecord>;
  readonly #clock: Clock;

  constructor(size: number, clock: Clock) {
    this.#records = new QuickLRU({ maxSize: size });
    this.#clock = clock;
  }

  get(key: string): LockRecord | undefined {
    const record = this.#records.get(key);
    const copy = record && record.expiresAt > this.#clock.now() ? copyOf(record) : undefined;
    if (!copy) this.#records.delete(key);
    return copy;
  }

  set(record: LockRecord): void {
    const copy = record.status === "FINISHED" ? copyOf(record) : undefined;
    if (copy) this.#records.set(record.key, copy);
  }

  delete(key: string): void {
    this.#records.delete(key);
  }
}

/**
 * `undefined` for a response that is nested too deep to be copied: it is read from the table each
 * time.
 */
const copyOf = (record: LockRecord): LockRecord | undefined => {
  try {
    return structuredClone(record);
  } catch {
    return undefined;
  }
};
