/** Waiting, renewing and losing as the middleware does it, and what throttling does to it. */
import { beforeAll, describe, expect, it } from "vitest";
import { LockClient, LockOptionsError, LockTimeoutError, withLock, withSemaphore } from "../../src/index.ts";
import { countingClient, lockTable } from "../support/dynamodb.ts";
import { clockedContext, lambdaContext } from "../support/lambda.ts";
import { aProcess, turn } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

let keys = 0;
const freshKey = () => `key-${++keys}`;
const realTime = () => {
  const { client, sent } = countingClient();
  return { locks: new LockClient({ client, tableName: table.tableName, clockSkewMs: 0 }), client, sent };
};

describe("throttling and faults while acquiring", () => {
  it.each([
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "InternalServerError",
    "TransactionConflictException",
  ])("%s is retried within the deadline, and reported", async (name) => {
    const { locks, state, types } = aProcess(table.tableName);
    state.wire = async ({ n, send }) => {
      if (n <= 2) throw Object.assign(new Error(name), { name, $fault: "client", $metadata: { httpStatusCode: 400 } });
      return send();
    };
    const lock = await locks.acquire(freshKey(), { waitMs: 60_000 });
    expect(lock.status).toBe("held");
    // A conflict is retried where it is sent: it is no news.
    const reported = name.startsWith("Transaction") ? [] : ["retrying", "retrying"];
    expect(types()).toEqual([...reported, "acquired"]);
  });

  it("without a wait it is an error at once, and after the deadline too", async () => {
    const { locks, clock, state } = aProcess(table.tableName);
    state.wire = async () => {
      throw Object.assign(new Error("slow down"), { name: "ThrottlingException", $metadata: { httpStatusCode: 400 } });
    };
    await expect(locks.acquire(freshKey())).rejects.toMatchObject({ code: "LOCK_REQUEST" });
    const started = clock.monotonic();
    await expect(locks.acquire(freshKey(), { waitMs: 3_000 })).rejects.toMatchObject({
      cause: { message: "slow down" },
    });
    expect(clock.monotonic() - started).toBeLessThanOrEqual(4_000);
  });

  it("no permission is no reason to wait", async () => {
    const { locks, state } = aProcess(table.tableName);
    state.wire = async () => {
      throw Object.assign(new Error("no"), { name: "AccessDeniedException", $metadata: { httpStatusCode: 400 } });
    };
    await expect(locks.acquire(freshKey(), { waitMs: 60_000 })).rejects.toThrow("Allow dynamodb:UpdateItem");
    expect(state.sent).toHaveLength(1);
  });
});

describe("a handler that waits for its key", () => {
  /** A process whose time passes as fast as it waits, and a key that another one holds for longer. */
  const waitingForHeldKey = async () => {
    const key = freshKey();
    const holder = await aProcess(table.tableName).locks.acquire(key, { leaseMs: 60_000 });
    const { locks, clock, state } = aProcess(table.tableName);
    return { key, holder, clock, state, options: { key: () => key, namespace: false as const, locks } };
  };

  it("waits until 500 ms before the invocation ends, whatever waitMs says", async () => {
    const { clock, options } = await waitingForHeldKey();
    const handler = withLock(() => "ran", { ...options, waitMs: 60_000 });
    const context = clockedContext(clock, 900);
    await expect(handler({}, context)).rejects.toBeInstanceOf(LockTimeoutError);
    expect(context.getRemainingTimeInMillis()).toBeCloseTo(500, 0);
  });

  it.each([
    { timeoutMs: 900, waited: /^The key did not become free within 400 ms: / },
    { timeoutMs: 400, waited: /^The key did not become free within 0 ms: / },
  ])("says that the end of the invocation cut the wait short: $timeoutMs ms", async ({ timeoutMs, waited }) => {
    const { key, clock, options } = await waitingForHeldKey();
    const waiting = withLock(() => "ran", { ...options, waitMs: 60_000 })({}, clockedContext(clock, timeoutMs));
    const error = await waiting.catch((e: unknown) => e);
    expect(error).toBeInstanceOf(LockTimeoutError);
    const message = expect.stringMatching(waited);
    expect(error).toMatchObject({ statusCode: 409, message, record: { key, status: "IN_PROGRESS" } });
    expect(error).toMatchObject({ message: expect.stringMatching(/: the end of the invocation .* waitMs of 60000$/) });
  });

  it("with no time left to wait, a finished key is answered, and a free one taken", async () => {
    const key = freshKey();
    const { locks, clock } = aProcess(table.tableName);
    const handler = withLock(() => "ran", { key: () => key, namespace: false, locks, waitMs: 60_000 });
    expect(await handler({}, clockedContext(clock, 400))).toBe("ran");
    expect(await handler({}, clockedContext(clock, 400))).toBe("ran");
  });

  it("has, after the wait, a lease to the end of the invocation and not beyond", async () => {
    const { holder, clock, state, options } = await waitingForHeldKey();
    const context = clockedContext(clock, 5_000);
    const end = clock.now() + 5_000;
    state.wire = async ({ name, send }) => {
      if (name === "GetItem" && clock.now() > end - 3_000) await holder.release();
      return send();
    };
    const handler = withLock((_event, { lock: { expiresAt } }) => ({ expiresAt }), { ...options, waitMs: 4_000 });
    const { expiresAt } = await handler({}, context);
    expect(expiresAt).toBeLessThanOrEqual(end);
    expect(expiresAt).toBeGreaterThan(end - 1); // a lease is whole milliseconds
    expect(clock.now()).toBeGreaterThan(end - 3_000);
  });

  it("is answered by duplicateResponse when it waited in vain, and by the response of a run that finished meanwhile", async () => {
    const { locks, client } = realTime();
    const options = { namespace: false as const, client, tableName: table.tableName };
    const held = freshKey();
    await locks.acquire(held);
    const patient = withLock(() => "ran", {
      ...options,
      key: () => held,
      waitMs: 100,
      duplicateResponse: () => "later",
    });
    expect(await patient({}, lambdaContext())).toBe("later");

    const finishing = freshKey();
    const first = locks.once(finishing, () => turn(150).then(() => "first's"));
    await turn(30);
    const second = withLock(() => "second's", { ...options, key: () => finishing, waitMs: 5_000 });
    expect([await second({}, lambdaContext()), await first]).toEqual(["first's", "first's"]);
  });
});

