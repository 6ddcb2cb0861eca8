/** A commit beside the rest of a lock's life: renewals, deadlines, re-entry, what middlewares do after it. */
import type { TransactWriteItem } from "@aws-sdk/client-dynamodb";
import { beforeAll, describe, expect, it } from "vitest";
import { type Lock, type LockContext, withLock } from "../../src/index.ts";
import { lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";
import { aProcess, turn } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
let counters: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  [table, counters] = await Promise.all([lockTable(), lockTable()]);
});

let count = 0;
const freshKey = () => `lease-${++count}`;
const add = (id: string): TransactWriteItem => ({
  Update: {
    TableName: counters.tableName,
    Key: { lock_id: { S: id } },
    UpdateExpression: "ADD n :one",
    ExpressionAttributeValues: { ":one": { N: "1" } },
  },
});
const putOnce = (id: string): TransactWriteItem => ({
  Put: {
    TableName: counters.tableName,
    Item: { lock_id: { S: id } },
    ConditionExpression: "attribute_not_exists(lock_id)",
  },
});
const total = async (id: string) => Number((await counters.item(id))?.n?.N ?? 0);
const cancelled = (code: string) =>
  Object.assign(new Error(code), {
    name: "TransactionCanceledException",
    CancellationReasons: [{ Code: code }, { Code: "None" }],
  });

describe("conflicts that don't end", () => {
  it("leave the caller some of the lease, to release the key or to answer", async () => {
    const { locks, state } = aProcess(table.tableName, { random: () => 0.02 });
    state.wire = async ({ name, send }) => {
      if (name === "TransactWriteItems") throw cancelled("TransactionConflict");
      return send();
    };
    const lock = await locks.acquire(freshKey());
    await expect(lock.commit([add(lock.key)])).rejects.toMatchObject({ name: "TransactionCanceledException" });
    // Waiting for a key keeps 500 ms of an invocation back. "The lock is still held" should be worth something.
    expect(lock.remainingMs).toBeGreaterThanOrEqual(100);
  });
});

describe("a heartbeat", () => {
  it("goes on between the attempts of a commit", async () => {
    const { locks, state, clock } = aProcess(table.tableName, {
      heartbeatMs: 3_000,
      random: () => 1,
      settleMs: 10_000,
    });
    state.wire = async ({ name, send }) => {
      if (name === "TransactWriteItems" && clock.monotonic() < 8_000) throw cancelled("TransactionConflict");
      return send();
    };
    const lock = await locks.acquire(freshKey());
    await lock.commit([add(lock.key)]);
    expect(state.sent.filter((name) => name === "UpdateItem").length).toBeGreaterThan(2);
    expect(lock.status).toBe("finished");
  });
});

describe("throttling of a commit", () => {
  it("for a second doesn't cost the lock: DynamoDB says that nothing was written", async () => {
    const { locks, state, clock } = aProcess(table.tableName, { random: () => 0.5 });
    state.wire = async ({ name, send }) => {
      if (name === "TransactWriteItems" && clock.monotonic() < 1_000) throw cancelled("ThrottlingError");
      return send();
    };
    const key = freshKey();
    const lock = await locks.acquire(key);
    await lock.commit([add(key)]).catch(() => {});
    expect([lock.signal.aborted, lock.signal.reason?.reason]).toEqual([false, undefined]);
  });
});

describe("re-entry", () => {
  it("into a lock that is being released is refused, also when a commit before the release was cancelled", async () => {
    const { locks, state } = aProcess(table.tableName);
    const key = freshKey();
    await counters.put({ lock_id: { S: key } });
    const lock = await locks.acquire(key);
    let inner: Promise<Lock | string> | undefined;
    state.wire = async ({ name, send }) => {
      // The release is on its way.
      if (name === "UpdateItem" && !inner) {
        inner = locks.acquire(key, { reentrant: true }).catch((error: Error) => error.name);
        await turn();
      }
      return send();
    };
    // As `await using` and Promise.all do it: one rejects, and the block is left while the other is under way.
    const committed = lock.commit([putOnce(key)]).catch((error: Error) => error.name);
    const released = lock.release();
    expect(await committed).toBe("TransactionCanceledException");
    await released;
    const entered = await inner;
    expect(typeof entered === "string" ? entered : entered?.status).not.toBe("released");
  });
});

describe("a handler that throws after it has committed", () => {
  it("with onError 'keep': no event says that the key was kept, for it is finished", async () => {
    const { locks, types } = aProcess(table.tableName);
    const key = freshKey();
    const handler = withLock(
      async (_event: object, context: LockContext) => {
        await context.lock.commit([add(key)], { result: "paid" });
        throw new Error("after the commit");
      },
      { key: () => key, namespace: false, locks, onError: "keep" },
    );
    await expect(handler({}, lambdaContext() as never)).rejects.toThrow("after the commit");
    expect(types()).toEqual(["acquired", "finished"]);
  });
});

describe("data that the handler changes for itself", () => {
  it.each([
    ["a bigint", (data: Record<string, unknown>) => Object.assign(data, { total: 5n })],
    ["a reference to itself", (data: Record<string, unknown>) => Object.assign(data, { self: data })],
  ])("(%s) doesn't keep the key from being finished, silently", async (_name, change) => {
    const { locks, types } = aProcess(table.tableName);
    const key = freshKey();
    await (await locks.acquire(key, { data: { total: 1 } })).release();
    const handler = withLock(
      async (_event: object, { lock }: LockContext) => {
        change(lock.data as Record<string, unknown>);
        return "done";
      },
      { key: () => key, namespace: false, locks },
    );
    expect(await handler({}, lambdaContext() as never)).toBe("done");
    // "Handlers whose response is returned as success have finished or released, or the loss was reported."
    expect([(await locks.get(key))?.status, types()]).toEqual(["FINISHED", expect.arrayContaining(["finished"])]);
  });

  it("doesn't make a commit that was written reject", async () => {
    const { locks } = aProcess(table.tableName, { cacheSize: 10 });
    const key = freshKey();
    const lock = await locks.acquire(key, { data: { step: 1 } });
    Object.assign(lock.data as object, { done: () => {} });
    const told = await lock.commit([add(key)], { result: 1 }).then(
      () => "fulfilled",
      (error: Error) => error.name,
    );
    expect([told, await total(key)]).toEqual(["fulfilled", 1]);
  });
});

describe("where locks are disabled", () => {
  it("a handler's own transaction with condition() runs, as everything else does", async () => {
    const { client } = aProcess(table.tableName);
    const { TransactWriteItemsCommand } = await import("@aws-sdk/client-dynamodb");
    const key = freshKey();
    const handler = withLock(
      async (_event: object, { lock }: LockContext) => {
        const TransactItems = [{ ConditionCheck: lock.condition() }, add(key)];
        await client.send(new TransactWriteItemsCommand({ TransactItems }));
      },
      { key: () => key, client, tableName: table.tableName, disabled: true },
    );
    await handler({}, lambdaContext() as never);
    expect(await total(key)).toBe(1);
  });

  it("a handler that names one of its keys in condition() gets one", async () => {
    const { client } = aProcess(table.tableName);
    const handler = withLock(async (_event: object, { lock }: LockContext) => lock.condition("transfer#a").TableName, {
      key: () => ["a", "b"],
      namespace: "transfer",
      client,
      tableName: table.tableName,
      disabled: true,
    });
    expect(await handler({}, lambdaContext() as never)).toBe(table.tableName);
  });
});
