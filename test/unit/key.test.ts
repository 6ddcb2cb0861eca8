import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LockKeyError } from "../../src/index.ts";
import { toStoredKey, toStoredKeys } from "../../src/key.ts";

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

  it.each<[unknown, string]>([
    [undefined, "key is missing: expected a non-empty string or a number, got undefined"],
    [null, "key is missing: expected a non-empty string or a number, got null"],
    ["", "key is missing: expected a non-empty string or a number, got an empty string"],
    [{ date: "x" }, "key must be a string or a finite number, got an object"],
    [["a"], "key must be a string or a finite number, got an array"],
    [
      Promise.resolve("a"),
      "key must be a string or a finite number, got a Promise (the key function must not be async)",
    ],
    [Number.NaN, "key must be a string or a finite number, got NaN"],
    [Number.POSITIVE_INFINITY, "key must be a string or a finite number, got Infinity"],
    [true, "key must be a string or a finite number, got true"],
    [10n, "key must be a string or a finite number, got 10"],
    ["x".repeat(2_049), "key must have at most 2048 bytes with its namespace, got 2049"],
    ["é".repeat(1_025), "key must have at most 2048 bytes with its namespace, got 2050"],
  ])("%o: a clear error", (key, message) => {
    expect(() => toStoredKey(key)).toThrow(message);
    expect(() => toStoredKey(key)).toThrow(LockKeyError);
  });

  it("the namespace counts", () => {
    expect(toStoredKey("x".repeat(2_046), "n")).toHaveLength(2_048);
    expect(() => toStoredKey("x".repeat(2_047), "n")).toThrow("got 2049");
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
