/** Locks after a write whose fate is unknown: what is said of them has to be true. */
import type { TransactWriteItem } from "@aws-sdk/client-dynamodb";
import { beforeAll, describe, expect, it } from "vitest";
import { lockTable } from "../support/dynamodb.ts";
import { aProcess, lost } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
let counters: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  [table, counters] = await Promise.all([lockTable(), lockTable()]);
});

let count = 0;
const freshKey = () => `told-${++count}`;
const add = (id: string): TransactWriteItem => ({
  Update: {
    TableName: counters.tableName,
    Key: { lock_id: { S: id } },
    UpdateExpression: "ADD n :n",
    ExpressionAttributeValues: { ":n": { N: "1" } },
  },
});
const total = async (id: string) => Number((await counters.item(id))?.n?.N ?? 0);
const outcome = async (work: Promise<unknown>) =>
  work.then(
    () => "fulfilled",
    (error: { code?: string; name: string }) => error.code ?? error.name,
  );
const throttled = () =>
  Object.assign(new Error("slow down"), {
    name: "ProvisionedThroughputExceededException",
    $metadata: { httpStatusCode: 400 },
  });

describe("a commit whose fate is unknown, and that was written; then its window ends, and another run takes the key", () => {
  it("a release doesn't claim to have made sure that it never is: the same commit again is not told that nothing was written", async () => {
    const { locks, state, clock } = aProcess(table.tableName, { rememberMs: 60_000 });
    const key = freshKey();
    const lock = await locks.acquire(key);
    state.wire = async ({ send }) => {
      await send();
      throw lost();
    };
    const items = [add(key)];
    expect(await outcome(lock.commit(items))).toBe("LOCK_REQUEST");
    state.wire = async ({ send }) => send();
    clock.advance(11 * 60_000);
    await locks.acquire(key);
    await lock.release().catch(() => {});
    expect(await total(key)).toBe(1);
    expect({ status: lock.status, told: await outcome(lock.commit(items)) }).not.toEqual({
      status: "released",
      told: "LOCK_LOST", // "nothing was written"
    });
  });
});

describe("a finish that was not written, and another run takes the key over", () => {
  it.each([
    ["it is not known", lost],
    ["DynamoDB said so", throttled],
  ])("(%s): a release after it tells of the loss, instead of a release that never was", async (_name, error) => {
    const { locks, state, clock, types } = aProcess(table.tableName);
    const key = freshKey();
    const lock = await locks.acquire(key);
    state.wire = async () => {
      throw error();
    };
    expect(await outcome(lock.finish())).toBe("LOCK_REQUEST");
    state.wire = async ({ send }) => send();
    clock.advance(12_000);
    await locks.acquire(key);
    expect([await outcome(lock.release()), lock.status]).toEqual(["LOCK_LOST", "lost"]);
    expect(types()).toContain("lost");
    expect(types()).not.toContain("released");
  });
});

describe("a commit that was never sent, for an item that can't be written down", () => {
  it("is certain: the lock is still held, and the mended items are committed", async () => {
    const { locks, state } = aProcess(table.tableName);
    const key = freshKey();
    const lock = await locks.acquire(key);
    const own: Record<string, unknown> = {};
    own.M = { own }; // circular
    const unsendable = { Put: { TableName: counters.tableName, Item: { lock_id: { S: key }, own } } };
    const sent = state.sent.length;
    expect(await outcome(lock.commit([unsendable as never]))).not.toBe("fulfilled");
    expect(state.sent).toHaveLength(sent);
    expect([lock.status, lock.signal.aborted]).toEqual(["held", false]);
    expect([await outcome(lock.commit([add(key)])), await total(key)]).toEqual(["fulfilled", 1]);
  });
});

describe("a finish that DynamoDB throttled", () => {
  it("is certain: a commit instead of it is not refused as if it might have applied", async () => {
    const { locks, state } = aProcess(table.tableName);
    const key = freshKey();
    const lock = await locks.acquire(key);
    state.wire = async () => {
      throw throttled();
    };
    expect(await outcome(lock.finish())).toBe("LOCK_REQUEST");
    state.wire = async ({ send }) => send();
    expect([await outcome(lock.commit([add(key)])), await total(key)]).toEqual(["fulfilled", 1]);
  });
});

describe("onLost", () => {
  it("is called when a lock is found in other hands, also after a finish whose fate is unknown", async () => {
    const { locks, state, clock } = aProcess(table.tableName);
    const key = freshKey();
    const told: string[] = [];
    const lock = await locks.acquire(key, { onLost: (_lock, { reason }) => told.push(reason) });
    state.wire = async () => {
      throw lost();
    };
    await outcome(lock.finish());
    state.wire = async ({ send }) => send();
    clock.advance(12_000);
    await locks.acquire(key);
    expect(await outcome(lock.finish())).toBe("LOCK_LOST");
    expect(told).toHaveLength(1);
  });
});

describe("a finish that applied, its reply lost, and whose retries were throttled", () => {
  it("is in doubt: what is committed instead is not taken for written", async () => {
    const { locks, state } = aProcess(table.tableName, { config: { maxAttempts: 3 } });
    const key = freshKey();
    const lock = await locks.acquire(key);
    let attempts = 0;
    state.wire = async ({ send }) => {
      if (attempts++ > 0) throw throttled();
      await send();
      throw lost();
    };
    expect(await outcome(lock.finish())).toBe("LOCK_REQUEST");
    attempts = 0;
    state.wire = async ({ send }) => {
      const reply = await send().catch(() => {});
      if (attempts++ === 0) throw lost();
      return reply;
    };
    expect([await outcome(lock.commit([add(key)])), await total(key)]).toEqual(["LOCK_REQUEST", 0]);
  });
});
