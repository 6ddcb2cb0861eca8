/** What the user throws, returns and calls back with may be anything, also something that can't be read, printed or compared. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import {
  type DynamoLockOptions,
  type Lock,
  LockClient,
  LockError,
  type LockEvent,
  ReplayedError,
  withLockBatch,
} from "../../src/index.ts";
import { consumer, failures, orderOf, queue, shop } from "../support/batches.ts";
import { manualClock } from "../support/clock.ts";
import { lambdaContext } from "../support/lambda.ts";
import { released, reportDay, type Table, tableOfLocks, wrappers } from "../support/middy.ts";

let table: Table;
const unhandled: unknown[] = [];
const note = (reason: unknown) => void unhandled.push(reason);
beforeAll(async () => {
  table = await tableOfLocks();
  process.on("unhandledRejection", note);
  process.on("uncaughtExceptionMonitor", note);
});
afterAll(() => {
  process.off("unhandledRejection", note);
  process.off("uncaughtExceptionMonitor", note);
});
beforeEach(() => {
  for (const level of ["warn", "error"] as const) vi.spyOn(console, level).mockImplementation(() => {});
  vi.spyOn(process, "emitWarning").mockImplementation(() => {});
});
afterEach(async () => {
  await new Promise(setImmediate);
  expect(unhandled.splice(0)).toHaveLength(0);
  vi.restoreAllMocks();
});

const fail = (): never => {
  throw new Error("can't be read");
};
const revoked = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};
const unreadable = (...names: string[]) => {
  const error = new Error("out of stock");
  for (const name of names) Object.defineProperty(error, name, { get: fail });
  return error;
};

/** Things that were thrown. */
const thrown: [string, () => unknown][] = [
  ["undefined", () => undefined],
  ["null", () => null],
  ["a symbol", () => Symbol("thrown")],
  ["a bigint", () => 1n],
  ["a function", () => fail],
  ["an object without a prototype", () => Object.create(null)],
  ["an object that throws as text", () => ({ toString: fail, [Symbol.toPrimitive]: fail })],
  [
    "an object whose getters throw",
    () => Object.defineProperties({}, { name: { get: fail }, message: { get: fail }, cause: { get: fail } }),
  ],
  ["an error whose name can't be read", () => unreadable("name")],
  ["an error whose message can't be read", () => unreadable("message")],
  ["an error whose stack can't be read", () => unreadable("stack", "cause")],
  ["an error that throws as text", () => Object.assign(new Error("no"), { toString: fail })],
  [
    "an error whose message is no text",
    () => Object.assign(new Error("no"), { message: Object.create(null), name: 5 }),
  ],
  [
    "an error that is its own cause",
    () => {
      const error = new Error("no");
      error.cause = error;
      return error;
    },
  ],
  ["several errors", () => new AggregateError([unreadable("message"), Object.create(null), undefined])],
  ["a proxy that was revoked", revoked],
  [
    "a mock that answers to every name",
    () => new Proxy(() => {}, { get: (_target, name) => (name === "then" ? undefined : vi.fn()) }),
  ],
];

/** By identity, because a comparison may throw. */
const expectThrown = async (promise: Promise<unknown>, expected: unknown) => {
  const outcome = await promise.then(
    () => ["resolved"],
    (error: unknown) => [error],
  );
  expect(Object.is(outcome[0], expected)).toBe(true);
};

