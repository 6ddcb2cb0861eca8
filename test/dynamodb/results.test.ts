import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { MAX_RESULT_BYTES } from "../../src/dynamodb/compress.ts";
import { type Lock, LockClient, type LockEvent } from "../../src/index.ts";
import { countingClient, lockTable } from "../support/dynamodb.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
let locks: LockClient;
const events: LockEvent[] = [];
beforeAll(async () => {
  table = await lockTable();
  const { client } = countingClient();
  locks = new LockClient({ client, tableName: table.tableName, onEvent: (event) => events.push(event) });
});

let keys = 0;
/** What a run's own caller gets, and what a repeat's. */
const both = async (value: unknown, client = locks) => {
  const key = `key-${++keys}`;
  events.length = 0;
  const first = await client.once(key, () => value);
  const replayed = await client.once(key, () => {
    throw new Error("a repeat must not run");
  });
  return { key, first, replayed };
};

/** What Lambda sends to the caller: `null` where JSON makes nothing. */
const sentBy = (value: unknown) => JSON.stringify(value) ?? "null";

class Money {
  readonly cents: number;
  #secret = 7;
  constructor(cents: number) {
    this.cents = cents;
  }
  get euros() {
    return this.cents / 100 + this.#secret;
  }
}

describe("what a run returns", () => {
  it("any JSON value is replayed exactly", async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (value) => {
        const { first, replayed } = await both(value);
        expect(first).toStrictEqual(JSON.parse(JSON.stringify(value)));
        expect(replayed).toStrictEqual(first);
      }),
      { numRuns: 60 },
    );
  });

  it("whatever it is, both callers get the same, as Lambda would send it: or it is reported", async () => {
    const cached = new LockClient({
      client: table.client,
      tableName: table.tableName,
      cacheSize: 10,
      onEvent: (event) => events.push(event),
    });
    const weird = fc.anything({
      withBigInt: true,
      withBoxedValues: true,
      withDate: true,
      withMap: true,
      withNullPrototype: true,
      withObjectString: true,
      withSet: true,
      withSparseArray: true,
      withTypedArray: true,
      withUnicodeString: true,
    } as never);
    await fc.assert(
      fc.asyncProperty(weird, fc.boolean(), async (value, isCached) => {
        const { first, replayed } = await both(value, isCached ? cached : locks);
        if (events.some(({ type }) => type === "response-not-stored")) {
          expect(() => JSON.stringify(value)).toThrow();
          expect(first).toBe(value);
          expect(replayed).toBeUndefined();
        } else {
          expect(replayed).toStrictEqual(first);
          expect(sentBy(first)).toBe(sentBy(value));
        }
      }),
      { numRuns: 200 },
    );
  });

  it.each([
    ["undefined", undefined],
    ["null", null],
    ["an empty string", ""],
    ["an empty array", []],
    ["a lone surrogate", "\ud800"],
    ["a key named __proto__", JSON.parse('{"__proto__": {"a": 1}}')],
    ["an object without a prototype", Object.assign(Object.create(null), { a: 1 })],
  ])("%s is replayed exactly", async (_name, value) => {
    const { first, replayed } = await both(value);
    expect(JSON.stringify(first)).toBe(JSON.stringify(value));
    expect(JSON.stringify(replayed)).toBe(JSON.stringify(value));
    expect(replayed === undefined).toBe(value === undefined);
    expect(events.map(({ type }) => type)).toEqual(["acquired", "finished", "replayed"]);
  });

  it.each<[string, unknown, unknown]>([
    ["a Date", { at: new Date(0) }, { at: "1970-01-01T00:00:00.000Z" }],
    ["a Date alone", new Date(0), "1970-01-01T00:00:00.000Z"],
    ["a Date that is none", [new Date(Number.NaN)], [null]],
    ["a class instance", [new Money(5)], [{ cents: 5 }]],
    ["a Map and a Set", { map: new Map([[1, 2]]), set: new Set([1]) }, { map: {}, set: {} }],
    ["a Buffer", { body: Buffer.from("x") }, { body: { type: "Buffer", data: [120] } }],
    ["a typed array", new Uint8Array([7]), { 0: 7 }],
    ["an Error", new RangeError("no"), {}],
    ["a URL", [new URL("https://example.com/a")], ["https://example.com/a"]],
    ["a function", { go: () => 1, a: 1 }, { a: 1 }],
    ["a function alone", () => 1, undefined],
    ["a symbol", Symbol("s"), undefined],
    ["symbols in an object", { [Symbol("s")]: 1, a: Symbol("s") }, {}],
    ["NaN and the infinities", [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY], [null, null, null]],
    ["-0", { rate: -0 }, { rate: 0 }],
    ["a property that is undefined", { statusCode: 200, headers: undefined }, { statusCode: 200 }],
    ["undefined in an array", [1, undefined], [1, null]],
    ["a hole in an array", new Array(1), [null]],
    ["boxed values", [Object(1), Object("a"), Object(false)], [1, "a", false]],
    ["a toJSON method", { toJSON: () => ({ at: new Date(0) }) }, { at: "1970-01-01T00:00:00.000Z" }],
    ["a toJSON method that gives nothing", { toJSON: () => undefined }, undefined],
    ["a bigint with a toJSON of its own", { id: { toJSON: () => String(1n) } }, { id: "1" }],
    ["a property that is not enumerable", Object.defineProperty({ a: 1 }, "b", { value: 2 }), { a: 1 }],
    ["a promise in it", { later: Promise.resolve(1) }, { later: {} }],
  ])("%s is what JSON makes of it, for both callers", async (_name, value, json) => {
    const { key, first, replayed } = await both(value);
    expect(first).toStrictEqual(json);
    expect(replayed).toStrictEqual(json);
    expect((await locks.get(key))?.result).toStrictEqual({ value: json });
    expect(events.map(({ type }) => type)).toEqual(["acquired", "finished", "replayed"]);
  });

  it("is read once: a getter or a toJSON that changes can't give two answers", async () => {
    let reads = 0;
    const { first, replayed } = await both({
      get n() {
        return ++reads;
      },
    });
    expect([first, replayed, reads]).toEqual([{ n: 1 }, { n: 1 }, 1]);
  });

  it("can be changed by its caller without a trace", async () => {
    const value = { tags: ["a"] };
    const { key, first } = await both(value);
    (first as typeof value).tags.push("b");
    expect(value).toEqual({ tags: ["a"] });
    expect(await locks.once(key, () => value)).toEqual({ tags: ["a"] });
  });

  it("is the caller's own where it is not stored", async () => {
    const value = { at: new Date(0) };
    expect(await locks.once(`key-${++keys}`, () => value, { storeResult: false })).toBe(value);
  });

  it("with finish and commit too", async () => {
    const result = { at: new Date(0), none: undefined };
    for (const settle of ["finish", "commit"] as const) {
      const key = `key-${++keys}`;
      const lock = await locks.acquire(key);
      await (settle === "finish" ? lock.finish({ result }) : lock.commit([], { result }));
      expect(await locks.once(key, () => "again")).toEqual({ at: "1970-01-01T00:00:00.000Z" });
    }
  });

  it("after the work has finished its key itself is JSON too", async () => {
    const value = { at: new Date(0) };
    const work = async (lock: Lock) => {
      await lock.finish({ result: value });
      return value;
    };
    const key = `key-${++keys}`;
    const json = { at: "1970-01-01T00:00:00.000Z" };
    expect(await locks.once(key, work)).toEqual(json);
    expect(await locks.once(key, work)).toEqual(json);
  });

  /** A text that takes about this many bytes when it is compressed. */
  const incompressible = (bytes: number) => randomBytes(bytes).toString("base64");
  const circular: Record<string, unknown> = { a: [] };
  circular.self = circular;
  let deep: unknown = [];
  for (let depth = 0; depth < 100_000; depth++) deep = [deep];

  it.each<[string, unknown, string]>([
    ["a BigInt", { id: 1n }, "there is a BigInt in it"],
    ["a BigInt that toJSON gives", { toJSON: () => 1n }, "there is a BigInt in it"],
    ["a circular structure", circular, "there is a circular structure in it"],
    [
      "a getter that throws",
      Object.defineProperty({}, "x", {
        enumerable: true,
        get: () => {
          throw new Error("no");
        },
      }),
      "reading it throws Error",
    ],
    [
      "a toJSON method that throws what is no error",
      {
        toJSON() {
          throw Object.create(null);
        },
      },
      "reading it throws Error",
    ],
    ["more nesting than the stack has", deep, "reading it throws RangeError"],
    ["more than an invocation can answer", "x".repeat(6 * 1024 * 1024), "bytes of JSON"],
    ["more than fits in an item, compressed", incompressible(MAX_RESULT_BYTES + 10_000), "bytes after compression"],
  ])("%s is not stored: the run succeeds, is finished, and this is reported", async (_name, value, reason) => {
    const { key, first, replayed } = await both(value);
    expect(first).toBe(value);
    expect(replayed).toBeUndefined();
    expect(await table.item(key)).toMatchObject({ status: { S: "FINISHED" } });
    expect((await table.item(key))?.result).toBeUndefined();
    expect(events.map(({ type }) => type)).toEqual(["acquired", "response-not-stored", "finished", "replayed"]);
    expect(events[1]).toMatchObject({ reason: expect.stringContaining(reason) });
  });

  it("the largest response that is stored fits in an item, with the longest key and owner", async () => {
    const key = "k".repeat(2_048);
    const value = incompressible(MAX_RESULT_BYTES - 5_000);
    expect(await locks.once(key, () => value, { owner: "o".repeat(1_024) })).toBe(value);
    expect((await locks.get(key))?.result?.value).toBe(value);
  });

  it("deeply nested is replayed with a cache too, which can't copy it", async () => {
    const cached = new LockClient({ client: table.client, tableName: table.tableName, cacheSize: 10 });
    let nested: unknown = 1;
    for (let depth = 0; depth < 3_000; depth++) nested = { nested };
    const { first, replayed } = await both(nested, cached);
    expect(JSON.stringify(first)).toBe(JSON.stringify(nested));
    expect(JSON.stringify(replayed)).toBe(JSON.stringify(nested));
  });

  it("one object twice is not a circle", async () => {
    const shared = { a: 1 };
    expect((await both([shared, shared])).replayed).toEqual([shared, shared]);
  });
});
