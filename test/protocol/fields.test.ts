/** Items under a lock's key that this version did not write, or not in this shape: reading and writing judge them alike. */
import { randomBytes } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import {
  describeLock,
  type LockClientOptions,
  LockError,
  LockHeldError,
  type LockRecord,
  LockTableError,
  listLocks,
  PayloadMismatchError,
  purgeLocks,
  semaphore,
  withLock,
  withLockBatch,
} from "../../src/index.ts";
import type { Item } from "../../src/protocol/item.ts";
import { manualClock } from "../support/clock.ts";
import { lockTable } from "../support/dynamodb.ts";
import { breakAll, freeKey } from "../support/free.ts";
import { lambdaContext } from "../support/lambda.ts";
import { aProcess } from "../support/process.ts";

const NOW = Date.now();
const HOUR = 3_600_000;
const later = { N: `${NOW + HOUR}` };
const earlier = { N: `${NOW - HOUR}` };

/** A record with all its attributes, of a run that crashed an hour ago. */
const crashed: Item = {
  status: { S: "IN_PROGRESS" },
  owner_id: { S: "a run" },
  token: { S: "t" },
  fence: { N: `${NOW - 2 * HOUR}` },
  lease_ms: { N: "10000" },
  expires_at: earlier,
  acquired_at: { N: `${NOW - 2 * HOUR}` },
  updated_at: { N: `${NOW - 2 * HOUR}` },
};
const without = (...names: string[]): Item =>
  Object.fromEntries(Object.entries(crashed).filter(([name]) => !names.includes(name)));
const aSemaphore: Item = { ...crashed, status: { S: "SEMAPHORE" }, permits: { N: "2" } };
const slot: Item = {
  status: { S: "IN_PROGRESS" },
  owner_id: { S: "a run" },
  token: { S: "t0" },
  lease_ms: { N: "10000" },
  acquired_at: { N: `${NOW - 2 * HOUR}` },
  expires_at: earlier,
};

/** Ours by what an acquisition demands, so all of them can be taken; not all of them can be read to the last attribute. */
const ours: Record<string, Item> = {
  "all attributes": crashed,
  "no lease_ms": without("lease_ms"),
  "a lease_ms of 0": { ...crashed, lease_ms: { N: "0" } },
  "a negative lease_ms": { ...crashed, lease_ms: { N: "-5" } },
  "a lease_ms that is text": { ...crashed, lease_ms: { S: "10000" } },
  "no owner_id": without("owner_id"),
  "an owner_id that is a number": { ...crashed, owner_id: { N: "7" } },
  "no acquired_at": without("acquired_at"),
  "an acquired_at that is null": { ...crashed, acquired_at: { NULL: true } },
  "no updated_at": without("updated_at"),
  "an updated_at that is text": { ...crashed, updated_at: { S: "yesterday" } },
  "status, token, fence and expires_at alone": without("owner_id", "lease_ms", "acquired_at", "updated_at"),
  "released, without the rest": {
    status: { S: "RELEASED" },
    token: { S: "t" },
    fence: { N: "1" },
    expires_at: { N: "0" },
  },
  "finished long ago, without the rest": {
    status: { S: "FINISHED" },
    token: { S: "t" },
    fence: { N: "1" },
    expires_at: earlier,
  },
  "finished, with a result of another kind": {
    ...crashed,
    status: { S: "FINISHED" },
    result: { M: {} },
  },
  "data that is no JSON": { ...crashed, data: { S: "{step: 1" } },
  "data of another kind": { ...crashed, data: { M: { step: { N: "1" } } } },
  "a failure that is no JSON": { ...crashed, status: { S: "FINISHED" }, failure: { S: "boom" } },
  "a failure that is null": { ...crashed, status: { S: "FINISHED" }, failure: { S: "null" } },
  "a fingerprint of another kind": { ...crashed, fingerprint: { B: new Uint8Array([1]) } },
  "a key_count that is text": { ...crashed, status: { S: "FINISHED" }, key_count: { S: "2" } },
  "an empty semaphore": aSemaphore,
  "a semaphore without permits": { ...aSemaphore, permits: { S: "many" } },
  "a semaphore with a slot that is over, and has no more than its end": {
    ...aSemaphore,
    slot_0: { M: { expires_at: earlier } },
  },
  "a time out of a date's range": { ...crashed, acquired_at: { N: "1795219200000000000" } },
};
/** Items that no acquisition may overwrite, and that no reader takes for a record. */
const foreign: Record<string, Item> = {
  "the key alone": {},
  "no token": without("token"),
  "a token that is a number": { ...crashed, token: { N: "1" } },
  "no fence": without("fence"),
  "a fence that is text": { ...crashed, fence: { S: "1" } },
  "a fence of 0": { ...crashed, fence: { N: "0" } },
  "a negative fence": { ...crashed, fence: { N: "-1" } },
  "no expires_at": without("expires_at"),
  "an expires_at that is text": { ...crashed, expires_at: { S: "1" } },
  "no status": without("status"),
  "a status that is a number": { ...crashed, status: { N: "1" } },
  "a status of a newer version": { ...crashed, status: { S: "PAUSED" } },
  "a released record of a newer version": { ...crashed, status: { S: "RELEASED_2" }, expires_at: { N: "0" } },
};

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});
let keys = 0;
const stored = async (attributes: Item) => {
  const key = `item-${++keys}`;
  await table.put({ lock_id: { S: key }, ...attributes });
  return key;
};
const client = (options: Omit<LockClientOptions, "clock"> = {}) =>
  aProcess(table.tableName, { ...options, clock: manualClock(NOW) });
