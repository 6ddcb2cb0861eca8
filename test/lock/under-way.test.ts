/** A handler that begins something on its lock, and returns without having awaited it. */
import type { DynamoDBClient, TransactWriteItem } from "@aws-sdk/client-dynamodb";
import { beforeAll, describe, expect, it } from "vitest";
import { dynamoLock, type Lock } from "../../src/index.ts";
import { lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";
import {
  chain,
  deferred,
  finished,
  type Handler,
  inProgress,
  OutOfStockError,
  released,
  reportDay,
  type Table,
  tableOfLocks,
  versions,
  wrappers,
} from "../support/middy.ts";
import { lost } from "../support/process.ts";
import { expectAllHandled } from "../support/unhandled.ts";

let table: Table;
let archive: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  [table, archive] = await Promise.all([tableOfLocks(), lockTable()]);
});
expectAllHandled();

/** Refused when it is there already. */
const toArchive = (date: string): TransactWriteItem => ({
  Put: {
    TableName: archive.tableName,
    Item: { lock_id: { S: date } },
    ConditionExpression: "attribute_not_exists(lock_id)",
  },
});

/** Holds the client's requests after the acquisition back until they are let go. `fails`: they don't arrive then. */
const holdBack = (
  client: DynamoDBClient,
  { fails = false, first = 2, last = first }: { fails?: boolean; first?: number; last?: number } = {},
) => {
  const gate = deferred();
  const reached = deferred();
  let count = 0;
  client.middlewareStack.add(
    (next) => async (args) => {
      const n = ++count;
      if (n < first || n > last) return next(args);
      reached.resolve();
      await gate.promise;
      if (fails) throw lost();
      return next(args);
    },
    { step: "finalizeRequest", priority: "low", name: "hold-back" },
  );
  return { arrive: gate.resolve, reached: reached.promise };
};

/** A day, a handler that begins `work` and returns or throws, and what was seen when it had ended. */
const scene = (
  work: (lock: Lock, date: string) => unknown,
  { end = () => "the handler's" as unknown, gate = {} as Parameters<typeof holdBack>[1] } = {},
) => {
  const day = reportDay(table);
  const { arrive, reached } = holdBack(day.client, gate);
  const locks: Lock[] = [];
  const handler: Handler = async ({ date }, { lock }) => {
    locks.push(lock);
    work(lock, date);
    return end();
  };
  const options = { ...day.options, settleMs: gate?.fails ? 0 : 10_000 };
  return { ...day, options, arrive, reached, locks, handler };
};

const settled = (promise: Promise<unknown>) =>
  promise.then(
    (value) => ({ value }),
    (error: { name: string; code?: string }) => ({ error: error.code ?? error.name }),
  );

