/** Problems that no logger and no listener hears of are printed on the console, whatever Node.js does with warnings. */
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { dynamoLock, LockClient, type LockEvent, withLock } from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { countingClient } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";
import {
  chain,
  failRequests,
  type Handler,
  type ReportEvent,
  type Table,
  tableOfLocks,
  versions,
} from "../support/middy.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});

const levels = ["log", "info", "debug", "warn", "error"] as const;
beforeEach(() => {
  for (const level of levels) vi.spyOn(console, level).mockImplementation(() => {});
  vi.spyOn(process, "emitWarning").mockImplementation(() => {});
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** What was printed, by level. */
const printed = () =>
  levels.flatMap((level) => vi.mocked(console[level]).mock.calls.map((line) => `${level} ${line.join(" ")}`));

const { middy } = versions[0] as (typeof versions)[number];
let days = 0;
const setUp = (options: object = {}, fails: (request: number) => boolean = () => false) => {
  const { client } = countingClient({ maxAttempts: 1 });
  failRequests(client, fails);
  const date = `unheard-${++days}`;
  const lock = dynamoLock({
    key: (event: ReportEvent) => event.date,
    client,
    tableName: table.tableName,
    leaseMs: 60_000,
    settleMs: 0, // what fails is not sent again
    ...options,
  });
  return { key: `report#${date}`, run: (handler: Handler) => chain(middy, [lock], handler)({ date }) };
};

const second = (request: number) => request === 2;

describe("where nobody listens", () => {
  it("a finish that fails is printed with console.error: of which lock, what it means, and the error with its stack and cause", async () => {
    const { key, run } = setUp({}, second);
    expect(await run(async () => "report")).toBe("report");
    expect(printed()).toHaveLength(1);
    expect(printed()[0]).toMatch(
      /^error middy-dynamo-lock: Lock (\S+): finish failed\. What is not settled, the lease ends: LockError: UpdateItem .*\n {4}at .*\ncaused by InternalServerError: We could not serve you\n {4}at /s,
    );
    expect(printed()[0]).toContain(key);
    expect(process.emitWarning).not.toHaveBeenCalled();
  });

  it("a response that is not stored is printed with console.warn", async () => {
    const { key, run } = setUp();
    await run(async () => 1n);
    expect(printed()).toEqual([
      expect.stringContaining(`warn middy-dynamo-lock: The response under lock ${key} is not`),
    ]);
  });

  it("a lost lock is printed with console.warn", async () => {
    const clock = manualClock();
    const locks = new LockClient({ client: table.client, tableName: table.tableName, clock });
    const lock = await locks.acquire(`unheard-${++days}`, { leaseMs: 5_000, heartbeatMs: false });
    await clock.pass(5_000);
    expect(printed()).toEqual([
      `warn middy-dynamo-lock: Lock ${lock.key} is lost (expired): its lease is over. Another run may be at work under the same key`,
    ]);
  });

  it("metrics alone only count: the problem is printed", async () => {
    const { run } = setUp({ metrics: { addMetric() {} } }, second);
    await run(async () => "report");
    expect(printed()).toEqual([expect.stringContaining("finish failed")]);
  });

  it("the ordinary course of things prints nothing", async () => {
    const { run } = setUp();
    await run(async () => "report");
    await run(async () => "report");
    expect(printed()).toEqual([]);
  });
});

describe("where somebody listens", () => {
  it.each<[string, () => object]>([
    ["a logger", () => ({ logger: { debug() {}, warn() {}, error: vi.fn() } })],
    ["a listener", () => ({ onEvent: vi.fn() })],
    ["a listener that takes its time", () => ({ onEvent: () => new Promise(() => {}) })],
  ])("%s has it, and nothing is printed", async (_name, options) => {
    const { run } = setUp(options(), second);
    await run(async () => "report");
    expect(printed()).toEqual([]);
  });

  const broken = () => {
    throw new Error("disk full");
  };

  it.each<[string, object, string]>([
    ["a listener that throws", { onEvent: (event: LockEvent) => event.type === "failed" && broken() }, "onEvent"],
    ["one that rejects", { onEvent: async (event: LockEvent) => event.type === "failed" && broken() }, "onEvent"],
    ["a logger that throws", { logger: { debug() {}, warn() {}, error: broken } }, "logger"],
  ])("%s has not heard: both are printed", async (_name, options, name) => {
    const { run } = setUp(options, second);
    expect(await run(async () => "report")).toBe("report");
    await vi.waitFor(() => expect(printed()).toHaveLength(2));
    expect(printed()[0]).toMatch(
      new RegExp(`^error middy-dynamo-lock: ${name} failed, which .*: Error: disk full\\n {4}at `),
    );
    expect(printed()[1]).toMatch(/^error middy-dynamo-lock: Lock .*: finish failed/);
  });

  it("a listener that throws beside a logger that hears: only what it threw is printed", async () => {
    const error = vi.fn();
    const { run } = setUp({ logger: { debug() {}, warn() {}, error }, onEvent: broken }, second);
    await run(async () => "report");
    await new Promise(setImmediate);
    expect(printed()).toEqual([expect.stringContaining("onEvent failed"), expect.stringContaining("onEvent failed")]);
    expect(error).toHaveBeenCalledTimes(1);
  });
});

describe("printing never breaks a run", () => {
  const strange: [string, () => unknown][] = [
    ["undefined", () => undefined],
    ["an object without a prototype", () => Object.create(null)],
    [
      "an object whose toString throws",
      () => ({
        toString: () => {
          throw new Error("no");
        },
      }),
    ],
    [
      "an object that inspects itself badly",
      () => ({
        [Symbol.for("nodejs.util.inspect.custom")]: () => {
          throw new Error("no");
        },
      }),
    ],
    ["a symbol", () => Symbol("s")],
    [
      "an error without a message that can be read",
      () =>
        Object.defineProperty(new Error("x"), "message", {
          get: () => {
            throw new Error("no");
          },
        }),
    ],
    ["an error with a stack that is none", () => Object.assign(new Error("x"), { stack: {} })],
    [
      "an error that is its own cause",
      () => {
        const error = new Error("x");
        error.cause = error;
        return error;
      },
    ],
    [
      "a proxy that is revoked",
      () => {
        const { proxy, revoke } = Proxy.revocable({}, {});
        revoke();
        return proxy;
      },
    ],
  ];

  it.each(strange)("%s, thrown by onEvent, onLost and onError", async (_name, make) => {
    const unhandled = vi.fn();
    const handlers = process.listeners("unhandledRejection");
    process.removeAllListeners("unhandledRejection").on("unhandledRejection", unhandled);
    const failing = () => {
      throw make();
    };
    try {
      expect(await setUp({ onEvent: failing }).run(async () => "report")).toBe("report");
      const decided = setUp({ onError: failing });
      await expect(decided.run(async () => Promise.reject(new Error("no data")))).rejects.toThrow("no data");
      expect((await table.item(decided.key))?.status).toEqual({ S: "RELEASED" });
      await new Promise(setImmediate);
    } finally {
      process.removeAllListeners("unhandledRejection");
      for (const handler of handlers) process.on("unhandledRejection", handler);
    }
    expect(unhandled).not.toHaveBeenCalled();
    expect(printed().filter((line) => line.startsWith("error middy-dynamo-lock: onEvent failed"))).toHaveLength(2);
    expect(printed().filter((line) => line.startsWith("error middy-dynamo-lock: onError failed"))).toHaveLength(1);
  });

  it.each<[string, () => void]>([
    [
      "throws",
      () =>
        vi.mocked(console.error).mockImplementation(() => {
          throw new Error("EPIPE");
        }),
    ],
    ["is gone", () => Object.assign(console, { error: undefined })],
  ])("a console that %s", async (_name, breakIt) => {
    const { error } = console;
    breakIt();
    try {
      expect(await setUp({}, second).run(async () => "report")).toBe("report");
    } finally {
      Object.assign(console, { error });
    }
  });

  it("onError that gives what is none of the three", async () => {
    for (const action of ["retry", 5n, Object.create(null), undefined]) {
      const { key, run } = setUp({ onError: () => action });
      await expect(run(async () => Promise.reject(new Error("no data")))).rejects.toThrow("no data");
      expect((await table.item(key))?.status).toEqual({ S: "RELEASED" });
    }
    expect(printed().map((line) => line.slice(line.indexOf(", got")))).toEqual(
      ["'retry'", "5n", "[Object: null prototype] {}", "undefined"].map((got) => `, got ${got}: the key is released`),
    );
  });

  it("an error of AWS keeps the items that it carries to itself", async () => {
    const { client } = countingClient({ maxAttempts: 1 });
    client.middlewareStack.add(
      () => async () => {
        throw Object.assign(new Error("refused"), { name: "SomeException", Item: { card: { S: "4111" } } });
      },
      { step: "finalizeRequest", priority: "low" },
    );
    const options = {
      key: () => "k",
      client,
      tableName: table.tableName,
      onError: () => Promise.reject(Object.assign(new Error("no"), { Item: "4111" })),
    };
    await expect(withLock(async () => {}, options)({}, lambdaContext())).rejects.toThrow("SomeException: refused");
    expect(printed().join()).not.toContain("4111");
  });
});
