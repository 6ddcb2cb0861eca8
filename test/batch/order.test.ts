/** The order of a batch as a property, over random batches, groups, holders, repeats, duplicates and failures. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { concludeBatch, type KeyState, type Ordered, planBatch } from "../../src/batch/order.ts";

interface Case {
  readonly groups: readonly (string | undefined)[];
  readonly keys: readonly number[];
  /** Several records may have one. */
  readonly identifiers: readonly number[];
  /** By key. */
  readonly wishes: readonly KeyState[];
  /** By identifier, if the handler is given one of its records. */
  readonly fails: readonly boolean[];
}

const RECORDS = 12;
const KEYS = 8;
const listOf = <T>(one: fc.Arbitrary<T>, length: number) => fc.array(one, { minLength: length, maxLength: length });

const groupings = fc.oneof(
  fc.constant(Array<undefined>(RECORDS).fill(undefined)), // a standard queue
  fc.constant(Array<string>(RECORDS).fill("shard")), // a stream
  listOf(fc.constantFrom("red", "green", "blue"), RECORDS), // a FIFO queue
);
const cases = (wish: fc.Arbitrary<KeyState>, failure: fc.Arbitrary<boolean>): fc.Arbitrary<Case> =>
  fc.record({
    groups: groupings.chain((groups) => fc.nat(RECORDS).map((length) => groups.slice(0, length))),
    keys: listOf(fc.nat(KEYS - 1), RECORDS),
    identifiers: fc.oneof(
      fc.constant([...Array(RECORDS).keys()]),
      listOf(fc.nat(RECORDS - 1), RECORDS),
      fc.nat(RECORDS).map((most) => [...Array(RECORDS).keys()].map((index) => Math.min(index, most))),
    ),
    wishes: listOf(wish, KEYS),
    fails: listOf(failure, RECORDS),
  });
const anyWish = fc.constantFrom<KeyState>("owned", "owned", "owned", "finished", "failed", "untried");

const run = ({ groups, keys, identifiers, wishes, fails: reported }: Case) => {
  const fails = identifiers.map((identifier) => reported[identifier] as boolean);
  const wishOf = (index: number) => wishes[keys[index] as number] as KeyState;
  const items: Ordered[] = [];
  for (const [index, group = index] of groups.entries()) {
    const leader = items[keys.indexOf(keys[index] as number)];
    items.push({ group, leader, state: wishOf(index) });
  }
  planBatch(items);
  const plans = items.map(({ plan }) => plan);
  const given = plans.flatMap((plan, index) => (plan === "run" ? [index] : []));
  for (const [index, item] of items.entries()) item.failure = fails[index] ? {} : undefined;
  concludeBatch(items);
  const outcomes = items.map(({ outcome }) => outcome);
  const behind = (index: number) =>
    [...groups.keys()].filter(
      (other) => other > index && groups[index] !== undefined && groups[other] === groups[index],
    );
  const keyOf = (index: number) => keys[index] as number;
  const isAcrossGroups = groups.some((group, index) => groups[keys.indexOf(keys[index] as number)] !== group);
  return { identifiers, isAcrossGroups, plans, given, outcomes, behind, keyOf, wishOf, fails };
};

const always = (
  wish: fc.Arbitrary<KeyState>,
  failure: fc.Arbitrary<boolean>,
  holds: (ran: ReturnType<typeof run>) => void,
) =>
  fc.assert(
    fc.property(cases(wish, failure), (one) => holds(run(one))),
    { numRuns: 5_000 },
  );

describe("in every batch", () => {
  it("the handler is given nothing behind a record of its group that comes back", () => {
    always(anyWish, fc.boolean(), ({ plans, behind }) => {
      for (const [index, plan] of plans.entries()) {
        if (plan === "return") expect(behind(index).map((other) => plans[other])).not.toContain("run");
      }
    });
  });

  it("nothing behind a record of its group that comes back is finished or acknowledged, whether it was held or failed", () => {
    always(anyWish, fc.boolean(), ({ outcomes, behind }) => {
      for (const [index, outcome] of outcomes.entries()) {
        if (outcome === "return") expect(behind(index).filter((other) => outcomes[other] !== "return")).toEqual([]);
      }
    });
  });

  it("the handler is given a record only when all before it in its group are known to stay away, or are given to it", () => {
    always(anyWish, fc.boolean(), ({ plans, outcomes, given, behind }) => {
      for (const [index, plan] of plans.entries()) {
        if (plan !== "follow") continue;
        const isOpen = !given.some((other) => other < index && behind(other).includes(index));
        if (isOpen && behind(index).length > 0) expect(behind(index).map((other) => plans[other])).not.toContain("run");
      }
      expect(outcomes).toHaveLength(plans.length);
    });
  });

  it("a key runs at most once, and only if it was free", () => {
    always(anyWish, fc.boolean(), ({ given, keyOf, wishOf }) => {
      expect(new Set(given.map(keyOf)).size).toBe(given.length);
      expect(given.map(wishOf).every((wish) => wish === "owned")).toBe(true);
    });
  });

  it("a record is finished only if the handler was given it and didn't fail, and acknowledged only if its key is finished", () => {
    always(anyWish, fc.boolean(), ({ plans, outcomes, keyOf, wishOf, fails }) => {
      const finished = new Set([...outcomes.keys()].filter((index) => outcomes[index] === "finish").map(keyOf));
      for (const [index, outcome] of outcomes.entries()) {
        if (outcome === "finish") expect([plans[index], fails[index]]).toEqual(["run", false]);
        if (outcome === "drop") expect(wishOf(index) === "finished" || finished.has(keyOf(index))).toBe(true);
      }
    });
  });

  it("a record comes back only if its key is held or failed, or if that is so of one before it, or of one that it waits for", () => {
    always(anyWish, fc.boolean(), ({ outcomes, plans, behind, keyOf, wishOf, fails }) => {
      const isToBlame = (index: number) =>
        ["failed", "untried"].includes(wishOf(index)) || (plans[index] === "run" && fails[index]);
      for (const [index, outcome] of outcomes.entries()) {
        if (outcome !== "return") continue;
        const before = [...outcomes.keys()].filter((other) => other < index);
        const blamed = before.filter((other) => keyOf(other) === keyOf(index) || behind(other).includes(index));
        expect(
          isToBlame(index) || blamed.some((other) => outcomes[other] === "return" || plans[other] === "follow"),
        ).toBe(true);
      }
    });
  });

  it("of those that share an identifier, all that the handler was given fail together", () => {
    always(anyWish, fc.boolean(), ({ plans, outcomes, identifiers, fails }) => {
      for (const [index, plan] of plans.entries()) {
        if (plan !== "run" || !fails[index]) continue;
        const shared = [...plans.keys()].filter((other) => identifiers[other] === identifiers[index]);
        expect(shared.map((other) => outcomes[other])).not.toContain("finish");
      }
    });
  });

  it("without holders and failures, and duplicates in other groups, all is finished or acknowledged", () => {
    always(fc.constantFrom<KeyState>("owned", "finished"), fc.constant(false), ({ outcomes, isAcrossGroups }) => {
      fc.pre(!isAcrossGroups);
      expect(outcomes).not.toContain("return");
    });
  });
});
