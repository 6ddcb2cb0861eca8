/** What the network and other transactions do to a commit: the effect happens once, or not at all, and the caller is told which. */
import type { TransactWriteItem } from "@aws-sdk/client-dynamodb";
import { beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../src/common/clock.ts";
import { lockTable } from "../support/dynamodb.ts";
import { aProcess, losing, lost, type Wire } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
let counters: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  [table, counters] = await Promise.all([lockTable(), lockTable()]);
});

let count = 0;
const freshKey = () => `commit-${++count}`;
const add = (id: string): TransactWriteItem => ({
  Update: {
    TableName: counters.tableName,
    Key: { lock_id: { S: id } },
    UpdateExpression: "ADD n :one",
    ExpressionAttributeValues: { ":one": { N: "1" } },
  },
});
/** Tries for as long as a lock does unless it is told otherwise. */
const patient = (options: Parameters<typeof aProcess>[1] = {}) =>
  aProcess(table.tableName, { settleMs: 10_000, ...(options as object) });
const addFirst = (id: string): TransactWriteItem => ({
  Update: { ...add(id).Update, ConditionExpression: "attribute_not_exists(n)" } as TransactWriteItem["Update"],
});
const total = async (id: string) => Number((await counters.item(id))?.n?.N ?? 0);
const failing = (name: string, more: object = {}): Wire => {
  const error = Object.assign(new Error(name), { name, ...more });
  return async ({ name: request, send }) => {
    if (request === "TransactWriteItems") throw error;
    return send();
  };
};

describe("a lost reply to a commit", () => {
  it.each([
    { maxAttempts: 1, told: ["acquired", "retrying", "finished"] },
    { maxAttempts: 3, told: ["acquired", "finished"] },
  ])("is found out, with $maxAttempts attempts of the SDK: the effect happened once", async ({ maxAttempts, told }) => {
    const { locks, state, types } = patient({ config: { maxAttempts } });
    state.wire = losing(2);
    const lock = await locks.acquire(freshKey());
    await lock.commit([addFirst(lock.key)]);
    expect([await total(lock.key), lock.status, types()]).toEqual([1, "finished", told]);
  });

  it("of several keys is found out too", async () => {
    const { locks, state } = patient();
    state.wire = losing(2, 3);
    const lock = await locks.acquire([freshKey(), freshKey()]);
    await lock.commit([add(lock.key)]);
    expect([await total(lock.key), lock.status]).toEqual([1, "finished"]);
  });

  it("is found out by the record's token, where the ClientRequestToken is forgotten", async () => {
    const { locks, state, client } = patient();
    let requests = 0;
    client.middlewareStack.add(
      (next, context) => (args) => {
        if (context.commandName === "TransactWriteItemsCommand")
          Object.assign(args.input, { ClientRequestToken: table.tableName.slice(-30) + ++requests });
        return next(args);
      },
      { step: "initialize", name: "forget" },
    );
    state.wire = losing(2);
    const lock = await locks.acquire(freshKey());
    await lock.commit([addFirst(lock.key)]);
    expect([requests, await total(lock.key), lock.status]).toEqual([2, 1, "finished"]);
  });

  it("is found out where DynamoDB tells only of the application's condition: the record is read", async () => {
    const { locks, state } = patient();
    state.wire = async ({ n, name, send }) => {
      if (name !== "TransactWriteItems") return send();
      if (n > 2) {
        throw Object.assign(new Error("cancelled"), {
          name: "TransactionCanceledException",
          CancellationReasons: [{ Code: "ConditionalCheckFailed" }, { Code: "None" }],
        });
      }
      await send();
      throw lost();
    };
    const lock = await locks.acquire(freshKey());
    await lock.commit([addFirst(lock.key)]);
    expect([lock.status, state.sent]).toEqual([
      "finished",
      ["UpdateItem", "TransactWriteItems", "TransactWriteItems", "GetItem"],
    ]);
  });

  it("and then an application's condition that fails: the first attempt may still arrive, so nothing is certain until a release", async () => {
    const { locks, state } = patient();
    const key = freshKey();
    await counters.put({ lock_id: { S: key }, n: { N: "5" } });
    state.wire = async ({ n, send }) => {
      if (n === 2) throw lost();
      return send();
    };
    const lock = await locks.acquire(key);
    await expect(lock.commit([addFirst(key)])).rejects.toMatchObject({
      code: "LOCK_REQUEST",
      cause: { name: "TransactionCanceledException" },
    });
    await lock.release();
    expect([lock.status, await total(key)]).toEqual(["released", 5]);
  });
});

