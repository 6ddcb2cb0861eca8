/** Commits of which an attempt may have applied: what the caller is told must not be the contrary of what was written. */
import type { TransactWriteItem } from "@aws-sdk/client-dynamodb";
import { beforeAll, describe, expect, it } from "vitest";
import type { Lock } from "../../src/index.ts";
import { lockTable } from "../support/dynamodb.ts";
import { aProcess, losing, lost, turn, type Wire } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
let counters: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  [table, counters] = await Promise.all([lockTable(), lockTable()]);
});

let count = 0;
const freshKey = () => `doubt-${++count}`;
const add = (id: string, n = "1"): TransactWriteItem => ({
  Update: {
    TableName: counters.tableName,
    Key: { lock_id: { S: id } },
    UpdateExpression: "ADD n :n",
    ExpressionAttributeValues: { ":n": { N: n } },
  },
});
const addFirst = (id: string): TransactWriteItem => ({
  Update: { ...add(id).Update, ConditionExpression: "attribute_not_exists(n)" } as TransactWriteItem["Update"],
});
const total = async (id: string) => Number((await counters.item(id))?.n?.N ?? 0);
const outcome = async (work: Promise<unknown>) =>
  work.then(
    () => "fulfilled",
    (error: { code?: string; name: string }) => error.code ?? error.name,
  );
const conflict = () =>
  Object.assign(new Error("conflict"), {
    name: "TransactionCanceledException",
    CancellationReasons: [{ Code: "TransactionConflict" }, { Code: "None" }],
  });

/** Whatever went before: a commit that is said to have been written was written, and any other was not. */
const expectTruth = async (lock: Lock, id: string) => {
  const told = await outcome(lock.commit([add(id)]));
  expect({ told, written: await total(id) }).toEqual(
    told === "fulfilled" ? { told, written: 1 } : { told: expect.anything(), written: 0 },
  );
};

const NOT_OF_DYNAMODB: [string, () => object][] = [
  ["the name server doesn't answer", () => ({ name: "Error", code: "EAI_AGAIN", syscall: "getaddrinfo" })],
  ["the credentials can't be refreshed", () => ({ name: "CredentialsProviderError", tryNextLink: false })],
  ["the session has expired", () => ({ name: "ExpiredTokenException", $metadata: { httpStatusCode: 400 } })],
];

describe("a commit that applied, its reply lost, and in the next attempt", () => {
  for (const [name, details] of NOT_OF_DYNAMODB) {
    const inTrouble = (): Wire => async (call) => {
      if (call.name !== "TransactWriteItems") return call.send();
      if (call.n > 2) throw Object.assign(new Error(name), details());
      await call.send();
      throw lost();
    };

    it.each([1, 3])(`${name}: it is not known whether it was written (%s attempts of the SDK)`, async (maxAttempts) => {
      const { locks, state } = aProcess(table.tableName, { config: { maxAttempts } });
      state.wire = inTrouble();
      const lock = await locks.acquire(freshKey());
      const told = await outcome(lock.commit([add(lock.key)]));
      expect(await total(lock.key)).toBe(1);
      expect([told, lock.signal.aborted]).toEqual(["LOCK_REQUEST", true]);
    });

    it(`${name}: another commit is not taken for written`, async () => {
      const { locks, state } = aProcess(table.tableName);
      state.wire = inTrouble();
      const lock = await locks.acquire(freshKey());
      await outcome(lock.commit([add(lock.key)]));
      state.wire = async ({ send }) => send();
      await expectTruth(lock, freshKey());
    });
  }
});

describe("a reply that can't be read", () => {
  it.each([
    ["cut off", () => Object.assign(new Error("Premature close"), { code: "ERR_STREAM_PREMATURE_CLOSE" })],
    ["no JSON", () => new SyntaxError("Unexpected end of JSON input")],
  ])("(%s) says nothing of what was written", async (_name, broken) => {
    const { locks, state } = aProcess(table.tableName);
    state.wire = async ({ name, n, send }) => {
      await (n <= 2 ? send() : undefined);
      if (name === "TransactWriteItems") throw broken();
      return send();
    };
    const lock = await locks.acquire(freshKey()).catch(() => undefined);
    if (!lock) throw new Error("set-up");
    const told = await outcome(lock.commit([add(lock.key)]));
    expect([await total(lock.key), told]).toEqual([1, "LOCK_REQUEST"]);
  });
});

describe("conflicts until the end of the lease", () => {
  it("after an attempt of the SDK's own whose reply was lost: it is not known whether it was written", async () => {
    const { locks, state } = aProcess(table.tableName, { random: () => 0.5, config: { maxAttempts: 3 } });
    state.wire = async ({ name, n, send }) => {
      if (name !== "TransactWriteItems") return send();
      if (n > 2) throw conflict();
      await send();
      throw lost();
    };
    const lock = await locks.acquire(freshKey());
    const told = await outcome(lock.commit([add(lock.key)]));
    expect([await total(lock.key), told]).toEqual([1, "LOCK_REQUEST"]);
  });
});

