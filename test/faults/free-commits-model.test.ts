/**
 * Runs with and without locks on the same keys, several at once, on a network that loses, delays and repeats what they send.
 * An effect happens once, none is lost that was acknowledged, and every answer is the winner's. Counts are printed.
 */
import { DynamoDBClient, type TransactWriteItem } from "@aws-sdk/client-dynamodb";
import { beforeAll, expect, it } from "vitest";
import { LockClient, withCommit, withLock } from "../../src/index.ts";
import { Chance } from "../model/chance.ts";
import { manualClock } from "../support/clock.ts";
import { cancelled } from "../support/commits.ts";
import { localConfig, lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";
import { lost, noise } from "../support/process.ts";

const KEYS = Number(process.env.KEYS ?? 150);
const SEED = Number(process.env.SEED ?? 1);

let table: Awaited<ReturnType<typeof lockTable>>;
let effects: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  [table, effects] = await Promise.all([lockTable(), lockTable()]);
});

const FAULTS = [
  "none",
  "reply lost",
  "lost",
  "late",
  "duplicated",
  "conflict",
  "conflict at the key",
  "throttled",
] as const;
type Fault = (typeof FAULTS)[number];
/** What a run does with its key. `decides`: returns without a commit. `stalls`: commits when all others are done. */
const KINDS = [
  "commits",
  "commits",
  "commits a large response",
  "decides",
  "commits, or decides",
  "commits under a lock",
  "stalls under a lock",
  "crashes under a lock",
] as const;
type Kind = (typeof KINDS)[number];

const counts: Record<string, number> = {};
const count = (what: string) => {
  counts[what] = (counts[what] ?? 0) + 1;
};

/** A process with a clock and a network of its own. What is late waits in `late`. */
const aProcess = (chance: Chance, start: number, late: (() => Promise<unknown>)[]) => {
  const clock = manualClock(start);
  const client = new DynamoDBClient({ ...localConfig(), maxAttempts: 1 });
  const isFaulty = chance.happens(0.7);
  if (chance.happens(0.3)) {
    // DynamoDB has forgotten the tokens of requests before, as after ten minutes.
    client.middlewareStack.add(
      (next, context) => (args) => {
        if (context.commandName === "TransactWriteItemsCommand")
          Object.assign(args.input, { ClientRequestToken: undefined });
        return next(args);
      },
      { step: "initialize", name: "forget" },
    );
  }
  client.middlewareStack.add(
    (next, context) => async (args) => {
      const isTransaction = context.commandName === "TransactWriteItemsCommand";
      const fault: Fault = isFaulty && chance.happens(0.4) ? chance.pick(FAULTS) : "none";
      const send = () => next(args);
      count(`network: ${fault}`);
      if (fault === "late" || fault === "duplicated") late.push(() => send().catch(() => {}));
      if (fault === "reply lost") await send().catch(() => {});
      if (fault === "reply lost" || fault === "lost" || fault === "late") throw lost();
      const refuse = (codes: string[], alone: string) => {
        throw isTransaction ? cancelled(...codes) : Object.assign(new Error(alone), { name: alone });
      };
      const { length } = (args.input as { TransactItems?: unknown[] }).TransactItems ?? [];
      const others = Array.from({ length: Math.max(0, length - 1) }, () => "None");
      if (fault === "conflict") refuse(["TransactionConflict", ...others], "TransactionConflictException");
      if (fault === "conflict at the key") refuse([...others, "TransactionConflict"], "TransactionConflictException");
      if (fault === "throttled") refuse([...others, "ThrottlingError"], "ThrottlingException");
      return send();
    },
    { step: "finalizeRequest", priority: "low", name: "network" },
  );
  const locks = new LockClient({
    client,
    tableName: table.tableName,
    clock,
    leaseMs: 10_000,
    heartbeatMs: false,
    settleMs: chance.pick([0, 3_000]),
    cacheSize: chance.pick([0, 10]),
    logger: { debug() {}, warn() {}, error() {} },
  });
  return { locks, clock };
};

interface Answer {
  readonly run: string;
  readonly effect: boolean;
  readonly body?: string;
}

const effectOf = (key: string, run: string): TransactWriteItem => ({
  Update: {
    TableName: effects.tableName,
    Key: { lock_id: { S: key } },
    UpdateExpression: "ADD n :one, runs :run",
    ExpressionAttributeValues: { ":one": { N: "1" }, ":run": { SS: [run] } },
  },
});

