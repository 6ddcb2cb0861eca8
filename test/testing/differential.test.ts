/**
 * The engine in memory beside those that are installed: random sequences of requests get the same answers and leave the
 * same items. `DIFFERENTIAL_SEQUENCES` sets how many, `DIFFERENTIAL_SEED` where chance begins.
 */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Engine, type EngineName, isInstalled, startEngine } from "../../scripts/engine.ts";
import { ask, isSame } from "./differential/compare.ts";
import { EXPLANATIONS, type Explanation } from "./differential/explained.ts";
import { requests } from "./differential/requests.ts";

const SEQUENCES = Number(process.env.DIFFERENTIAL_SEQUENCES || 100);
/** The same for everybody, so that nobody's change fails by chance. Who looks for differences takes others. */
const SEED = Number(process.env.DIFFERENTIAL_SEED || 1);
const REQUESTS = 15;

const TableName = "differential";
const table = {
  operation: "CreateTable",
  input: {
    TableName,
    KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
    AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
    BillingMode: "PAY_PER_REQUEST",
  },
};

const references = (["dynoxide", "dynamodb-local"] as const).filter(isInstalled);
const print = (line: string) => process.stdout.write(`${line}\n`);
if (references.length < 2) print("not run: the engine in memory beside both other engines: one is not installed");

describe.skipIf(references.length === 0).each(references)("beside %s", (name: EngineName) => {
  let memory: Engine;
  let reference: Engine;
  beforeAll(async () => {
    memory = await startEngine({ engine: "memory" });
    reference = await startEngine({ engine: name });
    for (const { endpoint } of [memory, reference]) await ask(endpoint, table);
  });
  afterAll(() => Promise.all([memory.stop(), reference.stop()]));

  it(`${SEQUENCES} sequences get the same answers, but for what is explained`, { timeout: 600_000 }, async () => {
    const explained = new Map<Explanation, number>();
    const outcomes: Record<string, number> = {};
    let sent = 0;

    const play = async (sequence: number): Promise<void> => {
      const story = requests(TableName, `${sequence}`);
      const [steps = []] = fc.sample(fc.array(story, { minLength: REQUESTS, maxLength: REQUESTS }), {
        numRuns: 1,
        seed: SEED + sequence,
      });
      for (const request of steps) {
        const [ours, theirs] = await Promise.all([ask(memory.endpoint, request), ask(reference.endpoint, request)]);
        sent++;
        outcomes[ours.error ?? "done"] = (outcomes[ours.error ?? "done"] ?? 0) + 1;
        if (isSame(ours, theirs)) continue;
        const why = EXPLANATIONS.find(({ engine, fits }) => engine === name && fits({ request, ours, theirs }));
        expect(why, JSON.stringify({ seed: SEED, sequence, request, ours, theirs })).toBeDefined();
        explained.set(why as Explanation, (explained.get(why as Explanation) ?? 0) + 1);
        if (JSON.stringify(ours.error) !== JSON.stringify(theirs.error)) return; // the items may differ from here on
      }
    };
    for (let sequence = 0; sequence < SEQUENCES; sequence++) await play(sequence);

    print(
      `memory beside ${name}: ${SEQUENCES} sequences, ${sent} requests (seed ${SEED}): ${JSON.stringify(outcomes)}`,
    );
    for (const [{ what, address }, count] of explained) print(`  ${count} explained: ${name} ${what} (${address})`);
    print("  0 unexplained");
  });
});
