import { describe, expect, it } from "vitest";
import {
  breakLock,
  forgetLock,
  LockClient,
  LockHeldError,
  type LockLostError,
  type LockRecord,
  LockTableError,
} from "../../src/index.ts";
import { actBefore, countingClient, loseReplies } from "../support/dynamodb.ts";
import { locksOf } from "../support/locks.ts";
import { lostBecause, operatorsTable } from "../support/operators.ts";

const { table, setUp, oneOfEach } = await operatorsTable();
const note = { by: "ann", why: "stuck since noon" };

describe("breakLock", () => {
  it("frees the acquisition that was seen, keeps who did it and why, and reports it", async () => {
    const { locks, clock, sent, stored, eventsOf } = setUp();
    const lock = await locks.acquire("k", { owner: "stuck" });
    const before = await locks.get("k");
    clock.advance(5_000);
    sent.length = 0;
    const { token, fencingToken, expiresAt } = lock;
    const result = await breakLock(locks, "k", { fencingToken, ...note });
    expect(result).toEqual({ outcome: "done", key: stored("k"), record: before });
    expect(sent).toEqual(["GetItem", "UpdateItem"]);
    expect(eventsOf("broken")).toEqual([
      { type: "broken", key: stored("k"), owner: "stuck", fencingToken, expiresAt, elapsedMs: 5_000, ...note },
    ]);
    expect(eventsOf("broken")[0]).toMatchObject({ token }); // to be read, and not shown
    expect(JSON.stringify(result)).not.toContain(token);
    const intervention = { did: "broken", fencingToken, at: clock.now(), ...note };
    expect(await locks.get("k")).toMatchObject({ status: "RELEASED", fencingToken, expiresAt: 0, intervention });
    expect((await locks.acquire("k")).fencingToken).toBe(fencingToken + 1);
  });

  it.each(["finish", "release", "extend"] as const)(
    "the loser's %s learns by whom and why, and changes nothing",
    async (call) => {
      const { locks, stored, eventsOf } = setUp();
      const lock = await locks.acquire("k");
      await breakLock(locks, "k", { fencingToken: lock.fencingToken, ...note });
      const item = await table.item(stored("k"));
      const attempt = () => (call === "extend" ? lock.extend(60_000) : lock[call]());
      await expect(attempt()).rejects.toMatchObject({ ...note, reason: "broken", key: stored("k") });
      await expect(attempt()).rejects.toMatchObject({ ...note, reason: "broken" }); // and again
      expect(lock.signal.reason).toMatchObject({ ...note, reason: "broken" });
      expect(eventsOf("lost")).toEqual([expect.objectContaining({ ...note, reason: "broken" })]);
      expect(await table.item(stored("k"))).toEqual(item);
    },
  );

  it("the loser learns it too when another has the key by then, and has finished it", async () => {
    const { locks } = setUp();
    const lock = await locks.acquire("k");
    await breakLock(locks, "k", { fencingToken: lock.fencingToken, ...note });
    const next = await locks.acquire("k");
    await next.finish({ result: 1 });
    await expect(lock.finish({ result: 2 })).rejects.toMatchObject({ ...note, reason: "broken" });
    expect(await locks.get("k")).toMatchObject({ result: { value: 1 } });
  });

  it("who comes after that, and loses the key by time, is not told that it was broken", async () => {
    const { locks, clock } = setUp();
    const first = await locks.acquire("k");
    await breakLock(locks, "k", { fencingToken: first.fencingToken, ...note });
    const second = await locks.acquire("k", { leaseMs: 1_000 });
    clock.advance(5_000);
    await locks.acquire("k");
    const error: LockLostError = await second.release().catch((thrown) => thrown);
    expect(error).toMatchObject({ reason: "stolen" });
    expect(error.by).toBeUndefined();
  });

  it("the text of the error says nothing of the operator: it may go to a caller over HTTP", async () => {
    const { locks } = setUp();
    const lock = await locks.acquire("k");
    await breakLock(locks, "k", { fencingToken: lock.fencingToken, ...note });
    const error: LockLostError = await lock.release().catch((thrown) => thrown);
    expect(error.message).toBe("The lock is lost: an operator has ended it");
  });

  it("a key that changed hands is left alone, and its record comes back", async () => {
    const { locks, client, stored, eventsOf } = setUp();
    const first = await locks.acquire("k");
    actBefore(client, "UpdateItem", async () => {
      await first.release();
      await locks.acquire("k", { owner: "second" });
    });
    const changed = await breakLock(locks, "k", { fencingToken: first.fencingToken });
    expect(changed).toMatchObject({ outcome: "changed", key: stored("k"), record: { owner: "second" } });
    expect(await breakLock(locks, "k", { fencingToken: first.fencingToken })).toEqual(changed);
    expect(await locks.get("k")).toMatchObject({ status: "IN_PROGRESS", owner: "second" });
    expect(eventsOf("broken")).toEqual([]);
  });

  it("a key that its holder finished meanwhile stays finished", async () => {
    const { locks, client } = setUp();
    const lock = await locks.acquire("k");
    actBefore(client, "UpdateItem", () => lock.finish({ result: 1 }));
    const changed = await breakLock(locks, "k", { fencingToken: lock.fencingToken });
    expect(changed).toMatchObject({ outcome: "changed", record: { status: "FINISHED" } });
    expect(await locks.once("k", () => 2)).toBe(1);
  });

  it.each([{ any: true }, { fencingToken: 5 }])(
    "with %o: a finished key is not broken, and what is free is free",
    async (guard) => {
      const { locks, stored } = await oneOfEach();
      expect(await breakLock(locks, "finished", guard)).toMatchObject({
        outcome: "changed",
        record: { status: "FINISHED" },
      });
      expect(await breakLock(locks, "released", guard)).toMatchObject({
        outcome: "free",
        record: { status: "RELEASED" },
      });
      expect(await breakLock(locks, "absent", guard)).toEqual({ outcome: "absent", key: stored("absent") });
      expect(await locks.once("finished", () => 2)).toBe(1);
    },
  );

  it("a renewal meanwhile doesn't protect it, and a lease that is over can be broken: its holder may still finish", async () => {
    const { locks, client } = await oneOfEach();
    const held = (await locks.get("held")) as LockRecord;
    const crashed = (await locks.get("crashed")) as LockRecord;
    const [lock] = [...locksOf(locks).held].filter(({ key }) => key === held.key);
    actBefore(client, "UpdateItem", async () => lock?.extend(120_000));
    expect(await breakLock(locks, held)).toMatchObject({ outcome: "done" });
    expect(await breakLock(locks, crashed)).toMatchObject({ outcome: "done", record: { owner: "crasher" } });
  });

  it("of any: breaks whoever holds the key by now, and keeps the application's data", async () => {
    const { locks, client } = setUp();
    const first = await locks.acquire("k");
    actBefore(client, "UpdateItem", async () => {
      await first.release();
      await locks.acquire("k", { owner: "second", data: { step: 3 } });
    });
    expect(await breakLock(locks, "k", { any: true })).toMatchObject({ outcome: "done", record: { owner: "second" } });
    expect((await locks.get("k"))?.data).toEqual({ step: 3 });
  });

  it("a lost reply is not a second break, also when another took the key in between", async () => {
    for (const isTaken of [false, true]) {
      const { locks } = setUp();
      const { client, sent } = countingClient();
      const { namespace } = locksOf(locks).options;
      const operator = new LockClient({ client, tableName: table.tableName, namespace });
      await locks.acquire("k", { owner: "stuck" });
      loseReplies(client, (request) => request === 2);
      client.middlewareStack.add(
        (next) => async (args) => {
          if (isTaken && sent.length === 2) await locks.acquire("k", { owner: "next" });
          return next(args);
        },
        { step: "finalizeRequest", priority: "high", name: "take" },
      );
      expect(await breakLock(operator, "k", { any: true })).toMatchObject({
        outcome: "done",
        record: { owner: "stuck" },
      });
      expect(sent.slice(0, 3)).toEqual(["GetItem", "UpdateItem", "UpdateItem"]);
      expect((await locks.get("k"))?.status).toBe(isTaken ? "IN_PROGRESS" : "RELEASED");
    }
  });

  it("refuses to touch what something else wrote", async () => {
    const { locks, stored } = setUp();
    const item = { lock_id: { S: stored("k") }, status: { S: "INPROGRESS" } };
    await table.put(item);
    await expect(breakLock(locks, "k", { any: true })).rejects.toThrow(LockTableError);
    expect(await table.item(stored("k"))).toEqual(item);
  });

  it("has the client's owner as `by`, if it has one", async () => {
    const { locks } = setUp({ owner: "night-shift" });
    const lock = await locks.acquire("k");
    await breakLock(locks, lock);
    await expect(lock.release()).rejects.toMatchObject({ reason: "broken", by: "night-shift", why: undefined });
  });
});