describe("an attempt that is still on its way when the application's condition fails in the next one", () => {
  const delayed = async () => {
    const process = aProcess(table.tableName);
    const late: (() => Promise<unknown>)[] = [];
    const key = freshKey();
    await counters.put({ lock_id: { S: key }, n: { N: "5" } });
    process.state.wire = async ({ name, send }) => {
      if (name !== "TransactWriteItems" || late.length > 0) return send();
      late.push(send);
      throw lost();
    };
    const lock = await process.locks.acquire(key);
    const told = await outcome(lock.commit([addFirst(key)]));
    await counters.put({ lock_id: { S: key } }); // the condition is met now
    return { ...process, lock, told, arrive: () => outcome(late[0]?.() as Promise<unknown>) };
  };

  it("may arrive: who was told that nothing was written, and that the lock is held, was told wrong", async () => {
    const { lock, told, arrive } = await delayed();
    await arrive();
    const wasWritten = (await total(lock.key)) === 1;
    expect({ told, wasWritten }).not.toEqual({ told: "TransactionCanceledException", wasWritten: true });
  });

  it("and what is committed instead is not taken for written", async () => {
    const { lock, arrive } = await delayed();
    await arrive();
    await expectTruth(lock, freshKey());
  });
});

describe("after a commit whose fate is unknown, and that was not written", () => {
  const unknown = async (options: { rememberMs?: number } = {}) => {
    const process = aProcess(table.tableName, options);
    process.state.wire = async ({ name, send }) => {
      if (name === "TransactWriteItems") throw lost();
      return send();
    };
    const key = freshKey();
    const lock = await process.locks.acquire(key);
    expect(await outcome(lock.commit([add(key)]))).toBe("LOCK_REQUEST");
    process.state.sent.length = 0;
    return { ...process, lock, key };
  };

  it("and a finish whose reply is lost too: the same commit again is not taken for written", async () => {
    const { lock, key, state } = await unknown();
    state.wire = losing(1);
    expect(await outcome(lock.finish())).toBe("LOCK_REQUEST");
    state.wire = async ({ send }) => send();
    const told = await outcome(lock.commit([add(key)]));
    expect({ told, written: await total(key) }).not.toEqual({ told: "fulfilled", written: 0 });
  });

  it("committed again a while later, it is remembered from then on", async () => {
    const { lock, key, state, clock, locks } = await unknown({ rememberMs: 5_000 });
    state.wire = async ({ send }) => send();
    clock.advance(6_500);
    await lock.commit([add(key)]);
    await locks.once(key, (repeat) => repeat.commit([add(key)])).catch(() => {});
    expect(await total(key)).toBe(1);
  });
});

describe("conflicts that take a while", () => {
  it("don't shorten the time that the key is remembered", async () => {
    const { locks, state, clock } = aProcess(table.tableName, {
      random: () => 0.5,
      rememberMs: 2_000,
      settleMs: 10_000,
    });
    state.wire = async ({ name, send }) => {
      if (name === "TransactWriteItems" && clock.monotonic() < 5_000) throw conflict();
      return send();
    };
    const key = freshKey();
    const work = () => locks.once(key, (lock) => lock.commit([add(key)]));
    await work();
    await work();
    expect(await total(key)).toBe(1);
  });
});

describe("items", () => {
  it("with a Buffer in them are the same items when they are committed again", async () => {
    const { locks, state } = aProcess(table.tableName);
    const key = freshKey();
    const items: TransactWriteItem[] = [
      {
        Put: {
          TableName: counters.tableName,
          Item: { lock_id: { S: key }, n: { N: "1" }, b: { B: Buffer.from("x") } },
        },
      },
    ];
    state.wire = async ({ name, send }) => {
      if (name === "TransactWriteItems") throw lost();
      return send();
    };
    const lock = await locks.acquire(key);
    expect(await outcome(lock.commit(items))).toBe("LOCK_REQUEST");
    state.wire = async ({ send }) => send();
    await lock.commit(items);
    expect(await total(key)).toBe(1);
  });

  it("that the caller changes while a commit is under way are written as they were given", async () => {
    const { locks, state } = aProcess(table.tableName, { settleMs: 10_000 });
    const key = freshKey();
    const item = add(key, "1");
    state.wire = async ({ name, n, send }) => {
      if (name !== "TransactWriteItems" || n > 2) return send();
      Object.assign(item.Update?.ExpressionAttributeValues ?? {}, { ":n": { N: "100" } });
      throw lost();
    };
    const lock = await locks.acquire(key);
    await lock.commit([item]);
    expect(await total(key)).toBe(1);
  });

  it("that the caller changes between two attempts, the first of which applied: it is not told that nothing was written", async () => {
    const { locks, state } = aProcess(table.tableName, { settleMs: 10_000 });
    const key = freshKey();
    const item = add(key, "1");
    state.wire = async ({ name, n, send }) => {
      if (name !== "TransactWriteItems" || n > 2) return send();
      await send();
      Object.assign(item.Update?.ExpressionAttributeValues ?? {}, { ":n": { N: "100" } });
      throw lost();
    };
    const lock = await locks.acquire(key);
    const told = await outcome(lock.commit([item]));
    expect([await total(key), told, lock.status]).toEqual([1, "fulfilled", "finished"]);
  });

  it("that can't be cloned are an error, and the lock can be entered again", async () => {
    const { locks } = aProcess(table.tableName);
    const key = freshKey();
    const lock = await locks.acquire(key);
    const items = [{ ...add(key), note: () => {} }] as unknown as TransactWriteItem[];
    await lock.commit(items).catch(() => {});
    if (lock.status === "finished") return;
    expect(await locks.acquire(key, { reentrant: true }).catch((error: Error) => error.name)).toBe(lock);
  });
});