const inBatch = (locks: ReturnType<typeof client>["locks"], key: string, ran: string[]) =>
  (
    withLockBatch(
      async ({ Records }: { Records: { body: string }[] }) => {
        for (const { body } of Records) ran.push(body);
      },
      { key: ({ body }: { body: string }) => body, namespace: false, locks } as never,
    ) as (event: unknown, context: unknown) => Promise<unknown>
  )({ Records: [{ messageId: "m1", body: key, eventSource: "aws:sqs" }] }, lambdaContext());

describe.each(Object.entries(ours))("ours: %s", (_name, attributes) => {
  /** Each of them on an item of its own. */
  const takes: Record<string, (locks: ReturnType<typeof client>["locks"], key: string) => Promise<unknown>> = {
    tryAcquire: (locks, key) => locks.tryAcquire(key),
    "acquire with a wait": (locks, key) => locks.acquire(key, { waitMs: 1_000 }),
    force: (locks, key) => locks.acquire(key, { force: true }),
    "several keys": (locks, key) => locks.tryAcquire([key, `${key}-2`]),
    once: (locks, key) => locks.once(key, () => "ran"),
    run: (locks, key) => locks.run(key, () => "ran"),
    "a permit": (locks, key) => semaphore(locks, key, { permits: 2 }).tryAcquire(),
    withLock: (locks, key) => withLock(() => "ran", { key: () => key, namespace: false, locks })({}, lambdaContext()),
    "a batch": async (locks, key) => {
      const ran: string[] = [];
      await inBatch(locks, key, ran);
      return ran[0];
    },
  };

  it.each(Object.entries(takes))("%s takes the key", async (_take, take) => {
    const key = await stored(attributes);
    expect(await take(client().locks, key)).toBeDefined();
  });

  it("get, count, listLocks and waitUntilFinished read it, and describeLock describes it", async () => {
    const { locks } = client();
    const key = await stored(attributes);
    const record = (await locks.get(key)) as LockRecord;
    expect(record).toMatchObject({ key, token: "t", status: attributes.status?.S });
    for (const value of Object.values(record)) expect(value).not.toBeNaN();
    expect(await locks.count(key)).toBe(0);
    expect(await locks.waitUntilFinished([key], { timeoutMs: 0 })).toEqual([]);
    const listed = [];
    for await (const each of listLocks(locks, { keyPrefix: key, expired: true })) listed.push(each);
    expect(listed).toContainEqual(record);
    expect(() => JSON.stringify(describeLock(record))).not.toThrow();
  });

  it("observed: a lease that doesn't say its length is never over by watching", async () => {
    const { locks, clock } = client({ expiry: "observed" });
    const key = await stored({ ...attributes, ...(attributes.status?.S === "IN_PROGRESS" && { expires_at: later }) });
    await locks.tryAcquire(key);
    clock.advance(9_999);
    if (attributes.status?.S === "IN_PROGRESS") expect(await locks.tryAcquire(key)).toBeUndefined();
  });

  it("breakLock, forgetLock and purgeLocks do their work, or leave it alone", async () => {
    const { locks } = client();
    const broken = await stored(attributes);
    await freeKey(locks, broken);
    expect(await locks.tryAcquire(broken)).toBeDefined();
    const purged = await stored(attributes);
    const result = await purgeLocks(locks, { keys: [purged], finished: true, olderThanMs: HOUR });
    expect(await table.item(purged)).toEqual(result.length > 0 ? undefined : { lock_id: { S: purged }, ...attributes });
  });
});

