import type { Refusal } from "./acquire.ts";
import { LockHeldError } from "./errors.ts";
import { holderOf, isAround } from "./holder.ts";
import type { Keys } from "./key.ts";
import type { LockRecord } from "./record.ts";

/** @internal What stands in the way of an acquisition. */
export class Refused {
  readonly records: readonly LockRecord[];
  /** How many keys were asked for. */
  readonly #keys: number;
  /** The tokens of the locks around the run that asked. */
  readonly #around: readonly string[];

  constructor({ records }: Refusal, keys: Keys, around: readonly string[] = []) {
    this.records = records;
    this.#keys = keys.length;
    this.#around = around;
  }

  /** The record that says most: of a run around this one, of another that is at it, or else of one that has finished. */
  get record(): LockRecord {
    const held = this.records.filter(({ status }) => status !== "FINISHED");
    return (held.find((record) => isAround(record, this.#around)) ?? held[0] ?? this.records[0]) as LockRecord;
  }

  /** Whether the run that asked holds it by itself, so that no other is at the work. */
  get isOwn(): boolean {
    return isAround(this.record, this.#around);
  }

  get error(): LockHeldError {
    return new LockHeldError(this.record, holderOf(this.record, this.#around));
  }

  /** The record to replay, if one run has finished all the keys: only that run did what this one would do. */
  get finished(): LockRecord | undefined {
    const [first] = this.records;
    const one = this.records.every(({ status, token }) => status === "FINISHED" && token === first?.token);
    if (!one || this.records.length < this.#keys || (first?.keyCount ?? 1) !== this.#keys) return undefined;
    return this.records.find(({ result, resultKey }) => result ?? resultKey) ?? first;
  }
}