describe.each(wrappers)("$name", ({ name: wrapper, wrap }) => {
  describe.each(thrown)("%s", (_name, make) => {
    const throwing = (value: unknown) => async () => {
      throw value;
    };

    it("thrown by the handler, is what the caller gets, and the key is settled as ever", async () => {
      const cases: [DynamoLockOptions["onError"], { status: { S: string } }][] = [
        [undefined, released],
        ["keep", { status: { S: "IN_PROGRESS" } }],
        [() => "keep", { status: { S: "IN_PROGRESS" } }],
        ["finish", { status: { S: "FINISHED" } }],
        [(error) => (error === value ? "finish" : "keep"), { status: { S: "FINISHED" } }],
      ];
      const value = make();
      for (const [onError, state] of cases) {
        const day = reportDay(table);
        const invoke = wrap(throwing(value), { ...day.options, onError });
        await expectThrown(invoke(day.event), value);
        expect(await day.item()).toMatchObject(state);
        if (state.status.S !== "FINISHED") continue;
        const repeat = await invoke(day.event).catch((error: unknown) => error);
        expect(repeat).toBeInstanceOf(ReplayedError);
        expect(repeat).toMatchObject({
          message: expect.any(String),
          originalName: expect.any(String),
          statusCode: 500,
        });
      }
    });

    it("thrown or returned by onError, doesn't hide the handler's error: the key is released", async () => {
      const own = new Error("no paper");
      for (const onError of [
        () => {
          throw make();
        },
        async () => {
          throw make();
        },
        () => make() as never,
      ]) {
        const day = reportDay(table);
        await expectThrown(wrap(throwing(own), { ...day.options, onError })(day.event), own);
        expect(await day.item()).toMatchObject(released);
      }
    });

    it.each(["key", "owner", "fingerprint"])(
      "thrown by %s, is what the caller gets, and nothing is written",
      async (option) => {
        const day = reportDay(table);
        const value = make();
        const options = {
          ...day.options,
          [option]: () => {
            throw value;
          },
        };
        await expectThrown(wrap(async () => "report", options)(day.event), value);
        expect(day.sent).toEqual([]);
      },
    );

    it("thrown by duplicateResponse, is what the caller gets", async () => {
      const day = reportDay(table);
      const value = make();
      await day.takenByAnother();
      const options = {
        ...day.options,
        duplicateResponse: () => {
          throw value;
        },
      };
      await expectThrown(wrap(async () => "report", options)(day.event), value);
    });

    it("thrown by listeners, changes nothing", async () => {
      const day = reportDay(table);
      const breaks = () => {
        throw make();
      };
      const rejects = async () => breaks();
      for (const react of [breaks, rejects]) {
        const { onEvent: _onEvent, ...options } = day.options;
        const other = reportDay(table);
        const listeners = {
          onEvent: react as () => void,
          logger: { debug: react, warn: react, error: react },
          metrics: { addMetric: react },
        };
        const invoke = wrap(async () => ({ n: 1n }), { ...options, ...listeners }); // which is not stored, and reported
        await invoke(other.event);
        expect(await other.item()).toMatchObject({ status: { S: "FINISHED" } });
        await wrap(async () => "report", { ...options, ...listeners })(other.event);
      }
    });

    it("thrown by onLost, changes nothing", async () => {
      const day = reportDay(table);
      const clock = manualClock();
      const onLost = vi.fn(() => {
        throw make();
      });
      let lock: Lock | undefined;
      const invoke = wrap(
        async (_event, context) => {
          lock = context.lock;
          clock.advance(2_000);
          return "report";
        },
        { ...day.clockedOptions(clock), leaseMs: 1_000, heartbeatMs: false, onLost },
      );
      expect(await invoke(day.event)).toBe("report");
      expect(onLost).toHaveBeenCalledTimes(1);
      expect(lock?.signal.aborted).toBe(true);
    });
  });

  it.each<[string, () => unknown]>([
    [
      "whose body can't be read",
      () => Object.defineProperty({ statusCode: 200 }, "body", { get: fail, enumerable: true }),
    ],
    [
      "that can't be read at all",
      () => new Proxy({}, { get: (_target, name) => (name === "then" ? undefined : fail()) }),
    ],
    [
      "that answers to every name",
      () => new Proxy({}, { get: (_target, name) => (name === "then" ? undefined : vi.fn()) }),
    ],
    ["without a prototype", () => Object.create(null)],
    ["that is a symbol", () => Symbol("report")],
  ])("a response %s is the caller's, and the key is settled", async (name, make) => {
    const day = reportDay(table);
    const response = make();
    const answer = await wrap(async () => response, day.options)(day.event).then((value) => [value]);
    // withLock gives its JSON, where it has one.
    const isSame = (other: unknown) => wrapper === "withLock" && JSON.stringify(other) === JSON.stringify(response);
    expect(Object.is(answer[0], response) || isSame(answer[0])).toBe(true);
    // It may report failures, and Lambda can't send it either.
    const status = name === "that can't be read at all" ? "RELEASED" : "FINISHED";
    expect(await day.item()).toMatchObject({ status: { S: status } });
  });

  it.each<[string, () => unknown]>([
    ...thrown.slice(2),
    ["a Promise that rejects", async () => fail()],
    ["several, one of which can't be read", () => ["a", Object.create(null)]],
  ])("%s as a key, an owner or a lease is refused, and nothing is written", async (name, make) => {
    for (const option of ["key", "owner"]) {
      if (option === "key" && name === "a bigint") continue; // it is one
      const day = reportDay(table);
      const options = { ...day.options, [option]: make };
      await expect(wrap(async () => "report", options)(day.event)).rejects.toBeInstanceOf(Error);
      expect(day.sent).toEqual([]);
    }
  });
});