describe("a handler with a lease shorter than its invocation", () => {
  it("is renewed by itself, and settled without a timer left", async () => {
    const { locks, clock, types } = aProcess(table.tableName, { heartbeatMs: undefined });
    const handler = withLock(() => clock.pass(20_000), { key: freshKey, namespace: false, locks, leaseMs: 3_000 });
    await handler({}, lambdaContext());
    expect(types().filter((type) => type === "renewed").length).toBeGreaterThanOrEqual(19);
    expect([types().at(-1), clock.timers]).toEqual(["finished", 0]);
  });

  it("is told when it loses its key, once, and what it writes then changes nothing", async () => {
    const { locks, clock } = aProcess(table.tableName, { heartbeatMs: undefined });
    const other = aProcess(table.tableName, { clock });
    const key = freshKey();
    const told: string[] = [];
    const handler = withLock(
      async (_event, { lock }) => {
        await other.locks.acquire(key, { force: true });
        await clock.pass(2_000);
        told.push(`${lock.status}, signal ${lock.signal.aborted}`);
        return "mine";
      },
      { key: () => key, namespace: false, locks, leaseMs: 3_000, onLost: (_lock, error) => told.push(error.reason) },
    );
    expect(await handler({}, lambdaContext())).toBe("mine");
    expect(told).toEqual(["stolen", "lost, signal true"]);
    expect((await other.locks.get(key))?.status).toBe("IN_PROGRESS");
  });
});

describe("a handler with several keys, or several permits", () => {
  it("several keys are taken, finished and replayed together", async () => {
    const { client, sent } = realTime();
    const pair = [freshKey(), freshKey()];
    let runs = 0;
    const handler = withLock(() => ++runs, { key: () => pair, namespace: false, client, tableName: table.tableName });
    expect([await handler({}, lambdaContext()), await handler({}, lambdaContext())]).toEqual([1, 1]);
    expect(sent).toEqual(Array(3).fill("TransactWriteItems"));
  });

  it("permits let as many run at once, and refuse the next", async () => {
    const { client } = realTime();
    const key = freshKey();
    const gate = Promise.withResolvers<void>();
    const options = { key: () => key, namespace: false as const, client, tableName: table.tableName, permits: 2 };
    const handler = withSemaphore(() => gate.promise, options);
    const running = [handler({}, lambdaContext()), handler({}, lambdaContext())];
    await turn(100);
    await expect(handler({}, lambdaContext())).rejects.toMatchObject({ code: "LOCK_HELD" });
    gate.resolve();
    await Promise.all(running);
    const durable = { ...lambdaContext(), executionContext: { durableExecutionArn: "arn" } };
    const again = withSemaphore(() => 1, { ...options, leaseMs: 60_000 });
    await expect(again({}, durable)).rejects.toThrow("a semaphore can't be held by a durable execution");
    const pair = withSemaphore(() => 1, { ...options, key: () => ["a", "b"] as never });
    await expect(pair({}, lambdaContext())).rejects.toThrow("a semaphore has one key");
    expect(() => withLock(() => 1, options)).toThrow(LockOptionsError);
    expect(() => withLock(() => 1, options)).toThrow("withLock: unknown option 'permits'");
    expect(() => withLock(() => 1, { key: () => key, expiry: "observed" })).toThrow("expiry 'observed' needs leaseMs");
  });
});
