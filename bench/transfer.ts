/**
 * How often a transfer of money happens that is asked for once: with `commit`, under a lock and
 * without one, with Powertools' idempotency, with a plain lock, in processes that crash, stall and
 * lose replies (test/transfer). Ends with status 1 if a `commit` moved money twice or never.
 */
import { parseArgs } from "node:util";
import { startEngine } from "../scripts/engine.ts";
import { PLANS } from "../test/transfer/faults.ts";
import { type Fate, simulate } from "../test/transfer/simulation.ts";
import { canHave, VARIANTS, variants } from "../test/transfer/variants.ts";
import { printTable } from "./figures.ts";

const { values } = parseArgs({
  options: {
    "per-fault": { type: "string", default: "5" },
    "by-chance": { type: "string", default: "100" },
    "lease-ms": { type: "string", default: "2000" },
    seed: { type: "string", default: "1" },
  },
});

const engine = await startEngine();
const { fates, audits, processes, ms } = await simulate({
  endpoint: engine.endpoint,
  variants: VARIANTS,
  perPlan: Number(values["per-fault"]),
  byChance: Number(values["by-chance"]),
  atOnce: 8,
  leaseMs: Number(values["lease-ms"]),
  seed: Number(values.seed),
});
await engine.stop();

const count = (some: readonly Fate[], is: (fate: Fate) => boolean) => some.filter(is).length;

console.log(`Engine: ${engine.name}, Node.js ${process.version}, ${processes} processes, ${Math.round(ms / 1_000)} s`);
console.log(
  `Overtime: ${count(fates, ({ overtime }) => overtime)}, faults that did not strike: ${count(fates, ({ struck }) => !struck)}\n`,
);
printTable(
  VARIANTS.flatMap((variant) =>
    ["at every point", "by chance"].map((faults) => {
      const some = fates.filter(
        (fate) => fate.variant === variant && (fate.plan === undefined) === (faults === "by chance"),
      );
      return {
        "protected by": variants[variant].title,
        faults,
        transfers: some.length,
        once: count(some, ({ moved }) => moved === 1),
        "more than once": count(some, ({ moved }) => moved > 1),
        never: count(some, ({ moved }) => moved === 0),
        "never ended": count(some, ({ acknowledged }) => !acknowledged),
        "moved too much": some.reduce((sum, { moved, transfer }) => sum + (moved - 1) * transfer.amount, 0),
      };
    }),
  ),
);
console.log();
printTable(
  PLANS.map((plan) => ({
    point: plan.point,
    fault: plan.fault,
    ...Object.fromEntries(
      VARIANTS.map((variant) => {
        const some = fates.filter((fate) => fate.variant === variant && fate.plan === plan);
        const twice = count(some, ({ moved }) => moved > 1);
        return [variants[variant].title, canHave(variant, plan) ? `${twice} of ${some.length}` : "no such point"];
      }),
    ),
  })),
);

for (const name of ["commit", "withoutLock"] as const) {
  const { sumOffBy, movedOffBy, unknown } = audits[name] ?? {};
  const exact = sumOffBy === 0 && movedOffBy === 0 && unknown === 0;
  if (!exact || fates.some(({ variant, moved }) => variant === name && moved !== 1)) process.exitCode = 1;
}
