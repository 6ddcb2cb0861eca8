/** A run has its own lock: what a handler finds in its context belongs to its own key, however contexts are shared, nested or made. */
import { inspect } from "node:util";
import { Logger } from "@aws-lambda-powertools/logger";
import { injectLambdaContext } from "@aws-lambda-powertools/logger/middleware";
import type { Context } from "aws-lambda";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { type DynamoLockOptions, dynamoLock, type Lock, LockClient, withLock, withLockBatch } from "../../src/index.ts";
import { orderOf, queue, shop } from "../support/batches.ts";
import { lambdaContext } from "../support/lambda.ts";
import {
  chain,
  finished,
  type Handler,
  invoker,
  type ReportEvent,
  released,
  reportDay,
  type Table,
  tableOfLocks,
  versions,
  wrappers,
} from "../support/middy.ts";

const fail = (): never => {
  throw new Error("can't be read");
};
const readLock = (context: { lock?: unknown }): unknown => {
  try {
    return context.lock;
  } catch (error) {
    return error;
  }
};

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});

/** What a handler writes together with the end of its key. */
const payment = (id: string) => ({ Put: { TableName: table.tableName, Item: { lock_id: { S: `paid ${id}` } } } });

describe.each(wrappers)("$name", ({ wrap }) => {
  it("three runs at once on one context pay each under its own lock", async () => {
    const days = [reportDay(table), reportDay(table), reportDay(table)];
    const context = lambdaContext();
    const asItWas = { ...context };
    const all = Promise.withResolvers<void>();
    let begun = 0;
    const pay: Handler = async ({ date }, runs) => {
      if (++begun === days.length) all.resolve();
      await all.promise;
      await runs.lock.commit([payment(date)], { result: date });
      return runs.lock.key;
    };
    const invoke = wrap(pay, { ...(days[0] as (typeof days)[number]).options });
    const keys = await Promise.all(days.map(({ event }) => invoke(event, context)));
    expect(keys).toEqual(days.map(({ key }) => key));
    for (const day of days) {
      expect(await table.item(`paid ${day.event.date}`)).toBeDefined();
      expect(await day.item()).toMatchObject(finished(day.event.date));
    }
    expect(context).toEqual(asItWas);
    expect(context).not.toHaveProperty("lock");
  });

  it("an outer run's lock is its own again when an inner one has ended, well or badly", async () => {
    const [outer, inner] = [reportDay(table), reportDay(table)];
    const seen: string[] = [];
    const invoke = wrap(
      async (_event, context) => {
        seen.push(context.lock.key);
        await withLock(async (_inner: ReportEvent, inners: typeof context) => {
          seen.push(inners.lock.key);
          if (seen.length > 2) throw new Error("no data");
        }, inner.options)(inner.event, context).catch(() => {});
        seen.push(context.lock.key);
        await context.lock.commit([], { result: "report" });
      },
      { ...outer.options, onError: "keep" },
    );
    await invoke(outer.event);
    expect(seen).toEqual([outer.key, inner.key, outer.key]);
    expect(await outer.item()).toMatchObject(finished("report"));
    expect(await inner.item()).toMatchObject(finished(undefined));
  });

  it("without a key there is no lock, also not that of a run around it or before it", async () => {
    const day = reportDay(table);
    const locks: (Lock | undefined)[] = [];
    const properties: boolean[] = [];
    const note: Handler = async (_event, context) => {
      locks.push(context.lock);
      properties.push("lock" in context);
    };
    const without = wrap(note, { ...day.options, key: () => undefined, onMissingKey: "run" });
    const left = Object.assign(lambdaContext(), { lock: "left by another" });
    await without(day.event, left);
    const within = wrap(async (event, context) => without(event, context), day.options);
    await within(day.event);
    await without(day.event, Object.create(Object.assign(lambdaContext(), { lock: "inherited" })));
    expect(locks).toEqual([undefined, undefined, undefined]);
    expect(properties.slice(0, 2)).toEqual([false, false]);
    expect(left.lock).toBe("left by another");
  });

  it("in disabled mode too", async () => {
    const day = reportDay(table);
    const context = lambdaContext();
    const locks = new Set<Lock>();
    const invoke = wrap(async (_event, { lock }) => void locks.add(lock), { ...day.options, disabled: true });
    await Promise.all([invoke(day.event, context), invoke(day.event, context)]);
    expect(locks.size).toBe(2);
    expect(context).not.toHaveProperty("lock");
  });

  describe("contexts", () => {
    class ClassContext {
      readonly #deadline = Date.now() + 10_000;
      #waits = true;
      awsRequestId = "request-1";
      functionName = "report";
      get callbackWaitsForEmptyEventLoop() {
        return this.#waits;
      }
      set callbackWaitsForEmptyEventLoop(waits) {
        this.#waits = waits;
      }
      // Middy calls it without its context.
      getRemainingTimeInMillis = () => this.#deadline - Date.now();
      isWaiting() {
        return this.#waits;
      }
    }
    const fixed = { value: "not ours", enumerable: true };
    const kinds: Record<string, () => object> = {
      frozen: () => Object.freeze(lambdaContext()),
      sealed: () => Object.seal(lambdaContext()),
      "without a prototype": () => Object.assign(Object.create(null), lambdaContext()),
      "an instance of a class": () => new ClassContext(),
      "a frozen instance": () => Object.freeze(new ClassContext()),
      inherited: () => Object.create(lambdaContext()),
      "with a lock that can't be changed": () => Object.freeze(Object.defineProperty(lambdaContext(), "lock", fixed)),
      "with a lock that is an accessor": () =>
        Object.defineProperty(lambdaContext(), "lock", {
          get: () => "not ours",
          set: () => {
            throw new Error("lock is read-only");
          },
          enumerable: true,
        }),
      "with a lock that can't be read": () =>
        Object.defineProperty({ ...lambdaContext() }, "lock", { get: () => fail(), configurable: true }),
      "with an inherited lock": () => Object.create({ ...lambdaContext(), lock: "not ours" }),
      "with an inherited lock that can't be changed": () =>
        Object.create(Object.freeze({ ...lambdaContext(), lock: "not ours" })),
      "an instance whose class has a lock": () =>
        new (class extends ClassContext {
          get lock() {
            return "not ours";
          }
        })(),
      "a frozen instance with a lock": () => Object.freeze(Object.assign(new ClassContext(), { lock: "not ours" })),
      "a proxy": () => new Proxy(lambdaContext(), {}),
      "a proxy of a frozen one": () => new Proxy(Object.freeze(lambdaContext()), {}),
    };

    it.each(Object.entries(kinds))(
      "%s: has the run's lock, works as before, and is left as it was",
      async (_name, make) => {
        const day = reportDay(table);
        const context = make() as Context & { lock?: unknown };
        const lockBefore = readLock(context);
        const describedBefore = Object.getOwnPropertyDescriptors(context);
        let seen: Context & { lock: Lock } = {} as never;
        const invoke = wrap(async (_event, runs) => {
          seen = runs;
          expect(runs.lock.key).toBe(day.key);
          expect(runs.lock.remainingMs).toBeGreaterThan(5_000);
          expect(runs.getRemainingTimeInMillis()).toBeGreaterThan(5_000);
          expect(runs.awsRequestId).toBe(context.awsRequestId);
          return "report";
        }, day.options);
        expect(await invoke(day.event, context)).toBe("report");
        expect(Object.getPrototypeOf(seen)).toBe(Object.getPrototypeOf(context));
        const [keys, keysBefore] = [seen, context].map((one) => Object.keys(one).filter((name) => name !== "lock"));
        expect(keys).toEqual(keysBefore);
        expect(Object.keys(seen)).toContain("lock");
        expect({ ...seen }).toMatchObject({ ...context, lock: { key: day.key } });
        const { lock: _lock, ...serialized } = JSON.parse(JSON.stringify(seen));
        const { lock: _before, ...serializedBefore } = JSON.parse(JSON.stringify(context));
        expect(serialized).toEqual(serializedBefore);
        for (const name of keysBefore ?? []) expect(inspect(seen)).toContain(name);
        expect(inspect(seen)).toContain(day.key);
        expect(readLock(context)).toEqual(lockBefore);
        expect(Object.getOwnPropertyDescriptors(context)).toEqual(describedBefore);
        expect(await day.item()).toMatchObject(finished("report"));
      },
    );

    it("what is set through an accessor reaches Lambda's", async () => {
      let waits = true;
      const lambdas = Object.defineProperty(lambdaContext(), "callbackWaitsForEmptyEventLoop", {
        get: () => waits,
        set: (value) => {
          waits = value;
        },
        enumerable: true,
        configurable: true,
      });
      const ofClass = new ClassContext() as unknown as Context;
      for (const context of [lambdas, ofClass]) {
        const day = reportDay(table);
        await wrap(async (_event, runs) => {
          runs.callbackWaitsForEmptyEventLoop = false;
        }, day.options)(day.event, context);
        expect(context.callbackWaitsForEmptyEventLoop).toBe(false);
      }
    });

    it("a durable one is not copied, whatever object it is: what counts steps counts them once", async () => {
      const day = reportDay(table);
      const lambdas = lambdaContext();
      const context = {
        ...lambdas,
        lambdaContext: lambdas,
        executionContext: { durableExecutionArn: `arn:${day.event.date}` },
        steps: 0,
        step(this: { steps: number }) {
          return ++this.steps;
        },
      };
      const options = { ...day.options, leaseMs: 60_000 };
      const invoke = wrap(async (_event, runs) => {
        const { step: _step, ...steps } = runs as unknown as typeof context;
        const run = runs as unknown as typeof context;
        return [run.step(), context.step(), run.step(), run.steps, steps.steps];
      }, options);
      expect(await invoke(day.event, context)).toEqual([1, 2, 3, 3, 0]);
      expect(context.steps).toBe(3);
      expect(context).not.toHaveProperty("lock");
    });

    it("what can't be described doesn't leave the key taken", async () => {
      const day = reportDay(table);
      const context = new Proxy(lambdaContext(), {
        ownKeys: () => {
          throw new TypeError("no keys");
        },
      });
      await expect(wrap(async () => "report", day.options)(day.event, context)).rejects.toThrow("no keys");
      expect(await day.item()).toMatchObject(released);
    });
  });
});

