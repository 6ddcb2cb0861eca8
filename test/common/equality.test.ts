/** Two keys, payloads or lists of keys are one only if they are equal. */
import { createHash } from "node:crypto";
import middy from "@middy/core";
import fc from "fast-check";
import { beforeAll, describe, expect, it, vi } from "vitest";
import {
  dynamoLock,
  LockClient,
  type LockClientOptions,
  LockHeldError,
  type LockKey,
  LockKeyError,
  LockOptionsError,
  listLocks,
  PayloadMismatchError,
  purgeLocks,
  ReplayedError,
  withLock,
} from "../../src/index.ts";
import { consumer, failures, queue, shop } from "../support/batches.ts";
import { countingClient, lockTable } from "../support/dynamodb.ts";
import { freeKey } from "../support/free.ts";
import { lambdaContext } from "../support/lambda.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

let count = 0;
const fresh = () => `fresh-${++count}`;

const aClient = (options: LockClientOptions = {}) => {
  const { client, sent } = countingClient();
  const events: string[] = [];
  const onEvent = ({ type }: { type: string }) => void events.push(type);
  return { locks: new LockClient({ client, tableName: table.tableName, onEvent, ...options }), sent, events };
};

/** Half of an emoji, as `"😀".slice(0, 1)` leaves it. */
const HALF = "\ud83d";

/** What a caller of JavaScript may give. */
// biome-ignore lint/suspicious/noExplicitAny: see above
type Wrong = any;

const notKeys: [string, Wrong][] = [
  ["an integer that JSON.parse has rounded", JSON.parse("9007199254740993")],
  ["a negative one", JSON.parse("-9007199254740993")],
  ["2^53", 2 ** 53],
  ["1e21", 1e21],
  ["a fraction", 0.1],
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["a boxed text", Object("a")],
  ["a boxed number", Object(1)],
  ["false", false],
  ["a symbol", Symbol("a")],
  ["an object", { id: 1 }],
  ["an object that is no text", Object.create(null)],
  ["a Date", new Date(0)],
  ["a function", () => "a"],
  ["an emoji cut in two", `order-${HALF}`],
  ["the other half of it", "\ude00-order"],
  ["halves in the wrong order", "\ude00\ud83d"],
  ["nothing", undefined],
];

