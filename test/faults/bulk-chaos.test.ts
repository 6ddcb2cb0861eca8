/**
 * Two consumers with `bulk` get the same batches, again and again, from a queue that keeps order, while requests and
 * replies are lost, and DynamoDB reports statements as failed that it applied. Everything is done in the end, in order, and
 * nothing twice.
 */
import type { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { beforeAll, describe, expect, it } from "vitest";
import { type BatchResponse, type LockEvent, withLockBatch } from "../../src/index.ts";
import { Chance } from "../model/chance.ts";
import { fifo, type OrderContext, type OrderEvent, orderOf, shop, sqsRecord } from "../support/batches.ts";
import { BULK, named, onTheWire, reported } from "../support/bulk.ts";
import { countingClient, lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";
import { lost, turn } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

const WORLDS = 10;
const RECORDS = 60;
const BATCH = 15;
const GROUPS = 6;
const CODES = [
  "InternalServerError",
  "ThrottlingError",
  "DuplicateItem",
  "ConditionalCheckFailed",
  "TransactionConflict",
];

/** Does to the requests of a client what a network and a DynamoDB in trouble do. Gives how often it did what. */
const trouble = (client: DynamoDBClient, chance: Chance, done: Record<string, number>) => {
  const note = (what: string) => {
    done[what] = (done[what] ?? 0) + 1;
  };
  onTheWire(client, async (call) => {
    const { operation, send } = call;
    const among = operation === BULK ? "bulk" : "single";
    const often = operation === BULK ? 0.2 : 0.1;
    await turn(chance.below(4));
    if (chance.happens(often)) {
      note(`${among} request lost`);
      throw lost();
    }
    if (chance.happens(often)) {
      await send().catch(() => {});
      note(`${among} reply lost`);
      throw lost();
    }
    if (chance.happens(0.05)) {
      note(`${among} throttled`);
      throw named("ProvisionedThroughputExceededException");
    }
    if (operation !== BULK || !chance.happens(0.5)) return send();
    const applied = chance.happens(0.5);
    note(`statements ${applied ? "applied" : "not applied"}, and reported as failed`);
    const failed = Array.from({ length: 25 }, () => chance.happens(0.3));
    return reported(chance.pick(CODES), applied, (index) => failed[index] === true, call);
  });
};

/** Tells one story, and gives what was wrong in it. */
const tell = async (seed: number, ordered: boolean, done: Record<string, number>) => {
  const chance = new Chance(seed);
  const { options, namespace } = shop(table);
  const violations: string[] = [];
  const succeeded = new Set<string>();
  const finished = new Set<string>();
  const working = new Map<string, () => boolean>();
  const fences = new Map<string, number>();
  const names = Array.from({ length: RECORDS }, (_, index) => `o${index}`);
  const groupOf = (order: string) => `g${Number(order.slice(1)) % GROUPS}`;
  const before = (order: string) =>
    names.slice(0, names.indexOf(order)).filter((other) => groupOf(other) === groupOf(order));
  const onEvent = (event: LockEvent) => {
    if (event.type === "finished") finished.add(event.key.replace(`${namespace}#`, ""));
  };

  const handler = async ({ Records }: OrderEvent, { locks }: OrderContext) => {
    const failures: string[] = [];
    const stopped = new Set<string>();
    const work = async (record: OrderEvent["Records"][number]) => {
      const order = orderOf(record);
      const lock = locks.get(record);
      if (lock.status !== "held") return "fail"; // its lease ended while the records before it were done
      if (ordered && stopped.has(groupOf(order))) return "fail";
      if (working.get(order)?.()) violations.push(`${order} runs twice at a time`);
      if (finished.has(order)) violations.push(`${order} runs again after it was finished`);
      if (ordered && !before(order).every((other) => succeeded.has(other))) violations.push(`${order} is out of order`);
      if (lock.fencingToken <= (fences.get(order) ?? 0)) violations.push(`${order} has an older fencing token`);
      fences.set(order, lock.fencingToken);
      working.set(order, () => lock.status === "held");
      await turn(chance.below(3));
      working.delete(order);
      if (chance.happens(0.2)) return "fail";
      succeeded.add(order);
      return "done";
    };
    for (const record of Records) {
      if ((await work(record)) === "done") continue;
      stopped.add(groupOf(orderOf(record)));
      failures.push((record as { messageId: string }).messageId);
    }
    return { batchItemFailures: failures.map((itemIdentifier) => ({ itemIdentifier })) };
  };

  const consumers = [1, 2].map(() => {
    const { client } = countingClient({ maxAttempts: 1 });
    trouble(client, chance, done);
    const own = {
      ...options,
      client,
      onEvent,
      bulk: true,
      leaseMs: 1_500,
      heartbeatMs: false as const,
      clockSkewMs: 200,
    };
    return withLockBatch(handler as never, own) as unknown as (
      event: OrderEvent,
      context: object,
    ) => Promise<BatchResponse>;
  });
  const pending = new Set(names);
  const consume = async (invoke: (typeof consumers)[number]) => {
    for (let round = 0; pending.size > 0 && round < 400; round++) {
      // In their order, and sometimes also what has been acknowledged before.
      const orders = names.filter((order) => pending.has(order) || chance.happens(0.1)).slice(0, BATCH);
      const records = ordered
        ? fifo(...orders.map((order) => [groupOf(order), order] as const)).Records
        : orders.map((order) => sqsRecord(order, order));
      const event = { Records: records.map((record, index) => ({ ...record, messageId: orders[index] as string })) };
      const response = await invoke(event, lambdaContext({ timeoutMs: 20_000 })).catch(() => undefined);
      if (!response) continue; // the whole batch comes again
      const back = new Set(response.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier));
      for (const order of orders) {
        if (back.has(order)) continue;
        if (!succeeded.has(order)) violations.push(`${order} is acknowledged, and was not done`);
        pending.delete(order);
      }
    }
  };
  await Promise.all(consumers.map(consume));
  if (pending.size > 0) violations.push(`never done: ${[...pending]}`);
  return violations;
};

describe.each([
  ["a queue", false],
  ["message groups", true],
])("in trouble, of %s", (_source, ordered) => {
  it("everything is done, in order, and nothing twice", async () => {
    const done: Record<string, number> = {};
    const violations: Record<number, string[]> = {};
    const seeds = Array.from({ length: WORLDS }, (_, seed) => seed + (ordered ? 1_000 : 1));
    for (let at = 0; at < seeds.length; at += 5) {
      await Promise.all(
        seeds.slice(at, at + 5).map(async (seed) => {
          const wrong = await tell(seed, ordered, done);
          if (wrong.length > 0) violations[seed] = wrong;
        }),
      );
    }
    expect(violations).toEqual({});
    for (const kind of ["bulk request lost", "bulk reply lost", "statements applied, and reported as failed"]) {
      expect(done[kind], kind).toBeGreaterThan(5);
    }
  });
});
