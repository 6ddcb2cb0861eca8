/** What reaches the log, through the real Powertools Logger. */
import { Logger } from "@aws-lambda-powertools/logger";
import { afterEach, beforeAll, beforeEach, describe, expect, it, type MockInstance, vi } from "vitest";
import { type Clock, dynamoLock, type Lock, LockClient, type LockLogger } from "../../src/index.ts";
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

const { middy } = versions[0] as (typeof versions)[number];
const levels = ["debug", "info", "warn", "error"] as const;
let consoleMethods: MockInstance[];
beforeEach(() => {
  vi.stubEnv("POWERTOOLS_DEV", "true"); // to the global console, which can be watched
  consoleMethods = levels.map((level) => vi.spyOn(console, level).mockImplementation(() => {}));
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

/** Every line of the log, in order. */
const lines = () =>
  consoleMethods
    .flatMap((method) =>
      method.mock.calls.map(([line], index) => ({ line, at: method.mock.invocationCallOrder[index] })),
    )
    .sort((one, other) => Number(one.at) - Number(other.at))
    .map(({ line }) => JSON.parse(String(line)) as Record<string, unknown>);
const levelsAndMessages = () => lines().map(({ level, message }) => `${level} ${message}`);

let days = 0;
const setUp = ({ logLevel = "DEBUG", clock }: { logLevel?: "DEBUG" | "INFO"; clock?: Clock } = {}) => {
  const { client } = countingClient({ maxAttempts: 1 });
  const logger = new Logger({ serviceName: "reports", logLevel });
  const date = `logged-${++days}`;
  const locks = new LockClient({ client, tableName: table.tableName, logger, clock });
  const run = (handler: Handler, options: object = {}) =>
    chain(middy, [dynamoLock<ReportEvent>({ key: (event) => event.date, locks, settleMs: 0, ...options })], handler);
  return { client, logger, date, key: `report#${date}`, event: { date }, locks, run };
};

const isoTime = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/;

describe("with Powertools' Logger", () => {
  it("a run is two DEBUG lines, structured: key, owner, fencing token, elapsed ms, and no token", async () => {
    const { event, key, run } = setUp();
    const context = lambdaContext();
    let lock: Lock | undefined;
    await run(async (_event, handlerContext) => {
      lock = handlerContext.lock;
    })(event, context);
    const about = {
      key,
      owner: context.awsRequestId,
      fencingToken: lock?.fencingToken,
      elapsedMs: expect.any(Number),
    };
    expect(lines()).toEqual([
      {
        level: "DEBUG",
        message: "Lock acquired",
        service: "reports",
        timestamp: expect.stringMatching(isoTime),
        sampling_rate: 0,
        lock: { type: "acquired", ...about, expiresAt: lock?.expiresAt, waitedMs: expect.any(Number) },
      },
      {
        level: "DEBUG",
        message: "Lock finished",
        service: "reports",
        timestamp: expect.stringMatching(isoTime),
        sampling_rate: 0,
        lock: { type: "finished", ...about, responseStored: true },
      },
    ]);
  });

  it("elapsed ms are the lock's own", async () => {
    const clock = manualClock();
    const { event, run } = setUp({ clock });
    await run(async () => clock.advance(2_500))(event);
    expect(lines().map(({ lock }) => (lock as { elapsedMs: number }).elapsedMs)).toEqual([0, 2_500]);
  });

  it("at the default level the normal path is silent", async () => {
    const { event, run } = setUp({ logLevel: "INFO" });
    const invoke = run(async () => "report");
    await invoke(event);
    await invoke(event);
    await run(async () => "report", { onSuccess: "release", namespace: "again" })(event);
    expect(lines()).toEqual([]);
  });

  it("a released and a replayed key are DEBUG", async () => {
    const { event, run } = setUp();
    const failsFirst = vi.fn<Handler>(async () => "report").mockRejectedValueOnce(new Error("no data"));
    const invoke = run(failsFirst);
    await expect(invoke(event)).rejects.toThrow();
    await invoke(event);
    await invoke(event);
    expect(levelsAndMessages()).toEqual([
      "DEBUG Lock acquired",
      "DEBUG Lock released",
      "DEBUG Lock acquired",
      "DEBUG Lock finished",
      "DEBUG Lock replayed",
    ]);
  });

  it("a refused run is a WARN, with the holder's fields", async () => {
    const { event, key, run } = setUp({ logLevel: "INFO" });
    const holder = await new LockClient({ client: table.client, tableName: table.tableName }).acquire(key);
    await expect(run(async () => "report")(event)).rejects.toThrow();
    expect(lines()).toMatchObject([
      {
        level: "WARN",
        message: "Lock held",
        lock: {
          key,
          owner: holder.owner,
          fencingToken: holder.fencingToken,
          elapsedMs: expect.any(Number),
          status: "IN_PROGRESS",
        },
      },
    ]);
  });

  it("a lease that is taken over is a WARN that names whom from, and so is the loss, for the one that lost it", async () => {
    const clock = manualClock();
    const { event, key, run } = setUp({ logLevel: "INFO", clock });
    const first = lambdaContext();
    const second = lambdaContext();
    const next = run(async () => "the next report");
    await run(
      async () => {
        clock.advance(2_000);
        await next(event, second);
      },
      { leaseMs: 1_000, heartbeatMs: false },
    )(event, first);
    expect(lines()).toMatchObject([
      { level: "WARN", message: "Lock lost", lock: { key, owner: first.awsRequestId, reason: "expired" } },
      {
        level: "WARN",
        message: "Lock taken-over",
        lock: { type: "taken-over", key, owner: second.awsRequestId, previousOwner: first.awsRequestId },
      },
      { level: "WARN", message: "Lock lost", lock: { key, owner: first.awsRequestId, reason: "stolen" } },
    ]);
  });

  it("a key that is left to its lease is a WARN", async () => {
    const { event, run } = setUp({ logLevel: "INFO" });
    const failing = run(async () => Promise.reject(new Error("no data")), { onError: "keep" });
    await expect(failing(event)).rejects.toThrow();
    expect(lines()).toMatchObject([{ level: "WARN", message: "Lock kept", lock: { reason: "on-error" } }]);
  });

  it("a response that is not stored is a WARN", async () => {
    const { event, run } = setUp({ logLevel: "INFO" });
    await run(async () => 1n)(event);
    expect(lines()).toMatchObject([{ level: "WARN", message: "Lock response-not-stored" }]);
  });

  it("a finish that fails is an ERROR, with the error formatted as Powertools does", async () => {
    const { client, event, key, run } = setUp({ logLevel: "INFO" });
    failRequests(client, (request) => request === 2);
    await run(async () => "report")(event);
    expect(lines()).toMatchObject([
      {
        level: "ERROR",
        message: "Lock failed",
        lock: { key, operation: "finish" },
        error: {
          name: "LockError",
          message: expect.stringContaining("UpdateItem"),
          cause: { name: "InternalServerError" },
        },
      },
    ]);
  });

  it("the user's own keys and the Lambda context stay in the lines", async () => {
    const { event, logger, run } = setUp();
    logger.appendKeys({ tenant: "acme" });
    logger.addContext(lambdaContext({ awsRequestId: "request-1" }));
    await run(async () => "report")(event);
    expect(lines()).toHaveLength(2);
    for (const line of lines()) expect(line).toMatchObject({ tenant: "acme", function_request_id: "request-1" });
  });

  it("no line carries anything of the event, the response or the handler's error", async () => {
    const { client, event, run } = setUp();
    const secret = "4111-1111-1111-1111";
    const order = { ...event, region: secret };
    const response = { card: secret };
    const failure = new Error(secret);
    const again = { ...order, date: `${event.date}-b` };
    const third = { ...order, date: `${event.date}-c` };
    const fourth = { ...order, date: `${event.date}-d` };

    const invoke = run(async () => response);
    await invoke(order);
    await invoke(order);
    await expect(run(async () => Promise.reject(failure), { onError: "finish" })(again)).rejects.toBe(failure);
    await expect(invoke(again)).rejects.toThrow(secret); // the replayed error: for the caller, not for the log
    await run(async () => ({ cents: 1n, card: secret }))(third);
    failRequests(client, (request) => request === 2);
    await run(async () => response)(fourth);

    expect(levelsAndMessages()).toEqual([
      "DEBUG Lock acquired",
      "DEBUG Lock finished",
      "DEBUG Lock replayed",
      "DEBUG Lock acquired",
      "DEBUG Lock finished",
      "DEBUG Lock replayed",
      "DEBUG Lock acquired",
      "WARN Lock response-not-stored",
      "DEBUG Lock finished",
      "DEBUG Lock acquired",
      "ERROR Lock failed",
    ]);
    expect(JSON.stringify(lines())).not.toContain(secret);
  });

  it("nor the names in a response that is a map by customer, when it can't be stored", async () => {
    const { event, run } = setUp();
    const customers: Record<string, unknown> = {};
    customers["jane@example.com"] = customers; // JSON.stringify names it in its error
    await run(async () => customers)(event);
    expect(levelsAndMessages()).toContain("WARN Lock response-not-stored");
    expect(JSON.stringify(lines())).not.toContain("jane@example.com");
  });
});

describe("with console", () => {
  it("the same lines, with the attributes as an object", async () => {
    const { client } = countingClient();
    const date = `logged-${++days}`;
    const options = { key: (event: ReportEvent) => event.date, client, tableName: table.tableName, logger: console };
    await chain(middy, [dynamoLock(options)], async () => "report")({ date });
    expect(vi.mocked(console.debug).mock.calls).toEqual([
      ["Lock acquired", { lock: expect.objectContaining({ key: `report#${date}` }) }],
      ["Lock finished", { lock: expect.objectContaining({ key: `report#${date}` }) }],
    ]);
    expect(console.warn).not.toHaveBeenCalled();
  });
});

describe("a logger or listener that fails", () => {
  const broken = () => {
    throw new Error("disk full");
  };
  const options = (extra: object) => {
    const { client } = countingClient();
    return { key: (event: ReportEvent) => event.date, client, tableName: table.tableName, ...extra };
  };

  it.each([
    ["logger", { logger: { debug: broken, warn: broken, error: broken } }],
    ["listener", { onEvent: broken }],
  ])("a %s that throws doesn't break a run, and is printed", async (_what, extra) => {
    const date = `logged-${++days}`;
    expect(await chain(middy, [dynamoLock(options(extra))], async () => "report")({ date })).toBe("report");
    expect((await table.item(`report#${date}`))?.status).toEqual({ S: "FINISHED" });
    expect(console.error).toHaveBeenCalledTimes(2);
    expect(console.error).toHaveBeenCalledWith(expect.stringContaining("disk full"));
  });

  it("a listener that throws doesn't keep the logger from its lines", async () => {
    const logger = { debug: vi.fn<LockLogger["debug"]>(), warn: vi.fn(), error: vi.fn() };
    const extra = { onEvent: broken, logger };
    await chain(middy, [dynamoLock(options(extra))], async () => "report")({ date: `logged-${++days}` });
    expect(logger.debug.mock.calls.map(([message]) => message)).toEqual(["Lock acquired", "Lock finished"]);
  });

  it("an async listener that rejects can't end the process", async () => {
    const unhandled = vi.fn();
    const handlers = process.listeners("unhandledRejection");
    process.removeAllListeners("unhandledRejection").on("unhandledRejection", unhandled);
    try {
      const extra = { onEvent: async () => broken() };
      const date = `logged-${++days}`;
      expect(await chain(middy, [dynamoLock(options(extra))], async () => "report")({ date })).toBe("report");
      await new Promise((resolve) => setImmediate(resolve)); // unhandled rejections are told after the microtasks
    } finally {
      process.removeAllListeners("unhandledRejection");
      for (const handler of handlers) process.on("unhandledRejection", handler);
    }
    expect(unhandled).not.toHaveBeenCalled();
    expect(console.error).toHaveBeenCalledWith(expect.stringContaining("disk full"));
  });
});