describe("keys", () => {
  const name = fc.string({ unit: "grapheme", minLength: 1, maxLength: 3 });
  const key = fc.oneof(
    name,
    fc.constantFrom(
      "1",
      "01",
      "+1",
      "-1",
      "1.0",
      "1e0",
      " 1",
      "0",
      "-0",
      "é",
      "e\u0301",
      "\u212b",
      "\u00c5",
      "\u0000",
      "\ufffd",
    ),
    fc.constantFrom<LockKey>(
      0,
      -0,
      1,
      -1,
      1n,
      -1n,
      0n,
      2 ** 53 - 1,
      9007199254740991n,
      9007199254740992n,
      9007199254740993n,
    ),
    fc.maxSafeInteger(),
    fc.bigInt(),
  );
  const pair = fc.tuple(
    fc.option(
      name.filter((text) => !text.includes("#")),
      { nil: undefined },
    ),
    key,
  );
  /** With a namespace of its own on both sides, so that no run finds the keys of another. */
  const wellFormed = ([namespace]: [string | undefined, unknown]) =>
    namespace === undefined || namespace.isWellFormed();

  it("are one if their namespaces and their texts are the same, and only then", async () => {
    await fc.assert(
      fc.asyncProperty(pair.filter(wellFormed), pair.filter(wellFormed), async ([n1, k1], [n2, k2]) => {
        const run = fresh();
        const [first, second] = [n1, n2].map(
          (n) => aClient({ namespace: `${run}${n === undefined ? "" : `-${n}`}` }).locks,
        ) as [LockClient, LockClient];
        const lock = await first.acquire(k1 as LockKey);
        const other = await second.tryAcquire(k2 as LockKey);
        expect(other === undefined).toBe(n1 === n2 && String(k1) === String(k2));
        expect((await first.get(k1 as LockKey))?.token).toBe(lock.token);
        await Promise.all([lock.release(), other?.release()]);
      }),
      { numRuns: 60 },
    );
  });

  it.each<[LockKey, LockKey]>([
    [42, "42"],
    [42n, 42],
    [-0, 0],
    [9007199254740993n, "9007199254740993"],
  ])("%s and %s are one", async (a, b) => {
    const { locks } = aClient({ namespace: fresh() });
    await locks.once(a, () => "first");
    expect(await locks.once(b, () => "second")).toBe("first");
    expect((await locks.get(b))?.status).toBe("FINISHED");
    expect(await locks.count(b)).toBe(0);
    expect(await locks.waitUntilFinished([a, b])).toEqual([]);
    expect(await purgeLocks(locks, { keys: [b], finished: true, olderThanMs: 0 })).toEqual([]); // just taken
    expect(await freeKey(locks, b)).toMatchObject({ status: "FINISHED" });
  });

  it("of 64 bits don't meet their neighbours", async () => {
    const { locks } = aClient({ namespace: fresh() });
    for (const id of [9007199254740992n, 9007199254740993n, 9007199254740994n]) {
      expect(await locks.once(id, () => `${id}`)).toBe(`${id}`);
    }
  });

  it.each(notKeys)("%s is refused at every door, and nothing is sent", async (_name, wrong) => {
    const { locks, sent } = aClient();
    const refused = async (attempt: () => unknown) => {
      const error = await (async () => attempt())().catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(LockKeyError);
      expect(error).toMatchObject({ code: "LOCK_KEY", statusCode: 400 });
    };
    for (const key of [wrong, [wrong], ["a", wrong]]) {
      await refused(() => locks.acquire(key));
      await refused(() => locks.tryAcquire(key));
      await refused(() => locks.run(key, () => {}));
      await refused(() => locks.once(key, () => {}));
      await refused(() => locks.get(key));
      await refused(() => locks.count(key));
      await refused(() => withLock(() => "ran", { key: () => key, locks })({}, lambdaContext()));
    }
    await refused(() => locks.waitUntilFinished(["a", wrong]));
    await refused(() => purgeLocks(locks, { keys: ["a", wrong] }));
    await refused(() => freeKey(locks, wrong));
    expect(sent).toEqual([]);
  });

  it("says what to do about an id that is too large for a number", async () => {
    const { locks } = aClient();
    await expect(locks.acquire(JSON.parse('{"id":9007199254740993}').id)).rejects.toThrow(
      "key must be a string, a safe integer or a bigint, got 9007199254740992, an integer beyond 2^53 - 1 (JSON.parse " +
        "rounds it: take it as text, or as a bigint)",
    );
  });

  it("a list has no holes, and no lists in it", async () => {
    const { locks, sent } = aClient();
    for (const keys of [new Array(2), Object.assign(new Array(2), { 1: "a" }), [["a"], "b"], [[]], []]) {
      await expect(locks.acquire(keys as Wrong)).rejects.toBeInstanceOf(LockKeyError);
    }
    // One record is read, not the first of a list.
    await expect(locks.get(["a", "b"] as Wrong)).rejects.toBeInstanceOf(LockKeyError);
    await expect(locks.count(["a"] as Wrong)).rejects.toBeInstanceOf(LockKeyError);
    expect(sent).toEqual([]);
  });

  it("a function's name that could be a namespace and a key is no namespace", async () => {
    const { locks } = aClient();
    const handler = withLock(() => "ran", { key: () => "k", locks });
    await expect(handler({}, lambdaContext({ functionName: "a#b" }))).rejects.toMatchObject({ code: "LOCK_KEY" });
    await expect(handler({}, lambdaContext({ functionName: HALF }))).rejects.toMatchObject({ code: "LOCK_KEY" });
  });
});