describe("a commit that nothing is known of", () => {
  const unknown = async (applies: boolean) => {
    const process = aProcess(table.tableName);
    let isAway = true;
    const { locks, state } = process;
    state.wire = async ({ name, send }) => {
      if (name !== "TransactWriteItems") return send();
      if (applies || !isAway) await send();
      if (isAway) throw lost();
      return send();
    };
    const lock = await locks.acquire(freshKey());
    const items = [add(lock.key)];
    await expect(lock.commit(items, { result: "paid" })).rejects.toMatchObject({ code: "LOCK_REQUEST" });
    expect(state.sent.length).toBe(2);
    isAway = false;
    expect(lock.signal.reason).toMatchObject({ reason: "unreachable" });
    return { ...process, lock, items };
  };

  it.each([true, false])("(applied: %s) may be committed again with the same items: once", async (applied) => {
    const { locks, lock, items } = await unknown(applied);
    await lock.commit(structuredClone(items), { result: "paid" });
    expect([lock.status, await total(lock.key), (await locks.get(lock.key))?.result?.value]).toEqual([
      "finished",
      1,
      "paid",
    ]);
  });

  it("is sent as it was, whatever the caller does to the items meanwhile", async () => {
    const { locks, state } = patient();
    const lock = await locks.acquire(freshKey());
    const items = [add(lock.key)];
    state.wire = async ({ n, send }) => {
      items.length = 0;
      if (n === 2) throw lost();
      return send();
    };
    await lock.commit(items);
    expect(await total(lock.key)).toBe(1);
  });

  it("can't be followed by a commit of other items, which would seem to have been written", async () => {
    const { lock } = await unknown(true);
    const other = freshKey();
    await expect(lock.commit([add(other)])).rejects.toMatchObject({ code: "LOCK_REQUEST" });
    expect(await total(other)).toBe(0);
  });

  it("and applied: a release or a finish that follows leaves it as it is", async () => {
    const { locks, lock } = await unknown(true);
    await lock.release();
    expect([lock.status, (await locks.get(lock.key))?.result?.value]).toEqual(["finished", "paid"]);
  });

  it("and not applied: after a release it never will be, however late it arrives", async () => {
    const { locks, state } = patient();
    const late: (() => Promise<unknown>)[] = [];
    state.wire = async ({ name, send }) => {
      if (name !== "TransactWriteItems") return send();
      late.push(send);
      throw lost();
    };
    const lock = await locks.acquire(freshKey());
    await expect(lock.commit([add(lock.key)])).rejects.toMatchObject({ code: "LOCK_REQUEST" });
    await lock.release();
    await expect(late[0]?.()).rejects.toMatchObject({ name: "TransactionCanceledException" });
    expect([await total(lock.key), (await locks.get(lock.key))?.status]).toEqual([0, "RELEASED"]);
  });

  it("is refused after a finish whose fate is unknown: that would seem to be the commit", async () => {
    const { locks, state } = aProcess(table.tableName);
    state.wire = losing(2);
    const lock = await locks.acquire(freshKey());
    await expect(lock.finish()).rejects.toMatchObject({ code: "LOCK_REQUEST" });
    await expect(lock.commit([add(lock.key)])).rejects.toMatchObject({ code: "LOCK_REQUEST" });
    expect(await total(lock.key)).toBe(0);
  });
});

