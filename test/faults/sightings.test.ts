/** A client remembers what it has watched: a crashed holder's key is taken over by calls that don't wait. */
import type { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { beforeAll, describe, expect, it } from "vitest";
import { dynamoLock, dynamoLockBatch, LockClient, LockHeldError, semaphore, withLock } from "../../src/index.ts";
import { manualClock, TODAY } from "../support/clock.ts";
import { lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";
import { takes } from "../support/locks.ts";
import { chain, versions } from "../support/middy.ts";
import { aProcess } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});
let keys = 0;
const freshKey = () => `sighting-${++keys}`;
const HOUR = 3_600_000;
const START = TODAY;

/** A process that took the key for 10 s and crashed; its wall clock is an hour ahead, so that no clock ends its lease. */
const crashed = async (key: string | string[], permits = 1) => {
  const { locks } = aProcess(table.tableName, { clock: manualClock(START + HOUR) });
  return takes(locks, key, permits).acquire();
};

describe.each(["observed", "clock"] as const)("expiry '%s'", (expiry) => {
  const watcher = () => aProcess(table.tableName, { expiry });

  it("tryAcquire takes over a crashed holder's key once the client has seen it for its lease", async () => {
    const lock = await crashed(freshKey());
    const { locks, clock, types } = watcher();
    expect(await locks.tryAcquire(lock.key)).toBeUndefined();
    clock.advance(9_999);
    expect(await locks.tryAcquire(lock.key)).toBeUndefined();
    clock.advance(1);
    expect((await locks.tryAcquire(lock.key))?.previous?.token).toBe(lock.token);
    expect(types()).toEqual(["held", "held", "taken-over"]);
  });

  it("so do once, run, acquire, and waits that are shorter than the lease", async () => {
    for (const call of ["once", "run", "acquire"] as const) {
      const lock = await crashed(freshKey());
      const { locks, clock } = watcher();
      const work = () => "ran";
      const attempt = () => (call === "acquire" ? locks.acquire(lock.key) : locks[call](lock.key, work));
      await expect(attempt()).rejects.toThrow(LockHeldError);
      clock.advance(10_000);
      expect(await attempt()).toBeDefined();
    }
    const lock = await crashed(freshKey());
    const { locks, clock } = watcher();
    const outcomes: string[] = [];
    for (let wait = 0; wait < 6; wait++) {
      outcomes.push(await locks.acquire(lock.key, { waitMs: 2_000 }).then(({ status }) => status, String));
      if (outcomes.at(-1) === "held") break;
    }
    expect(outcomes.at(-1)).toBe("held");
    expect(clock.monotonic()).toBeGreaterThanOrEqual(10_000);
  });

  it("get, and the refusal of another call, begin the watch", async () => {
    const [one, another] = [await crashed(freshKey()), await crashed(freshKey())];
    const { locks, clock } = watcher();
    await locks.get(one.key);
    await locks.count(another.key);
    clock.advance(10_000);
    expect(await locks.tryAcquire(one.key)).toBeDefined();
    expect(await locks.tryAcquire(another.key)).toBeDefined();
  });

  it("several keys are watched, each by itself", async () => {
    const list = [freshKey(), freshKey()];
    await crashed(list);
    const { locks, clock } = watcher();
    expect(await locks.tryAcquire(list)).toBeUndefined();
    clock.advance(10_000);
    expect(await locks.tryAcquire(list)).toBeDefined();
  });

  it("a renewal begins the watch anew: a live holder is not robbed, however seldom we look", async () => {
    const holder = aProcess(table.tableName, { clock: manualClock(START + HOUR) });
    const lock = await holder.locks.acquire(freshKey());
    const { locks, clock } = watcher();
    for (let look = 0; look < 5; look++) {
      expect(await locks.tryAcquire(lock.key)).toBeUndefined();
      holder.clock.advance(9_000);
      await lock.extend(10_000);
      clock.advance(60_000);
    }
    expect(lock.status).toBe("held");
  });

  it("another holder's lease is not counted to the first one's", async () => {
    const first = await crashed(freshKey());
    const { locks, clock } = watcher();
    await locks.get(first.key);
    clock.advance(9_000);
    const second = await aProcess(table.tableName, { clock: manualClock(START + HOUR) }).locks.acquire(first.key, {
      force: true,
    });
    clock.advance(1_000);
    expect(await locks.tryAcquire(first.key)).toBeUndefined();
    expect((await locks.get(first.key))?.token).toBe(second.token);
  });

  it("a frozen process: a monotonic clock that stood still only makes the watch longer", async () => {
    const lock = await crashed(freshKey());
    const { locks, clock } = watcher();
    expect(await locks.tryAcquire(lock.key)).toBeUndefined();
    clock.advanceWall(10_000); // the monotonic one didn't count the freeze
    expect(await locks.tryAcquire(lock.key)).toBeUndefined();
    clock.freeze(10_000); // this time it did
    expect(await locks.tryAcquire(lock.key)).toBeDefined();
  });
});