describe.each(Object.entries(foreign))("foreign: %s", (_name, attributes) => {
  it("nobody takes it, everybody says so, and it stays as it is", async () => {
    const key = await stored(attributes);
    const { locks } = client();
    const attempts: Record<string, () => Promise<unknown>> = {
      tryAcquire: () => locks.tryAcquire(key),
      acquire: () => locks.acquire(key, { waitMs: 1_000 }),
      force: () => locks.acquire(key, { force: true }),
      "several keys": () => locks.acquire([`${key}-2`, key]),
      "several keys by force": () => locks.acquire([`${key}-2`, key], { force: true }),
      once: () => locks.once(key, () => "ran"),
      "a permit": () => semaphore(locks, key, { permits: 3 }).acquire(),
      withLock: () => withLock(() => "ran", { key: () => key, namespace: false, locks })({}, lambdaContext()),
      get: () => locks.get(key),
      count: () => locks.count(key),
      waitUntilFinished: () => locks.waitUntilFinished([key], { timeoutMs: 0 }),
      breakLock: () => freeKey(locks, key),
      "purgeLocks with keys": () => purgeLocks(locks, { keys: [key], finished: true, olderThanMs: 0 }),
    };
    for (const [name, attempt] of Object.entries(attempts)) {
      const outcome = await attempt().then(
        (value) => ({ value }),
        (error: unknown) => error,
      );
      expect(outcome, name).toBeInstanceOf(LockTableError);
      expect((outcome as Error).message, name).toMatch(/is no lock record: something else writes to this table/);
    }
    const ran: string[] = [];
    expect(await inBatch(locks, key, ran)).toMatchObject({ batchItemFailures: [{ itemIdentifier: "m1" }] });
    expect(ran).toEqual([]);
    for await (const record of listLocks(locks, { keyPrefix: key })) expect(record).toBeUndefined();
    expect(await table.item(key)).toEqual({ lock_id: { S: key }, ...attributes });
  });
});

