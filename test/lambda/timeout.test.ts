/**
 * Middy's early timeout: `timeoutEarlyInMillis` before the deadline it throws or answers, and runs our hooks, while the
 * handler is still at work. What the handler holds must then be left to its lease.
 */
import { beforeAll, describe, expect, it, vi } from "vitest";
import {
  type DynamoLockOptions,
  dynamoLock,
  type Lock,
  type LockEvent,
  LockHeldError,
  LockLostError,
  withLock,
  withLockBatch,
} from "../../src/index.ts";
import { queue, shop } from "../support/batches.ts";
import { lambdaContext } from "../support/lambda.ts";
import {
  chain,
  deferred,
  finished,
  type Handler,
  inProgress,
  invoker,
  type Middy,
  oneRun,
  type ReportEvent,
  released,
  reportDay,
  type Table,
  tableOfLocks,
  versions,
} from "../support/middy.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});

type Options = Partial<DynamoLockOptions<ReportEvent>>;

/** A context whose remaining time only changes when the test says so. Middy asks for it once, after calling the handler. */
const invocation = () => {
  let remainingMs = 10_000;
  return {
    context: lambdaContext({ getRemainingTimeInMillis: () => remainingMs }),
    left(ms: number) {
      remainingMs = ms;
    },
  };
};

/**
 * A context with a real deadline that is only set once the key is taken: how long that takes is up to the machine. Before,
 * there is time enough.
 */
const deadlineOnceTaken = (timeoutMs: number) => {
  let deadline: number | undefined;
  const begin = () => {
    deadline ??= Date.now() + timeoutMs;
  };
  const getRemainingTimeInMillis = () => (deadline === undefined ? 10_000 : deadline - Date.now());
  return {
    context: lambdaContext({ getRemainingTimeInMillis }),
    begin,
    /** Begins with the event that tells of the lock, which comes before anything looks at the deadline again. */
    beginning: <T extends ReturnType<typeof reportDay>["options"]>(options: T): T => ({
      ...options,
      onEvent: (event: LockEvent) => {
        begin();
        options.onEvent(event);
      },
    }),
  };
};

/** A handler that works until the test lets it end, from a moment when `leftMs` of the invocation are left. */
const slowRun = (middy: Middy, plugin: object, options: Options, leftMs: number, leftToHooksMs = leftMs) => {
  const day = reportDay(table);
  const { context, left } = invocation();
  const work = deferred<unknown>();
  work.promise.catch(() => {}); // may fail before the handler waits for it
  const ended = deferred();
  let lock: Lock | undefined;
  const handler = vi.fn<Handler>(async (_event, handlerContext) => {
    lock = handlerContext.lock;
    left(leftMs);
    queueMicrotask(() => left(leftToHooksMs)); // after Middy has asked
    return work.promise.finally(() => ended.resolve());
  });
  const invoke = chain(middy, [dynamoLock({ ...day.options, ...options })], handler, plugin);
  return { day, lock: () => lock, work, ended: ended.promise, outcome: invoke(day.event, context) };
};

const tooLate = new Error("too late");
const endings = [
  {
    what: "Middy's default TimeoutError",
    plugin: {},
    outcome: { status: "rejected", reason: expect.objectContaining({ name: "TimeoutError" }) },
  },
  {
    what: "timeoutEarlyResponse answers",
    plugin: { timeoutEarlyResponse: () => ({ statusCode: 504 }) },
    outcome: { status: "fulfilled", value: { statusCode: 504 } },
  },
  {
    what: "timeoutEarlyResponse answers later",
    plugin: { timeoutEarlyResponse: async () => ({ statusCode: 504 }) },
    outcome: { status: "fulfilled", value: { statusCode: 504 } },
  },
  {
    what: "timeoutEarlyResponse answers nothing",
    plugin: { timeoutEarlyResponse: () => undefined },
    outcome: { status: "fulfilled", value: undefined },
  },
  {
    what: "timeoutEarlyResponse throws its own",
    plugin: {
      timeoutEarlyResponse: () => {
        throw tooLate;
      },
    },
    outcome: { status: "rejected", reason: tooLate },
  },
];
const times = [
  { when: "Middy's default time", timing: {}, options: {} as Options, earlyMs: 5 },
  {
    when: "1,500 ms, declared",
    timing: { timeoutEarlyInMillis: 1_500 },
    options: { timeoutEarlyMs: 1_500 },
    earlyMs: 1_500,
  },
];
const timeouts = endings.flatMap((ending) => times.map((time) => ({ ...ending, ...time })));