it("a middleware's client watches across the invocations of its environment", async () => {
  for (const { middy } of versions) {
    const lock = await crashed(freshKey());
    const { locks, clock } = aProcess(table.tableName, { expiry: "observed" });
    // Shorter than the lease that the crashed run had: one wait is not enough.
    const options = { key: () => lock.key, namespace: false as const, locks, leaseMs: 1_000, waitMs: 4_000 };
    const ran: number[] = [];
    const handler = chain(middy, [dynamoLock(options)], async () => void ran.push(clock.monotonic()));
    for (let invocation = 0; invocation < 4 && ran.length === 0; invocation++) {
      await handler({ date: "" }).catch((error: Error) => expect(error.name).toBe("LockTimeoutError"));
    }
    expect(ran).toHaveLength(1);
    expect(ran[0]).toBeGreaterThanOrEqual(10_000);
  }
  const lock = await crashed(freshKey());
  const { locks, clock } = aProcess(table.tableName, { expiry: "observed" });
  const wrapped = withLock(async () => "ran", {
    key: () => lock.key,
    namespace: false,
    locks,
    leaseMs: 1_000,
    waitMs: 2_000,
  });
  await expect(wrapped({}, lambdaContext())).rejects.toThrow();
  clock.advance(10_000);
  expect(await wrapped({}, lambdaContext())).toBe("ran");
});

it("a batch's refusals are sightings too", async () => {
  const list = [freshKey(), freshKey()];
  for (const key of list) await crashed(key);
  const { locks, clock } = aProcess(table.tableName);
  const [version] = versions;
  const ran: string[] = [];
  const chained = version?.middy();
  chained?.use(dynamoLockBatch({ key: ({ body }: { body: string }) => body, namespace: false, locks } as never));
  const handler = chained?.handler(async (event: unknown) => {
    for (const { body } of (event as { Records: { body: string }[] }).Records) ran.push(body);
    return undefined;
  }) as (event: unknown, context: unknown) => Promise<unknown>;
  const event = () => ({
    Records: list.map((body, index) => ({ messageId: `m${index}`, body, eventSource: "aws:sqs" })),
  });
  expect(await handler(event(), lambdaContext())).toMatchObject({
    batchItemFailures: [{ itemIdentifier: "m0" }, { itemIdentifier: "m1" }],
  });
  clock.advance(10_000);
  await handler(event(), lambdaContext());
  expect(ran.sort()).toEqual([...list].sort());
});

it("a permit ends by the clock alone", async () => {
  const permit = await crashed(freshKey(), 2);
  const { locks, clock } = aProcess(table.tableName);
  await semaphore(locks, permit.key, { permits: 2 }).acquire({ leaseMs: 24 * HOUR });
  expect(await semaphore(locks, permit.key, { permits: 2 }).tryAcquire()).toBeUndefined();
  clock.advance(20_000);
  expect(await semaphore(locks, permit.key, { permits: 2 }).tryAcquire()).toBeUndefined();
});

it("the leases that a client watches are bounded: the one that it saw least recently goes first", async () => {
  const held = {
    status: { S: "IN_PROGRESS" },
    token: { S: "crashed" },
    fence: { N: "1" },
    lease_ms: { N: "10000" },
    expires_at: { N: `${START + HOUR}` },
  };
  /** Every key is held, and taken by whoever has watched it. */
  const send = async ({ input }: { input: { Key: object; ExpressionAttributeValues?: object } }) => {
    const Item = { ...input.Key, ...held };
    if (!input.ExpressionAttributeValues) return { Item };
    if (JSON.stringify(input.ExpressionAttributeValues).includes("crashed")) return { Attributes: Item };
    throw Object.assign(new Error("refused"), { name: "ConditionalCheckFailedException", Item });
  };
  const clock = manualClock(START);
  const client = { send, config: { region: async () => "eu-central-1" } } as unknown as DynamoDBClient;
  const locks = new LockClient({ client, clock, expiry: "observed" });
  for (let i = 0; i < 100_000; i++) await locks.get(i);
  clock.advance(10_000);
  expect(await locks.tryAcquire(89_999)).toBeUndefined();
  expect(await locks.tryAcquire(99_999)).toBeDefined();
  // By the refusal above the last 10,000 are without their first.
  expect(await locks.tryAcquire(90_000)).toBeUndefined();
  expect(await locks.tryAcquire(90_002)).toBeDefined();
});
