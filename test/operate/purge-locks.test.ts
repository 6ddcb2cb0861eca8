import { describe, expect, it } from "vitest";
import { type LockClient, purgeLocks } from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { actBefore, loseReplies } from "../support/dynamodb.ts";
import { locksOf } from "../support/locks.ts";
import { keysOf, lostBecause, MINUTE, operatorsTable } from "../support/operators.ts";

const { setUp, oneOfEach } = await operatorsTable();

describe("purgeLocks", () => {
  const purged = async (...[locks, options]: Parameters<typeof purgeLocks>) =>
    (await purgeLocks(locks, options)).map((key) => key.slice(key.indexOf("#") + 1)).sort();

  it("deletes what is released, and what is no longer remembered", async () => {
    const { locks } = await oneOfEach();
    expect(await purged(locks)).toEqual(["forgotten", "released"]);
    expect(await keysOf(locks)).toEqual(["crashed", "finished", "held"]);
    expect(await purged(locks)).toEqual([]);
  });

  it("deletes what is still remembered when asked to, so that the key runs again", async () => {
    const { locks } = await oneOfEach();
    expect(await purged(locks, { finished: true })).toEqual(["finished", "forgotten", "released"]);
    expect(await locks.once("finished", () => "again")).toBe("again");
  });

  it("deletes what has not been written for long when asked to, whatever its state", async () => {
    const { locks, clock } = await oneOfEach();
    expect(await purged(locks, { olderThanMs: MINUTE })).toEqual(["crashed", "forgotten", "released"]);
    clock.advance(20 * MINUTE);
    const fresh = await locks.acquire("fresh");
    clock.advance(2_000);
    expect(await purged(locks, { olderThanMs: MINUTE })).toEqual(["finished", "held"]);
    await fresh.finish();
  });

  it("what is remembered is not forgotten before every clock says so", async () => {
    const { locks, clock } = setUp({ clockSkewMs: 1_000 });
    await (await locks.acquire("k")).finish({ rememberMs: MINUTE });
    clock.advance(MINUTE + 999);
    expect(await purged(locks)).toEqual([]);
    clock.advance(1);
    expect(await purged(locks)).toEqual(["k"]);
  });

  it("the holder of a deleted lock is told, and doesn't write it again", async () => {
    const { locks, clock } = setUp();
    const lock = await locks.acquire("k");
    clock.advance(2_000);
    expect(await purged(locks, { olderThanMs: 1_000 })).toEqual(["k"]);
    await expect(lock.finish()).rejects.toEqual(lostBecause("deleted"));
    expect(await locks.get("k")).toBeUndefined();
  });

  it("deletes only the given keys, of the namespace, and asks for no others", async () => {
    const { locks, sent } = await oneOfEach();
    sent.length = 0;
    expect(await purged(locks, { keys: ["released", "held", "absent", "released"] })).toEqual(["released"]);
    expect(sent).toEqual(["BatchGetItem", "DeleteItem"]);
    expect(await purged(locks, { keys: [] })).toEqual([]);
    expect(await keysOf(locks)).toContain("forgotten");
    await expect(purgeLocks(locks, { keys: [undefined] })).rejects.toThrow("key is missing");
  });

  it("leaves other namespaces alone", async () => {
    const other = await oneOfEach();
    const { locks } = await oneOfEach();
    await purgeLocks(locks, { olderThanMs: 0 });
    expect(await keysOf(locks)).toEqual([]);
    expect(await keysOf(other.locks)).toHaveLength(5);
  });

  it.each([
    ["taken", async (locks: LockClient) => void (await locks.acquire("released", { owner: "new" }))],
    ["taken and released again", async (locks: LockClient) => (await locks.acquire("released")).release()],
  ])("a lock %s meanwhile survives", async (_how, act) => {
    const { locks, client, clock } = await oneOfEach();
    const { namespace } = locksOf(locks).options;
    const other = setUp({ namespace, clock }).locks;
    actBefore(client, "DeleteItem", () => act(other));
    expect(await purged(locks, { keys: ["released"], olderThanMs: 0 })).toEqual([]);
    expect(await other.get("released")).toMatchObject({ acquiredAt: clock.now() });
  });

  it("a holder that finishes meanwhile keeps its result", async () => {
    const { locks, client, clock } = setUp();
    const lock = await locks.acquire("k");
    clock.advance(2 * MINUTE);
    actBefore(client, "DeleteItem", () => lock.finish({ result: "done" }));
    expect(await purged(locks, { olderThanMs: MINUTE })).toEqual([]);
    expect((await locks.get("k"))?.result).toEqual({ value: "done" });
  });

  it("what was deleted meanwhile, or by a delete whose reply was lost, is purged", async () => {
    const { locks, client } = await oneOfEach();
    loseReplies(client, (request) => request === 2); // the scan is the first request
    expect(await purged(locks)).toEqual(["forgotten", "released"]);
  });

  it("the fencing token of a purged key goes on rising, on a clock that is behind too", async () => {
    const { locks, clock } = setUp({ clockSkewMs: 1_000 });
    const behind = manualClock(clock.now() - 1_000);
    const late = setUp({ namespace: locksOf(locks).options.namespace, clock: behind }).locks;
    const first = await locks.acquire("k");
    await first.release();
    expect(await purged(locks)).toEqual([]); // too early: the other clock has not reached the token
    clock.advance(1_001);
    behind.advance(1_001);
    expect(await purged(locks)).toEqual(["k"]);
    expect((await late.acquire("k")).fencingToken).toBeGreaterThan(first.fencingToken);
  });

  it("purges many, and one failure doesn't stop the rest", async () => {
    const { locks, client, clock } = setUp();
    for (let i = 0; i < 50; i++) await (await locks.acquire(`k${i}`)).release();
    clock.advance(2_000);
    actBefore(client, "DeleteItem", () => Promise.reject(new Error("no connection")));
    await expect(purgeLocks(locks)).rejects.toMatchObject({
      message: "1 of 50 locks not purged",
      errors: [expect.objectContaining({ code: "LOCK_REQUEST" })],
    });
    expect(await keysOf(locks)).toHaveLength(1);
    expect(await purged(locks)).toHaveLength(1);
  });
});
