import { describe, expect, it } from "vitest";
import { breakLock, describeLock, type LockEvent, type LockRecord, purgeLocks, semaphore } from "../../src/index.ts";
import { actBefore } from "../support/dynamodb.ts";
import { freeKey } from "../support/free.ts";
import { takes } from "../support/locks.ts";
import { keysOf, lostBecause, MINUTE, operatorsTable } from "../support/operators.ts";

const { setUp } = await operatorsTable();

describe("a semaphore", () => {
  /** Of three permits, two are taken: by `one`, whose lease ends first, and by `two`. */
  const aSemaphore = async () => {
    const test = setUp();
    const one = await semaphore(test.locks, "s", { permits: 3 }).acquire({ owner: "one" });
    test.clock.advance(MINUTE / 2);
    const two = await semaphore(test.locks, "s", { permits: 3 }).acquire({ owner: "two" });
    test.clock.advance(2_000);
    return { ...test, one, two };
  };

  it("is listed by any of its holders, and is over when all of them are", async () => {
    const { locks, clock } = await aSemaphore();
    expect(await keysOf(locks, { status: "SEMAPHORE", owner: "one", expired: false })).toEqual(["s"]);
    expect(await keysOf(locks, { owner: "two" })).toEqual(["s"]);
    expect(await keysOf(locks, { owner: "three" })).toEqual([]);
    clock.advance(MINUTE / 2); // the lease of one is over
    expect(await keysOf(locks, { expired: false })).toEqual(["s"]);
    clock.advance(MINUTE / 2);
    expect(await keysOf(locks, { expired: true })).toEqual(["s"]);
  });

  it("is purged when all have released it, or when it is old", async () => {
    const { locks, clock, one, two, stored } = await aSemaphore();
    expect(await purgeLocks(locks, { finished: true })).toEqual([]);
    await one.release();
    expect(await purgeLocks(locks)).toEqual([]);
    await two.release();
    expect(await purgeLocks(locks)).toEqual([stored("s")]);

    await semaphore(locks, "s", { permits: 3 }).acquire();
    clock.advance(5 * MINUTE);
    expect(await purgeLocks(locks)).toEqual([]);
    expect(await purgeLocks(locks, { olderThanMs: MINUTE })).toEqual([stored("s")]);
  });

  it("with a permit taken meanwhile survives the purge", async () => {
    const { locks, client, one, two } = await aSemaphore();
    await Promise.all([one.release(), two.release()]);
    actBefore(client, "DeleteItem", () => semaphore(locks, "s", { permits: 3 }).acquire());
    expect(await purgeLocks(locks)).toEqual([]);
    expect(await locks.count("s")).toBe(1);
  });

  it.each([1, 3])("broken, loses all its holders for good, and can be taken with %i permits", async (permits) => {
    const { locks, one, two } = await aSemaphore();
    expect(await freeKey(locks, "s")).toMatchObject({ status: "SEMAPHORE", fencingToken: two.fencingToken });
    const next = await takes(locks, "s", permits).acquire();
    expect(next.fencingToken).toBeGreaterThan(two.fencingToken);
    // Who takes it as a plain lock removes what a semaphore has.
    const reason = permits > 1 ? "broken" : "stolen";
    await expect(one.extend(MINUTE)).rejects.toEqual(lostBecause(reason));
    await expect(two.release()).rejects.toEqual(lostBecause(reason));
    expect(await locks.count("s")).toBe(1);
    await next.release();
  });

  it("that nobody holds is not broken", async () => {
    const { locks, one, two } = await aSemaphore();
    await Promise.all([one.release(), two.release()]);
    expect(await breakLock(locks, "s", { any: true })).toMatchObject({ outcome: "free" });
    expect(await breakLock(locks, "s", { fencingToken: one.fencingToken })).toMatchObject({ outcome: "free" });
  });

  it("loses the one holder that its fencing token names, who learns by whom and why", async () => {
    const { locks, one, two } = await aSemaphore();
    const { fencingToken } = one;
    const broken = await breakLock(locks, "s", { fencingToken, by: "ann", why: "hangs" });
    expect(broken).toMatchObject({ outcome: "done", record: { status: "SEMAPHORE" } });
    expect(await locks.count("s")).toBe(1);
    await expect(one.release()).rejects.toMatchObject({ reason: "broken", by: "ann", why: "hangs" });
    await two.extend(MINUTE);
    expect(await breakLock(locks, "s", { fencingToken })).toMatchObject({ outcome: "changed" });
  });

  it("whose permits have been taken again by then: each loser still learns it", async () => {
    const { locks, one, two } = await aSemaphore();
    for (const { fencingToken } of [one, two]) await breakLock(locks, "s", { fencingToken, by: "ann" });
    for (let n = 0; n < 3; n++) await semaphore(locks, "s", { permits: 3 }).acquire();
    for (const lost of [one, two]) await expect(lost.release()).rejects.toMatchObject({ reason: "broken", by: "ann" });
    expect(await locks.count("s")).toBe(3);
  });

  it("of which a record is given asks for the holder, and an event of a permit names it", async () => {
    const { locks, one, two, eventsOf } = await aSemaphore();
    const record = (await locks.get("s")) as LockRecord;
    await expect(breakLock(locks, record)).rejects.toThrow(
      `which holder of the semaphore? Give its fencingToken: ${[one, two]
        .map((lock) => `${lock.fencingToken} (${lock.owner})`)
        .sort()
        .join(", ")}`.slice(0, 56),
    );
    const [event] = eventsOf("acquired");
    expect(await breakLock(locks, event as Extract<LockEvent, { type: "acquired" }>)).toMatchObject({
      outcome: "done",
    });
    await expect(one.release()).rejects.toEqual(lostBecause("broken"));
    expect(await locks.count("s")).toBe(1);
  });

  it("of any: loses those who hold it now, and nobody who takes a permit meanwhile", async () => {
    const { locks, client } = await aSemaphore();
    actBefore(client, "UpdateItem", () => semaphore(locks, "s", { permits: 3 }).acquire({ owner: "three" }));
    expect(await breakLock(locks, "s", { any: true })).toMatchObject({ outcome: "done" });
    const record = await locks.get("s");
    const held = record?.holders?.filter(({ status }) => status === "IN_PROGRESS").map(({ owner }) => owner);
    expect(held).toEqual(["three"]);
  });

  it("is waited for while anybody holds it", async () => {
    const { locks, one, two } = await aSemaphore();
    const look = () => locks.waitUntilFinished(["s"], { timeoutMs: 0 });
    await one.release();
    expect(await look()).toEqual(["s"]);
    await two.release();
    expect(await look()).toEqual([]);
  });

  it("is described with its holders", async () => {
    const { locks, clock, one } = await aSemaphore();
    await one.release();
    const record = (await locks.get("s")) as LockRecord;
    expect(describeLock(record, { now: clock.now() })).toMatchObject({
      status: "SEMAPHORE",
      holders: [{ owner: "two", status: "IN_PROGRESS", elapsedMs: 2_000, remainingMs: MINUTE - 2_000 }],
    });
  });
});
