import { describe, expect, it } from "vitest";
import { waitUntilFinished } from "../../src/client/wait-until-finished.ts";
import { LockTableError } from "../../src/index.ts";
import { locksOf } from "../support/locks.ts";
import { MINUTE, operatorsTable } from "../support/operators.ts";

const { table, setUp, oneOfEach } = await operatorsTable();

describe("waitUntilFinished", () => {
  const wait = ({ locks, stored }: ReturnType<typeof setUp>, keys: string[], options = {}) =>
    waitUntilFinished(
      locksOf(locks),
      keys.map((key) => stored(key)),
      options,
    );

  it("what is finished, released, over or absent is not waited for", async () => {
    const test = await oneOfEach();
    test.sent.length = 0;
    const keys = ["absent", "crashed", "finished", "forgotten", "held", "released", "held"];
    expect(await wait(test, keys, { timeoutMs: 0 })).toEqual([test.stored("held")]);
    expect(test.sent).toEqual(["BatchGetItem"]);
  });

  it("looks again until all are done", async () => {
    const test = setUp();
    const [a, b] = [await test.locks.acquire("a"), await test.locks.acquire("b")];
    const looks: string[][] = [];
    const { sleep } = test.clock;
    test.clock.sleep = async (ms) => {
      looks.push([String(ms), a.status, b.status]);
      await sleep(ms);
      await (looks.length === 2 ? a.finish() : looks.length === 4 ? b.release() : undefined);
    };
    expect(await wait(test, ["a", "b"], { intervalMs: 5_000 })).toEqual([]);
    expect(looks).toEqual([
      ["5000", "held", "held"],
      ["5000", "held", "held"],
      ["5000", "finished", "held"],
      ["5000", "finished", "held"],
    ]);
  });

  it("a holder that died is waited for until its lease is over, and the skew of the clocks", async () => {
    const test = setUp();
    await test.locks.acquire("k");
    const start = test.clock.now();
    expect(await wait(test, ["k"], { timeoutMs: 10 * MINUTE, intervalMs: 500 })).toEqual([]);
    expect(test.clock.now() - start).toBe(MINUTE + 1_000);
  });

  it("gives the keys still held when the time is up, in the order given", async () => {
    const test = setUp();
    for (const key of ["a", "b", "c"]) await test.locks.acquire(key);
    const start = test.clock.now();
    const pending = await wait(test, ["c", "x", "a"], { timeoutMs: 2_500, intervalMs: 1_000 });
    expect(pending).toEqual([test.stored("c"), test.stored("a")]);
    expect(test.clock.now() - start).toBe(2_500);
  });

  it("reads more than 100 keys, 100 at a time", async () => {
    const test = setUp();
    const keys = Array.from({ length: 230 }, (_, i) => `k${i}`);
    await Promise.all(["k0", "k150", "k229"].map((key) => test.locks.acquire(key)));
    test.sent.length = 0;
    expect(await wait(test, keys, { timeoutMs: 0 })).toEqual(["k0", "k150", "k229"].map(test.stored));
    expect(test.sent).toEqual(["BatchGetItem", "BatchGetItem", "BatchGetItem"]);
  });

  it("more than the 16 MB that a batch gives back are read to the end", async () => {
    const test = setUp();
    const keys = Array.from({ length: 60 }, (_, i) => `k${i}`);
    const data = "x".repeat(380_000);
    for (const key of keys) await (await test.locks.acquire(key)).finish({ data });
    await test.locks.acquire("held");
    test.sent.length = 0;
    expect(await wait(test, [...keys, "held"], { timeoutMs: 0 })).toEqual([test.stored("held")]);
    expect(test.sent.length).toBeGreaterThan(1);
  });

  it("ends when its signal does", async () => {
    const test = setUp();
    await test.locks.acquire("k");
    const controller = new AbortController();
    test.clock.sleep = async () => controller.abort(new Error("enough"));
    await expect(wait(test, ["k"], { signal: controller.signal })).rejects.toThrow("enough");
    await expect(wait(test, ["k"], { signal: AbortSignal.abort(new Error("at once")) })).rejects.toThrow("at once");
  });

  it("wrong options, and a foreign item, are errors", async () => {
    const test = setUp();
    await expect(wait(test, ["k"], { timeoutMs: -1 })).rejects.toThrow("waitUntilFinished: timeoutMs must be");
    await expect(wait(test, ["k"], { signal: "stop" })).rejects.toThrow("signal must be an AbortSignal");
    await table.put({ lock_id: { S: test.stored("foreign") }, status: { S: "INPROGRESS" } });
    await expect(wait(test, ["foreign"])).rejects.toThrow(LockTableError);
  });
});
