import { randomBytes } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import {
  dynamoLock,
  LockClient,
  type LockHeldError,
  LockOptionsError,
  semaphore,
  withLock,
  withSemaphore,
} from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";
import { aProcess, losing, noise, turn } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});
let keys = 0;
const freshKey = () => `invocation-${++keys}`;

describe("onError", () => {
  it("a function that says 'finish' of a semaphore: the permit is given back, and not renewed for ever", async () => {
    const { locks, clock, types } = aProcess(table.tableName, { leaseMs: 9_000, clockSkewMs: 0 });
    const key = freshKey();
    const handler = withSemaphore(
      () => {
        throw new Error("no");
      },
      {
        key: () => key,
        namespace: false,
        locks,
        permits: 2,
        onError: () => "finish" as never,
        leaseMs: 9_000,
        heartbeatMs: 3_000,
      },
    );
    await expect(handler({}, lambdaContext())).rejects.toThrow("no");
    await clock.pass(30_000);
    expect([await locks.count(key), clock.timers, types()]).toEqual([0, 0, expect.not.arrayContaining(["renewed"])]);
  });

  it("an async function is awaited, not taken for 'release'", async () => {
    const { locks } = aProcess(table.tableName);
    const key = freshKey();
    const handler = withLock(
      () => {
        throw new Error("final");
      },
      { key: () => key, namespace: false, locks, onError: (async () => "finish") as never },
    );
    await expect(handler({}, lambdaContext())).rejects.toThrow("final");
    expect((await table.item(key))?.status?.S).toBe("FINISHED");
  });

  it("an async function that rejects doesn't crash the process", async () => {
    const { locks } = aProcess(table.tableName);
    const key = freshKey();
    const unhandled: unknown[] = [];
    const listeners = process.listeners("unhandledRejection");
    process.removeAllListeners("unhandledRejection");
    process.on("unhandledRejection", (reason) => unhandled.push(reason));
    const handler = withLock(
      () => {
        throw new Error("handler");
      },
      {
        key: () => key,
        namespace: false,
        locks,
        onError: (async () => {
          throw new Error("decider");
        }) as never,
      },
    );
    await expect(handler({}, lambdaContext())).rejects.toThrow("handler");
    await turn();
    process.removeAllListeners("unhandledRejection");
    for (const listener of listeners) process.on("unhandledRejection", listener as never);
    expect(unhandled).toEqual([]);
  });
});

describe("a response too large for the record", () => {
  it("does not count the record's data: each is in an item of its own", async () => {
    const { locks, types } = aProcess(table.tableName);
    const key = freshKey();
    const response = randomBytes(280_000).toString("base64");
    await locks.once(key, () => response, { data: "d".repeat(390_000) });
    expect(await locks.once(key, () => "again")).toBe(response);
    expect(types()).toEqual(["acquired", "finished", "replayed"]);
  });

  it("that can't be written: the key is finished without it, and this is reported", async () => {
    const { locks, state, types } = aProcess(table.tableName);
    state.wire = losing(2);
    const key = freshKey();
    await locks.once(key, () => noise(10_000, key));
    expect((await locks.get(key))?.status).toBe("FINISHED");
    expect(types()).toEqual(["acquired", "failed", "response-not-stored", "finished"]);
    expect(await locks.once(key, () => "again")).toBeUndefined();
  });

  it("a failure with a very long name is remembered", async () => {
    const { locks } = aProcess(table.tableName);
    const key = freshKey();
    const lock = await locks.acquire(key);
    await lock.finish({ error: Object.assign(new Error("m"), { name: "n".repeat(410_000) }) });
    expect((await table.item(key))?.status?.S).toBe("FINISHED");
  });
});