describe.each(versions)("$name", ({ middy }) => {
  describe.each(timeouts)("$what, at $when", ({ plugin, timing, options, outcome, earlyMs }) => {
    // A timer may fire a millisecond before Date.now() gets there.
    it.each([earlyMs, earlyMs + 1])(
      "leaves the key to its lease while the handler runs (%i ms left)",
      async (leftMs) => {
        const run = slowRun(middy, { ...plugin, ...timing }, options, earlyMs, leftMs);
        const { day } = run;
        expect((await Promise.allSettled([run.outcome]))[0]).toEqual(outcome);
        expect(await day.item()).toMatchObject(inProgress(run.lock()));
        expect(await day.item()).not.toHaveProperty("result");
        expect(day.sent).toEqual(["UpdateItem"]);
        expect(day.types()).toEqual(["acquired", "kept"]);
        expect(day.events[1]).toMatchObject({ type: "kept", reason: "timeout", token: run.lock()?.token });
        run.work.resolve("report");
      },
    );

    it("aborts the signal, so that the handler may stop", async () => {
      const run = slowRun(middy, { ...plugin, ...timing }, options, earlyMs);
      await Promise.allSettled([run.outcome]);
      expect(run.lock()?.signal.aborted).toBe(true);
      expect(run.lock()?.signal.reason).toBeInstanceOf(LockLostError);
      run.work.resolve("report");
    });

    it.each([
      { end: "ends", settle: (work: ReturnType<typeof deferred<unknown>>) => work.resolve("report") },
      { end: "fails", settle: (work: ReturnType<typeof deferred<unknown>>) => work.reject(new Error("no data")) },
    ])("writes nothing when the handler $end after all", async ({ settle }) => {
      const run = slowRun(middy, { ...plugin, ...timing }, { ...options, onError: "finish" }, earlyMs);
      const { day } = run;
      await Promise.allSettled([run.outcome]);
      const asItWas = await day.item();
      settle(run.work);
      await run.ended;
      expect(await day.item()).toEqual(asItWas);
      expect(day.sent).toEqual(["UpdateItem"]);
      expect(day.types()).toEqual(["acquired", "kept"]);
    });

    it.each(["release", "finish", "keep"] as const)("whatever onError says: '%s'", async (onError) => {
      const run = slowRun(middy, { ...plugin, ...timing }, { ...options, onError }, earlyMs);
      await Promise.allSettled([run.outcome]);
      expect(await run.day.item()).toMatchObject(inProgress(run.lock()));
      expect(run.day.events.at(-1)).toMatchObject({ type: "kept", reason: "timeout" });
      run.work.resolve("report");
    });

    it("whatever onSuccess says: 'release'", async () => {
      const run = slowRun(middy, { ...plugin, ...timing }, { ...options, onSuccess: "release" }, earlyMs);
      await Promise.allSettled([run.outcome]);
      expect(await run.day.item()).toMatchObject(inProgress(run.lock()));
      run.work.resolve("report");
    });

    it("turns a retry away while the first run is at work", async () => {
      const run = slowRun(middy, { ...plugin, ...timing }, options, earlyMs);
      await Promise.allSettled([run.outcome]);
      const retry = vi.fn<Handler>(async () => "report");
      const invoke = chain(middy, [dynamoLock(run.day.options)], retry);
      await expect(invoke(run.day.event)).rejects.toBeInstanceOf(LockHeldError);
      expect(retry).not.toHaveBeenCalled();
      run.work.resolve("report");
    });
  });

  it("Middy's default TimeoutError is recognised at any time, declared or not", async () => {
    const run = slowRun(middy, { timeoutEarlyInMillis: 3_000 }, {}, 3_000);
    await expect(run.outcome).rejects.toMatchObject({ name: "TimeoutError" });
    expect(await run.day.item()).toMatchObject(inProgress(run.lock()));
    expect(run.day.types()).toEqual(["acquired", "kept"]);
    run.work.resolve("report");
  });

  it("with real deadlines and timers, all at different moments, no key is settled under a running handler", async () => {
    const work = deferred<string>();
    const plugin = { timeoutEarlyInMillis: 5, timeoutEarlyResponse: () => "timed out" };
    const days = Array.from({ length: 60 }, () => reportDay(table));
    const outcomes = days.map((day, index) => {
      const { context, beginning } = deadlineOnceTaken(50 + index * 1.7);
      const invoke = chain(middy, [dynamoLock(beginning(day.options))], () => work.promise, plugin);
      return invoke(day.event, context);
    });
    expect(await Promise.all(outcomes)).toEqual(days.map(() => "timed out"));
    work.resolve("report");
    expect(days.map((day) => day.types())).toEqual(days.map(() => ["acquired", "kept"]));
    expect(days.flatMap((day) => day.sent)).toEqual(days.map(() => "UpdateItem"));
  });

  it("a wall clock that is set back meanwhile doesn't make an early timeout look like a handler that ended", async () => {
    const day = reportDay(table);
    const work = deferred<string>();
    let setBackMs = 0;
    const { context, beginning } = deadlineOnceTaken(100);
    const { getRemainingTimeInMillis } = context;
    context.getRemainingTimeInMillis = () => getRemainingTimeInMillis() + setBackMs;
    const timeoutEarlyResponse = () => {
      setBackMs = 1_000; // as NTP may do at any time after Middy started its timer
      return "timed out";
    };
    const options = beginning(day.options);
    const invoke = chain(middy, [dynamoLock(options)], () => work.promise, { timeoutEarlyResponse });
    expect(await invoke(day.event, context)).toBe("timed out");
    expect(await day.item()).toMatchObject({ status: { S: "IN_PROGRESS" } });
    expect(day.types()).toEqual(["acquired", "kept"]);
    work.resolve("report");
  });

  describe("a handler that ended in time is not taken for a timeout", () => {
    const inTime = [
      { what: "with Middy's defaults", plugin: {}, options: {} as Options, leftMs: 8 },
      {
        what: "with Middy's timeout off",
        plugin: { timeoutEarlyInMillis: 0 },
        options: { timeoutEarlyMs: 0 },
        leftMs: 3,
      },
      {
        what: "with a declared time",
        plugin: { timeoutEarlyInMillis: 1_500, timeoutEarlyResponse: () => "timed out" },
        options: { timeoutEarlyMs: 1_500 },
        leftMs: 1_503,
      },
    ];

    it.each(inTime)("$what, $leftMs ms before the deadline: it is finished", async ({ plugin, options, leftMs }) => {
      const run = slowRun(middy, plugin, options, leftMs);
      run.work.resolve("report");
      expect(await run.outcome).toBe("report");
      expect(run.day.sent).toEqual(oneRun);
      expect(await run.day.item()).toMatchObject(finished("report"));
      expect(run.lock()?.signal.aborted).toBe(false);
    });

    it.each(inTime)(
      "$what, $leftMs ms before the deadline: its failure releases",
      async ({ plugin, options, leftMs }) => {
        const run = slowRun(middy, plugin, options, leftMs);
        run.work.reject(new Error("no data"));
        await expect(run.outcome).rejects.toThrow("no data");
        expect(run.day.sent).toEqual(oneRun);
        expect(await run.day.item()).toMatchObject(released);
      },
    );

    it("nor are its own TimeoutErrors: they are failures like any other", async () => {
      const day = reportDay(table);
      const invoke = chain(middy, [dynamoLock(day.options)], async () => {
        throw Object.assign(new Error("socket timed out"), { name: "TimeoutError", cause: new Error("ETIMEDOUT") });
      });
      await expect(invoke(day.event)).rejects.toThrow("socket timed out");
      expect(await day.item()).toMatchObject(released);
    });

    it("nor is a context without a deadline, as in a unit test", async () => {
      const day = reportDay(table);
      const invoke = chain(middy, [dynamoLock({ ...day.options, namespace: "report" })], async () => "report");
      expect(await invoke(day.event, {} as never)).toBe("report");
      expect(await day.item()).toMatchObject(finished("report"));
    });
  });

  describe("withLock as Middy's handler knows when it ended", () => {
    it.each(endings)("$what: the key stays held until the handler ends, and is finished then", async (ending) => {
      const day = reportDay(table);
      const { context, left } = invocation();
      const work = deferred<string>();
      let lock: Lock | undefined;
      const locked = withLock<ReportEvent, string>((_event, handlerContext) => {
        lock = handlerContext.lock;
        return work.promise;
      }, day.options);
      let settled: Promise<unknown> | undefined;
      const invoke = chain(
        middy,
        [],
        (event, handlerContext) => {
          settled = locked(event, handlerContext);
          left(1_550);
          return settled;
        },
        { ...ending.plugin, timeoutEarlyInMillis: 1_500 },
      );
      // Nothing is declared to us, and the answer comes long before the deadline.
      const outcome = Promise.allSettled([invoke(day.event, context)]);
      await vi.waitFor(() => expect(lock).toBeDefined());
      expect((await outcome)[0]).toEqual(ending.outcome);
      expect(await day.item()).toMatchObject(inProgress(lock));
      expect(day.sent).toEqual(["UpdateItem"]);
      work.resolve("report");
      await settled;
      expect(await day.item()).toMatchObject(finished("report"));
      expect(day.types()).toEqual(["acquired", "finished"]);
    });
  });
});

