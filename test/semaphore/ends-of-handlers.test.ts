/** What becomes of a permit, however its handler ends: by `dynamoSemaphore` on both Middys, and by `withSemaphore`. */
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import {
  type DynamoSemaphoreOptions,
  dynamoLock,
  dynamoSemaphore,
  type Lock,
  LockClient,
  LockHeldError,
  LockTimeoutError,
  withSemaphore,
} from "../../src/index.ts";
import { lambdaContext } from "../support/lambda.ts";
import {
  chain,
  deferred,
  failing,
  type Handler,
  type Invoke,
  invoker,
  type ReportEvent,
  reportDay,
  reporter,
  succeeding,
  type Table,
  tableOfLocks,
  versions,
} from "../support/middy.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});
afterEach(() => {
  vi.restoreAllMocks();
});

type Options = DynamoSemaphoreOptions<ReportEvent>;
const ways: { name: string; wrap: (handler: Handler, options: Options) => Invoke }[] = [
  ...versions.map(({ name, middy }) => ({
    name: `dynamoSemaphore on ${name}`,
    wrap: (handler: Handler, options: Options) => chain(middy, [dynamoSemaphore<ReportEvent>(options)], handler),
  })),
  { name: "withSemaphore", wrap: (handler, options) => invoker(withSemaphore(handler, options)) },
];

const setUp = (options: Partial<Options> = {}) => {
  const day = reportDay(table);
  const locks = new LockClient({ client: table.client, tableName: table.tableName });
  const all: Options = { ...day.options, permits: 1, ...options };
  return { day, options: all, count: () => locks.count(day.key) };
};

describe.each(ways)("$name", ({ wrap }) => {
  it("takes one permit and gives it back: two requests", async () => {
    const { day, options, count } = setUp();
    const { handler, locks } = reporter();
    expect(await wrap(handler, options)(day.event)).toBe("report");
    expect(day.sent).toEqual(["UpdateItem", "UpdateItem"]);
    expect(day.types()).toEqual(["acquired", "released"]);
    expect([locks[0]?.status, await count()]).toEqual(["released", 0]);
  });

  it("hands on the response as it is: none is stored", async () => {
    const { day, options } = setUp();
    const response = { at: new Date(), size: 1n };
    expect(await wrap(async () => response, options)(day.event)).toBe(response);
    expect(await day.item()).not.toHaveProperty("result");
  });

  it("waits in vain, and says so, or is answered", async () => {
    const { day, options } = setUp({ waitMs: 30 });
    const gate = deferred();
    const holding = wrap(() => gate.promise, options)(day.event);
    await vi.waitFor(() => expect(day.types()).toEqual(["acquired"]));
    await expect(wrap(succeeding(), options)(day.event)).rejects.toBeInstanceOf(LockTimeoutError);
    const busy = wrap(succeeding(), {
      ...options,
      duplicateResponse: ({ permits, holders }) => ({ statusCode: 429, body: `${holders?.length} of ${permits}` }),
    });
    expect(await busy(day.event)).toEqual({ statusCode: 429, body: "1 of 1" });
    gate.resolve();
    await holding;
  });

  it("asks a function what to do with the permit of a handler that failed", async () => {
    const { day, options, count } = setUp({ onError: async (error) => (error === "keep it" ? "keep" : "release") });
    await expect(wrap(failing("give it back"), options)(day.event)).rejects.toBe("give it back");
    expect(await count()).toBe(0);
    await expect(wrap(failing("keep it"), options)(day.event)).rejects.toBe("keep it");
    expect(await count()).toBe(1);
  });

  it.each(["finish", "keeep", undefined])("gives it back, and complains, when that function says %s", async (says) => {
    const error = vi.spyOn(console, "error").mockImplementation(() => {});
    const { day, options, count } = setUp({ onError: (() => says) as never });
    await expect(wrap(failing(), options)(day.event)).rejects.toThrow("no paper");
    expect(error.mock.calls.flat().join()).toContain("onError must return 'release' or 'keep', got ");
    expect(await count()).toBe(0);
  });

  it("refuses 'finish' as onError at construction", () => {
    const { options } = setUp({ onError: "finish" as never });
    expect(() => wrap(succeeding(), options)).toThrow("onError must be 'release', 'keep' or a function, got 'finish'");
  });

  it("a permit that the handler released is released once", async () => {
    const { day, options } = setUp();
    await wrap((_event, { lock }) => lock.release(), options)(day.event);
    expect(day.sent).toEqual(["UpdateItem", "UpdateItem"]);
  });

  it("a crashed run's permit is free after the invocation's deadline", async () => {
    const { day, options, count } = setUp();
    let lock: Lock | undefined;
    const context = lambdaContext({ timeoutMs: 60_000 });
    const crash = wrap(async (_event, { lock: own }) => {
      lock = own;
      return deferred().promise; // never
    }, options);
    void crash(day.event, context);
    await vi.waitFor(() => expect(lock).toBeDefined());
    expect(lock?.remainingMs).toBeGreaterThan(59_000);
    expect(lock?.remainingMs).toBeLessThanOrEqual(60_000);
    expect(await count()).toBe(1);
  });

  it("one that is too short for its heartbeat, or for a client's, is refused at construction", () => {
    const { day, options } = setUp({ leaseMs: 1_000, heartbeatMs: 600 });
    expect(() => wrap(succeeding(), options)).toThrow("heartbeatMs (600) must be at most half of leaseMs (1000)");
    const locks = new LockClient({ client: table.client, tableName: table.tableName, heartbeatMs: 5_000 });
    const ofClient: Options = { key: day.options.key, locks, permits: 1, leaseMs: 8_000 };
    expect(() => wrap(succeeding(), ofClient)).toThrow("heartbeatMs (5000) must be at most half of leaseMs (8000)");
    expect(() => wrap(succeeding(), { ...options, leaseMs: 2_592_000_001 })).toThrow(
      "leaseMs must be a whole number of milliseconds from 1 to 2592000000, got 2592000001",
    );
  });

  it("a client that trusts no clock, and an imitation of one, are refused at construction", () => {
    const key = () => "k";
    const locks = new LockClient({ client: table.client, tableName: table.tableName, expiry: "observed" });
    expect(() => wrap(succeeding(), { key, permits: 2, locks })).toThrow(
      "locks must not have expiry 'observed': permits end by the clock",
    );
    expect(() => wrap(succeeding(), { key, permits: 2, locks: new Proxy(locks, {}) })).toThrow(
      "locks must be a LockClient, got LockClient {}",
    );
  });

  it("in a durable execution it is refused as such, with leaseMs and without", async () => {
    const { day, options } = setUp();
    const handler = succeeding();
    const durable = { ...lambdaContext(), executionContext: { durableExecutionArn: "arn" } };
    for (const leaseMs of [undefined, 3_600_000]) {
      await expect(wrap(handler, { ...options, leaseMs })(day.event, durable)).rejects.toThrow(
        "a semaphore can't be held by a durable execution",
      );
    }
    expect([handler.mock.calls, day.sent]).toEqual([[], []]);
  });

  it("disabled, it permits everybody, and sends nothing", async () => {
    const { day, options } = setUp({ disabled: true });
    const invoke = wrap(succeeding(), options);
    expect(await Promise.all([1, 2, 3].map(() => invoke(day.event)))).toEqual(["report", "report", "report"]);
    expect(day.sent).toEqual([]);
  });

  it("disabled, the permit is one too: it can't be finished", async () => {
    const { day, options } = setUp({ disabled: true });
    const invoke = wrap(async (_event, { lock }) => lock.finish(), options);
    await expect(invoke(day.event)).rejects.toThrow("finish: a semaphore can only be released");
  });
});