describe("a batch", () => {
  it("records whose keys can't be stored fail alone, however many they are", async () => {
    const { options, events, statuses } = shop(table);
    const { invoke, given } = consumer({
      ...options,
      key: (record) => {
        const { order } = JSON.parse((record as { body: string }).body) as { order: string };
        return order.startsWith("n") ? Number(order.slice(1)) : order;
      },
    });
    const bad = Array.from({ length: 24 }, (_, n) => (n % 2 ? `${n}${HALF}` : `n${2 ** 53 + n}`));
    const response = await invoke(queue(...bad, "a", "b"));
    expect(response).toEqual(failures(...bad.map((_, n) => `m${n + 1}`)));
    expect(given()).toEqual([["a", "b"]]);
    expect(await statuses("a", "b")).toEqual(["FINISHED", "FINISHED"]);
    const failed = events.filter(({ type }) => type === "record-failed");
    expect(failed).toHaveLength(24);
    for (const event of failed) expect(event).toMatchObject({ error: { code: "LOCK_KEY" } });
    expect(events.some(({ type }) => type === "not-started")).toBe(false);
  });

  it.each<[string, object]>([
    ["an owner", { owner: () => HALF }],
    ["an owner that can't be printed", { owner: () => 1n as never }],
    ["a fingerprint of a rounded id", { fingerprint: () => ({ id: 2 ** 53 }) }],
  ])("so do records with %s", async (_name, wrong) => {
    const { options, events, sent } = shop(table);
    const orders = Array.from({ length: 12 }, (_, n) => `o${n}`);
    expect(await consumer({ ...options, ...wrong }).invoke(queue(...orders))).toEqual(
      failures(...orders.map((_, n) => `m${n + 1}`)),
    );
    expect(events.map(({ type }) => type)).toEqual(Array(12).fill("record-failed"));
    expect(events[0]).toMatchObject({ error: { code: "LOCK_OPTIONS" } });
    expect(sent).toEqual([]);
  });

  it("a bigint is the key of a record", async () => {
    const { options, statuses } = shop(table);
    const { invoke, run } = consumer({ ...options, key: () => 9007199254740993n });
    expect(await invoke(queue("a"))).toEqual(failures());
    expect(await invoke(queue("a"))).toEqual(failures());
    expect(run).toHaveBeenCalledTimes(1);
    expect(await statuses("9007199254740993")).toEqual(["FINISHED"]);
  });

  it("a record whose key another door has finished in a list, twice, is no repeat", async () => {
    const { options, namespace, events } = shop(table);
    const { locks } = aClient({ namespace });
    await locks.once(["a", "a"], () => "twice");
    expect(await consumer(options).invoke(queue("a"))).toEqual(failures("m1"));
    expect(events.map(({ type }) => type)).toEqual(["payload-mismatch", "record-failed"]);
  });
});

