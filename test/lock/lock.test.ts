import { DeleteItemCommand, type DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient } from "@aws-sdk/lib-dynamodb";
import { beforeAll, describe, expect, it } from "vitest";
import {
  type Lock,
  LockClient,
  type LockClientOptions,
  type LockEvent,
  LockHeldError,
  LockLostError,
  semaphore,
} from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { countingClient, followRequests, lockTable } from "../support/dynamodb.ts";
import { takes } from "../support/locks.ts";
import { aProcess } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

let keys = 0;
const freshKey = () => `key-${++keys}`;

/** A client with a clock that the test moves, its events and its requests. */
const setUp = (options: LockClientOptions = {}) => {
  const clock = manualClock();
  const { client, sent } = countingClient();
  const events: LockEvent[] = [];
  const locks = new LockClient({
    client,
    tableName: table.tableName,
    clock,
    leaseMs: 10_000,
    heartbeatMs: false,
    onEvent: (event) => events.push(event),
    ...options,
  });
  return { locks, clock, client, sent, events, types: () => events.map(({ type }) => type) };
};

const lostBecause = (reason: string) => expect.objectContaining({ name: "LockLostError", reason });

describe("one holder at a time", () => {
  it("an uncontended run costs two requests, a refusal one", async () => {
    const { locks, sent } = setUp();
    const key = freshKey();
    const lock = await locks.acquire(key);
    expect(await locks.tryAcquire(key)).toBeUndefined();
    await lock.release();
    expect(sent).toEqual(["UpdateItem", "UpdateItem", "UpdateItem"]);
  });

  it("through a client for documents all is stored and read as through a plain one", async () => {
    const documents = DynamoDBDocumentClient.from(table.client, {
      marshallOptions: { removeUndefinedValues: true, convertClassInstanceToMap: true },
      unmarshallOptions: { wrapNumbers: true },
    });
    const { locks } = setUp({ client: documents as unknown as DynamoDBClient });
    const [key, committed, both] = [freshKey(), freshKey(), [freshKey(), freshKey()]];
    const result = { amount: 1.5, lines: ["a", null], open: false };
    expect(await locks.once(key, () => result)).toEqual(result);
    expect(await locks.once(key, () => "another")).toEqual(result);
    const lock = await locks.acquire(committed, { data: { step: 1 } });
    await lock.commit([{ Put: { TableName: table.tableName, Item: { lock_id: { S: `${committed}-effect` } } } }], {
      result,
    });
    expect(await table.item(`${committed}-effect`)).toBeDefined();
    const { locks: plain } = setUp();
    expect(await plain.get(committed)).toMatchObject({ data: { step: 1 }, result: { value: result } });
    const several = await locks.acquire(both);
    expect(await locks.waitUntilFinished(both, { timeoutMs: 0 })).toEqual(both);
    await several.release();
    expect(await locks.warmUp()).toEqual({
      writeMs: expect.any(Number),
      readMs: expect.any(Number),
      deleteMs: expect.any(Number),
    });
  });

  it("of 50 that try at once, one gets the key", async () => {
    const { locks } = setUp();
    const key = freshKey();
    const attempts = await Promise.all(Array.from({ length: 50 }, () => locks.tryAcquire(key)));
    expect(attempts.filter(Boolean)).toHaveLength(1);
  });

  it("a refusal carries the holder's record", async () => {
    const { locks, clock } = setUp();
    const key = freshKey();
    const lock = await locks.acquire(key, { owner: "first" });
    const error = await locks.acquire(key, { owner: "second" }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(LockHeldError);
    expect(error).toMatchObject({
      code: "LOCK_HELD",
      statusCode: 409,
      record: {
        key,
        status: "IN_PROGRESS",
        owner: "first",
        token: lock.token,
        fencingToken: lock.fencingToken,
        leaseMs: 10_000,
        expiresAt: clock.now() + 10_000,
      },
    });
  });

  it("the same owner is not a free pass", async () => {
    const { locks } = setUp({ owner: "request-1" });
    const key = freshKey();
    await locks.acquire(key);
    expect(await locks.tryAcquire(key)).toBeUndefined();
  });

  it("a namespace keeps two programs apart, and no two of them spell the same stored key", async () => {
    const a = setUp({ namespace: "a" }).locks;
    const b = setUp({ namespace: "b" }).locks;
    const key = freshKey();
    expect((await a.acquire(key)).key).toBe(`a#${key}`);
    expect((await b.acquire(key)).key).toBe(`b#${key}`);
    expect(() => setUp({ namespace: "a#b" })).toThrow("without '#', got 'a#b'");
  });
});

describe("the end of a lease", () => {
  it("a lease is over for others only when the clock skew has passed too", async () => {
    const { locks, clock } = setUp({ clockSkewMs: 1_000 });
    const key = freshKey();
    await locks.acquire(key);
    clock.advance(10_999);
    expect(await locks.tryAcquire(key)).toBeUndefined();
    clock.advance(1);
    expect(await locks.tryAcquire(key)).toBeDefined();
  });

  it("who takes over an unfinished lease is told, and sees the record of the one before", async () => {
    const { locks, clock, types } = setUp();
    const key = freshKey();
    const crashed = await locks.acquire(key, { owner: "crashed" });
    clock.advance(11_000);
    const next = await locks.acquire(key, { owner: "next" });
    expect(next.previous).toMatchObject({ owner: "crashed", token: crashed.token, status: "IN_PROGRESS" });
    expect(types()).toEqual(["acquired", "lost", "taken-over"]);
  });

  it("a key that was released or finished has no previous owner to speak of", async () => {
    const { locks, clock } = setUp({ rememberMs: 5_000 });
    const key = freshKey();
    await (await locks.acquire(key)).release();
    const second = await locks.acquire(key);
    expect(second.previous).toBeUndefined();
    await second.finish();
    clock.advance(6_000);
    expect((await locks.acquire(key)).previous).toBeUndefined();
  });

  it("the handle knows that its lease is over, by whichever clock says so first", async () => {
    const { locks, clock } = setUp();
    const lock = await locks.acquire(freshKey());
    expect([lock.status, lock.remainingMs, lock.elapsedMs]).toEqual(["held", 10_000, 0]);
    clock.advance(4_000);
    expect([lock.status, lock.remainingMs, lock.elapsedMs]).toEqual(["held", 6_000, 4_000]);
    clock.advanceWall(6_000); // the monotonic clock stood still, as in a frozen sandbox
    expect([lock.status, lock.remainingMs]).toEqual(["expired", 0]);
  });
});

describe("a superseded holder changes nothing", () => {
  it.each(["finish", "release"] as const)("its %s is refused, and says so", async (operation) => {
    const { locks, clock, types, events } = setUp();
    const key = freshKey();
    const slow = await locks.acquire(key, { owner: "slow" });
    clock.advance(11_000);
    const next = await locks.acquire(key, { owner: "next" });
    const before = await table.item(key);
    await expect(slow[operation]()).rejects.toEqual(lostBecause("stolen"));
    expect(await table.item(key)).toEqual(before);
    expect(slow.status).toBe("lost");
    expect(slow.signal.reason).toBeInstanceOf(LockLostError);
    // Lost by time first, and then with proof.
    expect(types()).toEqual(["acquired", "lost", "taken-over", "lost"]);
    expect(events.flatMap((event) => (event.type === "lost" ? [event.reason] : []))).toEqual(["expired", "stolen"]);
    await next.finish({ result: "next's" });
    await expect(slow.finish({ result: "slow's" })).rejects.toEqual(lostBecause("stolen"));
    expect((await locks.get(key))?.result).toEqual({ value: "next's" });
  });

  it("its handle's end doesn't touch a second lock that the same client holds on the key", async () => {
    const { locks, clock } = setUp();
    const key = freshKey();
    const first = await locks.acquire(key);
    clock.advance(11_000);
    const second = await locks.acquire(key);
    await expect(first.release()).rejects.toEqual(lostBecause("stolen"));
    await locks.close();
    expect(second.status).toBe("released"); // close() still knew the second
  });

  it("a record that TTL deleted is lost, not written again", async () => {
    const { locks } = setUp();
    const key = freshKey();
    const lock = await locks.acquire(key);
    await table.client.send(new DeleteItemCommand({ TableName: table.tableName, Key: { lock_id: { S: key } } }));
    await expect(lock.finish({ result: 1 })).rejects.toEqual(lostBecause("deleted"));
    expect(await table.item(key)).toBeUndefined();
  });

  describe.each([
    ["a key", 1, 1],
    ["several keys", 2, 1],
    ["a permit", 1, 2],
  ])("a record of %s that somebody deleted while the lease runs", (_name, n, permits) => {
    const deleted = async (options = {}) => {
      const told: string[] = [];
      const { locks, clock, client, events } = setUp(options);
      followRequests(clock, client);
      const keys = Array.from({ length: n }, freshKey);
      const lock = await takes(locks, keys, permits).acquire({ onLost: (_lock, { reason }) => told.push(reason) });
      await client.send(
        new DeleteItemCommand({ TableName: table.tableName, Key: { lock_id: { S: keys.at(-1) as string } } }),
      );
      return { lock, clock, told, events, key: keys.at(-1) };
    };

    it.each<[string, (lock: Lock) => Promise<void>]>([
      ["extend", (lock) => lock.extend(10_000)],
      ["release", (lock) => lock.release()],
      ["finish", (lock) => (permits > 1 ? lock.release() : lock.finish())],
      ["commit", (lock) => (permits > 1 ? lock.release() : lock.commit([]))],
    ])("is found by %s, and is the reason that is told", async (_operation, work) => {
      const { lock, told, events, key } = await deleted();
      const error = (await work(lock).catch((e: unknown) => e)) as LockLostError;
      expect(error).toMatchObject({ name: "LockLostError", reason: "deleted", key });
      expect(error.message).toBe("The lock is lost: its record is gone from the table");
      expect([lock.status, told, lock.signal.reason]).toEqual(["lost", ["deleted"], lostBecause("deleted")]);
      expect(events.at(-1)).toMatchObject({ type: "lost", reason: "deleted" });
      await expect(lock.release()).rejects.toEqual(lostBecause("deleted"));
      expect(await table.item(key as string)).toBeUndefined();
    });

    it("is found by a heartbeat, before the lease ends", async () => {
      const { lock, clock, told } = await deleted({ heartbeatMs: 3_000 });
      await clock.pass(3_100);
      expect([lock.status, told]).toEqual(["lost", ["deleted"]]);
    });
  });
});

describe("the end of a lock", () => {
  it("a finished key refuses until its window ends", async () => {
    const { locks, clock } = setUp({ clockSkewMs: 0 });
    const key = freshKey();
    await (await locks.acquire(key)).finish({ result: "done", rememberMs: 60_000 });
    clock.advance(59_999);
    await expect(locks.acquire(key)).rejects.toMatchObject({ record: { status: "FINISHED" } });
    clock.advance(1);
    const lock = await locks.acquire(key);
    expect((await table.item(key))?.result).toBeUndefined(); // the old response goes with the old run
    await lock.release();
  });

  it("a holder whose lease is over may still finish, as long as nobody took the key", async () => {
    const { locks, clock } = setUp();
    const key = freshKey();
    const lock = await locks.acquire(key);
    clock.advance(60_000);
    expect(lock.status).toBe("expired");
    await lock.finish({ result: "late" });
    expect((await locks.get(key))?.result).toEqual({ value: "late" });
  });

  it("a release keeps the item, for its fence", async () => {
    const { locks } = setUp();
    const key = freshKey();
    const lock = await locks.acquire(key);
    await lock.release();
    expect(await table.item(key)).toMatchObject({
      status: { S: "RELEASED" },
      expires_at: { N: "0" },
      token: { S: lock.token },
      fence: { N: String(lock.fencingToken) },
    });
  });

  it("TTL is in seconds, after the retention", async () => {
    const { locks, clock } = setUp({ retentionMs: 100_000 });
    const key = freshKey();
    const ttl = async () => Number((await table.item(key))?.ttl?.N);
    const lock = await locks.acquire(key);
    expect(await ttl()).toBe(Math.ceil((clock.now() + 10_000 + 100_000) / 1000));
    await lock.finish({ rememberMs: 30_000 });
    expect(await ttl()).toBe(Math.ceil((clock.now() + 30_000 + 100_000) / 1000));
  });

  it("release after finish does nothing, finish after release is lost, twice is once", async () => {
    const { locks, sent } = setUp();
    const finished = await locks.acquire(freshKey());
    await Promise.all([finished.finish(), finished.finish(), finished.release()]);
    expect(finished.status).toBe("finished");
    const released = await locks.acquire(freshKey());
    await Promise.all([released.release(), released.release()]);
    await expect(released.finish()).rejects.toEqual(lostBecause("released"));
    expect(released.status).toBe("released");
    expect(sent).toHaveLength(4);
  });

  it("a finish asked for while a release is in flight waits, and is told that the key is free", async () => {
    const { locks } = setUp();
    const lock = await locks.acquire(freshKey());
    const release = lock.release();
    await expect(lock.finish()).rejects.toEqual(lostBecause("released"));
    await release;
  });

  it("`await using` releases at the end of the block, and never throws", async () => {
    const { locks, clock } = setUp();
    const key = freshKey();
    {
      await using lock = await locks.acquire(key);
      expect(lock.status).toBe("held");
    }
    expect((await locks.get(key))?.status).toBe("RELEASED");
    const work = async () => {
      await using _lock = await locks.acquire(key);
      clock.advance(11_000);
      await locks.acquire(key);
      throw new Error("the block's own");
    };
    await expect(work()).rejects.toThrow(/^the block's own$/);
  });

  it("fencing tokens of a key strictly increase: release, finish, take-over, deletion", async () => {
    const { locks, clock } = setUp({ rememberMs: 1, clockSkewMs: 0 });
    const key = freshKey();
    const tokens: number[] = [];
    for (let round = 0; round < 5; round++) {
      for (const end of ["release", "finish", "crash", "delete"]) {
        const lock = await locks.acquire(key);
        tokens.push(lock.fencingToken);
        expect((await locks.get(key))?.fencingToken).toBe(lock.fencingToken);
        if (end === "release") await lock.release();
        if (end === "finish") await lock.finish();
        if (end === "delete") {
          // Right away, where TTL would wait for days. One ms has passed: DynamoDB takes 1,000 writes/s on one key.
          await table.client.send(new DeleteItemCommand({ TableName: table.tableName, Key: { lock_id: { S: key } } }));
        }
        clock.advance(end === "crash" ? 10_000 : 4);
      }
    }
    expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => a - b));
  });

  it("close releases all that is held, one failure not stopping the rest, and acquires no more", async () => {
    const { locks, clock } = setUp();
    const [a, b, c] = [freshKey(), freshKey(), freshKey()];
    await locks.acquire(a);
    await locks.acquire(b, { leaseMs: 1 });
    await locks.acquire(c);
    clock.advance(2_000);
    await setUp({ clock }).locks.acquire(b);
    await expect(locks.close()).rejects.toMatchObject({ errors: [lostBecause("stolen")] });
    expect([(await locks.get(a))?.status, (await locks.get(c))?.status]).toEqual(["RELEASED", "RELEASED"]);
    await expect(locks.acquire(a)).rejects.toMatchObject({ code: "LOCK_CLOSED" });
  });
});

