/** What CloudWatch gets: the EMF that the real Powertools Metrics prints. */
import { cleanupMiddlewares } from "@aws-lambda-powertools/commons";
import { Logger } from "@aws-lambda-powertools/logger";
import { injectLambdaContext } from "@aws-lambda-powertools/logger/middleware";
import { Metrics } from "@aws-lambda-powertools/metrics";
import { logMetrics } from "@aws-lambda-powertools/metrics/middleware";
import type { SQSEvent, SQSRecord } from "aws-lambda";
import { afterEach, beforeAll, beforeEach, describe, expect, it, type MockInstance, vi } from "vitest";
import {
  type DynamoLockOptions,
  dynamoLock,
  dynamoLockBatch,
  LockClient,
  type LockMetrics,
  withLock,
} from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { lambdaContext } from "../support/lambda.ts";
import {
  chain,
  failing,
  failRequests,
  type Handler,
  invoker,
  type Middy,
  type ReportEvent,
  reportDay,
  type Table,
  tableOfLocks,
  versions,
} from "../support/middy.ts";
import { aProcess } from "../support/process.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});

let log: MockInstance;
let complained: MockInstance;
beforeEach(() => {
  vi.stubEnv("POWERTOOLS_DEV", "true"); // to the global console, which can be watched
  vi.stubEnv("POWERTOOLS_METRICS_DISABLED", "false");
  log = vi.spyOn(console, "log").mockImplementation(() => {});
  complained = vi.spyOn(console, "error").mockImplementation(() => {});
  vi.spyOn(console, "warn").mockImplementation(() => {});
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

/** https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html */
interface Emf {
  _aws: {
    CloudWatchMetrics: [{ Namespace: string; Dimensions: string[][]; Metrics: { Name: string; Unit: string }[] }];
  };
  [name: string]: unknown;
}
const printed = (): Emf[] => log.mock.calls.map(([line]) => JSON.parse(String(line)));
/** The metrics of each line, as CloudWatch finds them: by the names in `_aws`. */
const lines = () =>
  printed().map((emf) =>
    Object.fromEntries(emf._aws.CloudWatchMetrics[0].Metrics.map(({ Name }) => [Name, emf[Name]])),
  );
const ms = expect.any(Number);
const ran = { LockAcquired: 1, LockWaitTime: ms, LockFinished: 1, LockHoldTime: ms };

const makeMetrics = () => new Metrics({ namespace: "shop", serviceName: "reports" });

/** As users of Powertools wrap their handlers: `logMetrics` before the lock, or around it. */
const ways: {
  name: string;
  wrap: (handler: Handler, options: DynamoLockOptions<ReportEvent>, metrics: Metrics) => ReturnType<typeof chain>;
}[] = [
  ...versions.map(({ name, middy }) => ({
    name: `dynamoLock and logMetrics on ${name}`,
    wrap: (handler: Handler, options: DynamoLockOptions<ReportEvent>, metrics: Metrics) =>
      chain(middy, [logMetrics(metrics), dynamoLock({ ...options, metrics })], handler),
  })),
  {
    name: "withLock and publishStoredMetrics",
    wrap: (handler, options, metrics) => {
      const locked = invoker(withLock(handler as never, { ...options, metrics }));
      return async (event, context) => {
        try {
          return await locked(event, context);
        } finally {
          metrics.publishStoredMetrics();
        }
      };
    },
  },
];

describe.each(ways)("$name", ({ wrap }) => {
  const setUp = () => {
    const day = reportDay(table);
    return { day, metrics: makeMetrics() };
  };

  it("a run is one line: acquired and finished, wait and hold time, beside the handler's own metrics", async () => {
    const { day, metrics } = setUp();
    const handler: Handler = async () => void metrics.addMetric("Pages", "Count", 12);
    await wrap(handler, day.options, metrics)(day.event);
    expect(lines()).toEqual([{ Pages: 12, ...ran }]);
    expect(printed()[0]?._aws.CloudWatchMetrics[0]).toEqual({
      Namespace: "shop",
      Dimensions: [["service"]],
      Metrics: [
        { Name: "LockAcquired", Unit: "Count" },
        { Name: "LockWaitTime", Unit: "Milliseconds" },
        { Name: "Pages", Unit: "Count" },
        { Name: "LockFinished", Unit: "Count" },
        { Name: "LockHoldTime", Unit: "Milliseconds" },
      ],
    });
  });

  it("nothing that is printed names the key, the owner or the token", async () => {
    const { day, metrics } = setUp();
    const handler: Handler = async () => "report";
    await wrap(handler, day.options, metrics)(day.event);
    const { _aws, service, ...metricsAlone } = printed()[0] as Emf;
    expect(service).toBe("reports");
    expect(metricsAlone).toEqual(ran);
  });

  it("a replay is flushed too, though Middy then runs no after", async () => {
    const { day, metrics } = setUp();
    const invoke = wrap(async () => "report", day.options, metrics);
    await invoke(day.event);
    expect(await invoke(day.event)).toBe("report");
    expect(lines()).toEqual([ran, { LockReplayed: 1 }]);
  });

  it("and so is an answer of duplicateResponse, of a finished key and of a held one", async () => {
    const { day, metrics } = setUp();
    const invoke = wrap(async () => "report", { ...day.options, duplicateResponse: "again" }, metrics);
    await invoke(day.event);
    expect(await invoke(day.event)).toBe("again");
    const another = reportDay(table);
    await another.takenByAnother();
    expect(await invoke(another.event)).toBe("again");
    expect(lines()).toEqual([ran, { LockReplayed: 1 }, { LockHeld: 1 }]);
  });

  it("a run that is refused", async () => {
    const { day, metrics } = setUp();
    await day.takenByAnother();
    await expect(wrap(async () => "report", day.options, metrics)(day.event)).rejects.toThrow("held by another run");
    expect(lines()).toEqual([{ LockHeld: 1 }]);
  });

  it("a key that comes with another payload", async () => {
    const { day, metrics } = setUp();
    const options = { ...day.options, fingerprint: ({ region }: ReportEvent) => region };
    const invoke = wrap(async () => "report", options, metrics);
    await invoke({ ...day.event, region: "north" });
    await expect(invoke({ ...day.event, region: "south" })).rejects.toThrow("payload");
    expect(lines()).toEqual([ran, { LockPayloadMismatch: 1 }]);
  });

  it("a run that finishes by a commit", async () => {
    const { day, metrics } = setUp();
    const Item = { lock_id: { S: `effect of ${day.key}` } };
    const handler: Handler = (_event, { lock }) => lock.commit([{ Put: { TableName: table.tableName, Item } }]);
    await wrap(handler, day.options, metrics)(day.event);
    expect(lines()).toEqual([ran]);
  });

  it("a run that fails releases", async () => {
    const { day, metrics } = setUp();
    await expect(wrap(failing(), day.options, metrics)(day.event)).rejects.toThrow("no paper");
    expect(lines()).toEqual([{ LockAcquired: 1, LockWaitTime: ms, LockReleased: 1, LockHoldTime: ms }]);
  });

  it("a finish that fails", async () => {
    const { day, metrics } = setUp();
    failRequests(day.client, (request) => request === 2);
    expect(await wrap(async () => "report", { ...day.options, settleMs: 0 }, metrics)(day.event)).toBe("report");
    expect(lines()).toEqual([{ LockAcquired: 1, LockWaitTime: ms, LockFailed: 1 }]);
  });
});

describe("LockClient", () => {
  const aClient = () => {
    const metrics = makeMetrics();
    const clock = manualClock();
    const { client } = aProcess(table.tableName, { clock });
    const locks = new LockClient({
      client,
      clock,
      metrics,
      tableName: table.tableName,
      leaseMs: 10_000,
      heartbeatMs: false,
    });
    /** What has been added since the last time. */
    const flushed = () => {
      log.mockClear();
      metrics.publishStoredMetrics();
      return lines()[0];
    };
    return { clock, client, locks, flushed };
  };

  it("the wait time is that of all attempts, the hold time begins with the last", async () => {
    const { clock, client, locks, flushed } = aClient();
    const other = new LockClient({ client, clock, tableName: table.tableName });
    const held = await other.acquire("stock-1");
    const releasing = clock.setTimer(3_000, () => void held.release());
    const lock = await locks.acquire("stock-1", { waitMs: 60_000, backoff: { minMs: 100, maxMs: 100 } });
    releasing();
    const { LockWaitTime, ...rest } = flushed() ?? {};
    expect(rest).toEqual({ LockAcquired: 1 });
    expect(LockWaitTime).toBeGreaterThanOrEqual(3_000);
    expect(LockWaitTime).toBeLessThan(4_000);
    clock.advance(250);
    await lock.release();
    expect(flushed()).toEqual({ LockReleased: 1, LockHoldTime: 250 });
  });

  it("a lease that was taken over, and its loss", async () => {
    const { clock, locks, flushed } = aClient();
    const crashed = await locks.acquire("stock-2");
    clock.freeze(11_001);
    const next = await locks.acquire("stock-2");
    await next.release();
    await crashed.release().catch(() => {});
    expect(flushed()).toEqual({
      LockAcquired: [1, 1],
      LockWaitTime: [0, 0],
      LockTakenOver: 1,
      LockReleased: 1,
      LockHoldTime: 0,
      LockLost: 1,
    });
  });

  it("a key that is held, waited for in vain, or finished", async () => {
    const { clock, client, locks, flushed } = aClient();
    const other = new LockClient({ client, clock, tableName: table.tableName });
    const held = await other.acquire("stock-3");
    expect(await locks.tryAcquire("stock-3")).toBeUndefined();
    await expect(locks.acquire("stock-3", { waitMs: 1_000 })).rejects.toThrow("did not become free");
    expect(flushed()).toEqual({ LockHeld: [1, 1] });
    await held.finish({ result: 42 });
    expect(await locks.once("stock-3", () => 43)).toBe(42);
    await expect(locks.acquire("stock-3")).rejects.toThrow("finished");
    expect(flushed()).toEqual({ LockReplayed: [1, 1] });
  });

  it("force", async () => {
    const { clock, client, locks, flushed } = aClient();
    await new LockClient({ client, clock, tableName: table.tableName }).acquire("stock-4");
    await locks.acquire("stock-4", { force: true });
    expect(flushed()).toEqual({ LockAcquired: 1, LockWaitTime: 0 });
  });
});

let messages = 0;

describe.each(versions)("dynamoLockBatch and logMetrics on $name", ({ middy }) => {
  const messagesOf = (count: number) => Array.from({ length: count }, () => `message-${++messages}`);
  const setUp = () => {
    const metrics = makeMetrics();
    const key = (record: SQSRecord) => record.messageId;
    const client = table.client;
    const lockBatch = dynamoLockBatch({ key, client, tableName: table.tableName, metrics });
    const handler = async ({ Records }: SQSEvent) =>
      Promise.allSettled(Records.map(async ({ body }) => body === "" && Promise.reject(new Error("empty"))));
    const invoke = chain(middy, [logMetrics(metrics), lockBatch], handler as never);
    const deliver = (ids: string[], { spentMs = 0, failing = "" } = {}) =>
      invoke(sqsEvent(ids, failing) as never, lambdaContext({ timeoutMs: 10_000 - spentMs }));
    return { deliver, metrics };
  };
  const sqsEvent = (ids: string[], failing: string) => ({
    Records: ids.map((messageId) => ({
      messageId,
      body: messageId === failing ? "" : "order",
      eventSource: "aws:sqs",
    })),
  });
  const each = (count: number, value: unknown) => Array.from({ length: count }, () => value);

  it("a batch is one line, whose metrics have a value for each record", async () => {
    const { deliver } = setUp();
    const [first, second, third, failing] = messagesOf(4) as [string, string, string, string];
    await deliver([first, second]);
    await new LockClient({ client: table.client, tableName: table.tableName }).acquire(`report#${third}`);
    await deliver([first, second, third, failing, ...messagesOf(2)], { failing });
    expect(lines()).toEqual([
      { LockAcquired: [1, 1], LockWaitTime: each(2, ms), LockFinished: [1, 1], LockHoldTime: each(2, ms) },
      {
        LockDropped: [1, 1],
        LockHeld: 1,
        LockAcquired: [1, 1, 1],
        LockWaitTime: each(3, ms),
        LockFinished: [1, 1],
        LockReleased: 1,
        LockHoldTime: each(3, ms),
      },
    ]);
  });

  it("of a batch with nothing to run, whose answer is early, too", async () => {
    const { deliver } = setUp();
    const ids = messagesOf(2);
    await deliver(ids);
    expect(await deliver(ids)).toEqual({ batchItemFailures: [] });
    expect(lines().at(-1)).toEqual({ LockDropped: [1, 1] });
  });

  it("records for which no time is left are counted", async () => {
    const { deliver } = setUp();
    await deliver(messagesOf(3), { spentMs: 9_700 });
    expect(lines()).toEqual([{ LockNotStarted: 3 }]);
  });

  it("of more than a hundred records, the most that a line may have of a metric", async () => {
    const { deliver } = setUp();
    await deliver(messagesOf(130));
    const acquired = lines().flatMap(({ LockAcquired = [] }) => LockAcquired);
    expect(acquired).toEqual(each(130, 1));
  });
});

describe.each(versions)("an early answer on $name", ({ middy }) => {
  const answered = async (middlewares: unknown[]) => {
    const day = reportDay(table);
    const invoke = chain(middy, [...middlewares, dynamoLock(day.options)], async () => "report");
    await invoke(day.event);
    log.mockClear();
    return invoke(day.event);
  };

  it("flushes metrics that middlewares before it added", async () => {
    const metrics = makeMetrics();
    const before = () => void metrics.addMetric("Requests", "Count", 1);
    expect(await answered([logMetrics(metrics), { before }])).toBe("report");
    expect(lines()).toEqual([{ Requests: 1 }]);
  });

  it("resets Powertools' Logger", async () => {
    const info = vi.spyOn(console, "info").mockImplementation(() => {});
    const logger = new Logger();
    const before = () => void logger.appendKeys({ tenant: "acme" });
    expect(await answered([injectLambdaContext(logger, { resetKeys: true }), { before }])).toBe("report");
    logger.info("the next invocation");
    expect(info.mock.calls.map(([line]) => JSON.parse(line).tenant)).toEqual([undefined]);
  });

  it("calls what Powertools itself would call, in the same order, with the request", async () => {
    const called: [string, unknown][] = [];
    const requests: { internal: Record<string, unknown> }[] = [];
    const before = (request: { internal: Record<string, unknown> }) => {
      requests.push(request);
      for (const name of ["idempotency", "logger", "metrics", "tracer"]) {
        request.internal[`powertools-for-aws.${name}`] = (given: unknown) => called.push([name, given]);
      }
      request.internal["powertools-for-aws.idempotency.skip"] = true;
    };
    await answered([{ before }]);
    const ours = called.splice(0);
    await cleanupMiddlewares(requests[1] as never);
    expect(ours.map(([name]) => name)).toEqual(["tracer", "metrics", "logger", "idempotency"]);
    expect(ours).toEqual(called);
  });

  it("is given though a clean-up fails, which is printed", async () => {
    const metrics = makeMetrics();
    expect(await answered([logMetrics(metrics, { throwOnEmptyMetrics: true }), addsInAfter(metrics)])).toBe("report");
    expect(complained).toHaveBeenCalledWith(expect.stringContaining("higher than zero"));
  });
});

/** So that a run that isn't a replay has a metric. */
const addsInAfter = (metrics: Metrics) => ({ after: () => void metrics.addMetric("Pages", "Count", 1) });

describe("metrics that fail", () => {
  const { middy } = versions[0] as { middy: Middy };

  it("don't break a run, and are printed", async () => {
    const day = reportDay(table);
    const metrics: LockMetrics = {
      addMetric() {
        throw new Error("no metrics today");
      },
    };
    const invoke = chain(middy, [dynamoLock({ ...day.options, metrics })], async () => "report");
    expect(await invoke(day.event)).toBe("report");
    expect(await invoke(day.event)).toBe("report");
    expect(day.types()).toEqual(["acquired", "finished", "replayed"]);
    expect(complained).toHaveBeenCalledWith(expect.stringContaining("no metrics today"));
  });

  it("one that can't be added doesn't keep the others away: the user has another unit for its name", async () => {
    const day = reportDay(table);
    const metrics = makeMetrics();
    metrics.addMetric("LockAcquired", "Seconds", 1);
    await chain(middy, [logMetrics(metrics), dynamoLock({ ...day.options, metrics })], async () => "report")(day.event);
    expect(lines()).toEqual([ran]);
    expect(complained).toHaveBeenCalledTimes(1);
  });
});
