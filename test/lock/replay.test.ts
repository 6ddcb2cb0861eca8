import { DeleteItemCommand, ScanCommand } from "@aws-sdk/client-dynamodb";
import { beforeAll, describe, expect, it } from "vitest";
import {
  dynamoLock,
  dynamoSemaphore,
  LockHeldError,
  type LockRecord,
  listLocks,
  PayloadMismatchError,
  withLock,
} from "../../src/index.ts";
import { attemptLock } from "../../src/lock/attempt.ts";
import { lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";
import { locksOf } from "../support/locks.ts";
import { aProcess, losing, lost, noise } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

let count = 0;
const freshKey = () => `replay-${++count}`;

const LONG = noise(8_000, "long");

/** A process that notes what DynamoDB says each request consumed; for a refused one it says nothing. */
const metered = (options: Parameters<typeof aProcess>[1] = {}) => {
  const metered = aProcess(table.tableName, options);
  const consumed: [string, number][] = [];
  metered.client.middlewareStack.add(
    (next, context) => async (args) => {
      Object.assign(args.input, { ReturnConsumedCapacity: "TOTAL" });
      const result = await next(args);
      const { ConsumedCapacity } = result.output as { ConsumedCapacity?: { CapacityUnits: number } };
      consumed.push([String(context.commandName).replace("Command", ""), ConsumedCapacity?.CapacityUnits ?? 0]);
      return result;
    },
    { step: "initialize", name: "meter" },
  );
  return { ...metered, consumed };
};

describe("a large response", () => {
  it.each([
    // As it is while the record stays below 1 kB; from there on compressed.
    ["r", 100, 2, 1],
    ["r", 100_000, 2, 1],
    ["noise", 500, 2, 1],
    ["noise", 1_500, 2, 2],
    ["noise", 2_500, 2, 3],
    ["noise", 3_800, 2, 4],
    // A record of more than 4 kB would be too dear for its repeats.
    ["noise", 8_000, 3, 1],
    ["noise", 100_000, 3, 1],
  ])(
    "of %s, %i long: a run is %3$i requests, and its finish %4$i write units",
    async (kind, length, requests, units) => {
      const { locks, consumed, state } = metered({ owner: "3f1f2c66-7a51-4a4f-8a07-9b1f0f2d8e11" });
      const key = freshKey();
      const response = kind === "r" ? "r".repeat(length) : noise(length, key);
      await locks.once(key, () => response, { fingerprint: { amount: 7 } });
      expect([consumed.length, consumed[0], consumed.at(-1)]).toEqual([
        requests,
        ["UpdateItem", 1],
        ["UpdateItem", units],
      ]);
      state.sent.length = 0;
      expect(await locks.once(key, () => "again", { fingerprint: { amount: 7 } })).toBe(response);
      expect(state.sent.length).toBe(requests - 1); // a replay of a small one is one request
    },
  );

  it("is read by a repeat in a second request, and by get", async () => {
    const { locks, state } = aProcess(table.tableName);
    const key = freshKey();
    const response = { rows: Array.from({ length: 500 }, (_, id) => ({ id, name: noise(20, `${id}`) })) };
    await locks.once(key, () => response);
    state.sent.length = 0;
    expect(await locks.once(key, () => "again")).toEqual(response);
    expect(state.sent).toEqual(["UpdateItem", "GetItem"]);
    expect((await locks.get(key))?.result?.value).toEqual(response);
  });

  it("is handed to duplicateResponse, and not read for one that doesn't ask", async () => {
    const { locks, state } = aProcess(table.tableName);
    const key = freshKey();
    await locks.once(key, () => LONG);
    const options = { key: () => key, namespace: false as const, locks };
    const asked = withLock(() => "never", {
      ...options,
      duplicateResponse: (record) => `again: ${String(record.result?.value).length}`,
    });
    expect(await asked({}, lambdaContext())).toBe("again: 8000");
    state.sent.length = 0;
    const fixed = withLock(() => "never", { ...options, duplicateResponse: "duplicate" });
    expect([await fixed({}, lambdaContext()), state.sent]).toEqual(["duplicate", ["UpdateItem"]]);
  });

  it("of several keys is read too", async () => {
    const { locks } = aProcess(table.tableName);
    const keys = [freshKey(), freshKey()];
    await locks.once(keys, () => LONG);
    expect(await locks.once(keys, () => "again")).toBe(LONG);
  });

  it("a crash between the two writes: the key is taken over when its lease is over, and the leftover has a TTL", async () => {
    const [crashing, next] = [aProcess(table.tableName), aProcess(table.tableName)];
    const key = freshKey();
    crashing.state.wire = async ({ n, send }) => {
      if (n > 2) throw lost(); // the process is gone: no request of it arrives any more
      return send();
    };
    const lock = await crashing.locks.acquire(key);
    await lock.finish({ result: LONG }).catch(() => {});
    const leftover = await table.item(`${key}#result#${lock.token}`);
    const ttlMs = Number(leftover?.ttl?.N) * 1_000;
    expect(ttlMs).toBeGreaterThan(crashing.clock.now() + 3_600_000);
    expect(ttlMs).toBeLessThan(crashing.clock.now() + 5 * 24 * 3_600_000);
    await expect(next.locks.acquire(key)).rejects.toBeInstanceOf(LockHeldError);
    next.clock.advance(20_000);
    expect(await next.locks.once(key, () => noise(8_000, "second"))).toBe(noise(8_000, "second"));
    expect(await next.locks.once(key, () => "third")).toBe(noise(8_000, "second"));
  });

  it("of a superseded run is never replayed: it stands under the token of its own acquisition", async () => {
    const [slow, fast] = [aProcess(table.tableName), aProcess(table.tableName)];
    const key = freshKey();
    const stalled = await slow.locks.acquire(key);
    fast.clock.advance(20_000);
    await fast.locks.once(key, () => noise(8_000, "newer"));
    await expect(stalled.finish({ result: noise(8_000, "older") })).rejects.toMatchObject({ code: "LOCK_LOST" });
    expect(await fast.locks.once(key, () => "again")).toBe(noise(8_000, "newer"));
  });

  it("whose item is gone is an error that says so, not a wrong answer", async () => {
    const { locks, client } = aProcess(table.tableName);
    const key = freshKey();
    await locks.once(key, () => LONG);
    const resultKey = (await locks.get(key))?.resultKey as string;
    await client.send(new DeleteItemCommand({ TableName: table.tableName, Key: { lock_id: { S: resultKey } } }));
    await expect(locks.once(key, () => "again")).rejects.toMatchObject({ code: "LOCK_TABLE" });
  });

  it("fits under the longest key, and is no lock to whoever lists them", async () => {
    const { locks } = aProcess(table.tableName);
    const key = `${freshKey()}-`.padEnd(2_048, "k");
    await locks.once(key, () => LONG);
    expect(await locks.once(key, () => "again")).toBe(LONG);
    const { Items = [] } = await table.client.send(new ScanCommand({ TableName: table.tableName }));
    const listed: LockRecord[] = [];
    for await (const record of listLocks(locks)) listed.push(record);
    expect(listed.length).toBeLessThan(Items.length);
    expect(listed.some((record) => record.key.includes("#result#"))).toBe(false);
  });

  it("that is undefined, null, short or an empty text stays in the record", async () => {
    const { locks, state } = aProcess(table.tableName);
    for (const response of [undefined, null, "", 0, { ok: true }]) {
      const key = freshKey();
      state.sent.length = 0;
      await locks.once(key, () => response);
      expect(await locks.once(key, () => "again")).toEqual(response);
      expect(state.sent).toEqual(["UpdateItem", "UpdateItem", "UpdateItem"]);
    }
  });
});

describe("a fingerprint", () => {
  const handler = (options: object, work: () => unknown = () => "paid") =>
    withLock(work, {
      key: (event: { id: string }) => event.id,
      fingerprint: (event: { id: string; body?: unknown }) => event.body,
      namespace: false,
      ...options,
    });

  it("of the same payload, its properties in whatever order, is a repeat", async () => {
    const { locks } = aProcess(table.tableName);
    const id = freshKey();
    const run = handler({ locks });
    expect(await run({ id, body: { to: "a", cents: [1, { x: 1, y: 2 }] } } as never, lambdaContext())).toBe("paid");
    const again = handler({ locks }, () => "never");
    expect(await again({ id, body: { cents: [1, { y: 2, x: 1 }], to: "a" } } as never, lambdaContext())).toBe("paid");
  });

  it.each([
    ["another value", { cents: 2 }],
    ["another type", { cents: "1" }],
    ["one property more", { cents: 1, to: "b" }],
    ["no payload", undefined],
    ["another order of a list", [1]],
  ])("%s is an error, and the record is not touched: finished", async (_name, body) => {
    const { locks, types } = aProcess(table.tableName);
    const id = freshKey();
    await handler({ locks })({ id, body: { cents: 1 } } as never, lambdaContext());
    const asItWas = await table.item(id);
    const error = await handler({ locks }, () => "never")({ id, body } as never, lambdaContext()).catch(
      (e: unknown) => e,
    );
    expect(error).toBeInstanceOf(PayloadMismatchError);
    expect(error).toMatchObject({ statusCode: 422, code: "LOCK_PAYLOAD_MISMATCH", record: { status: "FINISHED" } });
    expect(error).not.toHaveProperty("record.result");
    expect(await table.item(id)).toEqual(asItWas);
    expect(types().at(-1)).toBe("payload-mismatch");
  });

  it("is compared while the key is held, before waiting for it, and whatever duplicateResponse says", async () => {
    const { locks, clock } = aProcess(table.tableName);
    const id = freshKey();
    let mismatch: unknown;
    const first = handler({ locks }, async () => {
      const second = handler({ locks, waitMs: 60_000, duplicateResponse: "again" });
      mismatch = await second({ id, body: { cents: 2 } } as never, lambdaContext()).catch((e: unknown) => e);
      return "paid";
    });
    const before = clock.now();
    expect(await first({ id, body: { cents: 1 } } as never, lambdaContext())).toBe("paid");
    expect(mismatch).toMatchObject({ code: "LOCK_PAYLOAD_MISMATCH", record: { status: "IN_PROGRESS" } });
    expect(clock.now()).toBe(before);
  });

  it("of a run that failed or crashed doesn't bind the next", async () => {
    const { locks, clock } = aProcess(table.tableName);
    const id = freshKey();
    const failing = handler({ locks }, () => {
      throw new Error("no");
    });
    await expect(failing({ id, body: 1 } as never, lambdaContext())).rejects.toThrow("no");
    const crashed = await attemptLock(locksOf(locks), [id], { fingerprint: "another" });
    expect(crashed).toHaveProperty("fencingToken");
    clock.advance(20_000);
    expect(await handler({ locks })({ id, body: 3 } as never, lambdaContext())).toBe("paid");
  });

  it("is not asked of records that have none, and leaves none behind when the next run gives none", async () => {
    const { locks } = aProcess(table.tableName);
    const id = freshKey();
    await locks.run(id, () => {});
    await handler({ locks, onSuccess: "release" })({ id, body: 1 } as never, lambdaContext());
    expect((await table.item(id))?.fingerprint?.S).toMatch(/^[\w-]{43}$/);
    await locks.once(id, () => "unchecked");
    expect((await table.item(id))?.fingerprint).toBeUndefined();
    expect(await handler({ locks })({ id, body: 2 } as never, lambdaContext())).toBe("unchecked");
  });

  it("works with once, and names what can't be compared", async () => {
    const { locks } = aProcess(table.tableName);
    const key = freshKey();
    expect(await locks.once(key, () => 1, { fingerprint: { a: 1 } })).toBe(1);
    expect(await locks.once(key, () => 2, { fingerprint: { a: 1 } })).toBe(1);
    await expect(locks.once(key, () => 2, { fingerprint: { a: 2 } })).rejects.toBeInstanceOf(PayloadMismatchError);
    await expect(locks.once(freshKey(), () => 2, { fingerprint: new Date() })).rejects.toThrow(
      "fingerprint must be a JSON value, but there is a Date in it",
    );
    expect(() => dynamoSemaphore({ key: () => "k", permits: 2, fingerprint: () => 1 } as never)).toThrow(
      "dynamoSemaphore: unknown option 'fingerprint'",
    );
  });
});

describe("cacheSize", () => {
  it("a warm repeat costs no request, and is told as any other", async () => {
    const { locks, state, types } = aProcess(table.tableName, { cacheSize: 10 });
    const key = freshKey();
    await locks.once(key, () => ({ items: ["a"] }));
    state.sent.length = 0;
    for (let n = 0; n < 3; n++) expect(await locks.once(key, () => "again")).toEqual({ items: ["a"] });
    expect(state.sent).toEqual([]);
    expect(types()).toEqual(["acquired", "finished", "replayed", "replayed", "replayed"]);
  });

  it("another process's run is remembered from the first repeat on, a large response with it", async () => {
    const [first, second] = [aProcess(table.tableName), aProcess(table.tableName, { cacheSize: 10 })];
    const key = freshKey();
    await first.locks.once(key, () => LONG);
    for (let n = 0; n < 3; n++) expect(await second.locks.once(key, () => "again")).toBe(LONG);
    expect(second.state.sent).toEqual(["UpdateItem", "GetItem"]);
  });

  it("one caller's changes to a response don't reach the next", async () => {
    const { locks } = aProcess(table.tableName, { cacheSize: 10 });
    const key = freshKey();
    const response = { headers: {} as Record<string, string> };
    await locks.once(key, () => response);
    response.headers.a = "later";
    const replayed = await locks.once(key, () => response);
    replayed.headers.b = "too";
    expect(await locks.once(key, () => response)).toEqual({ headers: {} });
  });

  it("ends with the window, to the millisecond", async () => {
    const { locks, clock, state } = aProcess(table.tableName, { cacheSize: 10, clockSkewMs: 0 });
    const key = freshKey();
    await locks.once(key, () => 1, { rememberMs: 5_000 });
    clock.advance(4_999);
    expect(await locks.once(key, () => 2)).toBe(1);
    expect(state.sent.length).toBe(2);
    clock.advance(1);
    expect(await locks.once(key, () => 2)).toBe(2);
  });

  it("never answers for a key that is held, released, or taken by force", async () => {
    const [ours, theirs] = [aProcess(table.tableName, { cacheSize: 10 }), aProcess(table.tableName)];
    const key = freshKey();
    const held = await theirs.locks.acquire(key);
    await expect(ours.locks.once(key, () => 1)).rejects.toBeInstanceOf(LockHeldError);
    await held.release();
    expect(await ours.locks.once(key, () => 1)).toBe(1);
    const forced = await ours.locks.acquire(key, { force: true });
    await expect(ours.locks.once(key, () => 2)).rejects.toBeInstanceOf(LockHeldError);
    await forced.release();
    expect(await ours.locks.once(key, () => 3)).toBe(3);
  });

  it("keeps as many as it says, and forgets the least recently used", async () => {
    const { locks, state } = aProcess(table.tableName, { cacheSize: 2 });
    const [first, second, third] = [freshKey(), freshKey(), freshKey()];
    const run = (key: string) => locks.once(key, () => key);
    for (const key of [first, second, first, third]) await run(key);
    state.sent.length = 0;
    for (const key of [first, third]) expect(await run(key)).toBe(key);
    expect(state.sent).toEqual([]);
    expect(await run(second)).toBe(second);
    expect(state.sent).toEqual(["UpdateItem"]);
  });

  it("checks the payload, throws a final failure again, and knows a commit", async () => {
    const { locks, state } = aProcess(table.tableName, { cacheSize: 10 });
    const [paid, failed] = [freshKey(), freshKey()] as const;
    await locks.once(paid, (lock) => lock.commit([], { result: "paid" }), { fingerprint: 1 });
    await (await locks.acquire(failed)).finish({ error: new RangeError("too much") });
    state.sent.length = 0;
    await expect(locks.once(paid, () => 0, { fingerprint: 2 })).rejects.toBeInstanceOf(PayloadMismatchError);
    expect(await locks.once(paid, () => "again" as unknown, { fingerprint: 1 })).toBe("paid");
    await expect(locks.once(failed, () => 0)).rejects.toMatchObject({ originalName: "RangeError" });
    expect(state.sent).toEqual([]);
  });

  it("does not remember what may not have been written", async () => {
    const { locks, state } = aProcess(table.tableName, { cacheSize: 10 });
    const key = freshKey();
    state.wire = losing(2);
    expect(await locks.once(key, () => 1)).toBe(1);
    state.sent.length = 0;
    expect(await locks.once(key, () => 2)).toBe(1);
    expect(state.sent).toEqual(["UpdateItem"]);
  });

  it("is 0 unless it is set, and belongs to the LockClient", async () => {
    const { locks, state } = aProcess(table.tableName);
    const key = freshKey();
    for (let n = 0; n < 3; n++) await locks.once(key, () => 1);
    expect(state.sent.length).toBe(4);
    expect(() => dynamoLock({ key: () => "k", cacheSize: -1 })).toThrow(
      "cacheSize must be a whole number from 0 to 1000000, got -1",
    );
    expect(() => dynamoLock({ key: () => "k", cacheSize: 1, locks })).toThrow("locks and cacheSize contradict");
  });
});
