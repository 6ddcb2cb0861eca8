import { beforeAll, describe, expect, it } from "vitest";
import { LockClient, type LockClientOptions, type LockEvent, LockHeldError, semaphore } from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { countingClient, followRequests, lockTable, loseReplies } from "../support/dynamodb.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

let rounds = 0;
const freshKeys = (count: number): string[] => {
  rounds++;
  return Array.from({ length: count }, (_, index) => `${rounds}-${index}`);
};

const setUp = (options: LockClientOptions = {}) => {
  const { client, sent } = countingClient();
  const clock = manualClock();
  followRequests(clock, client);
  const events: LockEvent[] = [];
  const onEvent = (event: LockEvent) => events.push(event);
  const base = { client, tableName: table.tableName, clock, leaseMs: 10_000, heartbeatMs: false as const, onEvent };
  return { locks: new LockClient({ ...base, ...options }), clock, client, sent, events };
};
const statuses = (locks: LockClient, keys: string[]) =>
  Promise.all(keys.map(async (key) => (await locks.get(key))?.status));

describe("several keys", () => {
  it("are taken and released together: two requests", async () => {
    const { locks, sent } = setUp();
    const keys = freshKeys(3);
    const lock = await locks.acquire(keys);
    expect(sent).toEqual(["TransactWriteItems"]);
    expect(await statuses(locks, keys)).toEqual(["IN_PROGRESS", "IN_PROGRESS", "IN_PROGRESS"]);
    sent.length = 0;
    await lock.release();
    expect(sent).toEqual(["TransactWriteItems"]);
    expect(await statuses(locks, keys)).toEqual(["RELEASED", "RELEASED", "RELEASED"]);
  });

  it("all or none: a conflict names the key that was held, and leaves the others as they were", async () => {
    const { locks } = setUp();
    const keys = freshKeys(3);
    const holder = await locks.acquire(keys[1] as string);
    const error = (await locks.acquire(keys).catch((e: unknown) => e)) as LockHeldError;
    expect(error).toBeInstanceOf(LockHeldError);
    expect(error.record).toMatchObject({ key: keys[1], token: holder.token });
    expect(await statuses(locks, keys)).toEqual([undefined, "IN_PROGRESS", undefined]);
    expect(await locks.tryAcquire(keys)).toBeUndefined();
  });

  it("two that take the same keys in opposite orders: no deadlock, one at a time", async () => {
    const { client } = countingClient();
    const locks = new LockClient({ client, tableName: table.tableName });
    const keys = freshKeys(5);
    let holders = 0;
    const contend = (list: string[]) =>
      locks.run(
        list,
        async () => {
          expect(++holders).toBe(1);
          await new Promise((resolve) => setTimeout(resolve, 2));
          holders--;
        },
        { waitMs: 15_000, backoff: { minMs: 5, maxMs: 50 } },
      );
    await Promise.all(Array.from({ length: 10 }, (_, index) => contend(index % 2 ? keys : keys.toReversed())));
  });

  it("duplicates in the list are one, and a list of one is a plain lock", async () => {
    const { locks, sent } = setUp();
    const [key] = freshKeys(1) as [string];
    const lock = await locks.acquire([key, key]);
    expect(lock.keys).toEqual([key]);
    await lock.finish();
    expect(sent).toEqual(["UpdateItem", "UpdateItem"]);
  });

  it("have one fencing token, above every token that any of them had", async () => {
    const { locks, clock } = setUp();
    const keys = freshKeys(3);
    let last = 0;
    for (const key of keys) {
      for (let times = 0; times < 5; times++) {
        const single = await locks.acquire(key); // within one ms of the clock: the counter runs ahead of it
        last = Math.max(last, single.fencingToken);
        await single.release();
      }
    }
    const lock = await locks.acquire(keys);
    expect(lock.fencingToken).toBeGreaterThan(last);
    for (const key of keys) expect((await locks.get(key))?.fencingToken).toBe(lock.fencingToken);
    await lock.release();
    clock.advance(1);
    expect((await locks.acquire(keys[0] as string)).fencingToken).toBeGreaterThan(lock.fencingToken);
  });

  it("are renewed together, by the heartbeat", async () => {
    const { locks, clock, sent } = setUp({ heartbeatMs: 3_000 });
    const keys = freshKeys(2);
    const lock = await locks.acquire(keys);
    await clock.pass(15_000);
    expect(lock.status).toBe("held");
    expect(sent).toEqual(Array(6).fill("TransactWriteItems"));
    expect((await locks.get(keys[1] as string))?.expiresAt).toBe(lock.expiresAt);
    await lock.release();
  });

  it("one of them stolen: the finish changes none of them", async () => {
    const { locks } = setUp();
    const keys = freshKeys(3);
    const lock = await locks.acquire(keys);
    await locks.acquire(keys[1] as string, { force: true });
    await expect(lock.finish()).rejects.toMatchObject({
      reason: "stolen",
      key: keys[1],
    });
    expect(await statuses(locks, keys)).toEqual(["IN_PROGRESS", "IN_PROGRESS", "IN_PROGRESS"]);
  });

  it("one of them stolen: the release still frees the others", async () => {
    const { locks } = setUp();
    const keys = freshKeys(3);
    const lock = await locks.acquire(keys);
    await locks.acquire(keys[1] as string, { force: true });
    await expect(lock.release()).rejects.toMatchObject({ reason: "stolen" });
    expect(await statuses(locks, keys)).toEqual(["RELEASED", "IN_PROGRESS", "RELEASED"]);
  });

  it("finish together, and a repeat of the list gets the response", async () => {
    const { locks } = setUp();
    const keys = freshKeys(3);
    expect(await locks.once(keys, () => ({ moved: 5 }))).toEqual({ moved: 5 });
    expect(await locks.once(keys, () => "again")).toEqual({ moved: 5 });
  });

  it("another list that shares a finished key is no repeat: it is refused, not answered", async () => {
    const { locks } = setUp();
    const [a, b, c] = freshKeys(3) as [string, string, string];
    await locks.once([a, b], () => "a and b");
    await expect(locks.once([b, c], () => "b and c")).rejects.toMatchObject({ record: { key: b, status: "FINISHED" } });
    await locks.once(c, () => "c");
    await expect(locks.once([b, c], () => "b and c")).rejects.toThrow(LockHeldError); // finished by two runs
  });

  it("a lost reply to the transaction: we hold the locks", async () => {
    const { client } = countingClient({ maxAttempts: 3 });
    loseReplies(client, (request) => request === 1);
    const locks = new LockClient({ client, tableName: table.tableName });
    const keys = freshKeys(2);
    const lock = await locks.acquire(keys);
    expect((await locks.get(keys[0] as string))?.token).toBe(lock.token);
    await lock.release();
  });

  it("a lost reply and all its retries: the next attempt recognises its own record", async () => {
    const { client } = countingClient({ maxAttempts: 1 });
    loseReplies(client, (request) => request === 1);
    const locks = new LockClient({ client, tableName: table.tableName });
    const keys = freshKeys(2);
    const lock = await locks.acquire(keys, { waitMs: 5_000 });
    expect((await locks.get(keys[1] as string))?.token).toBe(lock.token);
    await lock.release();
  });

  it("100 keys are taken, 101 are a clear error, as is a list without any", async () => {
    const { locks } = setUp();
    const lock = await locks.acquire(freshKeys(100));
    await lock.release();
    await expect(locks.acquire(freshKeys(101))).rejects.toThrow(
      "a list of keys must have 1 to 100 different ones, got 101",
    );
    await expect(locks.acquire([])).rejects.toThrow("got 0");
    await expect(locks.acquire(["a", ""])).rejects.toThrow("key is missing");
    expect(() => semaphore(locks, ["a", "b"] as never, { permits: 2 })).toThrow("key must be a string");
  });
});