/** The message about a key, delivered to one process. Gives its answer, or throws. */
const deliver = async (
  chance: Chance,
  kind: Kind,
  key: string,
  run: string,
  start: number,
  story: Story,
): Promise<Answer> => {
  const { locks } = aProcess(chance, start, story.late);
  const { fails = false } = { fails: chance.happens(0.1) };
  const options = { key: () => key, locks, namespace: false, lookFirst: chance.happens(0.2) } as const;
  const large = kind === "commits a large response" ? { body: noise(6_000, run) } : {};
  const result: Answer = { run, effect: true, ...large };
  const decision: Answer = { run, effect: false };
  const context = lambdaContext();
  if (kind.endsWith("under a lock")) {
    const { lookFirst: _, ...lockOptions } = options;
    const handler = withLock<object, Answer>(async (_event, { lock }) => {
      if (kind.startsWith("crashes")) return new Promise<never>(() => {});
      if (kind.startsWith("stalls")) await story.over;
      await lock.commit([effectOf(key, run)], { result });
      if (fails) throw new Error("after the commit");
      return result;
    }, lockOptions);
    return (await handler({}, context)) as Answer;
  }
  const handler = withCommit<object, Answer>(async (_event, { commit }) => {
    if (kind === "decides") return decision;
    const committed = commit([effectOf(key, run)], { result });
    if (kind === "commits, or decides") return committed.catch(() => decision);
    await committed;
    if (fails) throw new Error("after the commit");
    return result;
  }, options);
  return (await handler({}, context)) as Answer;
};

interface Story {
  readonly late: (() => Promise<unknown>)[];
  readonly over: Promise<void>;
}

const tell = async (chance: Chance, key: string): Promise<void> => {
  const over = Promise.withResolvers<void>();
  const story: Story = { late: [], over: over.promise };
  const answers: Answer[] = [];
  const stalled: Promise<unknown>[] = [];
  let start = Date.now();
  let run = 0;
  const one = async (kind: Kind) => {
    count(`run: ${kind}`);
    const delivered = deliver(chance, kind, key, `${key}/${++run}`, start, story).then(
      (answer) => void answers.push(answer),
      (error: { code?: string; name: string }) => count(`error: ${error.code ?? error.name}`),
    );
    if (kind.startsWith("crashes")) {
      // It holds the key by then, or will never.
      await Promise.race([delivered, new Promise((resolve) => setTimeout(resolve, 20))]);
    } else if (kind.startsWith("stalls")) {
      stalled.push(delivered);
      await Promise.race([delivered, new Promise((resolve) => setTimeout(resolve, 20))]);
    } else await delivered;
  };
  const arrivals = async (share: number) => {
    const due = story.late.splice(0, story.late.length);
    for (const send of due) {
      if (chance.happens(share)) await send();
      else story.late.push(send);
    }
  };
  // Until somebody acknowledges it, and then twice more. Leases are over between deliveries.
  for (let round = 0, repeats = 0; repeats < 3; round++) {
    expect(round, `${key} is never acknowledged`).toBeLessThan(60);
    if (answers.length > 0) repeats++;
    const atOnce = Array.from({ length: 1 + chance.below(3) }, () => one(chance.pick(KINDS)));
    await Promise.all([...atOnce, arrivals(0.3)]);
    start += 20_000;
  }
  over.resolve();
  await Promise.all(stalled);
  await arrivals(1);
  const last = await deliver(new Chance(0), "commits", key, `${key}/last`, start, { late: [], over: story.over }).catch(
    () => undefined,
  );
  if (last) answers.push(last);
  await arrivals(1);

  const record = await new LockClient({ client: table.client, tableName: table.tableName }).get(key);
  const winner = record?.result?.value as Answer;
  const effect = await effects.item(key);
  const times = Number(effect?.n?.N ?? 0);
  count("keys");
  for (const answer of answers)
    count(JSON.stringify(answer) === JSON.stringify(winner) ? "answers of the winner" : "OTHER ANSWERS");
  if (times > 1) count("EFFECTS TWICE");
  if (winner?.effect && times === 0) count("EFFECTS LOST");
  if (times === 1) count(winner?.effect ? "effects once" : "EFFECTS OF A RUN THAT DECIDED");
  if (times === 0) count("decided without an effect");
  if (times === 1 && effect?.runs?.SS?.[0] !== winner?.run) count("EFFECTS OF ANOTHER RUN");
  if (record?.status !== "FINISHED") count("NOT FINISHED");
};

it(`0 effects twice, 0 lost, every answer the winner's, over ${KEYS} keys`, async () => {
  const chance = new Chance(SEED);
  const waiting = Array.from({ length: KEYS }, (_, n) => `key-${SEED}-${n}`);
  const worker = async () => {
    for (let key = waiting.pop(); key; key = waiting.pop()) await tell(chance, key);
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
  const rows = Object.entries(counts).sort(([a], [b]) => a.localeCompare(b));
  console.log(`seed ${SEED}\n${rows.map(([what, n]) => `${String(n).padStart(7)} ${what}`).join("\n")}`);
  expect(
    rows.filter(([what]) => what === what.toUpperCase() || what.startsWith("EFFECTS") || what.startsWith("OTHER")),
  ).toEqual([]);
  expect(counts.keys).toBe(KEYS);
}, 600_000);
