import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toStoredKey, toStoredKeys } from "../../src/common/key.ts";
import { LockKeyError } from "../../src/index.ts";

describe("a key", () => {
  it("is stored with its namespace", () => {
    expect(toStoredKey("2026-11-21", "report")).toBe("report#2026-11-21");
    expect(toStoredKey(42)).toBe("42");
    expect(toStoredKey(0, false)).toBe("0");
  });

  it("two namespaces never spell one stored key", () => {
    const namespace = fc.string({ minLength: 1 }).filter((text) => !text.includes("#"));
    const key = fc.string({ minLength: 1 });
    fc.assert(
      fc.property(namespace, key, namespace, key, (n1, k1, n2, k2) => {
        const same = toStoredKey(k1, n1) === toStoredKey(k2, n2);
        expect(same).toBe(n1 === n2 && k1 === k2);
      }),
    );
  });

  it("is the same as a number, a bigint and a text", () => {
    for (const key of [42, 42n, "42"]) expect(toStoredKey(key)).toBe("42");
    for (const key of [0, -0, 0n, "0"]) expect(toStoredKey(key)).toBe("0");
    expect(toStoredKey(Number.MAX_SAFE_INTEGER)).toBe("9007199254740991");
    expect(toStoredKey(9007199254740993n)).toBe("9007199254740993");
  });

  const missing = "key is missing: expected a non-empty string or a number";
  const wrong = "key must be a string, a safe integer or a bigint";
  const rounded = (got: string) =>
    `${wrong}, got ${got}, an integer beyond 2^53 - 1 (JSON.parse rounds it: take it as text, or as a bigint)`;
  it.each<[unknown, string]>([
    [undefined, `${missing}, got undefined`],
    [null, `${missing}, got null`],
    ["", `${missing}, got ''`],
    [{ date: "x" }, `${wrong}, got [Object]`],
    [Object.create(null), `${wrong}, got [Object: null prototype]`],
    [new Date(0), `${wrong}, got 1970-01-01T00:00:00.000Z`],
    [Object("a"), `${wrong}, got [String: 'a']`],
    [["a"], `${wrong}, got [Array]`],
    [() => "a", `${wrong}, got [Function`],
    [Promise.resolve("a"), `${wrong}, got a Promise (the key function must not be async)`],
    [Symbol("a"), `${wrong}, got Symbol(a)`],
    [new TypeError("no date"), `${wrong}, got TypeError: no date`],
    [Number.NaN, `${wrong}, got NaN`],
    [Number.POSITIVE_INFINITY, `${wrong}, got Infinity`],
    [true, `${wrong}, got true`],
    [0.5, `${wrong}, got 0.5`],
    [2 ** 53, rounded("9007199254740992")],
    [-(2 ** 53), rounded("-9007199254740992")],
    [1e300, rounded("1e+300")],
    ["a\ud800", "key must be well-formed text"],
    ["\udc00a", "key must be well-formed text"],
    ["x".repeat(2_049), "key must have at most 2048 bytes with its namespace, got 2049"],
    ["é".repeat(1_025), "key must have at most 2048 bytes with its namespace, got 2050"],
  ])("%o: a clear error", (key, message) => {
    expect(() => toStoredKey(key)).toThrow(message);
    expect(() => toStoredKey(key)).toThrow(LockKeyError);
    expect(() => toStoredKey(key)).not.toThrow("\n");
  });

  it("the namespace counts", () => {
    expect(toStoredKey("x".repeat(2_046), "n")).toHaveLength(2_048);
    expect(() => toStoredKey("x".repeat(2_047), "n")).toThrow("got 2049");
    expect(() => toStoredKey("x", "a#b")).toThrow("namespace must not contain '#', got a#b: set one");
  });

  it("that an async function gave is refused, and its rejection doesn't end the process: of several, none", async () => {
    const unhandled: unknown[] = [];
    const listener = (error: unknown) => unhandled.push(error);
    process.on("unhandledRejection", listener);
    const rejected = () => Promise.reject(new Error("no key"));
    for (const key of [rejected(), [rejected(), rejected()]]) expect(() => toStoredKeys(key)).toThrow(LockKeyError);
    await new Promise(setImmediate);
    process.off("unhandledRejection", listener);
    expect(unhandled).toEqual([]);
  });
});
