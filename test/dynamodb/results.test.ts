import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { LockClient, type LockEvent } from "../../src/index.ts";
import { MAX_RESULT_BYTES } from "../../src/result.ts";
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
const replayOf = async (value: unknown) => {
  const key = `key-${++keys}`;
  events.length = 0;
  expect(await locks.once(key, () => value)).toBe(value);
  const replayed = await locks.once(key, () => {
    throw new Error("a repeat must not run");
  });
  return { key, replayed };
};

describe("what a run returns", () => {
  it("any JSON value replays exactly", async () => {
    // -0 is left out: JSON.stringify, and so Lambda itself, makes it 0.
    const hasMinusZero = (value: unknown): boolean =>
      Object.is(value, -0) || (typeof value === "object" && Object.values(value ?? {}).some(hasMinusZero));
    const json = fc.jsonValue().filter((value) => !hasMinusZero(value));
    await fc.assert(
      fc.asyncProperty(json, async (value) => {
        expect((await replayOf(value)).replayed).toStrictEqual(value);
      }),
      { numRuns: 60 },
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
  ])("%s replays exactly", async (_name, value) => {
    const { replayed } = await replayOf(value);
    expect(JSON.stringify(replayed)).toBe(JSON.stringify(value));
    expect(replayed === undefined).toBe(value === undefined);
    expect(events.map(({ type }) => type)).toEqual(["acquired", "finished", "replayed"]);
  });

  it("as in JSON, a property that is undefined is no property", async () => {
    expect((await replayOf({ statusCode: 200, headers: undefined })).replayed).toStrictEqual({ statusCode: 200 });
  });

  /** A text that takes about this many bytes when it is compressed. */
  const incompressible = (bytes: number) => randomBytes(bytes).toString("base64");
  const circular: Record<string, unknown> = { a: [] };
  circular.self = circular;
  let deep: unknown = [];
  for (let depth = 0; depth < 100_000; depth++) deep = [deep];

  it.each<[string, unknown, string]>([
    ["a Date", { at: new Date(0) }, "there is a Date in it"],
    ["a class instance", [new (class Money {})()], "there is a Money in it"],
    ["a Map", new Map(), "there is a Map in it"],
    ["a Buffer", { body: Buffer.from("x") }, "there is a Buffer in it"],
    ["a BigInt", { id: 1n }, "there is a bigint in it"],
    ["a function", { go: () => 1 }, "there is a function in it"],
    ["a symbol", Symbol("s"), "there is a symbol in it"],
    ["NaN", { rate: Number.NaN }, "there is NaN in it"],
    ["undefined in an array", [1, undefined], "there is undefined in an array in it"],
    ["a hole in an array", new Array(1), "there is undefined in an array in it"],
    ["a circular structure", circular, "there is a circular reference in it"],
    ["a toJSON method", { toJSON: () => 1 }, "there is a toJSON method in it"],
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
    ["more nesting than the stack has", deep, "reading it throws RangeError"],
    ["more than an invocation can answer", "x".repeat(6 * 1024 * 1024), "bytes of JSON"],
    ["more than fits in an item, compressed", incompressible(MAX_RESULT_BYTES + 10_000), "bytes after compression"],
  ])("%s is not stored: the run succeeds, is finished, and this is reported", async (_name, value, reason) => {
    const { key, replayed } = await replayOf(value);
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

  it("one object twice is not a circle", async () => {
    const shared = { a: 1 };
    expect((await replayOf([shared, shared])).replayed).toEqual([shared, shared]);
  });
});
