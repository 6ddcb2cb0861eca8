/** What the network and other transactions do to a commit without a lock: once, or not at all, and the answer is the winner's. */
import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { LockHeldError, withCommit } from "../../src/index.ts";
import { type Committing, cancelled, countersIn } from "../support/commits.ts";
import { lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";
import { aProcess, losing, lost, type Wire } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
let counters: ReturnType<typeof countersIn>;
beforeAll(async () => {
  table = await lockTable();
  counters = countersIn(await lockTable());
});

let count = 0;
const freshKey = () => `free-${++count}`;
/** Tries for as long as it does unless it is told otherwise. */
const patient = (options: Parameters<typeof aProcess>[1] = {}) =>
  aProcess(table.tableName, { settleMs: 10_000, random: () => 0.5, ...(options as object) });
const hasty = () => aProcess(table.tableName, { settleMs: 0 });
type Process = ReturnType<typeof patient>;
const failing =
  (error: () => unknown, times = Number.POSITIVE_INFINITY): Wire =>
  async ({ name, n, send }) => {
    if (name === "TransactWriteItems" && n <= times) throw error();
    return send();
  };
const conflictInProgress = () => Object.assign(new Error("busy"), { name: "TransactionInProgressException" });
const run = ({ locks }: Process, key: string, handler: Committing) =>
  withCommit(handler, { key: () => key, locks, namespace: false })({ date: key }, lambdaContext());
const committing =
  (result: unknown = "mine", condition?: string): Committing =>
  ({ date }, { commit }) =>
    commit([counters.add(date, condition)], { result });

describe("a lost reply", () => {
  it.each([
    { maxAttempts: 1, told: ["retrying", "finished"] },
    { maxAttempts: 3, told: ["finished"] },
  ])("is found out by the request's token, with $maxAttempts attempts of the SDK", async ({ maxAttempts, told }) => {
    const one = patient({ config: { maxAttempts } });
    one.state.wire = losing(1);
    const key = freshKey();
    expect(await run(one, key, committing("mine", "attribute_not_exists(n)"))).toBe("mine");
    expect([await counters.total(key), one.types()]).toEqual([1, told]);
  });

  it("is found out by the record's token, where DynamoDB has forgotten the request's", async () => {
    const one = patient();
    let requests = 0;
    one.client.middlewareStack.add(
      (next, context) => (args) => {
        if (context.commandName === "TransactWriteItemsCommand") {
          requests++;
          Object.assign(args.input, { ClientRequestToken: randomUUID() });
        }
        return next(args);
      },
      { step: "initialize", name: "forget" },
    );
    one.state.wire = losing(1);
    const key = freshKey();
    expect(await run(one, key, committing())).toBe("mine");
    expect([requests, await counters.total(key)]).toEqual([2, 1]);
  });

  it("is found out by reading, where DynamoDB tells only of the application's condition", async () => {
    const one = patient();
    one.state.wire = async ({ n, name, send }) => {
      if (name !== "TransactWriteItems") return send();
      if (n > 1) throw cancelled("ConditionalCheckFailed", "None");
      await send();
      throw lost();
    };
    const key = freshKey();
    expect(await run(one, key, committing("mine", "attribute_not_exists(n)"))).toBe("mine");
    expect([await counters.total(key), one.state.sent]).toEqual([
      1,
      ["TransactWriteItems", "TransactWriteItems", "GetItem"],
    ]);
  });

  it("to the finish of a handler that didn't commit is found out by the record's token", async () => {
    const one = patient();
    one.state.wire = losing(1);
    const key = freshKey();
    expect(await run(one, key, () => "decided")).toBe("decided");
    expect([one.state.sent, one.types()]).toEqual([
      ["UpdateItem", "UpdateItem"],
      ["retrying", "finished"],
    ]);
  });
});

describe("a commit that nothing is known of", () => {
  /** The first transaction fails without a reply; it applied, or not, or arrives when the test says so. */
  const unknown = (applied: boolean) => {
    const one = hasty();
    let arrive = async (): Promise<unknown> => undefined;
    one.state.wire = async ({ n, send }) => {
      if (n > 1) return send();
      arrive = send;
      if (applied) await send();
      throw lost();
    };
    return { one, key: freshKey(), arrive: () => arrive().catch((error: { name: string }) => error.name) };
  };

  it.each([true, false])(
    "(applied: %s) and a handler that fails: the next run finds it finished, or commits",
    async (applied) => {
      const { one, key } = unknown(applied);
      await expect(run(one, key, committing("first"))).rejects.toMatchObject({ code: "LOCK_REQUEST", statusCode: 503 });
      expect(one.types()).toEqual(["failed"]);
      expect(await run(hasty(), key, committing("second"))).toBe(applied ? "first" : "second");
      expect(await counters.total(key)).toBe(1);
    },
  );

  it("and that arrives before the next run: the next gets its response; after it: it changes nothing", async () => {
    for (const isBefore of [true, false]) {
      const { one, key, arrive } = unknown(false);
      await run(one, key, committing("first")).catch(() => {});
      if (isBefore) await arrive();
      const answer = await run(hasty(), key, committing("second"));
      expect([answer, await counters.total(key)]).toEqual([isBefore ? "first" : "second", 1]);
      if (!isBefore) expect(await arrive()).toBe("TransactionCanceledException");
      expect([await run(hasty(), key, committing("third")), await counters.total(key)]).toEqual([answer, 1]);
    }
  });

  it.each([true, false])("(applied: %s) may be committed again with the same items", async (applied) => {
    const { one, key } = unknown(applied);
    const again: Committing = async (event, context) => {
      await Promise.resolve(committing()(event, context)).catch(() => {});
      return committing()(event, context);
    };
    expect(await run(one, key, again)).toBe("mine");
    expect([await counters.total(key), one.types()]).toEqual([1, ["failed", "finished"]]);
  });

  it.each([true, false])("(applied: %s) and then a commit of other items: one of them counts", async (applied) => {
    const { one, key } = unknown(applied);
    const other: Committing = async (event, context) => {
      await Promise.resolve(committing("first")(event, context)).catch(() => {});
      return context.commit([counters.add(`${key}-other`)], { result: "second" });
    };
    expect(await run(one, key, other)).toBe(applied ? "first" : "second");
    expect([await counters.total(key), await counters.total(`${key}-other`)]).toEqual(applied ? [1, 0] : [0, 1]);
    expect(await run(hasty(), key, committing("third"))).toBe(applied ? "first" : "second");
  });

  it.each([true, false])("(applied: %s) and a handler that returns: its finish settles the doubt", async (applied) => {
    const { one, key, arrive } = unknown(applied);
    const returning: Committing = (event, context) =>
      Promise.resolve(committing("first")(event, context)).catch(() => "returned");
    expect(await run(one, key, returning)).toBe(applied ? "first" : "returned");
    if (!applied) expect(await arrive()).toBe("TransactionCanceledException");
    expect([await counters.total(key), await run(hasty(), key, committing())]).toEqual([
      applied ? 1 : 0,
      applied ? "first" : "returned",
    ]);
  });

  it("and a finish of which nothing is known either: no response goes out", async () => {
    const one = hasty();
    one.state.wire = async () => {
      throw lost();
    };
    const returning: Committing = (event, context) => Promise.resolve(committing()(event, context)).catch(() => "mine");
    await expect(run(one, freshKey(), returning)).rejects.toMatchObject({ code: "LOCK_REQUEST" });
    expect(one.types()).toEqual(["failed", "failed"]);
  });

  it("and then the application's own condition that fails: it is still not known", async () => {
    const one = patient();
    one.state.wire = async ({ n, send }) => {
      if (n === 1) throw lost();
      return send();
    };
    const key = freshKey();
    const failed = run(one, key, committing("mine", "attribute_exists(nothing)"));
    await expect(failed).rejects.toMatchObject({
      code: "LOCK_REQUEST",
      cause: { name: "TransactionCanceledException" },
    });
  });

  it("and a lock that took the key meanwhile: LockHeldError; when it is released the late one may apply, once", async () => {
    const { one, key, arrive } = unknown(false);
    const other = hasty();
    await run(one, key, committing("first")).catch(() => {});
    const lock = await other.locks.acquire(key);
    await expect(run(one, key, committing("second"))).rejects.toThrow(LockHeldError);
    expect(await arrive()).toBe("TransactionCanceledException");
    await lock.release();
    expect(await run(one, key, committing("third"))).toBe("third");
    expect(await counters.total(key)).toBe(1);
  });
});

describe("a key that becomes free while a commit is tried", () => {
  it("is taken by a new request, also where the one before is in doubt: its time is over", async () => {
    const [one, other] = [patient(), patient()];
    const key = freshKey();
    await other.locks.acquire(key, { leaseMs: 3_000 }); // and crashes
    one.state.wire = async ({ n, send }) => {
      if (n > 1) return send();
      one.clock.advance(5_000);
      throw lost();
    };
    expect(await run(one, key, committing())).toBe("mine");
    expect([one.state.sent.length, await counters.total(key)]).toEqual([3, 1]);
  });

  it.each([
    ["and is held again each time is a LockHeldError", true, "LOCK_HELD"],
    ["and is gone from the table each time says so", false, "LOCK_REQUEST"],
  ])("%s, after settleMs", async (_what, isThere, code) => {
    const one = patient();
    const key = freshKey();
    if (isThere) await patient().locks.acquire(key, { leaseMs: 1_000 });
    one.clock.advance(5_000);
    one.state.wire = failing(() => cancelled("None", "ConditionalCheckFailed"));
    await expect(run(one, key, committing())).rejects.toMatchObject({ code });
    expect(await counters.total(key)).toBe(0);
  });
});

describe("another transaction in the way", () => {
  it.each([
    ["at an item of the application's", () => cancelled("TransactionConflict", "None")],
    ["at the key", () => cancelled("None", "TransactionConflict")],
    [
      "at the key, while the application's own condition fails",
      () => cancelled("ConditionalCheckFailed", "TransactionConflict"),
    ],
    ["which is an earlier attempt", conflictInProgress],
  ])("%s is retried with backoff, and no refusal", async (_where, error) => {
    const one = patient();
    one.state.wire = failing(error, 20);
    const key = freshKey();
    const before = one.clock.now();
    expect(await run(one, key, committing())).toBe("mine");
    expect([await counters.total(key), one.state.sent.length, one.types()]).toEqual([1, 21, ["finished"]]);
    const ms = one.clock.now() - before;
    expect(ms).toBeGreaterThan(1_000);
    expect(ms).toBeLessThan(10_000);
  });

  it("for longer than settleMs is DynamoDB's own error: nothing is written, and nothing is held", async () => {
    const one = patient();
    one.state.wire = failing(() => cancelled("TransactionConflict", "None"));
    const key = freshKey();
    const before = one.clock.now();
    await expect(run(one, key, committing())).rejects.toMatchObject({ name: "TransactionCanceledException" });
    expect(one.clock.now() - before).toBeGreaterThan(9_000);
    expect(one.clock.now() - before).toBeLessThan(10_100);
    expect([await table.item(key), one.types()]).toEqual([undefined, []]);
    one.state.wire = async ({ send }) => send();
    expect(await run(one, key, committing())).toBe("mine");
  });

  it("never takes it longer than the invocation has", async () => {
    const one = patient();
    one.state.wire = failing(() => cancelled("None", "TransactionConflict"));
    const key = freshKey();
    const handler = withCommit(committing(), { key: () => key, locks: one.locks, namespace: false });
    const before = one.clock.now();
    await expect(handler({ date: key }, lambdaContext({ getRemainingTimeInMillis: () => 2_000 }))).rejects.toThrow();
    expect(one.clock.now() - before).toBeLessThanOrEqual(1_700);
  });

  it("of real transactions on one item, by twenty keys at once: each is written once", async () => {
    const shared = freshKey();
    const handler: Committing = (_event, { commit }) => commit([counters.add(shared)], { result: "done" });
    const all = Array.from({ length: 20 }, (_, n) => run(patient({ random: Math.random }), `${shared}-${n}`, handler));
    expect(new Set(await Promise.all(all))).toEqual(new Set(["done"]));
    expect(await counters.total(shared)).toBe(20);
  });
});

describe("a DynamoDB that is away for the moment", () => {
  it.each([
    ["throttles", () => cancelled("ThrottlingError", "None")],
    ["fails", () => Object.assign(new Error("sorry"), { name: "InternalServerError" })],
  ])("and %s is waited for", async (_what, error) => {
    const one = patient();
    one.state.wire = failing(error, 8);
    const key = freshKey();
    expect(await run(one, key, committing())).toBe("mine");
    expect([await counters.total(key), new Set(one.types())]).toEqual([1, new Set(["retrying", "finished"])]);
  });

  it("when the key is to be read: the failure of the application's condition is not told before it was", async () => {
    const one = patient();
    const key = freshKey();
    await run(hasty(), key, committing("first"));
    let reads = 0;
    one.state.wire = async ({ name, send }) => {
      if (name === "TransactWriteItems") throw cancelled("ConditionalCheckFailed", "None");
      if (name === "GetItem" && ++reads < 3) throw lost();
      return send();
    };
    expect(await run(one, key, committing("second", "attribute_not_exists(n)"))).toBe("first");
    const blind = hasty();
    blind.state.wire = async ({ name }) => {
      throw name === "TransactWriteItems" ? cancelled("ConditionalCheckFailed", "None") : lost();
    };
    await expect(run(blind, key, committing("second"))).rejects.toMatchObject({ code: "LOCK_REQUEST" });
  });
});

describe("what DynamoDB doesn't accept", () => {
  it("is DynamoDB's own error, with what the transaction needs; the handler may commit otherwise", async () => {
    const one = patient();
    const key = freshKey();
    const nowhere = { Put: { TableName: "nowhere", Item: { id: { S: "1" } } } };
    const handler: Committing = async (event, context) => {
      const failed = await context.commit([nowhere]).catch((error: Error) => error.message);
      return [failed, await committing()(event, context)];
    };
    expect(await run(one, key, handler)).toEqual([
      expect.stringContaining(`dynamodb:PutItem on nowhere, dynamodb:UpdateItem on ${table.tableName}`),
      "mine",
    ]);
  });

  it("of the table of locks is a LockTableError that says what to do", async () => {
    const elsewhere = aProcess(table.tableName, { keyAttribute: "date" });
    await expect(run(elsewhere, freshKey(), committing())).rejects.toMatchObject({ code: "LOCK_TABLE" });
    await expect(run(elsewhere, freshKey(), () => "decided")).rejects.toMatchObject({ code: "LOCK_TABLE" });
    const missing = aProcess("no-such-table");
    await expect(run(missing, freshKey(), committing())).rejects.toMatchObject({ code: "LOCK_TABLE" });
    await expect(run(missing, freshKey(), () => "decided")).rejects.toMatchObject({ code: "LOCK_TABLE" });
  });

  it("an item of something else under the key is left alone", async () => {
    const key = freshKey();
    await table.put({ lock_id: { S: key }, status: { S: "FINISHED" }, mine: { S: "all mine" } });
    await expect(run(hasty(), key, committing())).rejects.toMatchObject({ code: "LOCK_TABLE" });
    expect([await counters.total(key), (await table.item(key))?.mine]).toEqual([0, { S: "all mine" }]);
  });

  it("a cancellation without reasons, as old clients have it: the key is read", async () => {
    const one = hasty();
    const key = freshKey();
    await run(hasty(), key, committing("first"));
    one.state.wire = failing(() => Object.assign(new Error("cancelled"), { name: "TransactionCanceledException" }));
    expect(await run(one, key, committing("second"))).toBe("first");
    await expect(run(one, freshKey(), committing())).rejects.toMatchObject({ name: "TransactionCanceledException" });
  });

  it("a refusal without the item, as an engine without ALL_OLD has it: the key is read", async () => {
    const one = hasty();
    const key = freshKey();
    await run(hasty(), key, committing("first"));
    one.state.wire = failing(() => cancelled("None", "ConditionalCheckFailed"));
    expect(await run(one, key, committing("second"))).toBe("first");
  });
});