describe.each(versions)("$name within withLock and withLockBatch", ({ middy }) => {
  it("an early timeout, which throws, leaves the key to its lease: the handler still runs", async () => {
    const day = reportDay(table);
    const gate = deferred();
    let lock: Lock | undefined;
    const { context, begin } = deadlineOnceTaken(50);
    const inner = chain(middy, [], async (_event, handlerContext) => {
      begin();
      lock = handlerContext.lock;
      await gate.promise;
      return "late";
    });
    const invoke = invoker(withLock(inner as never, day.options));
    await expect(invoke(day.event, context)).rejects.toMatchObject({ name: "TimeoutError" });
    expect(await day.item()).toMatchObject(inProgress(lock));
    expect([lock?.signal.aborted, day.types()]).toEqual([true, ["acquired", "kept"]]);
    gate.resolve();
  });

  it("so do those of a batch", async () => {
    const { options, events, statuses } = shop(table);
    const gate = deferred();
    // So much of the invocation is left that only the error itself tells of the timeout.
    const { context } = invocation();
    const inner = chain(middy, [], () => gate.promise, { timeoutEarlyInMillis: 9_950 });
    const handler = withLockBatch(inner as never, options);
    await expect(handler(queue("a", "b"), context)).rejects.toMatchObject({ name: "TimeoutError" });
    expect(await statuses("a", "b")).toEqual(["IN_PROGRESS", "IN_PROGRESS"]);
    expect(events.map(({ type }) => type)).toEqual(["acquired", "acquired", "kept", "kept"]);
    gate.resolve();
  });
});
