/**
 * Random batches on an engine, each with `bulk` and without: what the handler is given, what becomes of every key, and
 * what Lambda is told are the same, and the order holds in both.
 */
import fc from "fast-check";
import { beforeAll, expect, it } from "vitest";
import { type Lock, LockClient } from "../../src/index.ts";
import { consumer, fifo, kinesis, type OrderEvent, orderOf, queue, shop } from "../support/batches.ts";
import { manualClock } from "../support/clock.ts";
import { lockTable } from "../support/dynamodb.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

const RECORDS = 12;
const KEYS = 8;
const RUNS = 80;

const STATES = ["new", "new", "new", "finished", "held", "released", "over"] as const;

interface Case {
  readonly source: "queue" | "fifo" | "stream";
  readonly keys: readonly number[];
  readonly groups: readonly string[];
  /** By key: what stands there before the batch comes. */
  readonly states: readonly (typeof STATES)[number][];
  /** By key: whether the handler fails for its record. */
  readonly fails: readonly boolean[];
  readonly concurrency: number;
  /** How often the batch comes. */
  readonly times: number;
}

const cases: fc.Arbitrary<Case> = fc.record({
  source: fc.constantFrom("queue", "fifo", "stream"),
  keys: fc.array(fc.nat(KEYS - 1), { minLength: 1, maxLength: RECORDS }),
  groups: fc.array(fc.constantFrom("red", "green", "blue"), { minLength: RECORDS, maxLength: RECORDS }),
  states: fc.array(fc.constantFrom(...STATES), { minLength: KEYS, maxLength: KEYS }),
  fails: fc.array(fc.boolean(), { minLength: KEYS, maxLength: KEYS }),
  concurrency: fc.constantFrom(1, 2, 50),
  times: fc.constantFrom(1, 2, 3),
});

const eventOf = ({ source, keys, groups }: Case): OrderEvent => {
  const orders = keys.map((key) => `o${key}`);
  if (source === "queue") return queue(...orders);
  if (source === "stream") return kinesis(...orders);
  return fifo(...orders.map((order, index) => [groups[index] as string, order] as const));
};

/** Groups in which records are in order. */
const groupOf = ({ source, groups }: Case, index: number): string =>
  source === "queue" ? `${index}` : source === "stream" ? "shard" : (groups[index] as string);

/** Delivers the batch, and gives all that can be seen of it. */
const deliver = async (one: Case, bulk: boolean) => {
  const { options, namespace, sent } = shop(table);
  const party = { client: table.client, tableName: table.tableName, namespace };
  const others = new LockClient(party);
  const longAgo = new LockClient({ ...party, clock: manualClock(Date.now() - 120_000) });
  const locks: Lock[] = [];
  for (const [key, state] of one.states.entries()) {
    if (state === "new") continue;
    const lock = await (state === "over" ? longAgo : others).acquire(`o${key}`, {
      leaseMs: 60_000,
      heartbeatMs: false,
    });
    if (state === "finished") await lock.finish();
    if (state === "released") await lock.release();
    if (state === "held") locks.push(lock);
  }
  const doer = consumer({ ...options, bulk, concurrency: one.concurrency }, async ({ Records }) =>
    Promise.allSettled(
      Records.map(async (record) => {
        if (one.fails[Number(orderOf(record).slice(1))]) throw new Error("no");
      }),
    ),
  );
  const event = eventOf(one);
  const answers: unknown[] = [];
  for (let n = 0; n < one.times; n++) answers.push({ ...((await doer.invoke(event)) as object) });
  const statuses = await Promise.all(
    one.states.map(async (_, key) => {
      const { status, expires_at } = (await table.item(`${namespace}#o${key}`)) ?? {};
      // Whether what lies behind a held record is not tried for, or given back, is a question of time.
      return Number(expires_at?.N ?? 0) > Date.now() ? status?.S : "free";
    }),
  );
  await Promise.all(locks.map((lock) => lock.release()));
  return { answers, given: doer.given(), statuses, sent };
};

const expectOrder = (one: Case, answer: unknown) => {
  const { batchItemFailures } = answer as { batchItemFailures: { itemIdentifier: string }[] };
  const failed = new Set(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
  const lowest = Math.min(...[...failed].map(Number));
  const comesBack = (index: number) => (one.source === "stream" ? 1001 + index >= lowest : failed.has(`m${index + 1}`));
  for (const index of one.keys.keys()) {
    if (!comesBack(index)) continue;
    for (const behind of one.keys.keys()) {
      if (behind > index && groupOf(one, behind) === groupOf(one, index)) expect(comesBack(behind)).toBe(true);
    }
  }
};

it("a batch with `bulk` has the same answers, the same records in the same order, and leaves the same keys", async () => {
  let requests = 0;
  await fc.assert(
    fc.asyncProperty(cases, async (one) => {
      const { sent, ...withBulk } = await deliver(one, true);
      const { sent: _more, ...without } = await deliver(one, false);
      expect(withBulk).toEqual(without);
      for (const answer of withBulk.answers) expectOrder(one, answer);
      for (const given of withBulk.given) expect(new Set(given).size).toBe(given.length); // a key runs once
      requests += sent.filter((name) => name.startsWith("Batch")).length;
    }),
    { numRuns: RUNS },
  );
  expect(requests).toBeGreaterThan(RUNS);
});
