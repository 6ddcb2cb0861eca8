import { beforeAll, describe, expect, it } from "vitest";
import { type Lock, LockClient, type LockClientOptions, LockHeldError, semaphore } from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { countingClient, followRequests, lockTable, loseReplies } from "../support/dynamodb.ts";
import { takes } from "../support/locks.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

let keys = 0;
const freshKey = () => `key-${++keys}`;

const setUp = (options: LockClientOptions = {}) => {
  const { client, sent } = countingClient();
  const clock = manualClock();
  followRequests(clock, client);
  const base = {
    client,
    tableName: table.tableName,
    clock,
    leaseMs: 10_000,
    clockSkewMs: 0,
    heartbeatMs: false as const,
  };
  return { locks: new LockClient({ ...base, ...options }), clock, sent };
};
const take = async (locks: LockClient, key: string, permits: number, count: number) => {
  const taken: Lock[] = [];
  for (let index = 0; index < count; index++) taken.push(await takes(locks, key, permits).acquire());
  return taken;
};

describe("a semaphore", () => {
  it("lets as many hold the key as it has permits, and shows the holders to who is refused", async () => {
    const { locks } = setUp();
    const key = freshKey();
    const held = await take(locks, key, 3, 3);
    expect(await locks.count(key)).toBe(3);
    const error = (await semaphore(locks, key, { permits: 3 })
      .acquire()
      .catch((e: unknown) => e)) as LockHeldError;
    expect(error).toBeInstanceOf(LockHeldError);
    expect(error.message).toBe("The key is held by as many as it permits (3)");
    expect(error.record.holders?.map(({ token }) => token).sort()).toEqual(held.map(({ token }) => token).sort());
    await held[1]?.release();
    expect(await locks.count(key)).toBe(2);
    expect(await semaphore(locks, key, { permits: 3 }).tryAcquire()).toBeDefined();
  });

  it.each([0, 0.5, 0.999])("a free permit takes at most two requests, wherever it is (chance %d)", async (chance) => {
    const { locks, sent } = setUp({ random: () => chance });
    const key = freshKey();
    const held = await take(locks, key, 20, 20);
    expect(sent.length).toBeLessThanOrEqual(40);
    for (const lock of held) {
      await lock.release();
      sent.length = 0;
      await semaphore(locks, key, { permits: 20 }).acquire();
      expect(sent.length).toBeLessThanOrEqual(2);
    }
    sent.length = 0;
    expect(await semaphore(locks, key, { permits: 20 }).tryAcquire()).toBeUndefined();
    expect(sent).toHaveLength(1);
  });

  it("every holder has its own fencing token, and they strictly increase", async () => {
    const { locks } = setUp();
    const key = freshKey();
    const tokens: number[] = [];
    for (let round = 0; round < 5; round++) {
      for (const lock of await take(locks, key, 4, 4)) {
        tokens.push(lock.fencingToken);
        await lock.release();
      }
    }
    expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b));
  });

  it("100 permits under contention: never more holders than permits, and all get one", async () => {
    const { client } = countingClient();
    const locks = new LockClient({ client, tableName: table.tableName });
    const key = freshKey();
    let holders = 0;
    let most = 0;
    const contend = () =>
      semaphore(locks, key, { permits: 100 }).run(
        async () => {
          most = Math.max(most, ++holders);
          await new Promise((resolve) => setTimeout(resolve, 100));
          holders--;
        },
        { waitMs: 15_000, backoff: { minMs: 5, maxMs: 100 } },
      );
    await Promise.all(Array.from({ length: 150 }, contend));
    expect(most).toBeLessThanOrEqual(100);
    expect(most).toBeGreaterThan(5); // how many meet depends on the machine
    expect(await locks.count(key)).toBe(0);
  });

  it("5 permits, 60 contenders in processes of their own: never six at once", async () => {
    const key = freshKey();
    let holders = 0;
    const contend = async () => {
      const locks = new LockClient({ client: countingClient().client, tableName: table.tableName });
      await semaphore(locks, key, { permits: 5 }).run(
        async () => {
          expect(++holders).toBeLessThanOrEqual(5);
          await new Promise((resolve) => setTimeout(resolve, 3));
          holders--;
        },
        { waitMs: 15_000, backoff: { minMs: 5, maxMs: 100 } },
      );
    };
    await Promise.all(Array.from({ length: 60 }, contend));
  });

  it("a crashed holder's permit comes back after its lease; the others stay", async () => {
    const { locks, clock } = setUp();
    const key = freshKey();
    await take(locks, key, 2, 1);
    clock.advance(5_000);
    await take(locks, key, 2, 1);
    clock.advance(5_000);
    expect(await locks.count(key)).toBe(1);
    expect(await semaphore(locks, key, { permits: 2 }).tryAcquire()).toBeDefined();
    expect(await semaphore(locks, key, { permits: 2 }).tryAcquire()).toBeUndefined();
  });

  it("a superseded holder's release and renewal change nothing", async () => {
    const { locks, clock } = setUp();
    const key = freshKey();
    const [slow] = await take(locks, key, 2, 2);
    clock.advance(10_000);
    const next = await take(locks, key, 2, 2);
    const before = await table.item(key);
    await expect(slow?.release()).rejects.toMatchObject({ reason: "stolen" });
    expect(await table.item(key)).toEqual(before);
    for (const lock of next) await lock.release();
  });

  it("a heartbeat keeps a permit", async () => {
    const { locks, clock } = setUp({ heartbeatMs: 3_000 });
    const key = freshKey();
    const [lock] = await take(locks, key, 2, 1);
    await clock.pass(20_000);
    expect([lock?.status, await locks.count(key)]).toEqual(["held", 1]);
    await lock?.release();
  });

  it("a lowered number takes effect, also while holders above it are left", async () => {
    const { locks } = setUp();
    const key = freshKey();
    const five = await take(locks, key, 5, 5);
    expect(await semaphore(locks, key, { permits: 2 }).tryAcquire()).toBeUndefined();
    // Free the low slots first: two holders are left, in slots that two permits don't have.
    const bySlot = async () => (await locks.get(key))?.holders ?? [];
    const high = (await bySlot()).filter(({ slot }) => slot >= 3).map(({ token }) => token);
    for (const lock of five) if (!high.includes(lock.token)) await lock.release();
    expect(await semaphore(locks, key, { permits: 2 }).tryAcquire()).toBeUndefined();
    const [one, other] = five.filter(({ token }) => high.includes(token));
    await one?.release();
    const third = await semaphore(locks, key, { permits: 2 }).acquire();
    expect(await semaphore(locks, key, { permits: 2 }).tryAcquire()).toBeUndefined();
    expect(await locks.count(key)).toBe(2);
    await other?.release();
    await third.release();
    expect(await take(locks, key, 2, 2)).toHaveLength(2);
    expect(await semaphore(locks, key, { permits: 2 }).tryAcquire()).toBeUndefined();
  });

  it("a raised number takes effect", async () => {
    const { locks } = setUp();
    const key = freshKey();
    await take(locks, key, 2, 2);
    expect(await take(locks, key, 4, 2)).toHaveLength(2);
    expect(await semaphore(locks, key, { permits: 4 }).tryAcquire()).toBeUndefined();
  });

  it("a plain lock and a semaphore on one key respect each other", async () => {
    const { locks } = setUp();
    const key = freshKey();
    const plain = await locks.acquire(key);
    expect(await semaphore(locks, key, { permits: 3 }).tryAcquire()).toBeUndefined();
    await plain.release();
    const [a, b] = await take(locks, key, 3, 2);
    expect(await locks.tryAcquire(key)).toBeUndefined();
    await a?.release();
    expect(await locks.tryAcquire(key)).toBeUndefined();
    await b?.release();
    const again = await locks.acquire(key);
    expect(again.fencingToken).toBeGreaterThan((b as Lock).fencingToken);
    await again.finish({ result: 1 });
    expect(await semaphore(locks, key, { permits: 3 }).tryAcquire()).toBeUndefined(); // finished, and remembered
    expect(Object.keys((await table.item(key)) ?? {}).filter((name) => name.startsWith("slot_"))).toEqual([]);
  });

  it("a lost reply: we hold the permit, once", async () => {
    const { client, sent } = countingClient({ maxAttempts: 3 });
    loseReplies(client, (request) => request === 1 || request === 3);
    const locks = new LockClient({ client, tableName: table.tableName });
    const key = freshKey();
    const lock = await semaphore(locks, key, { permits: 3 }).acquire();
    expect(sent).toHaveLength(2);
    expect(await locks.count(key)).toBe(1);
    expect((await locks.get(key))?.holders?.[0]?.fencingToken).toBe(lock.fencingToken);
    await lock.release();
    expect(lock.status).toBe("released");
    expect(await locks.count(key)).toBe(0);
  });

  it("it can't be finished, and says so", async () => {
    const { locks } = setUp();
    const [lock] = await take(locks, freshKey(), 2, 1);
    await expect(lock?.finish()).rejects.toThrow("finish: a semaphore can only be released");
    await expect(locks.once(freshKey(), () => 1, { permits: 2 } as never)).rejects.toThrow(
      "once: unknown option 'permits'",
    );
    for (const permits of [0, 101, 1.5, "2", undefined]) {
      expect(() => semaphore(locks, "a", { permits } as never)).toThrow(
        `permits must be a whole number from 1 to 100, got ${typeof permits === "string" ? "'2'" : permits}`,
      );
    }
    for (const option of ["force", "reentrant", "expiry", "permits"]) {
      const options = { [option]: true } as never;
      await expect(semaphore(locks, "a", { permits: 2 }).acquire(options)).rejects.toThrow(
        `acquire: unknown option '${option}'`,
      );
    }
    await expect(locks.acquire("a", { permits: 2 } as never)).rejects.toThrow("acquire: unknown option 'permits'");
  });
});
