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
    if (record && record.expiresAt > this.#clock.now()) return structuredClone(record);
    this.#records.delete(key);
    return undefined;
  }

  set(record: LockRecord): void {
    if (record.status === "FINISHED") this.#records.set(record.key, structuredClone(record));
  }

  delete(key: string): void {
    this.#records.delete(key);
  }
}