describe("options", () => {
  it("expiry 'observed' without a wait that is long enough never takes over a crashed key", async () => {
    const clock = manualClock();
    const key = freshKey();
    await aProcess(table.tableName, { clock }).locks.acquire(key);
    const b = aProcess(table.tableName, { clock });
    const make = () => withLock(() => "ran", { key: () => key, namespace: false, locks: b.locks, expiry: "observed" });
    let handler: ReturnType<typeof make> | undefined;
    try {
      handler = make();
    } catch (error) {
      expect(error).toBeInstanceOf(LockOptionsError);
      return;
    }
    for (let hour = 0; hour < 48; hour++) {
      clock.advance(3_600_000); // an event source that retries every hour, for as long as the item exists
      if ((await handler({}, lambdaContext()).catch(() => "held")) === "ran") return;
    }
    expect.unreachable("48 hours after a lease of 10 s the key is still held");
  });

  it("a LockClient's own contradictions are errors at construction", () => {
    expect(() => new LockClient({ leaseMs: 1_000, heartbeatMs: 900 })).toThrow(LockOptionsError);
  });

  it("heartbeatMs of the LockClient against leaseMs of dynamoLock: at construction, not in each invocation", () => {
    const locks = new LockClient({ heartbeatMs: 10_000 });
    expect(() => dynamoLock({ key: () => "k", locks, leaseMs: 5_000 })).toThrow(LockOptionsError);
  });

  it("a semaphore in a Lambda: the lease, which is the remaining time, is compared with retentionMs", async () => {
    const { systemClock } = await import("../../src/common/clock.ts");
    const { locks } = aProcess(table.tableName, { retentionMs: 60_000, clock: systemClock });
    const key = freshKey();
    let ttlIsAfterLease = true;
    const handler = withSemaphore(
      async (_event, context) => {
        const other = await semaphore(locks, key, { permits: 2 }).acquire({ leaseMs: 1_000 });
        const ttl = Number((await table.item(key))?.ttl?.N) * 1000;
        ttlIsAfterLease = ttl >= context.lock.expiresAt;
        await other.release();
      },
      { key: () => key, namespace: false, locks, permits: 2 },
    );
    await handler({}, lambdaContext({ timeoutMs: 900_000 })).catch((error) => {
      if (!(error instanceof LockOptionsError)) throw error;
    });
    expect(ttlIsAfterLease).toBe(true);
  });

  it("a LockClient's namespace is the middleware's too, as its table and its client are", async () => {
    const { locks } = aProcess(table.tableName, { namespace: "payments" });
    const key = freshKey();
    let stored = "";
    await withLock(
      (_event, context) => {
        stored = context.lock.key;
      },
      { key: () => key, locks },
    )({}, lambdaContext());
    expect(stored).toBe(`payments#${key}`);
  });

  it("remainingMs can be handed to extend", async () => {
    const { systemClock } = await import("../../src/common/clock.ts");
    const { locks } = aProcess(table.tableName, { clock: systemClock });
    const lock = await locks.acquire(freshKey());
    await turn(5);
    await lock.extend(lock.remainingMs + 5_000);
  });
});

describe("what is told", () => {
  it("an error that Lambda logs with all its properties doesn't carry another run's response", async () => {
    const { locks } = aProcess(table.tableName);
    const key = freshKey();
    await locks.once(key, () => ({ iban: "DE-secret" }));
    const error = (await locks.acquire(key).catch((e: unknown) => e)) as LockHeldError;
    const { inspect } = await import("node:util");
    expect(inspect(error, { depth: 9 })).not.toContain("DE-secret");
  });

  it("a wait in vain is reported as held", async () => {
    const holder = aProcess(table.tableName);
    const key = freshKey();
    await holder.locks.acquire(key);
    const { locks, types } = aProcess(table.tableName);
    await locks.acquire(key, { waitMs: 1_000 }).catch(() => {});
    expect(types()).toContain("held");
  });

  it("a finish that its own lost reply had applied before: extend says finished, not 'released'", async () => {
    const { locks } = aProcess(table.tableName);
    const lock = await locks.acquire(freshKey());
    await lock.finish();
    await expect(lock.extend(1_000)).rejects.not.toMatchObject({ message: expect.stringContaining("released it") });
  });
  it("a response whose array is of a class is not stored as something else", async () => {
    const { locks } = aProcess(table.tableName);
    class Page extends Array<number> {
      next = "cursor";
    }
    const key = freshKey();
    const first = await locks.once(key, () => Page.from([1, 2]));
    const again = await locks.once(key, () => Page.from([]));
    expect(again === undefined || (again as unknown as Page).next === (first as Page).next).toBe(true);
  });
});
