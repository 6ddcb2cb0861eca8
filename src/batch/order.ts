/** Pure: what becomes of each record of a batch, so that order is kept. Records are named by their index. */

/** Where a record stands. */
export interface Place {
  /** Within a group records are in order, and a record that comes back stops those behind it; `undefined`: no order. */
  readonly group: string | undefined;
  /** The first record of the batch with the same key and payload, if that is another one. */
  readonly leader: number | undefined;
}

/**
 * The fate of the wish for a record's key. `blocked`: held by another run, not to be had, or not
 * tried for.
 */
export type Wish = "owned" | "finished" | "blocked";

/**
 * Before the handler. `run`: it is given the record. `drop`: a run has finished it. `follow`: what becomes of it is decided by
 * its leader. `return`: it comes back.
 */
export type Plan = "run" | "drop" | "follow" | "return";

/** After the handler. */
export type Outcome = "finish" | "drop" | "return";

/**
 * The handler is given nothing behind a record that comes back, nor anything behind a record of
 * which it is not known yet whether it comes back, because its leader is in another group.
 */
export const planBatch = (places: readonly Place[], wishOf: (index: number) => Wish): Plan[] => {
  const stopped = new Set<string>();
  const plans: Plan[] = [];
  for (const [index, { group, leader }] of places.entries()) {
    const plan = group !== undefined && stopped.has(group) ? "return" : planOne(plans, leader, wishOf, index);
    plans.push(plan);
    const isOpen = plan === "follow" && places[leader as number]?.group !== group;
    if (group !== undefined && (plan === "return" || isOpen)) stopped.add(group);
  }
  return plans;
};

const planOne = (
  plans: readonly Plan[],
  leader: number | undefined,
  wishOf: (index: number) => Wish,
  index: number,
): Plan => {
  if (leader !== undefined) return plans[leader] === "run" ? "follow" : (plans[leader] as Plan);
  return ({ owned: "run", finished: "drop", blocked: "return" } as const)[wishOf(index)];
};

/** Behind a record that comes back nothing is finished, whatever the handler says of it. */
export const concludeBatch = (
  places: readonly Place[],
  plans: readonly Plan[],
  hasFailed: (index: number) => boolean,
): Outcome[] => {
  const stopped = new Set<string>();
  const outcomes: Outcome[] = [];
  for (const [index, { group, leader }] of places.entries()) {
    const outcome =
      group !== undefined && stopped.has(group)
        ? "return"
        : concludeOne(plans[index] as Plan, outcomes[leader as number], () => hasFailed(index));
    outcomes.push(outcome);
    if (group !== undefined && outcome === "return") stopped.add(group);
  }
  return outcomes;
};

const concludeOne = (plan: Plan, ofLeader: Outcome | undefined, hasFailed: () => boolean): Outcome => {
  if (plan === "run") return hasFailed() ? "return" : "finish";
  if (plan === "follow") return ofLeader === "return" ? "return" : "drop";
  return plan;
};
