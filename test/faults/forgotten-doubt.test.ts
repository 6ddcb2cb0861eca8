/** A reply is lost, another transaction is in the way of the next attempt, and the one after that fails for certain. */
import type { TransactWriteItem } from "@aws-sdk/client-dynamodb";
import { beforeAll, describe, expect, it } from "vitest";
import type { Lock } from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { lockTable } from "../support/dynamodb.ts";
import { aProcess, lost, type Wire } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
let counters: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  [table, counters] = await Promise.all([lockTable(), lockTable()]);
});

let count = 0;
const freshKey = () => `forgotten-${++count}`;
const keysOf = (n: number) => Array.from({ length: n }, freshKey);
const add = (id: string): TransactWriteItem => ({
  Update: {
    TableName: counters.tableName,
    Key: { lock_id: { S: id } },
    UpdateExpression: "ADD n :n",
    ExpressionAttributeValues: { ":n": { N: "1" } },
  },
});
const total = async (id: string) => Number((await counters.item(id))?.n?.N ?? 0);
const outcome = async (work: Promise<unknown>) =>
  work.then(
    () => "fulfilled",
    (error: { code?: string; name: string }) => error.code ?? error.name,
  );
const named = (name: string, more: object = {}) => Object.assign(new Error(name), { name, ...more });
const refused = { $metadata: { httpStatusCode: 400 } };
const conflict = (request: string) =>
  request === "TransactWriteItems"
    ? named("TransactionCanceledException", { CancellationReasons: [{ Code: "TransactionConflict" }] })
    : named("TransactionConflictException", refused);

/** What becomes of the requests of one operation, in this order; later ones go through. */
const wire = (...fates: ((call: Parameters<Wire>[0]) => Promise<unknown>)[]): Wire => {
  const ahead = [...fates];
  return (call) => (ahead.shift() ?? (({ send }) => send()))(call);
};
const replyLost = async ({ send }: Parameters<Wire>[0]) => {
  await send();
  throw lost();
};
const inTheWay = async ({ name }: Parameters<Wire>[0]) => {
  throw conflict(name);
};
const failing = (name: string) => async () => {
  throw named(name, refused);
};

const CERTAIN = ["ExpiredTokenException", "AccessDeniedException"];

/** The commit is said to be written only if it was, whatever its own first reply. */
const expectTruth = async (lock: Lock, process: ReturnType<typeof aProcess>) => {
  process.state.wire = wire(async ({ send }) => {
    await send().catch(() => {});
    throw lost();
  });
  const id = freshKey();
  const told = await outcome(lock.commit([add(id)]));
  const written = await total(id);
  expect({ told, written }).toEqual(told === "fulfilled" ? { told, written: 1 } : { told, written: 0 });
};

describe.each([1, 2])("a finish of %s keys that applied", (n) => {
  it.each(CERTAIN)("its reply lost, then a conflict, then %s: it is no proof of a commit", async (name) => {
    const process = aProcess(table.tableName, { config: { maxAttempts: 3 } });
    const lock = await process.locks.acquire(keysOf(n));
    process.state.wire = wire(replyLost, inTheWay, failing(name));
    expect(await outcome(lock.finish())).not.toBe("fulfilled");
    await expectTruth(lock, process);
  });

  it.each(CERTAIN)("its reply lost, then %s: it is no proof of a commit", async (name) => {
    const process = aProcess(table.tableName, { config: { maxAttempts: 3 } });
    const lock = await process.locks.acquire(keysOf(n));
    process.state.wire = wire(replyLost, failing(name));
    expect(await outcome(lock.finish())).not.toBe("fulfilled");
    await expectTruth(lock, process);
  });

  it("still in progress when it was sent again, and then refused: it is no proof of a commit", async () => {
    const process = aProcess(table.tableName);
    const lock = await process.locks.acquire(keysOf(n));
    process.state.wire = wire(async ({ send }) => {
      await send();
      throw named("TransactionInProgressException", refused);
    }, failing("ExpiredTokenException"));
    expect(await outcome(lock.finish())).not.toBe("fulfilled");
    await expectTruth(lock, process);
  });

  it("ends the lock for its holder: nobody else is let in beside it", async () => {
    const process = aProcess(table.tableName, { config: { maxAttempts: 3 } });
    const lock = await process.locks.acquire(keysOf(n));
    process.state.wire = wire(replyLost, inTheWay, failing("ExpiredTokenException"));
    await outcome(lock.finish());
    expect([lock.status, lock.signal.aborted]).toEqual(["expired", true]);
    await lock.finish(); // and learns what became of it
    expect(lock.status).toBe("finished");
  });
});

describe.each([1, 2])("a release of %s keys that applied", (n) => {
  it("its reply lost, then a conflict, and the key is another's by now: it was released", async () => {
    const clock = manualClock();
    const process = aProcess(table.tableName, { clock, config: { maxAttempts: 3 } });
    const lock = await process.locks.acquire(keysOf(n));
    process.state.wire = wire(replyLost, inTheWay, async ({ send }) => {
      await aProcess(table.tableName, { clock }).locks.acquire(lock.keys);
      return send();
    });
    expect([await outcome(lock.release()), lock.status]).toEqual(["fulfilled", "released"]);
    expect(process.types()).toEqual(["acquired", "released"]);
  });

  it.each(CERTAIN)(
    "its reply lost, then a conflict, then %s: nothing is said of what is committed then",
    async (name) => {
      const process = aProcess(table.tableName, { config: { maxAttempts: 3 } });
      const lock = await process.locks.acquire(keysOf(n));
      process.state.wire = wire(replyLost, inTheWay, failing(name));
      expect(await outcome(lock.release())).not.toBe("fulfilled");
      expect(lock.status).toBe("expired");
      await expectTruth(lock, process);
    },
  );
});

describe.each([1, 2])("an acquisition of %s keys that applied", (n) => {
  it.each(CERTAIN)("its reply lost, then a conflict, then %s: it is given back", async (name) => {
    const process = aProcess(table.tableName, { config: { maxAttempts: 3 } });
    const keys = keysOf(n);
    process.state.wire = wire(replyLost, inTheWay, failing(name));
    expect(await outcome(process.locks.acquire(keys))).not.toBe("fulfilled");
    expect((await aProcess(table.tableName).locks.acquire(keys)).status).toBe("held");
  });
});

describe("a commit", () => {
  it("whose fate is unknown, then a finish whose reply is lost before a conflict: the commit again is not taken for written", async () => {
    const process = aProcess(table.tableName);
    const lock = await process.locks.acquire(freshKey());
    process.state.wire = async () => {
      throw lost(); // it never arrives
    };
    const items = [add(lock.key)];
    expect(await outcome(lock.commit(items))).toBe("LOCK_REQUEST");
    process.state.wire = wire(replyLost, inTheWay, failing("ExpiredTokenException"));
    await outcome(lock.finish());
    process.state.wire = wire();
    const told = await outcome(lock.commit(items));
    expect({ told, written: await total(lock.key) }).not.toEqual({ told: "fulfilled", written: 0 });
  });

  it("whose fate is unknown, then a finish that succeeds: the commit again is not taken for written", async () => {
    const process = aProcess(table.tableName);
    const lock = await process.locks.acquire(freshKey());
    process.state.wire = async () => {
      throw lost();
    };
    const items = [add(lock.key)];
    expect(await outcome(lock.commit(items))).toBe("LOCK_REQUEST");
    process.state.wire = wire();
    await lock.finish();
    const told = await outcome(lock.commit(items));
    expect({ told, written: await total(lock.key) }).not.toEqual({ told: "fulfilled", written: 0 });
  });
});