describe("a lock of several keys", () => {
  it("of which one is broken is lost, and its holder settles none of them", async () => {
    const { locks, stored } = setUp();
    const lock = await locks.acquire(["a", "b"]);
    await breakLock(locks, "b", { fencingToken: lock.fencingToken, ...note });
    await expect(lock.finish()).rejects.toMatchObject({ ...note, reason: "broken", key: stored("b") });
    expect((await locks.get("a"))?.status).toBe("IN_PROGRESS");
  });
});

describe("a lock whose record is gone", () => {
  it("is lost as deleted, and not as broken", async () => {
    const { locks, stored } = setUp();
    const lock = await locks.acquire("k");
    const { DeleteItemCommand } = await import("@aws-sdk/client-dynamodb");
    const Key = { lock_id: { S: stored("k") } };
    await table.client.send(new DeleteItemCommand({ TableName: table.tableName, Key }));
    await expect(lock.release()).rejects.toEqual(lostBecause("deleted"));
  });
});

describe("forgetLock", () => {
  it("makes a finished key run again, and forgets its result", async () => {
    const { locks, clock, stored, eventsOf } = await oneOfEach();
    const seen = (await locks.get("finished")) as LockRecord;
    const result = await forgetLock(locks, seen, note);
    expect(result).toMatchObject({ outcome: "done", record: { status: "FINISHED" } });
    expect(await table.item(stored("finished"))).not.toHaveProperty("result");
    const { fencingToken, expiresAt } = seen;
    expect(eventsOf("forgotten")).toMatchObject([{ key: stored("finished"), fencingToken, expiresAt, ...note }]);
    const intervention = { did: "forgotten", fencingToken, at: clock.now(), ...note };
    expect(await locks.get("finished")).toMatchObject({ intervention });
    expect(await locks.once("finished", () => 2)).toBe(2);
    expect(await forgetLock(locks, seen)).toMatchObject({ outcome: "changed", record: { status: "FINISHED" } });
    expect(await locks.once("finished", () => 3)).toBe(2);
  });

  it.each([{ any: true }, { fencingToken: 5 }])(
    "with %o: a held key is left alone, and what is free is free",
    async (guard) => {
      const { locks, eventsOf } = await oneOfEach();
      expect(await forgetLock(locks, "held", guard)).toMatchObject({ outcome: "changed", record: { owner: "holder" } });
      expect(await forgetLock(locks, "released", guard)).toMatchObject({ outcome: "free" });
      expect(await forgetLock(locks, "absent", guard)).toMatchObject({ outcome: "absent" });
      expect(await locks.count("held")).toBe(1);
      expect(eventsOf("forgotten")).toEqual([]);
    },
  );

  it("an error shows the record to forget", async () => {
    const { locks } = await oneOfEach();
    const error: LockHeldError = await locks.acquire("finished").catch((thrown) => thrown);
    expect(error).toBeInstanceOf(LockHeldError);
    expect(await forgetLock(locks, error.record)).toMatchObject({ outcome: "done" });
    await (await locks.acquire("finished")).release();
  });
});
