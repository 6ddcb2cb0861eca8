import { LockHeldError } from "../common/errors.ts";
import type { LockRecord } from "../common/record.ts";
import type { Wanted } from "./acquire.ts";
import { holderOf, isAround } from "./held-here.ts";

/** A refused acquisition, with the records that stand in its way. */
export class Refused {
  readonly records: readonly LockRecord[];
  readonly #wanted: Pick<Wanted, "keys" | "keyList" | "around">;

  constructor(records: readonly LockRecord[], wanted: Pick<Wanted, "keys" | "keyList" | "around">) {
    this.records = records;
    this.#wanted = wanted;
  }

  get #around(): readonly string[] {
    return this.#wanted.around ?? [];
  }

  /**
   * The record that says most: of a run around this one, of another that is at it, or else of one
   * that has finished.
   */
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
    const { keys, keyList } = this.#wanted;
    // A run of an older version left no hash. One key without a hash was asked for alone.
    if (!finished || (finished.keyList === undefined && keys.length > 1)) return false;
    return finished.keyList !== keyList;
  }

  /**
   * The record of the run that has finished all the keys, if it was one: only that run did what
   * this one would do.
   */
  get finished(): LockRecord | undefined {
    const [first] = this.records;
    const { length } = this.#wanted.keys;
    const isOne = this.records.every(({ status, token }) => status === "FINISHED" && token === first?.token);
    if (!isOne || this.records.length < length || (first?.keyCount ?? 1) !== length) return undefined;
    const hasResponse = ({ result, resultKey, resultBytes, unreadable }: LockRecord) =>
      result !== undefined || resultKey !== undefined || resultBytes !== undefined || unreadable?.includes("result");
    return this.records.find(hasResponse) ?? first;
  }
}

/** Not by the class: `locks` may be those of another copy of this package. */
export const isRefused = (outcome: object): outcome is Refused => "records" in outcome;