describe.each(wrappers)("$name: a commit that nobody awaited", ({ wrap }) => {
  it("and that is written: the response is given after it, and nothing more is written", async () => {
    const day = scene((lock, date) => void lock.commit([toArchive(date)], { result: "the commit's" }));
    const invoke = wrap(day.handler, day.options);
    const invoked = settled(invoke(day.event));
    await day.reached;
    expect([await archive.item(day.event.date), day.locks[0]?.status]).toEqual([undefined, "held"]);
    day.arrive();
    expect(await invoked).toEqual({ value: "the handler's" });
    expect(await archive.item(day.event.date)).toBeDefined();
    expect(day.sent).toEqual(["UpdateItem", "TransactWriteItems"]);
    expect(await invoke(day.event)).toBe("the commit's");
  });

  it.each([
    ["release", {}, released],
    ["finish", { onError: "finish" as const }, { status: { S: "FINISHED" } }],
    ["keep", { onError: "keep" as const }, { status: { S: "IN_PROGRESS" } }],
  ])("and that is refused: the handler fails with it, and onError '%s' is for it", async (_name, options, record) => {
    const day = scene((lock, date) => void lock.commit([toArchive(date)]));
    await archive.put({ lock_id: { S: day.event.date } });
    const invoke = wrap(day.handler, { ...day.options, ...options });
    day.arrive();
    expect(await settled(invoke(day.event))).toEqual({ error: "TransactionCanceledException" });
    expect(await day.item()).toMatchObject(record);
  });

  it("and that is refused: a later delivery runs again", async () => {
    const day = scene((lock, date) => void lock.commit([toArchive(date)]));
    await archive.put({ lock_id: { S: day.event.date } });
    const invoke = wrap(day.handler, day.options);
    day.arrive();
    await settled(invoke(day.event));
    await settled(invoke(day.event));
    expect(day.locks).toHaveLength(2);
  });

  it("and of which nobody knows whether it applied: the handler fails", async () => {
    const day = scene((lock, date) => void lock.commit([toArchive(date)]), { gate: { fails: true, last: 10 } });
    day.arrive();
    expect(await settled(wrap(day.handler, day.options)(day.event))).toEqual({ error: "LOCK_REQUEST" });
    expect(await archive.item(day.event.date)).toBeUndefined();
  });

  it.each([
    ["no item", [undefined]],
    ["a document", [{ id: "x" }]],
    ["no list", "x"],
  ])("and whose items are %s: the handler fails, and the key is not finished", async (_name, items) => {
    const day = scene((lock) => void lock.commit(items as never));
    day.arrive();
    expect(await settled(wrap(day.handler, day.options)(day.event))).toEqual({ error: "LOCK_OPTIONS" });
    expect(await day.item()).toMatchObject(released);
  });

  it("while the handler is synchronous: no difference", async () => {
    const day = scene((lock) => void lock.commit([undefined] as never));
    const handler: Handler = (_event, { lock }) => {
      lock.commit([undefined] as never);
      return "done";
    };
    day.arrive();
    expect(await settled(wrap(handler, day.options)(day.event))).toEqual({ error: "LOCK_OPTIONS" });
  });

  it("one of several: the one that fails is heard", async () => {
    const day = scene((lock, date) => {
      void lock.commit([toArchive(date)]);
      void lock.commit([toArchive(`${date}-second`)]); // comes after the first, which has finished the key
    });
    day.arrive();
    expect(await settled(wrap(day.handler, day.options)(day.event))).toEqual({ error: "LOCK_LOST" });
    expect(await archive.item(day.event.date)).toBeDefined();
    expect(await day.item()).toMatchObject({ status: { S: "FINISHED" } });
  });

  it("while the handler throws: its own error wins, and what was written stays", async () => {
    const throws = () => {
      throw new OutOfStockError("no paper");
    };
    const day = scene((lock, date) => void lock.commit([toArchive(date)]), { end: throws });
    const invoked = settled(wrap(day.handler, day.options)(day.event));
    await day.reached;
    day.arrive();
    expect(await invoked).toEqual({ error: "OutOfStockError" });
    expect(await day.item()).toMatchObject({ status: { S: "FINISHED" } });

    const other = scene((lock, date) => void lock.commit([toArchive(date)]), { end: throws });
    await archive.put({ lock_id: { S: other.event.date } });
    other.arrive();
    expect(await settled(wrap(other.handler, other.options)(other.event))).toEqual({ error: "OutOfStockError" });
    expect(await other.item()).toMatchObject(released);
  });

  it("and that hangs: the handler fails before the deadline, and the key is left to its lease", async () => {
    const day = scene((lock, date) => void lock.commit([toArchive(date)]), { gate: { last: 10 } });
    const begun = performance.now();
    const invoked = settled(wrap(day.handler, day.options)(day.event, lambdaContext({ timeoutMs: 1_000 })));
    expect(await invoked).toEqual({ error: "LOCK_REQUEST" });
    expect(performance.now() - begun).toBeLessThan(950);
    expect(day.events.at(-1)).toMatchObject({ type: "failed", operation: "release" });
    expect([day.locks[0]?.signal.aborted, await day.item()]).toEqual([
      true,
      expect.objectContaining(inProgress(day.locks[0])),
    ]);
    day.arrive(); // too late: it was given up
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await archive.item(day.event.date)).toBeUndefined();
  });

  it("that the handler caught is its own affair", async () => {
    const day = reportDay(table);
    await archive.put({ lock_id: { S: day.event.date } });
    const handler: Handler = async ({ date }, { lock }) => {
      const error = await lock.commit([undefined] as never).catch((e: Error) => e.name);
      await lock.commit([toArchive(date)]).catch(() => {});
      try {
        await lock.commit([{}] as never);
      } catch {}
      await Promise.allSettled([lock.commit([null] as never)]);
      return error;
    };
    expect(await wrap(handler, day.options)(day.event)).toBe("LockOptionsError");
    expect(await day.item()).toMatchObject(finished("LockOptionsError"));
  });

  it("that the handler returns is awaited, as anything that it returns", async () => {
    const day = reportDay(table);
    const handler: Handler = ({ date }, { lock }) => lock.commit([toArchive(date)], { result: "stored" });
    const invoke = wrap(handler, day.options);
    expect([await invoke(day.event), await invoke(day.event)]).toEqual([undefined, "stored"]);
  });

  it("where locks are disabled: the handler fails with it too", async () => {
    const day = scene((lock, date) => void lock.commit([toArchive(date)]), { gate: { first: 1 } });
    await archive.put({ lock_id: { S: day.event.date } });
    day.arrive();
    const invoke = wrap(day.handler, { ...day.options, disabled: true });
    expect(await settled(invoke(day.event))).toEqual({ error: "TransactionCanceledException" });
  });
});

