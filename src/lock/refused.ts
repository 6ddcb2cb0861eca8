import { LockHeldError } from "../common/errors.ts";
import type { LockRecord } from "../common/record.ts";
import type { Refusal, Wanted } from "./acquire.ts";
import { holderOf, isAround } from "./holder.ts";

/** @internal What stands in the way of an acquisition. */
export class Refused {
  readonly records: readonly LockRecord[];
  /** How many different keys were asked for. */
  readonly #keys: number;
  readonly #keyList: string | undefined;
  /** The tokens of the locks around the run that asked. */
  readonly #around: readonly string[];

  constructor({ records }: Refusal, { keys, keyList, around = [] }: Pick<Wanted, "keys" | "keyList" | "around">) {
    this.records = records;
    this.#keys = keys.length;
    this.#keyList = keyList;
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

  /**
   * Whether the run that has finished all the keys had them in another order, or with other
   * repeats.
   */
  get isOfAnotherList(): boolean {
    const { finished } = this;
    // A run of an older version left no hash. One key without a hash was asked for alone.
    if (!finished || (finished.keyList === undefined && this.#keys > 1)) return false;
    return finished.keyList !== this.#keyList;
  }

  /**
   * The record of the run that has finished all the keys, if it was one: only that run did what
   * this one would do.
   */
  get finished(): LockRecord | undefined {
    const [first] = this.records;
    const one = this.records.every(({ status, token }) => status === "FINISHED" && token === first?.token);
    if (!one || this.records.length < this.#keys || (first?.keyCount ?? 1) !== this.#keys) return undefined;
    const hasResponse = ({ result, resultKey, unreadable }: LockRecord) =>
      result !== undefined || resultKey !== undefined || unreadable?.includes("result");
    return this.records.find(hasResponse) ?? first;
  }
}