describe("what else gets into a request", () => {
  it.each<[string, Wrong]>([
    ["tableName", HALF],
    ["namespace", `n${HALF}`],
    ["owner", HALF],
    ["keyAttribute", HALF],
    ["ttlAttribute", HALF],
    ["sortKey", { attribute: "sk", value: HALF }],
    ["sortKey", { attribute: HALF, value: 1 }],
    ["sortKey", { attribute: "sk", value: 2 ** 53 }],
    ["sortKey", { attribute: "sk", value: Number.NaN }],
  ])("%s of a LockClient: %o is refused", (option, value) => {
    expect(() => new LockClient({ [option]: value })).toThrow(LockOptionsError);
    expect(() => new LockClient({ [option]: value })).toThrow(`LockClient: ${option} must`);
  });

  it("a sort key may be a fraction or a whole number", () => {
    for (const value of ["x", 0, -1, 0.5, 2 ** 53 - 1]) {
      expect(() => new LockClient({ sortKey: { attribute: "sk", value } })).not.toThrow();
    }
  });

  it("of a call: nothing is sent, or the lock stays as it was", async () => {
    const { locks, sent } = aClient();
    await expect(locks.acquire("k", { owner: HALF })).rejects.toBeInstanceOf(LockOptionsError);
    expect(() => listLocks(locks, { keyPrefix: HALF })).toThrow(LockOptionsError);
    expect(() => listLocks(locks, { owner: HALF })).toThrow(LockOptionsError);
    expect(() => dynamoLock({ key: () => "k", namespace: HALF })).toThrow(LockOptionsError);
    for (const owner of [HALF, 1n, Symbol("me"), { self: {} }, Object.create(null), undefined, ""] as Wrong[]) {
      const handler = withLock(() => "ran", { key: () => "k", owner: () => owner, locks });
      await expect(handler({}, lambdaContext())).rejects.toThrow("owner must return");
    }
    expect(sent).toEqual([]);
    const lock = await locks.acquire(fresh());
    await expect(lock.finish({ status: HALF })).rejects.toBeInstanceOf(LockOptionsError);
    for (const key of [1n, Symbol("k"), Object.create(null)] as Wrong[]) {
      expect(() => lock.condition(key)).toThrow(LockOptionsError);
    }
    expect(lock.status).toBe("held");
    await lock.release();
  });

  it("half a character in data, a result or a failure is stored as it is", async () => {
    const { locks } = aClient();
    const [kept, failed] = [fresh(), fresh()];
    const lock = await locks.acquire(kept, { data: { text: HALF } });
    await lock.finish({ result: HALF });
    expect(await locks.get(kept)).toMatchObject({ data: { text: HALF }, result: { value: HALF } });
    await (await locks.acquire(failed)).finish({ error: Object.assign(new Error(HALF), { name: HALF }) });
    const error = await locks.once(failed, () => "again").catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ReplayedError);
    expect(error).toMatchObject({ message: HALF, originalName: HALF });
  });

  it("a long failure is cut between two characters", async () => {
    const { locks } = aClient();
    for (const pad of ["", "a", "ab", "abc"]) {
      const key = fresh();
      const message = pad + "😀".repeat(200);
      await (await locks.acquire(key)).finish({ error: new Error(message) });
      const replayed = (await locks.once(key, () => "again").catch((thrown: unknown) => thrown)) as Error;
      expect(replayed.message.length).toBeGreaterThan(150);
      expect(message.startsWith(replayed.message)).toBe(true);
      expect(replayed.message.isWellFormed()).toBe(true);
    }
  });

  it("reentrant: another owner is another one", async () => {
    const { locks } = aClient();
    const key = fresh();
    await using lock = await locks.acquire(key, { owner: "1", reentrant: true });
    for (const owner of ["01", "1 ", "é"])
      expect(await locks.tryAcquire(key, { owner, reentrant: true })).toBeUndefined();
    await using again = await locks.acquire(key, { owner: "1", reentrant: true });
    expect(again).toBe(lock);
  });
});

