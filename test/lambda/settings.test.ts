/** Where a lock is written, by whom and for how long, or not at all: the same for `dynamoLock` and `withLock`. */
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { type Lock, LockHeldError, LockOptionsError } from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { lambdaContext } from "../support/lambda.ts";
import {
  failing,
  finished,
  inProgress,
  oneRun,
  type ReportEvent,
  reportDay,
  succeeding,
  type Table,
  tableOfLocks,
  wrappers,
} from "../support/middy.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe.each(wrappers)("$name", ({ wrap }) => {
  describe("disabled", () => {
    it.each([
      { how: "the option", options: { disabled: true }, env: undefined },
      ...["1", "true", "TRUE", "yes", "Yes", "on", "ON"].map((env) => ({
        how: `DYNAMO_LOCK_DISABLED=${env}`,
        options: {},
        env,
      })),
    ])("by $how: every handler runs, with a stand-in for its lock, and nothing is sent", async ({ options, env }) => {
      const day = reportDay(table);
      await day.takenByAnother();
      const asItWas = await day.item();
      vi.stubEnv("DYNAMO_LOCK_DISABLED", env);
      const locks: Lock[] = [];
      const invoke = wrap(
        async (_event, { lock }) => {
          locks.push(lock);
          return "report";
        },
        { ...day.options, ...options },
      );
      expect([await invoke(day.event), await invoke(day.event)]).toEqual(["report", "report"]);
      expect(locks.map(({ status }) => status)).toEqual(["finished", "finished"]);
      expect(locks[0]?.fencingToken).toBeGreaterThan(0);
      expect(day.sent).toEqual([]);
      expect(await day.item()).toEqual(asItWas);
    });

    it.each([
      { how: "the option says false", options: { disabled: false }, env: "1" },
      { how: "the option says false, whatever the variable says", options: { disabled: false }, env: "maybe" },
      ...["0", "false", "False", "no", "NO", "off", ""].map((env) => ({
        how: `DYNAMO_LOCK_DISABLED is '${env}'`,
        options: {},
        env,
      })),
    ])("not when $how", async ({ options, env }) => {
      const day = reportDay(table);
      vi.stubEnv("DYNAMO_LOCK_DISABLED", env);
      await wrap(succeeding(), { ...day.options, ...options })(day.event);
      expect(day.sent).toEqual(oneRun);
    });

    it.each(["maybe", "2", "disabled", " 1"])("DYNAMO_LOCK_DISABLED='%s' is refused, and nothing runs", async (env) => {
      const day = reportDay(table);
      const handler = succeeding();
      const invoke = wrap(handler, day.options);
      vi.stubEnv("DYNAMO_LOCK_DISABLED", env);
      const error = await invoke(day.event).catch((refusal: unknown) => refusal);
      expect(error).toBeInstanceOf(LockOptionsError);
      expect(error).toMatchObject({
        message: expect.stringContaining("DYNAMO_LOCK_DISABLED must be '1', 'true', 'yes', 'on', '0'"),
      });
      expect(error).toMatchObject({ message: expect.stringContaining(`got '${env}'`) });
      expect(handler).not.toHaveBeenCalled();
      expect(day.sent).toEqual([]);
    });

    it("the variable is read at each invocation", async () => {
      const day = reportDay(table);
      const handler = succeeding();
      const invoke = wrap(handler, day.options);
      vi.stubEnv("DYNAMO_LOCK_DISABLED", "1");
      await invoke(day.event);
      expect(day.sent).toEqual([]);
      vi.stubEnv("DYNAMO_LOCK_DISABLED", undefined);
      await invoke(day.event);
      expect(day.sent).toEqual(oneRun);
      vi.stubEnv("DYNAMO_LOCK_DISABLED", "on");
      await invoke(day.event);
      expect(day.sent).toEqual(oneRun);
      expect(handler).toHaveBeenCalledTimes(3);
    });

    it("a handler's error is still its own", async () => {
      const day = reportDay(table);
      await expect(wrap(failing(), { ...day.options, disabled: true })(day.event)).rejects.toThrow("no paper");
      expect(day.sent).toEqual([]);
    });
  });

  describe("who and what is written", () => {
    it("namespace: by default the name of the function", async () => {
      const day = reportDay(table);
      await wrap(succeeding(), day.options)(day.event, lambdaContext({ functionName: "monthly" }));
      expect(await table.item(`monthly#${day.event.date}`)).toMatchObject(finished("report"));
      expect(await day.item()).toBeUndefined();
    });

    it("namespace: two functions that share a table don't meet", async () => {
      const day = reportDay(table);
      const handler = succeeding();
      const invoke = wrap(handler, day.options);
      await invoke(day.event, lambdaContext({ functionName: "daily" }));
      await invoke(day.event, lambdaContext({ functionName: "monthly" }));
      expect(handler).toHaveBeenCalledTimes(2);
    });

    it.each([
      { namespace: false as const, stored: (date: string) => date },
      { namespace: "reports", stored: (date: string) => `reports#${date}` },
    ])("namespace: $namespace", async ({ namespace, stored }) => {
      const day = reportDay(table);
      await wrap(succeeding(), { ...day.options, namespace })(day.event);
      expect(await table.item(stored(day.event.date))).toMatchObject(finished("report"));
      expect(await day.item()).toBeUndefined();
    });

    it("owner: by default the request id", async () => {
      const day = reportDay(table);
      const context = lambdaContext();
      await wrap(succeeding(), day.options)(day.event, context);
      expect(await day.item()).toMatchObject({ owner_id: { S: context.awsRequestId } });
    });

    it("owner: a function of the event and the context", async () => {
      const day = reportDay(table);
      const owner = (event: ReportEvent, context: { functionVersion: string }) =>
        `${event.date} by ${context.functionVersion}`;
      await wrap(succeeding(), { ...day.options, owner })(day.event);
      expect(await day.item()).toMatchObject({ owner_id: { S: `${day.event.date} by $LATEST` } });
    });

    it.each([undefined, "", 7])("owner: a function that returns %j is an error, and nothing is sent", async (value) => {
      const day = reportDay(table);
      const handler = succeeding();
      const invoke = wrap(handler, { ...day.options, owner: () => value as string });
      await expect(invoke(day.event)).rejects.toMatchObject({ code: "LOCK_OPTIONS" });
      expect(handler).not.toHaveBeenCalled();
      expect(day.sent).toEqual([]);
    });

    it("lease: by default the rest of the invocation", async () => {
      const day = reportDay(table);
      const clock = manualClock();
      const context = lambdaContext({ getRemainingTimeInMillis: () => 7_654 });
      let lock: Lock | undefined;
      let item: unknown;
      const invoke = wrap(async (_event, handlerContext) => {
        lock = handlerContext.lock;
        item = await day.item();
      }, day.clockedOptions(clock));
      await invoke(day.event, context);
      expect(item).toMatchObject({
        ...inProgress(lock),
        lease_ms: { N: "7654" },
        expires_at: { N: String(clock.now() + 7_654) },
      });
    });

    it("lease: leaseMs where it is set", async () => {
      const day = reportDay(table);
      let item: unknown;
      const invoke = wrap(
        async () => {
          item = await day.item();
        },
        { ...day.options, leaseMs: 1_234 },
      );
      await invoke(day.event);
      expect(item).toMatchObject({ lease_ms: { N: "1234" } });
    });

    it("a context with nothing in it, as in a unit test, is enough", async () => {
      const day = reportDay(table);
      expect(await wrap(succeeding(), day.options)(day.event, {} as never)).toBe("report");
      expect(await table.item(day.event.date)).toMatchObject(finished("report"));
    });
  });

  it("a refused run has no lock in its context", async () => {
    const day = reportDay(table);
    await day.takenByAnother();
    const context = lambdaContext();
    await expect(wrap(succeeding(), day.options)(day.event, context)).rejects.toBeInstanceOf(LockHeldError);
    expect(context).not.toHaveProperty("lock");
  });
});