describe("run and once", () => {
  it("run releases, whatever the work does", async () => {
    const { locks } = setUp();
    const key = freshKey();
    expect(await locks.run(key, (lock) => lock.status)).toBe("held");
    expect((await locks.get(key))?.status).toBe("RELEASED");
    await expect(locks.run(key, () => Promise.reject(new Error("work failed")))).rejects.toThrow("work failed");
    expect((await locks.get(key))?.status).toBe("RELEASED");
  });

  it("a failing release doesn't hide the work's error, nor its result", async () => {
    const { locks, clock, events } = setUp();
    const key = freshKey();
    const loseTheLock = async () => {
      clock.advance(11_000);
      await locks.acquire(key, { leaseMs: 1 });
      clock.advance(2_000);
    };
    await expect(
      locks.run(key, async () => {
        await loseTheLock();
        throw new Error("work failed");
      }),
    ).rejects.toThrow(/^work failed$/);
    expect(await locks.run(key, () => loseTheLock().then(() => "result"))).toBe("result");
    expect(events.filter((event) => event.type === "lost" && event.reason === "stolen")).toHaveLength(2);
  });

  it("once runs once, and gives a repeat what the first run returned", async () => {
    const { locks, sent } = setUp();
    const key = freshKey();
    let runs = 0;
    const work = () => ({ run: ++runs });
    expect(await locks.once(key, work)).toEqual({ run: 1 });
    expect(await locks.once(key, work)).toEqual({ run: 1 });
    expect(sent).toHaveLength(3);
  });

  it("once releases when the work fails, so that a retry runs", async () => {
    const { locks } = setUp();
    const key = freshKey();
    await expect(locks.once(key, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(await locks.once(key, () => "yes")).toBe("yes");
  });

  it("once refuses while another run is at it", async () => {
    const { locks } = setUp();
    const key = freshKey();
    await locks.acquire(key);
    await expect(locks.once(key, () => "second")).rejects.toThrow(LockHeldError);
  });

  it("once without storeResult remembers that it ran, not what it returned", async () => {
    const { locks } = setUp();
    const key = freshKey();
    expect(await locks.once(key, () => "secret", { storeResult: false })).toBe("secret");
    expect(await locks.once(key, () => "secret", { storeResult: false })).toBeUndefined();
    expect((await table.item(key))?.result).toBeUndefined();
  });

  it("a final failure is thrown again to repeats", async () => {
    const { locks } = setUp();
    const key = freshKey();
    const lock = await locks.acquire(key);
    await lock.finish({ error: Object.assign(new RangeError("no such account"), { statusCode: 404 }) });
    await expect(locks.once(key, () => "never")).rejects.toMatchObject({
      name: "ReplayedError",
      originalName: "RangeError",
      message: "no such account",
      statusCode: 404,
    });
  });
});

describe("idempotencyKey, for a service that takes one", () => {
  it("is the same in every run under a key, and another for any other key, part and namespace", async () => {
    const one = aProcess(table.tableName, { namespace: "payments" });
    const other = aProcess(table.tableName, { namespace: "payments" });
    const key = freshKey();
    const first = await one.locks.acquire(key);
    const given = [first.idempotencyKey(), first.idempotencyKey("charge"), first.idempotencyKey("refund")];
    await first.release();
    const second = await other.locks.acquire(key);
    expect([second.idempotencyKey(), second.idempotencyKey("charge"), second.idempotencyKey("refund")]).toEqual(given);
    const elsewhere = aProcess(table.tableName, { namespace: "refunds" });
    const others = [
      (await one.locks.acquire(freshKey())).idempotencyKey(),
      (await elsewhere.locks.acquire(key)).idempotencyKey(),
      (await one.locks.acquire([freshKey(), freshKey()])).idempotencyKey(),
    ];
    const all = [...given, ...others];
    expect(new Set(all).size).toBe(all.length);
    for (const each of all) expect(each).toMatch(/^[\w-]{43}$/);
  });

  it("needs a part for a semaphore: its holders are at different work", async () => {
    const permit = await semaphore(aProcess(table.tableName).locks, freshKey(), { permits: 2 }).acquire();
    expect(() => permit.idempotencyKey()).toThrow("a semaphore has one key for all its holders");
    expect(permit.idempotencyKey("order-7")).toMatch(/^[\w-]{43}$/);
  });

  it("refuses a part that is no text", async () => {
    const lock = await aProcess(table.tableName).locks.acquire(freshKey());
    expect(() => lock.idempotencyKey(7 as never)).toThrow("idempotencyKey: part must be a non-empty string");
  });
});