describe("payloads", () => {
  /** Whether `second` is taken for the same payload as `first`. */
  const areOne = async (first: unknown, second: unknown) => {
    const { locks } = aClient();
    const key = fresh();
    const run = (payload: unknown, response: string) =>
      withLock(() => response, { key: () => key, fingerprint: () => payload, locks })({}, lambdaContext());
    expect(await run(first, "first")).toBe("first");
    return run(second, "second").then(
      (response) => response === "first",
      (error: unknown) => {
        expect(error).toBeInstanceOf(PayloadMismatchError);
        return false;
      },
    );
  };

  it.each<[string, unknown, unknown]>([
    ["a text and a number", { id: "1" }, { id: 1 }],
    ["a text and a bigint", { id: "1" }, { id: 1n }],
    ["neighbours of 64 bits", { id: 9007199254740992n }, { id: 9007199254740993n }],
    ["neighbours of 64 bits, as texts", '{"id":9007199254740992}', '{"id":9007199254740993}'],
    ["fractions", 0.1, 0.30000000000000004 - 0.2],
    ["a fraction and a whole number", 1, 1.0000000000000002],
    ["nothing and null", undefined, null],
    ["null and the text", null, "null"],
    ["null and an empty text", null, ""],
    ["nothing and an empty text", undefined, ""],
    ["false and 0", false, 0],
    ["an empty list and an empty object", [], {}],
    ["a list and an object with its indexes", ["a"], { 0: "a" }],
    ["lists in another order", [1, 2], [2, 1]],
    ["a list in a list", [1, [2]], [[1], 2]],
    ["a list with a repeat", [1], [1, 1]],
    ["null in a list", [null], []],
    ["null and no member", { a: null }, {}],
    ["members that swap their values", { a: 1, b: 2 }, { a: 2, b: 1 }],
    ["a member deeper down", { a: { b: 1 } }, { a: 1, b: 1 }],
    ["a member named __proto__", JSON.parse('{"__proto__":1}'), {}],
    ["a member named constructor", { constructor: 1 }, {}],
    ["two halves of characters", "\ud83d", "\ud83e"],
    ["half a character and what replaces it", "\ud83d", "\ufffd"],
    ["half a character and its escape", "\ud83d", "\\ud83d"],
    ["a text with quotes and a list", '","', ["", ""]],
    ["texts that look alike", "é", "e\u0301"],
    ["a Date's text and a Date's number", new Date(0).toJSON(), 0],
  ])("%s are two", async (_name, first, second) => {
    expect(await areOne(first, second)).toBe(false);
    expect(await areOne(second, first)).toBe(false);
  });

  it.each<[string, unknown, unknown]>([
    ["members in another order", { a: 1, b: { c: 2, d: 3 }, 1: 0 }, { 1: 0, b: { d: 3, c: 2 }, a: 1 }],
    ["a number and a bigint", { id: 42 }, { id: 42n }],
    ["0 and -0", [0], [-0]],
    ["a member that is undefined and none, as in JSON", { a: undefined, b: 1 }, { b: 1 }],
    ["an object without a prototype", Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
    ["a text and its parts", "ab", `${"a"}b`],
  ])("%s are one", async (_name, first, second) => {
    expect(await areOne(first, second)).toBe(true);
  });

  it("are one if their JSON is the same but for the order of members, and only then", async () => {
    const shuffled = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(shuffled);
      if (typeof value !== "object" || value === null) return value;
      return Object.fromEntries(
        Object.entries(value)
          .reverse()
          .map(([name, member]) => [name, shuffled(member)]),
      );
    };
    const sorted = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(sorted);
      if (typeof value !== "object" || value === null) return value;
      return {
        object: Object.entries(value)
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([name, member]) => [name, sorted(member)]),
      };
    };
    const leaf = fc.oneof(
      fc.string({ maxLength: 2 }),
      fc.integer({ min: -2, max: 2 }),
      fc.double({ noNaN: true, noDefaultInfinity: true, min: -9, max: 9 }),
      fc.constantFrom(null, true),
    );
    const { payload } = fc.letrec((tie) => ({
      payload: fc.oneof(
        { maxDepth: 3, withCrossShrink: true },
        leaf,
        fc.array(tie("payload"), { maxLength: 2 }),
        fc.dictionary(fc.string({ maxLength: 1 }), tie("payload"), { maxKeys: 2 }),
      ),
    }));
    await fc.assert(
      fc.asyncProperty(payload, payload, fc.boolean(), async (a, other, same) => {
        const b = same ? shuffled(a) : other;
        expect(await areOne(a, b)).toBe(JSON.stringify(sorted(a)) === JSON.stringify(sorted(b)));
      }),
      { numRuns: 60 },
    );
  });

  it.each<[string, Wrong, string]>([
    ["an integer that JSON.parse has rounded", JSON.parse("[9007199254740993]"), "an integer beyond 2^53 - 1"],
    ["a huge number", { n: 1e300 }, "an integer beyond 2^53 - 1"],
    ["NaN", [Number.NaN], "there is NaN in it"],
    ["a Date", { at: new Date(0) }, "there is a Date in it"],
    ["a Map", new Map([["a", 1]]), "there is a Map in it"],
    ["a Set", [new Set([1])], "there is a Set in it"],
    ["a typed array", new Uint8Array([1]), "there is a Uint8Array in it"],
    ["a boxed number", { id: Object(1) }, "there is a Number in it"],
    ["an array of a class", new (class Ids extends Array {})(), "in it"],
    ["an array with other properties", Object.assign(["a"], { b: 1 }), "in it"],
    ["a toJSON method", { toJSON: () => 1 }, "there is a toJSON method in it"],
    ["a hidden toJSON method", Object.defineProperty({ a: 1 }, "toJSON", { value: () => 1 }), "a toJSON method"],
    ["a member whose name is a symbol", { [Symbol("id")]: 1 }, "there is a symbol as a name in it"],
    ["a symbol", Symbol("id"), "there is a symbol in it"],
    ["a hole", new Array(1), "there is undefined in an array in it"],
    ["a Promise", Promise.resolve(1), "there is a Promise in it"],
  ])("%s is refused before anything is sent", async (_name, payload, reason) => {
    const { locks, sent } = aClient();
    const work = vi.fn();
    const handler = withLock(work, { key: () => "k", fingerprint: () => payload, locks });
    const once = () => locks.once("k", work, { fingerprint: payload });
    for (const attempt of [() => handler({}, lambdaContext()), once]) {
      const error = await attempt().catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(LockOptionsError);
      expect(error).toHaveProperty("message", expect.stringContaining(reason));
    }
    expect([sent, work.mock.calls]).toEqual([[], []]);
  });

  it("are hashed as RFC 8785 has it, by code units: also names that look like indexes", async () => {
    const { locks } = aClient();
    const key = fresh();
    await locks.once(key, () => "ran", { fingerprint: { 9: [1n, -0], 10: { "\u20ac": 1, "\r": "\u000f" } } });
    const text = '{"10":{"\\r":"\\u000f","\u20ac":1},"9":[1,0]}';
    const hash = createHash("sha256").update(text).digest("base64url");
    expect((await table.item(key))?.fingerprint).toEqual({ S: hash });
  });

  it("that contain themselves are refused", async () => {
    const { locks, sent } = aClient();
    const circular: Record<string, unknown> = { id: 1n };
    circular.self = [circular];
    const attempt = locks.once("k", () => "ran", { fingerprint: circular });
    await expect(attempt).rejects.toThrow("fingerprint must be a JSON value, but there is a circular structure in it");
    expect(sent).toEqual([]);
  });

  it("that are nested too deep are refused", async () => {
    const { locks } = aClient();
    for (let depth = 2_000; depth < 8_000; depth += 200) {
      let payload: unknown = 1;
      for (let n = 0; n < depth; n++) payload = { payload };
      const error = await locks.once(fresh(), () => "ran", { fingerprint: payload }).catch((thrown: unknown) => thrown);
      if (error !== "ran") expect(error).toBeInstanceOf(LockOptionsError);
    }
  });
});

