/**
 * Many invocations at once in one process, as on Lambda Managed Instances, where the invocations of a worker thread share the handler
 * and all that is global (https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-nodejs-runtime.html).
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Context } from "aws-lambda";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { dynamoLockBatch, type Lock, LockHeldError, withLockBatch } from "../../src/index.ts";
import { failures, orderOf, queue, shop } from "../support/batches.ts";
import { lambdaContext } from "../support/lambda.ts";
import {
  finished,
  inProgress,
  released,
  reportDay,
  type Table,
  tableOfLocks,
  versions,
  wrappers,
} from "../support/middy.ts";

let table: Table;
const unhandled: unknown[] = [];
const noteUnhandled = (reason: unknown) => void unhandled.push(reason);
beforeAll(async () => {
  table = await tableOfLocks();
  process.on("unhandledRejection", noteUnhandled);
});
afterAll(() => {
  process.off("unhandledRejection", noteUnhandled);
});

/** AWS's default for one vCPU. */
const CONCURRENCY = 64;

/** What keeps a process awake, or listens to it. */
const leftovers = () => ({
  timers: process.getActiveResourcesInfo().filter((name) => name === "Timeout" || name === "Immediate").length,
  listeners: process.eventNames().map((name) => [name, process.listenerCount(name)]),
});

/** Timers of others may end meanwhile. */
const expectNothingLeft = (before: ReturnType<typeof leftovers>) => {
  const after = leftovers();
  expect(after.timers).toBeLessThanOrEqual(before.timers);
  expect(after.listeners).toEqual(before.listeners);
};

/** Opens when `count` handlers have come to it. */
const meeting = (count: number) => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let met = 0;
  return () => {
    if (++met === count) resolve();
    return promise;
  };
};

describe.each(wrappers)("$name", ({ wrap }) => {
  it("each of many has its own lock, its own end and its own answer, and leaves nothing behind", async () => {
    const day = reportDay(table);
    const before = leftovers();
    const meet = meeting(CONCURRENCY);
    const tokens = new Map<string, string>();
    const invoke = wrap(
      async ({ date }, { lock, awsRequestId }) => {
        expect(lock).toMatchObject({ key: `report#${date}`, owner: awsRequestId, status: "held" });
        tokens.set(date, lock.token);
        await meet();
        const order = Number(date.split(" ").at(-1));
        await sleep(order % 7);
        if (order % 4 === 1) throw new Error(date);
        if (order % 4 === 2) await lock.commit([], { result: `committed ${date}` });
        if (order % 4 === 3) await lock.release();
        return date;
      },
      { ...day.options, leaseMs: 5_000 },
    );
    const dates = Array.from({ length: CONCURRENCY }, (_, index) => `${day.event.date} ${index}`);
    const outcomes = await Promise.allSettled(dates.map((date) => invoke({ date })));
    expect(new Set(tokens.values()).size).toBe(CONCURRENCY);
    for (const [index, date] of dates.entries()) {
      const item = await table.item(`report#${date}`);
      const fails = index % 4 === 1;
      expect(outcomes[index]).toMatchObject(fails ? { reason: { message: date } } : { value: date });
      expect(item).toMatchObject({ token: { S: tokens.get(date) } });
      const expected = [finished(date), released, finished(`committed ${date}`), released][index % 4];
      expect(item).toMatchObject(expected as object);
    }
    expectNothingLeft(before);
    expect(unhandled).toEqual([]);
  });

  it("of many with one key, one runs, and the others are refused without touching its lock", async () => {
    const day = reportDay(table);
    const gate = Promise.withResolvers<void>();
    const locks: Lock[] = [];
    const invoke = wrap(async (_event, { lock }) => {
      locks.push(lock);
      await gate.promise;
      return "report";
    }, day.options);
    const all = Array.from({ length: CONCURRENCY }, () => invoke(day.event));
    for (const run of all) run.catch(() => {});
    await vi.waitFor(() => expect(day.types().filter((type) => type === "held")).toHaveLength(CONCURRENCY - 1));
    expect(await day.item()).toMatchObject(inProgress(locks[0]));
    expect(locks[0]?.signal.aborted).toBe(false);
    gate.resolve();
    const outcomes = await Promise.allSettled(all);
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toEqual([{ status: "fulfilled", value: "report" }]);
    for (const outcome of outcomes)
      if (outcome.status === "rejected") expect(outcome.reason).toBeInstanceOf(LockHeldError);
    expect(locks).toHaveLength(1);
    expect(await day.item()).toMatchObject(finished("report"));
  });

  it("repeats that are answered at once from memory don't share their answers", async () => {
    const day = reportDay(table);
    const invoke = wrap(async () => ({ headers: {} }), { ...day.options, cacheSize: 10 });
    await invoke(day.event);
    const answers = await Promise.all(Array.from({ length: CONCURRENCY }, () => invoke(day.event)));
    for (const [index, answer] of answers.entries()) {
      expect(answer).toEqual({ headers: {} });
      Object.assign((answer as { headers: object }).headers, { session: index });
    }
  });

  it("one that loses its lock doesn't end another's", async () => {
    const day = reportDay(table);
    const lost = vi.fn();
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const locks = new Map<string, Lock>();
    const meet = meeting(8);
    const invoke = wrap(
      async ({ date, region }, { lock }) => {
        locks.set(date, lock);
        await meet();
        if (region === "loses") {
          await new Promise((resolve) => lock.signal.addEventListener("abort", resolve));
          end();
          return "too late";
        }
        await ended;
        expect(lock.signal.aborted).toBe(false);
        return "report";
      },
      {
        ...day.options,
        leaseMs: 5_000,
        heartbeatMs: 50,
        onLost: (lock, error) => lost(lock.key, error.reason),
      },
    );
    const dates = Array.from({ length: 8 }, (_, index) => `${day.event.date} ${index}`);
    const runs = dates.map((date, index) => invoke({ date, region: index === 3 ? "loses" : "" }));
    await vi.waitFor(() => expect(locks.size).toBe(8));
    const stolen = await table.item(`report#${dates[3]}`);
    await table.put({ ...stolen, token: { S: "another's" } });
    expect(await Promise.all(runs)).toEqual(dates.map((_, index) => (index === 3 ? "too late" : "report")));
    expect(lost.mock.calls).toEqual([[`report#${dates[3]}`, "stolen"]]);
    expect((await table.item(`report#${dates[3]}`))?.token).toEqual({ S: "another's" });
    for (const [index, date] of dates.entries())
      if (index !== 3) expect(await table.item(`report#${date}`)).toMatchObject(finished("report"));
  });
});