describe("a commit that hangs, while a renewal waits behind it and the lease ends", () => {
  const hanging = async () => {
    const process = aProcess(table.tableName, { heartbeatMs: 3_000 });
    const key = freshKey();
    const lock = await process.locks.acquire(key);
    let arrive = () => {};
    const released = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    let held = false;
    process.state.wire = async ({ name, send }) => {
      if (name !== "TransactWriteItems" || held) return send();
      held = true;
      const { isIdle } = process.clock;
      process.clock.isIdle = () => true;
      await released;
      process.clock.isIdle = isIdle;
      return send();
    };
    const committed = outcome(lock.commit([add(key)]));
    await turn();
    process.clock.advance(3_000); // the heartbeat
    await turn();
    process.clock.advance(8_000); // the end of the lease
    await turn();
    expect(lock.signal.aborted).toBe(true);
    return { ...process, lock, key, committed, arrive };
  };

  it("a finish comes after it, as writes are one at a time: a commit that was not written is not said to be", async () => {
    const { lock, key, committed, arrive } = await hanging();
    const finished = outcome(lock.finish());
    await turn();
    arrive();
    await finished;
    const told = await committed;
    expect({ told, written: await total(key) }).not.toEqual({ told: "fulfilled", written: 0 });
  });

  it("another commit comes after it: both are told the truth", async () => {
    const { lock, key, committed, arrive } = await hanging();
    const other = freshKey();
    const second = outcome(lock.commit([add(other)]));
    await turn();
    arrive();
    const told = [await committed, await second];
    const written = [await total(key), await total(other)];
    expect(written).toEqual(told.map((each) => (each === "fulfilled" ? 1 : 0)));
  });
});

describe("a commit that was written long ago", () => {
  it("is not said to have written nothing because the key is another's by now", async () => {
    const { locks, state, client, clock } = aProcess(table.tableName, { rememberMs: 60_000 });
    let requests = 0;
    client.middlewareStack.add(
      (next, context) => (args) => {
        // DynamoDB forgets a ClientRequestToken after 10 minutes.
        if (context.commandName === "TransactWriteItemsCommand")
          Object.assign(args.input, { ClientRequestToken: table.tableName.slice(-30) + ++requests });
        return next(args);
      },
      { step: "initialize", name: "forget" },
    );
    const key = freshKey();
    state.wire = async ({ name, n, send }) => {
      if (name !== "TransactWriteItems") return send();
      if (n === 2) await send();
      throw lost();
    };
    const lock = await locks.acquire(key);
    expect(await outcome(lock.commit([add(key)]))).toBe("LOCK_REQUEST");
    state.wire = async ({ send }) => send();
    clock.advance(11 * 60_000);
    await locks.acquire(key); // its window is over: another run
    const error = await lock.commit([add(key)]).catch((e: unknown) => e);
    expect(await total(key)).toBe(1);
    expect(error).not.toMatchObject({ code: "LOCK_LOST" }); // "nothing was written"
  });

  it("found out by a release: the same commit again is not refused as if it were another's", async () => {
    const { locks, state } = aProcess(table.tableName);
    const key = freshKey();
    state.wire = async ({ name, send }) => {
      if (name !== "TransactWriteItems") return send();
      await send();
      throw lost();
    };
    const lock = await locks.acquire(key);
    const items = [add(key)];
    expect(await outcome(lock.commit(items))).toBe("LOCK_REQUEST");
    await lock.release();
    expect(lock.status).toBe("finished");
    expect([await outcome(lock.commit(items)), await total(key)]).toEqual(["fulfilled", 1]);
  });
});