/** Each way to answer a repeat. */
const doors: [string, (keys: unknown, locks: LockClient, response: string, payload?: unknown) => Promise<unknown>][] = [
  ["once", (keys, locks, response, fingerprint) => locks.once(keys as LockKey[], () => response, { fingerprint })],
  [
    "withLock",
    (keys, locks, response, payload) =>
      withLock(() => response, {
        key: () => keys as LockKey[],
        locks,
        namespace: false,
        fingerprint: payload === undefined ? undefined : () => payload,
      })({}, lambdaContext()),
  ],
  [
    "dynamoLock",
    (keys, locks, response, payload) =>
      middy()
        .use(
          dynamoLock({
            key: () => keys as LockKey[],
            locks,
            namespace: false,
            fingerprint: payload === undefined ? undefined : () => payload,
          }),
        )
        .handler(async () => response)({}, lambdaContext() as never),
  ],
];

describe.each(doors)("a list of keys, %s", (_door, run) => {
  describe.each([0, 10])("cacheSize %i", (cacheSize) => {
    it.each<[string, (a: string, b: string) => unknown, (a: string, b: string) => unknown]>([
      ["another order", (a, b) => [a, b], (a, b) => [b, a]],
      ["a repeat in it", (a, b) => [a, b], (a, b) => [a, a, b]],
      ["other repeats", (a, b) => [a, b, b], (a, b) => [a, a, b]],
      ["fewer repeats", (a, b) => [a, b, a], (a, b) => [a, b]],
      ["one key twice", (a) => a, (a) => [a, a]],
      ["one key once", (a) => [a, a], (a) => a],
      ["a list of one", (a) => [a, a], (a) => [a]],
      ["one key three times", (a) => [a, a], (a) => [a, a, a]],
    ])("%s is another payload", async (_name, finished, asked) => {
      const { locks, sent, events } = aClient({ cacheSize });
      const [a, b] = [fresh(), fresh()];
      for (const payload of [undefined, { amount: 1 }]) {
        const [x, y] = [`${a}-${payload}`, `${b}-${payload}`];
        expect(await run(finished(x, y), locks, "first", payload)).toBe("first");
        const error = await run(asked(x, y), locks, "second", payload).catch((thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(PayloadMismatchError);
        expect(error).toMatchObject({ code: "LOCK_PAYLOAD_MISMATCH", statusCode: 422, record: { status: "FINISHED" } });
        expect(error).toHaveProperty("message", "The key was used in another order, or another number of times");
        expect(events.at(-1)).toBe("payload-mismatch");
        sent.length = 0;
        expect(await run(finished(x, y), locks, "second", payload)).toBe("first");
      }
    });

    it("the same list is a repeat, and a list of one is its key", async () => {
      const { locks } = aClient({ cacheSize });
      const [a, b, c] = [fresh(), fresh(), fresh()];
      for (const list of [
        [a, b],
        [c, c],
      ]) {
        expect(await run(list, locks, "first")).toBe("first");
        expect(await run([...list], locks, "second")).toBe("first");
      }
      const d = fresh();
      expect(await run(d, locks, "first")).toBe("first");
      expect(await run([d], locks, "second")).toBe("first");
      expect(await run([fresh()], locks, "first")).toBe("first");
      // A number, a bigint and a text are one key in a list too.
      const n = 1_000_000 + count;
      expect(await run([n, `${n + 1}`], locks, "first")).toBe("first");
      expect(await run([`${n}`, BigInt(n + 1)], locks, "second")).toBe("first");
      count++;
    });
  });

  it("held is held, in whatever order", async () => {
    const { locks } = aClient();
    const [a, b] = [fresh(), fresh()];
    await using lock = await locks.acquire([a, b]);
    await expect(run([b, a], locks, "second")).rejects.toBeInstanceOf(LockHeldError);
    await expect(run([a, a, b], locks, "second")).rejects.toBeInstanceOf(LockHeldError);
    expect(lock.keys).toEqual([a, b]);
  });

  it("waited for, and finished in another order meanwhile, is another payload", async () => {
    const { locks } = aClient();
    const [a, b] = [fresh(), fresh()];
    const lock = await locks.acquire([a, b]);
    const waiting = locks.once([b, a], () => "second", { waitMs: 10_000, backoff: { minMs: 1, maxMs: 5 } });
    await lock.finish({ result: "first" });
    await expect(waiting).rejects.toBeInstanceOf(PayloadMismatchError);
    expect(await run([a, b], locks, "third")).toBe("first");
  });

  it("that shares a key with a finished one is no repeat of it", async () => {
    const { locks } = aClient();
    const [a, b, c] = [fresh(), fresh(), fresh()];
    await run([a, b], locks, "first");
    for (const list of [a, [b], [b, c], [a, b, c]]) {
      await expect(run(list, locks, "second")).rejects.toBeInstanceOf(LockHeldError);
    }
  });

  it("released or forgotten binds nobody", async () => {
    const { locks } = aClient();
    const [a, b] = [fresh(), fresh()];
    await locks.run([a, b], () => {});
    expect(await run([b, a], locks, "first")).toBe("first");
    await Promise.all([a, b].map((key) => freeKey(locks, key)));
    expect(await run([a, b, a], locks, "second")).toBe("second");
    expect(await run([a, b, a], locks, "third")).toBe("second");
    expect((await table.item(a))?.key_list?.S).toMatch(/^[\w-]{43}$/);
    await Promise.all([a, b].map((key) => freeKey(locks, key)));
    expect(await run(a, locks, "alone")).toBe("alone");
    expect((await table.item(a))?.key_list).toBeUndefined();
  });

  it("that an older version finished, which noted no order, is answered as before", async () => {
    const { locks } = aClient();
    const [a, b] = [fresh(), fresh()];
    await run([a, b], locks, "first");
    for (const key of [a, b]) {
      const { key_list: _list, ...older } = (await table.item(key)) as Record<string, never>;
      await table.put(older);
    }
    expect(await run([b, a], locks, "second")).toBe("first");
  });
});
