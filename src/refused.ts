import type { Refusal } from "./acquire.ts";
import type { Keys } from "./key.ts";
import type { LockRecord } from "./record.ts";

/** @internal What stands in the way of an acquisition. */
export class Refused {
  readonly records: readonly LockRecord[];
  /** How many keys were asked for. */
  readonly #keys: number;

  constructor({ records }: Refusal, keys: Keys) {
    this.records = records;
    this.#keys = keys.length;
  }

  /** The record that says most: of a run that is at it, or else of one that has finished. */
  get record(): LockRecord {
    return (this.records.find(({ status }) => status !== "FINISHED") ?? this.records[0]) as LockRecord;
  }

  /** The record to replay, if one run has finished all the keys: only that run did what this one would do. */
  get finished(): LockRecord | undefined {
    const [first] = this.records;
    const one = this.records.every(({ status, token }) => status === "FINISHED" && token === first?.token);
    if (!one || this.records.length < this.#keys || (first?.keyCount ?? 1) !== this.#keys) return undefined;
    const hasResponse = ({ result, resultKey, unreadable }: LockRecord) =>
      result !== undefined || resultKey !== undefined || unreadable?.includes("result");
    return this.records.find(hasResponse) ?? first;
  }
}
