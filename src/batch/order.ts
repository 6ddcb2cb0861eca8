/** Pure functions that decide what becomes of each record of a batch, so that order is kept. */

/** A record, as far as its order is concerned. */
export interface Ordered {
  /** Within a group records are in order, and a record that comes back stops those behind it. */
  readonly group: unknown;
  /** The first record of the batch with the same key and payload, if that is another one. */
  leader?: Ordered | undefined;
  state: KeyState;
  plan?: Plan | undefined;
  /** Set if the handler was given the record, and has failed to do it. */
  failure?: object | undefined;
  outcome?: RecordOutcome;
}

/** The state of a record's key. `failed`: it is held by another run, or not to be had. */
export type KeyState = "untried" | "owned" | "finished" | "failed";

/**
 * Before the handler. `run`: it is given the record. `drop`: a run has finished it. `follow`: its
 * leader decides what becomes of it. `return`: it comes back.
 */
export type Plan = "run" | "drop" | "follow" | "return";

/** After the handler. */
export type RecordOutcome = "finish" | "drop" | "return";

const PLANS = { untried: "return", owned: "run", finished: "drop", failed: "return" } as const;

/**
 * The handler is given nothing behind a record that comes back. Nor is it given anything behind a
 * record that may still come back, because its leader is in another group.
 */
export const planBatch = (items: readonly Ordered[]): void => {
  const stopped = new Set<unknown>();
  for (const item of items) {
    const { group, leader, state } = item;
    const own = leader ? leader.plan : PLANS[state];
    item.plan = stopped.has(group) ? "return" : leader && own === "run" ? "follow" : own;
    if (item.plan === "return" || (item.plan === "follow" && leader?.group !== group)) stopped.add(group);
  }
};

/** Behind a record that comes back nothing is finished, whatever the handler says of it. */
export const concludeBatch = (items: readonly Ordered[]): void => {
  const stopped = new Set<unknown>();
  for (const item of items) {
    const { group, leader, plan, failure } = item;
    const comesBack =
      plan === "run" ? failure : plan === "return" || (plan === "follow" && leader?.outcome === "return");
    item.outcome = comesBack || stopped.has(group) ? "return" : plan === "run" ? "finish" : "drop";
    if (item.outcome === "return") stopped.add(group);
  }
};
