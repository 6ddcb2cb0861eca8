/**
 * A reply that is lost after the write applied: the SDK retries, and its own write refuses the retry. (dynamolock #280,
 * amazon-dynamodb-lock-client #29: the lock counts as stolen, or the client waits a lease for itself.)
 */
import { beforeAll, describe, expect, it } from "vitest";
import { LockClient, type LockEvent } from "../../src/index.ts";
import { countingClient, lockTable, loseReplies } from "../support/dynamodb.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

let keys = 0;
/** `lose`: which of the requests' replies don't come back, counted from 1, retries included. */
const setUp = (lose: (request: number) => boolean) => {
  const { client, sent } = countingClient({ maxAttempts: 3 });
  const events: LockEvent[] = [];
  loseReplies(client, lose);
  const onEvent = (event: LockEvent) => events.push(event);
  const locks = new LockClient({ client, tableName: table.tableName, settleMs: 0, onEvent });
  return { locks, sent, key: `key-${++keys}`, types: () => events.map(({ type }) => type) };
};

describe("a lost reply", () => {
  it("to the acquisition: the retry is refused by our own record, and we hold the lock", async () => {
    const { locks, sent, key, types } = setUp((request) => request === 1);
    const lock = await locks.acquire(key);
    expect(sent).toEqual(["UpdateItem", "UpdateItem"]);
    expect(await table.item(key)).toMatchObject({ token: { S: lock.token }, fence: { N: String(lock.fencingToken) } });
    await lock.release();
    expect(types()).toEqual(["acquired", "released"]);
  });

  it("to a finish: it is finished, with its response", async () => {
    const { locks, key, types } = setUp((request) => request === 2);
    expect(await locks.once(key, () => "paid")).toBe("paid");
    expect((await locks.get(key))?.result).toEqual({ value: "paid" });
    expect(types()).toEqual(["acquired", "finished"]);
  });

  it("to a release: it is released, and not stolen", async () => {
    const { locks, key, types } = setUp((request) => request === 2);
    await (await locks.acquire(key)).release();
    expect((await locks.get(key))?.status).toBe("RELEASED");
    expect(types()).toEqual(["acquired", "released"]);
  });

  it("to a finish and all its retries: the caller may call again, and learns that it applied", async () => {
    const { locks, key, types } = setUp((request) => request >= 2 && request <= 4);
    const lock = await locks.acquire(key);
    await expect(lock.finish({ result: 1 })).rejects.toMatchObject({ code: "LOCK_REQUEST" });
    await lock.finish({ result: 1 });
    expect(lock.status).toBe("finished");
    expect(types()).toEqual(["acquired", "failed", "finished"]);
  });

  it("to a finish and all its retries: a release that follows can't undo it", async () => {
    const { locks, key } = setUp((request) => request >= 2 && request <= 4);
    const lock = await locks.acquire(key);
    await expect(lock.finish({ result: 1 })).rejects.toMatchObject({ code: "LOCK_REQUEST" });
    await lock.release();
    expect(lock.status).toBe("finished");
    expect((await locks.get(key))?.status).toBe("FINISHED");
  });

  it("to a release and all its retries: a finish that follows is told that the key is free", async () => {
    const { locks, key } = setUp((request) => request >= 2 && request <= 4);
    const lock = await locks.acquire(key);
    await expect(lock.release()).rejects.toMatchObject({ code: "LOCK_REQUEST" });
    await expect(lock.finish()).rejects.toMatchObject({ code: "LOCK_LOST", reason: "released" });
    expect((await locks.get(key))?.status).toBe("RELEASED");
  });
});
