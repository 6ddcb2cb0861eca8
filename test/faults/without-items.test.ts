/**
 * Engines that refuse a conditional write without showing the item that refused it: older emulators, and mocks. AWS itself and
 * DynamoDB Local show it (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateItem.html).
 */
import {
  ConditionalCheckFailedException,
  DeleteItemCommand,
  DynamoDBClient,
  GetItemCommand,
  TransactionCanceledException,
  TransactWriteItemsCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { mockClient } from "aws-sdk-client-mock";
import { beforeAll, describe, expect, it } from "vitest";
import {
  LockClient,
  type LockHeldError,
  LockLostError,
  LockTableError,
  purgeLocks,
  semaphore,
} from "../../src/index.ts";
import type { ManualClock } from "../support/clock.ts";
import { lockTable } from "../support/dynamodb.ts";
import { freeKey } from "../support/free.ts";
import { aProcess, lost } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});
let keys = 0;
const freshKey = () => `no-item-${++keys}`;

type Refusal = { Item?: unknown; CancellationReasons?: { Item?: unknown }[] };

/** A process on a real engine that keeps the items to itself. */
const onOldEngine = (options: Parameters<typeof aProcess<ManualClock>>[1] = {}) => {
  const process = aProcess<ManualClock>(table.tableName, options);
  process.state.wire = ({ send }) => send().catch(hideItems);
  return process;
};
const hideItems = (error: Refusal) => {
  delete error.Item;
  for (const reason of error.CancellationReasons ?? []) delete reason.Item;
  throw error;
};

describe("on an engine that doesn't show the item", () => {
  it("a held key is held, and by whom", async () => {
    const held = await aProcess(table.tableName).locks.acquire(freshKey(), { owner: "the holder" });
    const { locks, state } = onOldEngine();
    expect(await locks.tryAcquire(held.key)).toBeUndefined();
    expect(state.sent).toEqual(["UpdateItem", "GetItem"]);
    await expect(locks.acquire(held.key)).rejects.toMatchObject({ record: { owner: "the holder" } });
    await expect(locks.acquire([held.key, freshKey()])).rejects.toMatchObject({ record: { owner: "the holder" } });
  });

  it("a finished key is replayed; one key, and several", async () => {
    for (const key of [freshKey(), [freshKey(), freshKey()]]) {
      await aProcess(table.tableName).locks.once(key, () => "first");
      expect(await onOldEngine().locks.once(key, () => "again")).toBe("first");
    }
  });

  it("a key is waited for, taken over, and taken by force", async () => {
    const key = freshKey();
    await aProcess(table.tableName).locks.acquire(key);
    const waiter = onOldEngine();
    expect((await waiter.locks.acquire(key, { waitMs: 20_000 })).previous).toBeDefined();
    expect((await onOldEngine().locks.acquire(key, { force: true })).status).toBe("held");
    const list = [key, freshKey()];
    expect((await onOldEngine().locks.acquire(list, { force: true })).status).toBe("held");
  });

  it("a semaphore gives its permits, and no more", async () => {
    const key = freshKey();
    const { locks } = onOldEngine({ random: () => 0 });
    const permits = [1, 2].map(() => semaphore(locks, key, { permits: 2 }).acquire());
    const [one] = await Promise.all(permits);
    expect(await semaphore(locks, key, { permits: 2 }).tryAcquire()).toBeUndefined();
    await one?.release();
    expect(await semaphore(locks, key, { permits: 2 }).tryAcquire()).toBeDefined();
  });

  it.each([1, 2])("an acquisition of %i key(s) whose reply is lost is recognised", async (count) => {
    const { locks, state } = onOldEngine({ config: { maxAttempts: 3 } });
    state.wire = async ({ n, send }) => {
      const reply = await send().catch(hideItems);
      if (n === 1) throw lost();
      return reply;
    };
    const list = Array.from({ length: count }, freshKey);
    const lock = await locks.acquire(count === 1 ? (list[0] as string) : list);
    for (const key of list) expect((await table.item(key))?.token?.S).toBe(lock.token);
  });

  it.each(["finish", "release"] as const)(
    "a %s whose reply is lost is recognised; one key, and several",
    async (end) => {
      for (const key of [freshKey(), [freshKey(), freshKey()]]) {
        const { locks, state, types } = onOldEngine({ config: { maxAttempts: 3 } });
        const lock = await locks.acquire(key);
        state.wire = async ({ n, send }) => {
          const reply = await send().catch(hideItems);
          if (n === 2) throw lost();
          return reply;
        };
        await lock[end]();
        expect(types()).toEqual(["acquired", end === "finish" ? "finished" : "released"]);
      }
    },
  );

  it("a superseded holder is told that the lock was stolen; one key, and several", async () => {
    for (const key of [freshKey(), [freshKey(), freshKey()]]) {
      const { locks } = onOldEngine();
      for (const write of ["extend", "finish", "release", "commit"] as const) {
        const lock = await locks.acquire(key, { force: true });
        await aProcess(table.tableName).locks.acquire(key, { force: true });
        const written = write === "extend" ? lock.extend(60_000) : write === "commit" ? lock.commit([]) : lock[write]();
        await expect(written, write).rejects.toMatchObject({ reason: "stolen" });
      }
    }
  });

  it("a break and a purge say what they did", async () => {
    const key = freshKey();
    const finished = aProcess(table.tableName);
    await finished.locks.once(key, () => 1);
    const { locks, state, clock } = onOldEngine();
    clock.advance(5_000);
    state.wire = async ({ name, send }) => {
      if (name === "DeleteItem") await aProcess(table.tableName).locks.acquire(key, { force: true });
      return send().catch(hideItems);
    };
    expect(await purgeLocks(locks, { keys: [key], finished: true })).toEqual([]);
    expect((await table.item(key))?.status?.S).toBe("IN_PROGRESS");
    let changed = false;
    state.wire = async ({ name, send }) => {
      if (name === "UpdateItem" && !changed) {
        changed = true;
        await aProcess(table.tableName).locks.acquire(key, { force: true, owner: "the next" });
      }
      return send().catch(hideItems);
    };
    expect((await freeKey(locks, key))?.owner).toBe("the next");
    expect((await table.item(key))?.status?.S).toBe("RELEASED");
  });

  it("an item that is gone by the time it is read: the key is tried for again", async () => {
    for (const isList of [false, true]) {
      const key = freshKey();
      await aProcess(table.tableName).locks.acquire(key);
      const { locks, state } = onOldEngine();
      state.wire = async ({ name, send }) => {
        if (name === "GetItem") {
          const Key = { lock_id: { S: key } };
          await table.client.send(new DeleteItemCommand({ TableName: table.tableName, Key }));
        }
        return send().catch(hideItems);
      };
      expect(await locks.tryAcquire(isList ? [key, freshKey()] : key)).toBeDefined();
    }
  });

  it("a record that was deleted under its holder is no other's", async () => {
    const lock = await onOldEngine().locks.acquire(freshKey());
    const Key = { lock_id: { S: lock.key } };
    await table.client.send(new DeleteItemCommand({ TableName: table.tableName, Key }));
    await expect(lock.finish()).rejects.toThrow(LockLostError);
    await expect(lock.finish()).rejects.not.toMatchObject({ reason: "stolen" });
  });

  it("a foreign item is still told from none", async () => {
    const key = freshKey();
    await table.put({ lock_id: { S: key }, payload: { S: "precious" } });
    await expect(onOldEngine().locks.acquire(key)).rejects.toThrow("something else writes to this table");
  });
});