/** Without Middy's early timeout, which takes such contexts for ones whose time is up. */
const untimed: typeof wrappers = [
  ...versions.map(({ name, middy }) => ({
    name: `dynamoLock on ${name}`,
    wrap: (handler: Handler, options: DynamoLockOptions<ReportEvent>) =>
      chain(middy, [dynamoLock(options)], handler, { timeoutEarlyInMillis: 0 }),
  })),
  ...wrappers.slice(-1),
];

describe.each(untimed)("contexts made for tests: $name", ({ wrap }) => {
  const answers = (answer: (name: PropertyKey) => unknown) => new Proxy({}, { get: (_target, name) => answer(name) });
  const deep: unknown = new Proxy(() => deep, { get: (_target, name) => (name === "then" ? undefined : deep) });
  const mocks: Record<string, () => unknown> = {
    "an empty object": () => ({}),
    "getRemainingTimeInMillis returns undefined": () => ({ getRemainingTimeInMillis: vi.fn() }),
    "it returns NaN": () => ({ getRemainingTimeInMillis: () => Number.NaN }),
    "it returns Infinity": () => ({ getRemainingTimeInMillis: () => Number.POSITIVE_INFINITY }),
    "it returns -Infinity": () => ({ getRemainingTimeInMillis: () => Number.NEGATIVE_INFINITY }),
    "it returns the largest integer": () => ({ getRemainingTimeInMillis: () => Number.MAX_SAFE_INTEGER }),
    "it returns a text": () => ({ getRemainingTimeInMillis: () => "3000" }),
    "it returns a Promise": () => ({ getRemainingTimeInMillis: async () => 3_000 }),
    "it is a number": () => ({ getRemainingTimeInMillis: 3_000 }),
    "it throws": () => ({
      getRemainingTimeInMillis: () => {
        throw new Error("not implemented");
      },
    }),
    "names are functions": () => ({ awsRequestId: vi.fn(), functionName: vi.fn(), executionContext: vi.fn() }),
    "names are empty": () => ({ awsRequestId: "", functionName: "", executionContext: null, lambdaContext: null }),
    "a mock that answers to every name": () => answers(() => vi.fn()),
    "one that answers to every name but then": () => answers((name) => (name === "then" ? undefined : vi.fn())),
    "one that answers to every name with itself": () => deep,
  };

  it.each(Object.entries(mocks))("%s: the handler runs, under a lease of the client's", async (_name, make) => {
    const day = reportDay(table);
    const locks = new LockClient({ client: day.client, tableName: table.tableName, leaseMs: 7_000 });
    const invoke = wrap(
      async (_event, context) => {
        expect(context.lock.expiresAt - context.lock.acquiredAt).toBe(7_000);
        return "report";
      },
      { key: day.options.key, locks, namespace: "report" },
    );
    expect(await invoke(day.event, make() as Context)).toBe("report");
    expect(await day.item()).toMatchObject(finished("report"));
  });
});

