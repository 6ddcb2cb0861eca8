/**
 * Transfers are asked for by messages that are delivered at least once, and handled by processes that crash, stall and lose
 * replies. Every transfer has to happen once, whatever goes wrong.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { clientConfig } from "../../scripts/engine.ts";
import { Chance } from "../model/chance.ts";
import { ACCOUNTS, type Audit, audit, openBank, type Transfer } from "./bank.ts";
import { PLANS, type Plan } from "./faults.ts";
import { canHave, type VariantName, variants } from "./variants.ts";
import type { Premises } from "./worker.ts";
import { Workers } from "./workers.ts";

export interface SimulationOptions {
  readonly endpoint: string;
  readonly variants: readonly VariantName[];
  /** Transfers for each fault at each point. */
  readonly perPlan: number;
  /** Transfers whose faults, and the times of their repeats, are left to chance. */
  readonly byChance: number;
  /** How many transfers are under way at once, each in up to four processes. */
  readonly atOnce: number;
  readonly leaseMs: number;
  readonly seed: number;
}

/** What became of one transfer. */
export interface Fate {
  readonly variant: VariantName;
  readonly transfer: Transfer;
  /** The one planned fault; left to chance: none. */
  readonly plan?: Plan;
  /** Whether the planned fault struck. */
  readonly struck: boolean;
  /** Whether each delivery of it came to an end, and in the end it was acknowledged, as was a repeat. */
  readonly acknowledged: boolean;
  /** A process to which nothing happened took longer than the lease: what that did is not the fault's doing. */
  readonly overtime: boolean;
  /** How often the money was moved. */
  readonly moved: number;
}

export interface Simulation {
  readonly fates: readonly Fate[];
  readonly audits: Readonly<Record<string, Audit>>;
  readonly processes: number;
  readonly ms: number;
}

/** A message that failed, or whose process is gone, comes again after this long. */
const REDELIVERY_MS = 100;
/** A transfer that takes longer never ends. */
const PATIENCE_MS = 60_000;
/** How often a fault is planned for a transfer: on a busy machine a lease can be over before the process comes to the point. */
const PLANNED_DELIVERIES = 10;
/** By chance: deliveries of one message at the same time, and in all those that something may happen to. */
const REPEATS = 3;

type Story = Omit<Fate, "moved">;

export const simulate = async (options: SimulationOptions): Promise<Simulation> => {
  const startedAt = performance.now();
  const admin = new DynamoDBClient(clientConfig(options.endpoint));
  const places = Object.fromEntries(
    await Promise.all(
      Object.entries(variants).map(async ([name, variant]) => {
        const tableName = `${name}-${randomUUID()}`;
        await variant.createTable(admin, tableName);
        return [name, { bank: await openBank(admin), tableName }] as const;
      }),
    ),
  ) as unknown as Premises["places"];
  const { endpoint, leaseMs } = options;
  const workers = new Workers({ endpoint, leaseMs, places });
  try {
    const stories = await Promise.all(takeTurns(storiesOf(options, workers), options.atOnce)).then((told) =>
      told.flat(),
    );
    const audits: Record<string, Audit> = {};
    for (const name of options.variants) {
      const transfers = stories.flatMap(({ variant, transfer }) => (variant === name ? [transfer] : []));
      audits[name] = await audit(admin, places[name].bank, transfers);
    }
    const fates = stories.map((story) => ({
      ...story,
      moved: audits[story.variant]?.entries.get(story.transfer.id) ?? 0,
    }));
    return { fates, audits, processes: workers.started, ms: performance.now() - startedAt };
  } finally {
    await workers.stop();
    admin.destroy();
  }
};

function* storiesOf({ variants: names, perPlan, byChance, leaseMs, seed }: SimulationOptions, workers: Workers) {
  const chance = new Chance(seed);
  const transferOf = (what: string, n: number): Transfer => {
    const [from, to] = chance.shuffled(ACCOUNTS) as [string, string];
    return { id: `${what}, ${n}`, from, to, amount: 1 + chance.below(100) };
  };
  // One variant after the other at each point, so that whatever else the machine does meets all of them.
  for (const plan of PLANS) {
    for (let n = 1; n <= perPlan; n++) {
      for (const variant of names.filter((name) => canHave(name, plan))) {
        const transfer = transferOf(`${plan.fault} ${plan.point}`, n);
        yield () => tellPlanned({ workers, variant, transfer, leaseMs }, plan);
      }
    }
  }
  for (let n = 1; n <= byChance; n++) {
    for (const variant of names) {
      const transfer = transferOf("by chance", n);
      yield () => tellByChance({ workers, variant, transfer, leaseMs }, chance);
    }
  }
}

