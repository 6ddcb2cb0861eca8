/**
 * Money is transferred by messages that come at least once, in processes that crash, stall and lose replies at every point
 * between acquire and the end. `node bench/transfer.ts` is the same for longer.
 */
import { beforeAll, describe, expect, inject, it } from "vitest";
import { PLANS } from "./faults.ts";
import { type Simulation, simulate } from "./simulation.ts";
import { canHave, VARIANTS, type VariantName } from "./variants.ts";

const BY_CHANCE = 3;

let simulation: Simulation;
beforeAll(async () => {
  simulation = await simulate({
    endpoint: inject("endpoint"),
    variants: VARIANTS,
    perPlan: 1,
    byChance: BY_CHANCE,
    atOnce: 10,
    leaseMs: 800,
    seed: Number(process.env.SEED ?? 1),
  });
}, 300_000);

const fatesOf = (variant: VariantName) => simulation.fates.filter((fate) => fate.variant === variant);
const tell = ({ transfer }: { transfer: { id: string } }) => transfer.id;

describe.each(VARIANTS)("transfers with %s", (variant) => {
  it("meet every fault at every point", () => {
    const fates = fatesOf(variant);
    expect(fates).toHaveLength(PLANS.filter((plan) => canHave(variant, plan)).length + BY_CHANCE);
    expect(fates.filter(({ struck }) => !struck).map(tell)).toEqual([]);
  });

  it("all end", () => {
    expect(
      fatesOf(variant)
        .filter(({ acknowledged }) => !acknowledged)
        .map(tell),
    ).toEqual([]);
  });
});

it.each(["commit", "withoutLock"] as const)(
  "with %s the money is moved exactly once, every time: the accounts and the ledger are exact",
  (variant) => {
    expect(fatesOf(variant).flatMap((fate) => (fate.moved === 1 ? [] : [`${tell(fate)}: ${fate.moved}`]))).toEqual([]);
    expect(simulation.audits[variant]).toMatchObject({ sumOffBy: 0, movedOffBy: 0, unknown: 0 });
  },
);

/** Where it does not depend on a moment's luck. */
const LOST: Partial<Record<VariantName, readonly string[]>> = {
  powertools: [
    "stall after acquire",
    "stall before the effect",
    "crash within the effect",
    "stall within the effect",
    "lost replies within the effect",
    "late request within the effect",
    "crash after the effect",
    "stall after the effect",
    "late request within finish",
  ],
  finish: [
    "crash within the effect",
    "late request within the effect",
    "crash after the effect",
    "stall after the effect",
  ],
  plainLock: ["late request within the effect"],
};

it.each(Object.entries(LOST))("%s alone moves it twice, after the same faults", (variant, faults) => {
  const twice = fatesOf(variant as VariantName).filter(({ moved }) => moved > 1);
  expect(twice.map(({ plan }) => plan && `${plan.fault} ${plan.point}`)).toEqual(expect.arrayContaining([...faults]));
  expect(simulation.audits[variant]?.sumOffBy).toBe(0); // each transfer is all or nothing: only the ledger tells
});