describe("withLock", () => {
  it.each([undefined, null])(
    "called without a context (%s) gives the handler one that has the lock alone",
    async (context) => {
      const day = reportDay(table);
      const invoke = withLock(async (_event: ReportEvent, runs: object) => Object.keys(runs), day.options);
      expect(await invoke(day.event, context as never)).toEqual(["lock"]);
      expect(await table.item(day.event.date)).toMatchObject(finished(["lock"]));
    },
  );
});

describe("batches", () => {
  type Orders = ReturnType<typeof queue>;

  it("a withLock for each record within withLockBatch doesn't take the batch's locks away, nor another record's", async () => {
    const { options, statuses, namespace } = shop(table);
    const parts = shop(table);
    const seen: string[] = [];
    const shipPart = withLock(
      async (record: Orders["Records"][number], context) => {
        await new Promise(setImmediate);
        seen.push(context.lock.key.split("#").at(-1) as string);
        await context.lock.commit([payment(`part of ${orderOf(record)} ${namespace}`)]);
      },
      { ...parts.options, key: orderOf },
    );
    const invoke = withLockBatch(
      (event: Orders, context) =>
        Promise.allSettled(
          event.Records.map(async (record) => {
            await shipPart(record, context);
            await context.locks.get(record).commit([payment(`${orderOf(record)} ${namespace}`)]);
          }),
        ),
      options,
    );
    const context = lambdaContext();
    expect(await invoke(queue("a", "b", "c"), context)).toMatchObject({ batchItemFailures: [] });
    expect(seen.sort()).toEqual(["a", "b", "c"]);
    expect(await statuses("a", "b", "c")).toEqual(["FINISHED", "FINISHED", "FINISHED"]);
    expect(await parts.statuses("a", "b", "c")).toEqual(["FINISHED", "FINISHED", "FINISHED"]);
    for (const order of ["a", "b", "c"]) expect(await table.item(`paid ${order} ${namespace}`)).toBeDefined();
    expect(Object.keys(context)).toEqual(Object.keys(lambdaContext()));
  });

  it.each([undefined, null])("withLockBatch called without a context (%s)", async (context) => {
    const { options, statuses } = shop(table);
    const invoke = withLockBatch(async (_event: Orders, runs: object) => {
      expect(Object.keys(runs)).toEqual(["locks"]);
    }, options);
    expect(await invoke(queue("a"), context as never)).toMatchObject({ batchItemFailures: [] });
    expect(await statuses("a")).toEqual(["FINISHED"]);
  });

  it("two batches at once on one context find each its own records' locks", async () => {
    const { options, statuses } = shop(table);
    const both = Promise.withResolvers<void>();
    let begun = 0;
    const invoke = withLockBatch(async (event: Orders, { locks }) => {
      if (++begun === 2) both.resolve();
      await both.promise;
      return Promise.allSettled(event.Records.map(async (record) => locks.get(record).finish()));
    }, options);
    const context = Object.freeze(lambdaContext());
    const [first, second] = [queue("a", "b"), { Records: queue("0", "0", "c", "d").Records.slice(2) }];
    for (const response of await Promise.all([invoke(first, context), invoke(second, context)]))
      expect(response).toMatchObject({ batchItemFailures: [] });
    expect(await statuses("a", "b", "c", "d")).toEqual(Array(4).fill("FINISHED"));
  });
});