describe.each(thrown)("batches: %s", (_name, make) => {
  const wrapBatch = (
    handler: (event: ReturnType<typeof queue>) => unknown,
    options: ReturnType<typeof shop>["options"],
  ) => {
    const { onEvent: _onEvent, ...unheard } = options;
    return [
      (event: object) => consumer(unheard, handler as never).invoke(event),
      (event: object) => withLockBatch(handler as never, unheard)(event as never, lambdaContext()),
    ];
  };

  it("thrown by a key function, fails its record alone", async () => {
    for (const door of [0, 1]) {
      const { options, statuses } = shop(table);
      const key = (record: { body: string }) => {
        if (record.body.includes("bad")) throw make();
        return orderOf(record as never);
      };
      const [invoke] = wrapBatch(async () => undefined, { ...options, key: key as never }).slice(door);
      expect(await invoke?.(queue("a", "bad", "c"))).toMatchObject(failures("m2"));
      expect(await statuses("a", "c")).toEqual(["FINISHED", "FINISHED"]);
    }
  });

  it("thrown by the handler, is what the caller gets, and everything is released", async () => {
    for (const door of [0, 1]) {
      const { options, statuses } = shop(table);
      const value = make();
      const [invoke] = wrapBatch(() => Promise.reject(value), options).slice(door);
      await expectThrown(invoke?.(queue("a", "b")) as Promise<unknown>, value);
      expect(await statuses("a", "b")).toEqual(["RELEASED", "RELEASED"]);
    }
  });

  it("as the reason of one record, fails that record", async () => {
    for (const door of [0, 1]) {
      const { options, statuses } = shop(table);
      const results = () => Promise.allSettled([Promise.reject(make()), Promise.resolve()]);
      const [invoke] = wrapBatch(results, options).slice(door);
      expect(await invoke?.(queue("a", "b"))).toMatchObject(failures("m1"));
      expect(await statuses("a", "b")).toEqual(["RELEASED", "FINISHED"]);
    }
  });
});

describe.each(thrown)("LockClient: %s", (_name, make) => {
  it.each(["run", "once"] as const)(
    "thrown by the work of %s, is what the caller gets, and the key is released",
    async (verb) => {
      const events: LockEvent[] = [];
      const locks = new LockClient({
        client: table.client,
        tableName: table.tableName,
        onEvent: (event) => void events.push(event),
      });
      const value = make();
      await expectThrown(
        locks[verb](`hostile ${verb} ${_name}`, () => {
          throw value;
        }),
        value,
      );
      expect(events.map(({ type }) => type)).toEqual(["acquired", "released"]);
    },
  );

  it("thrown by onExpiring, changes nothing", async () => {
    const clock = manualClock();
    const locks = new LockClient({ client: table.client, tableName: table.tableName, clock });
    const onExpiring = vi.fn(() => {
      throw make();
    });
    const lock = await locks.acquire(`expiring ${_name}`, {
      leaseMs: 1_000,
      heartbeatMs: false,
      safeMs: 500,
      onExpiring,
    });
    clock.advance(600);
    expect(onExpiring).toHaveBeenCalledTimes(1);
    await lock.release();
    expect(lock.status).toBe("released");
  });

  it("thrown by the client's own middleware, becomes a LockError", async () => {
    const day = reportDay(table);
    const value = make();
    day.client.middlewareStack.add(
      () => async () => {
        throw value;
      },
      { step: "initialize", name: "breaks" },
    );
    const { onEvent: _onEvent, ...options } = day.options;
    for (const { wrap } of wrappers) {
      const error = await wrap(async () => "report", options)(day.event).catch((failure: unknown) => failure);
      expect(error).toBeInstanceOf(LockError);
      expect(error).toMatchObject({ code: "LOCK_REQUEST", message: expect.stringContaining("UpdateItem") });
    }
  });
});