describe("a mock that refuses without an item", () => {
  const refusal = () =>
    new ConditionalCheckFailedException({ message: "The conditional request failed", $metadata: {} });
  const cancelled = () =>
    new TransactionCanceledException({
      message: "Transaction cancelled",
      CancellationReasons: [{ Code: "ConditionalCheckFailed" }, { Code: "None" }],
      $metadata: {},
    });
  const mocked = () => {
    const mock = mockClient(DynamoDBClient);
    mock.on(UpdateItemCommand).rejects(refusal());
    mock.on(TransactWriteItemsCommand).rejects(cancelled());
    const client = new DynamoDBClient({ region: "eu-central-1" });
    return { mock, locks: new LockClient({ client, tableName: "locks" }) };
  };
  const attempts: Record<string, (locks: LockClient) => Promise<unknown>> = {
    tryAcquire: (locks) => locks.tryAcquire("key"),
    "acquire with a wait": (locks) => locks.acquire("key", { waitMs: 1_000 }),
    force: (locks) => locks.acquire("key", { force: true }),
    once: (locks) => locks.once("key", () => "never"),
    "a permit": (locks) => semaphore(locks, "key", { permits: 3 }).acquire(),
    "several keys": (locks) => locks.acquire(["key", "another"]),
  };

  it.each(Object.entries(attempts))(
    "%s: and reads nothing: the error names the engine, and ends",
    async (_name, attempt) => {
      const { mock, locks } = mocked();
      await expect(attempt(locks)).rejects.toThrow(/does not support ReturnValuesOnConditionCheckFailure: ALL_OLD/);
      await expect(attempt(locks)).rejects.toThrow(LockTableError);
      await expect(attempt(locks)).rejects.not.toThrow("something else");
      expect(mock.calls().length).toBeLessThan(30);
    },
  );

  it.each(Object.entries(attempts))(
    "%s: without the permission to read: the same, with AWS's words",
    async (_n, attempt) => {
      const { mock, locks } = mocked();
      const denied = { name: "AccessDeniedException", message: "not authorized to perform: dynamodb:GetItem" };
      mock.on(GetItemCommand).rejects(Object.assign(new Error(denied.message), denied));
      await expect(attempt(locks)).rejects.toThrow(/ALL_OLD/);
      await expect(attempt(locks)).rejects.toThrow(/dynamodb:GetItem/);
    },
  );

  it.each(Object.entries(attempts))("%s: goes on with what it reads", async (_name, attempt) => {
    const { mock, locks } = mocked();
    const Item = {
      lock_id: { S: "key" },
      status: { S: "IN_PROGRESS" },
      token: { S: "t" },
      fence: { N: "1" },
      expires_at: { N: `${Date.now() + 60_000}` },
      lease_ms: { N: "60000" },
    };
    mock.on(GetItemCommand).resolves({ Item });
    const outcome = await attempt(locks).catch((error: unknown) => error);
    expect(outcome === undefined || (outcome as LockHeldError).record).toBeTruthy();
  });
});