describe.each(versions)("dynamoSemaphore on $name", ({ middy }) => {
  it.each([
    ["Middy's TimeoutError", {}, { status: "rejected", reason: expect.objectContaining({ name: "TimeoutError" }) }],
    ["an early answer", { timeoutEarlyResponse: () => "late" }, { status: "fulfilled", value: "late" }],
  ])("%s leaves the permit to its lease while the handler runs", async (_name, plugin, expected) => {
    const { day, options, count } = setUp();
    const gate = deferred();
    let remainingMs = 10_000;
    const context = lambdaContext({ getRemainingTimeInMillis: () => remainingMs });
    let lock: Lock | undefined;
    const invoke = chain(
      middy,
      [dynamoSemaphore(options)],
      (_event, { lock: own }) => {
        lock = own;
        remainingMs = 5;
        return gate.promise;
      },
      plugin,
    );
    const [outcome] = await Promise.allSettled([invoke(day.event, context)]);
    expect(outcome).toEqual(expected);
    expect(await count()).toBe(1);
    expect([lock?.signal.aborted, day.types()]).toEqual([true, ["acquired", "kept"]]);
    gate.resolve();
  });

  it("within dynamoLock: once only, and as many at once as it permits", async () => {
    const day = reportDay(table);
    const gate = deferred();
    let runs = 0;
    const invoke = chain(
      middy,
      [
        dynamoLock<ReportEvent>({ ...day.options, key: (event) => `${event.date}#${event.region}` }),
        dynamoSemaphore<ReportEvent>({ ...day.options, permits: 2 }),
      ],
      async (event) => {
        runs++;
        await gate.promise;
        return event.region;
      },
    );
    const [a, b] = ["a", "b"].map((region) => invoke({ ...day.event, region }));
    await vi.waitFor(() => expect(runs).toBe(2));
    await expect(invoke({ ...day.event, region: "c" })).rejects.toBeInstanceOf(LockHeldError);
    gate.resolve();
    expect(await Promise.all([a, b])).toEqual(["a", "b"]);
    expect(await invoke({ ...day.event, region: "c" })).toBe("c"); // its key was released when it found no permit
    expect(await invoke({ ...day.event, region: "a" })).toBe("a");
    expect(runs).toBe(3);
  });

  it("carries its name into Middy's profiling hooks", () => {
    const { before, after, onError } = dynamoSemaphore({ key: () => "k", permits: 1 });
    expect([before, after, onError].map((hook) => hook?.name)).toEqual(
      ["Before", "After", "OnError"].map((hook) => `dynamoSemaphoreMiddleware${hook}`),
    );
    expect(middy).toBeTypeOf("function");
  });
});

describe("withSemaphore", () => {
  it("refuses what is no handler, or takes a callback", () => {
    const options = { key: () => "k", permits: 1 };
    expect(() => withSemaphore("handler" as never, options)).toThrow(
      "withSemaphore: the handler, the first argument, must be a function, got 'handler'",
    );
    const callback = (_event: unknown, _context: unknown, done: () => void) => done();
    expect(() => withSemaphore(callback as never, options)).toThrow("withSemaphore");
    expect(() => withSemaphore(() => 1, undefined as never)).toThrow("withSemaphore: options must be an object, got");
  });
});