describe("what only a newer version knows", () => {
  it("a status: the error says that a newer version may have written it", async () => {
    const key = await stored({ ...crashed, status: { S: "PAUSED" } });
    const { locks } = client();
    await expect(locks.get(key)).rejects.toThrow(/newer version .* status "PAUSED"/);
    await expect(locks.acquire(key)).rejects.toThrow(/newer version .* status "PAUSED"/);
    expect((await locks.get(await stored({ ...crashed, priority: { N: "3" } })))?.owner).toBe("a run");
  });

  it.each<[string, Item]>([
    ["a result of bytes", { result: { B: new Uint8Array([1, 2]) } }],
    ["a result as a map", { result: { M: { statusCode: { N: "200" } } } }],
    ["a result that is no JSON", { result: { S: "brotli:..." } }],
    ["a result of bytes that are no gzip", { result: { B: new Uint8Array([40, 181, 47, 253]) } }],
    ["a result that is false", { result: { BOOL: false } }],
    ["a failure of another kind", { failure: { M: { code: { S: "E" } } } }],
    ["a failure that is no JSON", { failure: { S: "E" } }],
  ])("%s is not replayed as undefined", async (_name, attributes) => {
    const finished = { ...crashed, status: { S: "FINISHED" }, expires_at: later, ...attributes };
    const key = await stored(finished);
    for (const cacheSize of [0, 10]) {
      const { locks } = client({ cacheSize });
      for (let repeat = 0; repeat < 2; repeat++) {
        await expect(locks.once(key, () => "ran")).rejects.toThrow(/stored response .* newer version/);
      }
      const handler = withLock(() => "ran", { key: () => key, namespace: false, locks });
      await expect(handler({}, lambdaContext())).rejects.toThrow(LockTableError);
      expect((await locks.get(key))?.unreadable).toEqual([Object.keys(attributes)[0]]);
      expect(await locks.tryAcquire(key)).toBeUndefined();
    }
    expect(await table.item(key)).toEqual({ lock_id: { S: key }, ...finished });
  });

  it("a response beside the record, stored in another way", async () => {
    const key = `item-${++keys}`;
    const { locks } = client();
    await locks.once(key, () => randomBytes(20_000).toString("base64"));
    const token = (await table.item(key))?.token?.S;
    await table.put({ lock_id: { S: `${key}#result#${token}` }, result: { B: new Uint8Array([40, 181, 47, 253]) } });
    await expect(locks.once(key, () => "ran")).rejects.toThrow(/stored response .* newer version/);
    expect((await locks.get(key))?.unreadable).toEqual(["result"]);
  });

  it("of several keys, only the first has the response", async () => {
    const list = [`item-${++keys}`, `item-${++keys}`];
    const { locks } = client();
    await locks.once(list, () => "first");
    await table.put({ ...((await table.item(list[0] as string)) as Item), result: { B: new Uint8Array([1]) } });
    await expect(locks.once(list, () => "ran")).rejects.toThrow(/stored response .* newer version/);
  });

  it("data: what can't be read is not lost, and lock.data says so", async () => {
    for (const data of [{ S: "step 7" }, { M: { step: { N: "7" } } }]) {
      const key = await stored({ ...crashed, data });
      const { locks } = client();
      const lock = await locks.acquire(key);
      expect(() => lock.data).toThrow(/data .* can't be read/);
      expect(() => lock.data).toThrow(LockTableError);
      await lock.release();
      expect((await table.item(key))?.data).toEqual(data);
      const mine = await locks.acquire(key, { data: { step: 8 } });
      expect(mine.data).toEqual({ step: 8 });
    }
  });

  it("a fingerprint that can't be compared is another payload, and a number of keys another list", async () => {
    const finished = { ...crashed, status: { S: "FINISHED" }, expires_at: later, result: { S: '"first"' } };
    const { locks } = client();
    const hashed = await stored({ ...finished, fingerprint: { B: new Uint8Array([1]) } });
    await expect(locks.once(hashed, () => "ran", { fingerprint: 1 })).rejects.toThrow(PayloadMismatchError);
    expect(await locks.once(hashed, () => "ran")).toBe("first");
    const counted = await stored({ ...finished, key_count: { S: "two" } });
    await expect(locks.once(counted, () => "ran")).rejects.toThrow(LockHeldError);
  });

  it("a slot whose end can't be read is held: the permits are never exceeded", async () => {
    const { locks } = client();
    const strange = { ...aSemaphore, slot_0: { M: { ...slot, expires_at: { S: "never" } } }, slot_0_fence: { N: "1" } };
    const key = await stored(strange);
    expect(await locks.count(key)).toBe(1);
    expect(await semaphore(locks, key, { permits: 2 }).tryAcquire()).toBeDefined();
    expect(await semaphore(locks, key, { permits: 2 }).tryAcquire()).toBeUndefined();
    expect(await locks.tryAcquire(key)).toBeUndefined();
    expect(JSON.stringify(describeLock((await locks.get(key)) as LockRecord))).toContain("a run");
    await freeKey(locks, key);
    expect(await locks.count(key)).toBe(0);
  });

  it("attributes that are unknown here are left alone by every write", async () => {
    const unknown = {
      priority: { N: "3" },
      tags: { SS: ["a"] },
      slot_zero: { S: "no slot" },
      result2: { B: new Uint8Array([1]) },
    };
    const { locks, clock } = client();
    const intact = async (key: string) => expect(await table.item(key)).toMatchObject(unknown);
    const key = await stored({ ...crashed, ...unknown });

    const lock = await locks.acquire(key, { data: 1, leaseMs: 60_000 });
    await intact(key);
    await lock.extend(60_000);
    await intact(key);
    await lock.release();
    await intact(key);
    await locks.once(key, () => "x".repeat(10_000), { rememberMs: 1_000 });
    await intact(key);
    clock.advance(HOUR);
    await (await locks.acquire([key, `${key}-2`])).commit([], { result: 1 });
    await intact(key);
    await locks.acquire(key, { force: true });
    await intact(key);
    await freeKey(locks, key);
    await intact(key);
    const permit = await semaphore(locks, key, { permits: 2 }).acquire();
    await intact(key);
    await permit.release();
    await (await locks.acquire(key)).release();
    await intact(key);
  });

  it("listLocks passes over what is foreign", async () => {
    const other = await lockTable();
    const { locks } = aProcess(other.tableName, { clock: manualClock(NOW) });
    await other.put({ lock_id: { S: "foreign" }, ...crashed, status: { S: "PAUSED" } });
    await other.put({ lock_id: { S: "ours" }, ...without("lease_ms", "owner_id"), expires_at: later });
    expect((await breakAll(locks)).map(({ key }) => key)).toEqual(["ours"]);
    await expect(locks.get("foreign")).rejects.toBeInstanceOf(LockError);
  });
});