describe.each(versions)("$name: other middlewares", ({ middy }) => {
  it("find the run's context until Middy ends, and the caller's is left as it was", async () => {
    const day = reportDay(table);
    const seen: [string, string | undefined][] = [];
    const note = (name: string) => (request: { context: { lock?: Lock } }) => {
      seen.push([name, request.context.lock?.key]);
    };
    const around = { before: note("before"), after: note("after"), onError: note("onError") };
    const within = { before: note("inner before"), after: note("inner after") };
    const context = lambdaContext();
    let fails = false;
    const invoke = chain(middy, [around, dynamoLock(day.options), within], async () => {
      if (fails) throw new Error("no data");
    });
    await invoke(day.event, context);
    fails = true;
    const other = reportDay(table);
    await expect(invoke(other.event, context)).rejects.toThrow("no data");
    expect(seen).toEqual([
      ["before", undefined],
      ["inner before", day.key],
      ["inner after", day.key],
      ["after", day.key],
      ["before", undefined],
      ["inner before", other.key],
      ["onError", other.key],
    ]);
    expect(context).not.toHaveProperty("lock");
  });

  it("what they put into the context, before or behind, is there for the handler", async () => {
    const day = reportDay(table);
    const put = (name: string) => ({
      before: (request: { context: object }) => void Object.assign(request.context, { [name]: name }),
    });
    const invoke = chain(middy, [put("before"), dynamoLock(day.options), put("behind")], async (_event, context) => {
      const { before, behind } = context as unknown as Record<string, string>;
      return `${before} ${behind} ${context.lock.key}`;
    });
    expect(await invoke(day.event)).toBe(`before behind ${day.key}`);
  });

  it.each(["before", "behind"])("Powertools' injectLambdaContext %s", async (place) => {
    const day = reportDay(table);
    vi.stubEnv("POWERTOOLS_DEV", "true");
    const info = vi.spyOn(console, "info").mockImplementation(() => {});
    const logger = new Logger({ serviceName: "reports" });
    const inject = injectLambdaContext(logger, { logEvent: false });
    const context = lambdaContext();
    const chained = place === "before" ? [inject, dynamoLock(day.options)] : [dynamoLock(day.options), inject];
    await chain(middy, chained, async () => logger.info("at it"))(day.event, context);
    expect(JSON.parse(String(info.mock.calls[0]?.[0]))).toMatchObject({
      function_name: "report",
      function_request_id: context.awsRequestId,
      function_memory_size: "128",
    });
    vi.unstubAllEnvs();
    info.mockRestore();
  });

  it("the inner of two locks is context.lock, and the outer one is found where a middleware between them keeps it", async () => {
    const [day, other] = [reportDay(table), reportDay(table)];
    const keep = {
      before: (request: { context: { lock: Lock; dayLock?: Lock } }) => {
        request.context.dayLock = request.context.lock;
      },
    };
    const inner = dynamoLock({ ...day.options, key: () => other.event.date });
    const invoke = chain(middy, [dynamoLock(day.options), keep, inner], async (_event, context) => {
      const { dayLock } = context as unknown as { dayLock: Lock };
      return [dayLock.key, context.lock.key];
    });
    expect(await invoke(day.event)).toEqual([day.key, other.key]);
  });
});

it("a handler that is called by another with its context, without Middy, finds what it is told to", async () => {
  const [day, other] = [reportDay(table), reportDay(table)];
  const invoke = invoker(
    withLock(async (_event: ReportEvent, context) => {
      const inner = withLock(async (_e: ReportEvent, { lock }) => lock.key, other.options);
      return [await inner(other.event, { ...context }), context.lock.key];
    }, day.options),
  );
  expect(await invoke(day.event)).toEqual([other.key, day.key]);
});
