import type { Clock } from "../common/clock.ts";
import type { LockRecord } from "../common/record.ts";

const GENERATIONS = 1_024;

/**
 * Finished records, which don't change before their window ends: a repeat in the same process needs
 * no request. Copies go in and out, so that who gets a response may change it. A reply that was on
 * its way when its key was forgotten stays out.
 */
export class FinishedCache {
  /** The least recently used first. */
  readonly #records = new Map<string, LockRecord>();
  readonly #size: number;
  readonly #clock: Clock;
  /**
   * How often keys were forgotten, by a hash of the key. Two with one hash only keep each other's
   * replies out.
   */
  readonly #generations = new Uint32Array(GENERATIONS);

  constructor(size: number, clock: Clock) {
    this.#size = size;
    this.#clock = clock;
  }

  get(key: string): LockRecord | undefined {
    const record = this.#records.get(key);
    if (!record || record.expiresAt <= this.#clock.now()) {
      this.#records.delete(key);
      return undefined;
    }
    this.#put(record);
    return copyOf(record);
  }

  /**
   * A number that `set` compares: it changes when the key is forgotten. Ask for it before a request
   * is sent.
   */
  generation(key: string): number {
    return this.#generations[generationOf(key)] as number;
  }

  /**
   * Keeps what a request has brought, unless its key was forgotten since it was sent. Several keys
   * are not kept.
   */
  set(record: LockRecord, generation: number | undefined): void {
    if (record.status !== "FINISHED" || record.keyCount !== undefined) return;
    if (this.generation(record.key) === generation) this.#put(copyOf(record));
  }

  /** Puts the stored response to a record that is kept. */
  complete(record: LockRecord): void {
    if (this.#records.get(record.key)?.token === record.token) this.#put(copyOf(record));
  }

  #put(record: LockRecord | undefined): void {
    if (!record) return;
    this.#records.delete(record.key);
    this.#records.set(record.key, record);
    for (const oldest of this.#records.keys()) {
      if (this.#records.size <= this.#size) return;
      this.#records.delete(oldest);
    }
  }

  delete(key: string): void {
    this.#records.delete(key);
    this.#generations[generationOf(key)] = this.generation(key) + 1;
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

const generationOf = (key: string): number => {
  let hash = 0;
  for (let index = 0; index < key.length; index++) hash = (hash * 31 + key.charCodeAt(index)) % GENERATIONS;
  return hash;
};
