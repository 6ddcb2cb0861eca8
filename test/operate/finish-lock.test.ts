import { describe, expect, it } from "vitest";
import { finishLock, LockOptionsError, type LockRecord, semaphore } from "../../src/index.ts";
import { operatorsTable } from "../support/operators.ts";
import { noise } from "../support/process.ts";

const { table, setUp, oneOfEach } = await operatorsTable();
const note = { by: "ann", why: "paid, by the bank's list" };

describe("finishLock", () => {
  it("finishes a key for its holder: repeats get the result, and the holder loses it", async () => {
    const { locks, clock, stored, eventsOf } = setUp();
    const lock = await locks.acquire("k");
    const { fencingToken } = lock;
    const result = await finishLock(locks, "k", {
      fencingToken,
      result: { statusCode: 201 },
      status: "PAID",
      rememberMs: 60_000,
      ...note,
    });
    expect(result).toMatchObject({ outcome: "done", record: { status: "IN_PROGRESS" } });
    const intervention = { did: "finished", fencingToken, at: clock.now(), ...note };
    expect(await locks.get("k")).toMatchObject({ finalStatus: "PAID", expiresAt: clock.now() + 60_000, intervention });
    expect(await locks.once("k", () => "ran")).toEqual({ statusCode: 201 });
    expect(eventsOf("finished")).toMatchObject([{ key: stored("k"), responseStored: true, ...note }]);
    await expect(lock.finish({ result: 2 })).rejects.toMatchObject({ reason: "broken", ...note });
    expect(await locks.once("k", () => "ran")).toEqual({ statusCode: 201 });
  });

  it.each<[string, unknown]>([
    ["nothing", undefined],
    ["a response that compresses into the record", "x".repeat(20_000)],
    ["a response beside the record", noise(20_000, "response")],
  ])("repeats get %s", async (_name, value) => {
    const { locks } = setUp();
    const { fencingToken } = await locks.acquire("k");
    await finishLock(locks, "k", { fencingToken, ...(value !== undefined && { result: value }) });
    expect(await locks.once("k", () => "ran")).toBe(value);
  });

  it("a key that is finished already, or in other hands, or free, is left alone", async () => {
    const { locks, stored } = await oneOfEach();
    const finished = (await locks.get("finished")) as LockRecord;
    const item = await table.item(stored("finished"));
    expect(await finishLock(locks, finished, { result: 2 })).toMatchObject({ outcome: "changed" });
    expect(await table.item(stored("finished"))).toEqual(item);
    expect(await finishLock(locks, "held", { fencingToken: 1 })).toMatchObject({
      outcome: "changed",
      record: { owner: "holder" },
    });
    expect(await finishLock(locks, "released", { fencingToken: 1 })).toMatchObject({ outcome: "free" });
    expect(await finishLock(locks, "absent", { fencingToken: 1 })).toMatchObject({ outcome: "absent" });
  });

  it("a semaphore is never finished", async () => {
    const { locks } = setUp();
    const { fencingToken } = await semaphore(locks, "s", { permits: 2 }).acquire();
    await expect(finishLock(locks, "s", { fencingToken })).rejects.toThrow(LockOptionsError);
    expect(await locks.count("s")).toBe(1);
  });
});