/** Runs tasks, so many at once. */
const takeTurns = <T>(tasks: Iterable<() => Promise<T>>, atOnce: number): Promise<T[]>[] => {
  const waiting = tasks[Symbol.iterator]();
  return Array.from({ length: atOnce }, async () => {
    const done: T[] = [];
    for (let next = waiting.next(); !next.done; next = waiting.next()) done.push(await next.value());
    return done;
  });
};

interface Circumstances {
  readonly workers: Workers;
  readonly variant: VariantName;
  readonly transfer: Transfer;
  readonly leaseMs: number;
}

/** One message, and what is delivered of it. */
class Message {
  acknowledged = false;
  overtime = false;
  struck = false;
  readonly #circumstances: Circumstances;
  readonly #patience: number;

  constructor(circumstances: Circumstances) {
    this.#circumstances = circumstances;
    this.#patience = performance.now() + PATIENCE_MS;
  }

  /** Delivers it to a process that something happens to. What has stopped, or is late, goes on after `hold`. */
  async deliver(plan: Plan | undefined, hold: () => Promise<unknown>): Promise<void> {
    const { workers, variant, transfer, leaseMs } = this.#circumstances;
    const delivery = await workers.deliver(variant, transfer, plan);
    const struck = await delivery.struck;
    if (plan) this.struck = struck;
    if (struck) await hold();
    await delivery.resume();
    const { type, ms = 0 } = await delivery.ended;
    if (type === "done") this.acknowledged = true;
    if (!plan && ms >= leaseMs) this.overtime = true;
  }

  /** Again and again, until a process says that it is done. */
  async deliverUntilDone(planNext: () => Plan | undefined = () => undefined): Promise<void> {
    this.acknowledged = false;
    while (!this.acknowledged && performance.now() < this.#patience) {
      await this.deliver(planNext(), async () => {});
      if (!this.acknowledged) await sleep(REDELIVERY_MS);
    }
  }

  story(plan?: Plan): Story {
    const { variant, transfer } = this.#circumstances;
    const { struck, acknowledged, overtime } = this;
    return { variant, transfer, struck, acknowledged, overtime, ...(plan && { plan }) };
  }
}

/** A fault strikes; another process gets the message until it has done it; then what was held up goes on. */
const tellPlanned = async (circumstances: Circumstances, plan: Plan): Promise<Story> => {
  const message = new Message(circumstances);
  for (let n = 1; n <= PLANNED_DELIVERIES; n++) {
    await message.deliver(plan, () => message.deliverUntilDone());
    if (message.struck || message.acknowledged) break;
    await sleep(REDELIVERY_MS);
  }
  if (!message.acknowledged) await message.deliverUntilDone();
  await message.deliverUntilDone(); // a repeat, when all is over
  return message.story(plan);
};

/** Several processes have the message at once, anything may happen to each of them, and stalls take any time. */
const tellByChance = async (circumstances: Circumstances, chance: Chance): Promise<Story> => {
  const { variant, leaseMs } = circumstances;
  const plans = PLANS.filter((plan) => canHave(variant, plan));
  const planNext = () => (chance.happens(0.6) ? chance.pick(plans) : undefined);
  const message = new Message(circumstances);
  const repeats = Array.from({ length: 1 + chance.below(REPEATS) }, async () => {
    await sleep(chance.below(leaseMs / 2));
    await message.deliver(planNext(), () => sleep(chance.below(3 * leaseMs)));
  });
  await Promise.all(repeats);
  let faults = chance.below(REPEATS);
  await message.deliverUntilDone(() => (faults-- > 0 ? planNext() : undefined));
  await message.deliverUntilDone();
  return { ...message.story(), struck: true };
};