describe("a commit that is late", () => {
  it("on its way while the lease ends and another run takes the key: lost, and nothing is written", async () => {
    const [slow, fast] = [patient(), patient()];
    slow.state.wire = async ({ name, send }) => {
      if (name === "TransactWriteItems") {
        slow.clock.freeze(20_000);
        fast.clock.advance(20_000);
        const next = await fast.locks.acquire(lock.key);
        await next.commit([add(lock.key)]);
      }
      return send();
    };
    const lock = await slow.locks.acquire(freshKey());
    await expect(lock.commit([add(lock.key)])).rejects.toMatchObject({ code: "LOCK_LOST", reason: "stolen" });
    expect(await total(lock.key)).toBe(1);
  });
});

describe("conflicts with other transactions", () => {
  const conflict = {
    name: "TransactionCanceledException",
    CancellationReasons: [{ Code: "TransactionConflict" }, { Code: "None" }],
  };
  const conflicts =
    (times: number): Wire =>
    async ({ name, n, send }) => {
      if (name === "TransactWriteItems" && n <= times + 1)
        throw Object.assign(new Error("conflict"), n % 2 ? conflict : { name: "TransactionInProgressException" });
      return send();
    };

  it("are waited for within the lease", async () => {
    const { locks, state, clock } = patient({ random: () => 0.5 });
    state.wire = conflicts(20);
    const lock = await locks.acquire(freshKey());
    const before = clock.now();
    await lock.commit([add(lock.key)]);
    expect([await total(lock.key), lock.status]).toEqual([1, "finished"]);
    expect(clock.now() - before).toBeLessThan(10_000);
  });

  it("that outlast the lease are the application's to know", async () => {
    const { locks, state, clock } = patient({ random: () => 0.5 });
    state.wire = failing("TransactionCanceledException", conflict);
    const lock = await locks.acquire(freshKey());
    await expect(lock.commit([add(lock.key)])).rejects.toMatchObject(conflict);
    expect([lock.status, clock.now() - lock.acquiredAt]).toEqual([
      "held",
      expect.toSatisfy((ms) => ms > 9_000 && ms < 10_000),
    ]);
  });

  it.each([
    ["an attempt of its own that is in progress", async () => failing("TransactionInProgressException")],
    [
      "others, after a lost reply",
      async () => {
        const refused = failing("TransactionCanceledException", conflict);
        return (async (call) => {
          if (call.n > 2) return refused(call);
          await call.send();
          if (call.n === 2) throw lost();
          return undefined;
        }) as Wire;
      },
    ],
  ])("with %s, until the lease ends: it is not known whether it was written", async (_name, wire) => {
    const { locks, state } = patient({ random: () => 0.5 });
    const lock = await locks.acquire(freshKey());
    const after = await wire();
    state.wire = after;
    await expect(lock.commit([add(lock.key)])).rejects.toMatchObject({ code: "LOCK_REQUEST" });
    expect(lock.signal.aborted).toBe(true);
  });

  it("of real transactions on one item: each commit is written once", async () => {
    const shared = freshKey();
    const runs = Array.from({ length: 10 }, async (_, n) => {
      const { locks } = patient({ clock: systemClock, leaseMs: 30_000 });
      const lock = await locks.acquire(`${shared}-${n}`);
      await lock.commit([add(shared)]);
    });
    await Promise.all(runs);
    expect(await total(shared)).toBe(10);
  });

  it("throttling passes likewise, or is DynamoDB's own error: nothing was written, and the lock is held", async () => {
    const { locks, state } = patient();
    const throttled = { CancellationReasons: [{ Code: "ThrottlingError" }, { Code: "None" }] };
    const refused = failing("TransactionCanceledException", throttled);
    state.wire = async (call) => (call.n < 9 ? refused(call) : call.send());
    const lock = await locks.acquire(freshKey());
    await lock.commit([add(lock.key)]);
    expect(await total(lock.key)).toBe(1);

    state.wire = refused;
    const second = await locks.acquire(freshKey());
    await expect(second.commit([add(second.key)])).rejects.toMatchObject(throttled);
    expect([second.status, second.signal.aborted]).toEqual(["held", false]);
  });
});