describe.each(wrappers.filter(({ name }) => name !== "withLock"))("$name", ({ wrap }) => {
  it("one that runs into its timeout keeps its key, and the others finish theirs", async () => {
    const day = reportDay(table);
    const locks = new Map<string, Lock>();
    const over = Promise.withResolvers<void>();
    const invoke = wrap(async ({ date }, { lock }) => {
      locks.set(date, lock);
      await over.promise;
      return date;
    }, day.options);
    const dates = Array.from({ length: 8 }, (_, index) => `${day.event.date} ${index}`);
    const context = (index: number) => lambdaContext({ timeoutMs: index === 5 ? 300 : 60_000 });
    const runs = dates.map((date, index) => invoke({ date }, context(index)));
    await expect(runs[5]).rejects.toMatchObject({ name: "TimeoutError" });
    for (const [index, date] of dates.entries()) expect(locks.get(date)?.signal.aborted).toBe(index === 5);
    over.resolve();
    const outcomes = await Promise.allSettled(runs);
    for (const [index, date] of dates.entries()) {
      if (index !== 5) expect(outcomes[index]).toEqual({ status: "fulfilled", value: date });
      const state = index === 5 ? inProgress(locks.get(date)) : finished(date);
      expect(await table.item(`report#${date}`)).toMatchObject(state);
    }
  });
});

type Orders = ReturnType<typeof queue>;
type BatchHandler = (event: Orders, context: Context & { locks: { get(record: object): Lock } }) => unknown;
const batchWrappers: {
  name: string;
  wrap: (handler: BatchHandler, options: ReturnType<typeof shop>["options"]) => unknown;
}[] = [
  ...versions.map(({ name, middy }) => ({
    name: `dynamoLockBatch on ${name}`,
    wrap: (handler: BatchHandler, options: ReturnType<typeof shop>["options"]) => {
      const chained = middy();
      chained.use(dynamoLockBatch(options));
      chained.handler(handler as never);
      return chained;
    },
  })),
  { name: "withLockBatch", wrap: (handler, options) => withLockBatch(handler as never, options) },
];

describe.each(batchWrappers)("$name", ({ wrap }) => {
  it("batches at once have each its own locks, failures and end, and leave nothing behind", async () => {
    const batches = 16;
    const { options, statuses } = shop(table);
    const before = leftovers();
    const meet = meeting(batches);
    const invoke = wrap(async ({ Records }, { locks }) => {
      await meet();
      return Promise.allSettled(
        Records.map(async (record) => {
          const lock = locks.get(record);
          expect(lock.key.split("#").at(-1)).toBe(orderOf(record));
          if (orderOf(record).endsWith("bad")) throw new Error("out of stock");
          if (orderOf(record).endsWith("paid")) await lock.commit([]);
        }),
      );
    }, options) as (event: Orders, context: Context) => Promise<unknown>;
    const orders = Array.from({ length: batches }, (_, index) => [`${index} good`, `${index} bad`, `${index} paid`]);
    const responses = await Promise.all(orders.map((names) => invoke(queue(...names), lambdaContext())));
    for (const response of responses) expect(response).toMatchObject(failures("m2"));
    for (const names of orders) expect(await statuses(...names)).toEqual(["FINISHED", "RELEASED", "FINISHED"]);
    expectNothingLeft(before);
    expect(unhandled).toEqual([]);
  });

  it("an order that two batches have at once runs in one of them", async () => {
    const { options, statuses } = shop(table);
    const ran: string[] = [];
    const invoke = wrap(async ({ Records }) => {
      ran.push(...Records.map(orderOf));
      await sleep(20);
    }, options) as (event: Orders, context: Context) => Promise<{ batchItemFailures: object[] }>;
    const responses = await Promise.all([1, 2, 3, 4].map((n) => invoke(queue("a", `own ${n}`), lambdaContext())));
    expect(ran.filter((order) => order === "a")).toHaveLength(1);
    expect(ran).toHaveLength(5);
    expect(responses.filter(({ batchItemFailures }) => batchItemFailures.length === 1)).toHaveLength(3);
    expect(await statuses("a")).toEqual(["FINISHED"]);
  });
});