describe.each(wrappers)("$name: what else nobody awaited", ({ wrap }) => {
  const works: [string, (lock: Lock) => unknown][] = [
    ["finish", (lock) => lock.finish({ result: "its own" })],
    ["release", (lock) => lock.release()],
    ["extend", (lock) => lock.extend(60_000)],
  ];

  it.each(works)("%s: it is awaited", async (name, work) => {
    const day = scene((lock) => void work(lock));
    const invoked = settled(wrap(day.handler, day.options)(day.event));
    await day.reached;
    expect(day.types()).toEqual(["acquired"]);
    day.arrive();
    expect(await invoked).toEqual({ value: "the handler's" });
    const ends = { finish: ["finished"], release: ["released"], extend: ["renewed", "finished"] }[name] as string[];
    expect(day.types()).toEqual(["acquired", ...ends]);
    const records = { finish: finished("its own"), release: released, extend: finished("the handler's") };
    expect(await day.item()).toMatchObject(records[name as keyof typeof records]);
  });

  it.each(works)(
    "%s, and it fails: that is reported, and the key is finished with the handler's response",
    async (name, work) => {
      const day = scene((lock) => void work(lock), { gate: { fails: true } });
      day.arrive();
      expect(await settled(wrap(day.handler, day.options)(day.event))).toEqual({ value: "the handler's" });
      const operation = name === "extend" ? "renew" : name;
      expect(day.events).toContainEqual(expect.objectContaining({ type: "failed", operation }));
      expect(await day.item()).toMatchObject(finished("the handler's"));
    },
  );

  it.each(works)(
    "%s, and it hangs: the response is given before the deadline, and that is reported",
    async (_name, work) => {
      const day = scene((lock) => void work(lock), { gate: { last: 10 } });
      const begun = performance.now();
      const invoked = wrap(day.handler, day.options)(day.event, lambdaContext({ timeoutMs: 1_000 }));
      expect(await settled(invoked)).toEqual({ value: "the handler's" });
      expect(performance.now() - begun).toBeLessThan(950);
      expect(day.events.at(-1)).toMatchObject({ type: "failed" });
      expect(await day.item()).toMatchObject(inProgress(day.locks[0]));
      day.arrive();
    },
  );

  it("nothing: no request more, and no time", async () => {
    const day = reportDay(table);
    const handler: Handler = async (_event, { lock }) => {
      await lock.extend(20_000);
      return "done";
    };
    expect(await wrap(handler, day.options)(day.event)).toBe("done");
    expect(day.sent).toEqual(["UpdateItem", "UpdateItem", "UpdateItem"]);
  });
});

describe.each(versions)("$name: other middlewares", ({ middy }) => {
  it("see the failure of a commit as the handler's, once, and ours settles nothing twice", async () => {
    const day = scene((lock, date) => void lock.commit([toArchive(date)]));
    await archive.put({ lock_id: { S: day.event.date } });
    const seen: unknown[] = [];
    const outer = {
      after: () => void seen.push("after"),
      onError: (request: { error: unknown }) => void seen.push((request.error as Error).name),
    };
    const invoke = chain(middy, [outer, dynamoLock(day.options)], day.handler);
    day.arrive();
    expect(await settled(invoke(day.event))).toEqual({ error: "TransactionCanceledException" });
    expect(seen).toEqual(["TransactionCanceledException"]);
    expect(day.types()).toEqual(["acquired", "released"]);
    expect(day.sent).toEqual(["UpdateItem", "TransactWriteItems", "UpdateItem"]);
  });

  it("that answer the failure have their answer given, and the key is free", async () => {
    const day = scene((lock) => void lock.commit([undefined] as never));
    const answering = {
      onError: (request: { response: unknown }) => {
        request.response = { statusCode: 500 };
      },
    };
    day.arrive();
    const invoke = chain(middy, [answering, dynamoLock(day.options)], day.handler);
    expect(await settled(invoke(day.event))).toEqual({ value: { statusCode: 500 } });
    expect(await day.item()).toMatchObject(released);
  });
});
