/** How a run ends: the same for `dynamoLock` on both Middys and for `withLock`. */
import { DeleteTableCommand } from "@aws-sdk/client-dynamodb";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { LockError, LockHeldError, LockTableError, type OnError, ReplayedError } from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import {
  failing,
  failRequests,
  finished,
  type Handler,
  OutOfStockError,
  oneRun,
  released,
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
  describe("onSuccess", () => {
    it("'finish' runs once: repeats get the first response", async () => {
      const day = reportDay(table);
      const handler = succeeding();
      const invoke = wrap(handler, day.options);
      expect([await invoke(day.event), await invoke(day.event)]).toEqual(["report", "report"]);
      expect(handler).toHaveBeenCalledTimes(1);
      expect(day.sent).toEqual([...oneRun, "UpdateItem"]);
      expect(await day.item()).toMatchObject(finished("report"));
    });

    it("'release' runs once at a time: a repeat runs again", async () => {
      const day = reportDay(table);
      const handler = succeeding();
      const invoke = wrap(handler, { ...day.options, onSuccess: "release" });
      await invoke(day.event);
      expect(await day.item()).toMatchObject(released);
      expect(await day.item()).not.toHaveProperty("result");
      await invoke(day.event);
      expect(handler).toHaveBeenCalledTimes(2);
      expect(day.sent).toEqual([...oneRun, ...oneRun]);
    });

    it("storeResponse: false finishes without the response, and repeats get undefined", async () => {
      const day = reportDay(table);
      const handler = succeeding();
      const invoke = wrap(handler, { ...day.options, storeResponse: false });
      expect([await invoke(day.event), await invoke(day.event)]).toEqual(["report", undefined]);
      expect(handler).toHaveBeenCalledTimes(1);
      expect(await day.item()).toMatchObject({ status: { S: "FINISHED" } });
      expect(await day.item()).not.toHaveProperty("result");
    });

    it("a response that JSON can't carry: the caller gets it, the key is finished, and that is reported", async () => {
      const day = reportDay(table);
      const handler = vi.fn<Handler>(async () => ({ id: 1n }));
      const invoke = wrap(handler, day.options);
      expect(await invoke(day.event)).toEqual({ id: 1n });
      expect(await invoke(day.event)).toBeUndefined();
      expect(handler).toHaveBeenCalledTimes(1);
      expect(day.types()).toEqual(["acquired", "response-not-stored", "finished", "replayed"]);
    });

    it("a response that JSON changes: Lambda sends the same to the first caller and to a repeat", async () => {
      const day = reportDay(table);
      const response = { at: new Date(0), none: undefined, rate: Number.NaN, tags: new Set(["a"]), print: () => 1 };
      const invoke = wrap(async () => response, day.options);
      const first = await invoke(day.event);
      expect(JSON.stringify(first)).toBe(JSON.stringify(response));
      const again = await invoke(day.event);
      expect(again).toEqual({ at: "1970-01-01T00:00:00.000Z", rate: null, tags: {} });
      expect(JSON.stringify(again)).toBe(JSON.stringify(response));
      expect(day.types()).toEqual(["acquired", "finished", "replayed"]);
    });

    it("rememberMs ends the memory, and then a repeat runs", async () => {
      const day = reportDay(table);
      const clock = manualClock();
      const handler = succeeding();
      const invoke = wrap(handler, { ...day.clockedOptions(clock), rememberMs: 60_000 });
      await invoke(day.event);
      clock.advance(60_999);
      await invoke(day.event);
      expect(handler).toHaveBeenCalledTimes(1);
      clock.advance(1);
      await invoke(day.event);
      expect(handler).toHaveBeenCalledTimes(2);
      expect(day.types()).toEqual(["acquired", "finished", "replayed", "acquired", "finished"]);
    });
  });

  describe("onError", () => {
    it("by default releases, and a retry runs at once", async () => {
      const day = reportDay(table);
      const error = new OutOfStockError("no paper");
      await expect(wrap(failing(error), day.options)(day.event)).rejects.toBe(error);
      expect(await day.item()).toMatchObject(released);
      expect(await wrap(succeeding(), day.options)(day.event)).toBe("report");
    });

    it("'finish' makes the failure final: a repeat gets it as ReplayedError, and doesn't run", async () => {
      const day = reportDay(table);
      const error = new OutOfStockError("no paper");
      const handler = failing(error);
      const invoke = wrap(handler, { ...day.options, onError: "finish" });
      await expect(invoke(day.event)).rejects.toBe(error);
      expect(await day.item()).toMatchObject({
        status: { S: "FINISHED" },
        failure: { S: JSON.stringify({ name: "OutOfStockError", message: "no paper", statusCode: 410 }) },
      });
      const repeat = await invoke(day.event).catch((replayed: unknown) => replayed);
      expect(repeat).toBeInstanceOf(ReplayedError);
      expect(repeat).toMatchObject({
        name: "ReplayedError",
        code: "LOCK_REPLAYED",
        message: "no paper",
        originalName: "OutOfStockError",
        statusCode: 410,
      });
      expect(handler).toHaveBeenCalledTimes(1);
      expect(day.sent).toEqual([...oneRun, "UpdateItem"]);
      expect(day.types()).toEqual(["acquired", "finished", "replayed"]);
    });

    it.each([
      ["a text", "no paper", { originalName: "Error", message: "no paper", statusCode: 500 }],
      ["undefined", undefined, { originalName: "Error", message: "undefined", statusCode: 500 }],
      ["an object", { message: "no paper", statusCode: 404 }, { message: "no paper", statusCode: 404 }],
      ["an object that is no text", Object.create(null), { originalName: "Error", statusCode: 500 }],
    ])("'finish' remembers %s that was thrown", async (_what, thrown, replayed) => {
      const day = reportDay(table);
      const handler = failing(thrown);
      const invoke = wrap(handler, { ...day.options, onError: "finish" });
      expect(await invoke(day.event).catch((error: unknown) => error)).toBe(thrown);
      await expect(invoke(day.event)).rejects.toMatchObject(replayed);
      expect(handler).toHaveBeenCalledTimes(1);
    });

    it("'keep' lets nobody run until the lease ends", async () => {
      const day = reportDay(table);
      const clock = manualClock();
      const options = { ...day.clockedOptions(clock), leaseMs: 5_000 };
      await expect(wrap(failing(), { ...options, onError: "keep" })(day.event)).rejects.toThrow("no paper");
      expect(await day.item()).toMatchObject({ status: { S: "IN_PROGRESS" } });
      expect(day.sent).toEqual(["UpdateItem"]);
      expect(day.events.at(-1)).toMatchObject({ type: "kept", reason: "on-error" });
      await expect(wrap(succeeding(), options)(day.event)).rejects.toBeInstanceOf(LockHeldError);
      clock.advance(6_000);
      expect(await wrap(succeeding(), options)(day.event)).toBe("report");
      expect(day.types()).toEqual(["acquired", "kept", "held", "taken-over", "finished"]);
    });

    it.each<[OnError, object]>([
      ["release", released],
      ["finish", { status: { S: "FINISHED" } }],
      ["keep", { status: { S: "IN_PROGRESS" } }],
    ])("a function of the error decides: '%s'", async (action, item) => {
      const day = reportDay(table);
      const error = new OutOfStockError("no paper");
      const onError = vi.fn(() => action);
      await expect(wrap(failing(error), { ...day.options, onError })(day.event)).rejects.toBe(error);
      expect(onError.mock.calls).toEqual([[error]]);
      expect(await day.item()).toMatchObject(item);
    });

    it("a function that throws can't hide the handler's error: the key is released, and the console says why", async () => {
      const day = reportDay(table);
      const error = new OutOfStockError("no paper");
      const printed = vi.spyOn(console, "error").mockImplementation(() => {});
      const onError = () => {
        throw new TypeError("can't read properties of undefined");
      };
      await expect(wrap(failing(error), { ...day.options, onError })(day.event)).rejects.toBe(error);
      expect(await day.item()).toMatchObject(released);
      expect(printed).toHaveBeenCalledWith(expect.stringContaining("can't read properties of undefined"));
      printed.mockRestore();
    });

    it("is not asked about a run that was refused", async () => {
      const day = reportDay(table);
      await day.takenByAnother();
      const onError = vi.fn(() => "release" as const);
      await expect(wrap(failing(), { ...day.options, onError })(day.event)).rejects.toBeInstanceOf(LockHeldError);
      expect(onError).not.toHaveBeenCalled();
    });
  });

  describe("when DynamoDB fails at the end", () => {
    /** `acquire` is the first request; the second settles. */
    const failingToSettle = () => {
      const day = reportDay(table);
      failRequests(day.client, (request) => request === 2);
      return { ...day, options: { ...day.options, settleMs: 0 } }; // it is sent once
    };

    it("a failing finish is reported, and the success stays a success", async () => {
      const day = failingToSettle();
      expect(await wrap(succeeding(), day.options)(day.event)).toBe("report");
      expect(await day.item()).toMatchObject({ status: { S: "IN_PROGRESS" } });
      expect(day.types()).toEqual(["acquired", "failed"]);
      expect(day.events[1]).toMatchObject({
        type: "failed",
        operation: "finish",
        error: expect.objectContaining({ code: "LOCK_REQUEST" }),
      });
    });

    it("a failing release after a success is reported, and the success stays a success", async () => {
      const day = failingToSettle();
      expect(await wrap(succeeding(), { ...day.options, onSuccess: "release" })(day.event)).toBe("report");
      expect(day.events[1]).toMatchObject({ type: "failed", operation: "release" });
    });

    it.each([
      { onError: "release", operation: "release" },
      { onError: "finish", operation: "finish" },
    ] as const)(
      "a failing $operation after an error is reported, and the handler's error is thrown",
      async (failure) => {
        const day = failingToSettle();
        const error = new OutOfStockError("no paper");
        await expect(wrap(failing(error), { ...day.options, onError: failure.onError })(day.event)).rejects.toBe(error);
        expect(error.cause).toBeUndefined();
        expect(day.types()).toEqual(["acquired", "failed"]);
        expect(day.events[1]).toMatchObject({ type: "failed", operation: failure.operation });
      },
    );

    it.each([
      { ending: "success", handler: () => succeeding(), outcome: { status: "fulfilled", value: "report" } },
      {
        ending: "failure",
        handler: () => failing(),
        outcome: { status: "rejected", reason: expect.objectContaining({ message: "no paper" }) },
      },
    ])("a table that is deleted meanwhile doesn't change the $ending", async ({ handler, outcome }) => {
      const own = await tableOfLocks();
      const day = reportDay(own);
      const inner = handler();
      const invoke = wrap(async (event, context) => {
        await own.client.send(new DeleteTableCommand({ TableName: own.tableName }));
        return inner(event, context);
      }, day.options);
      expect((await Promise.allSettled([invoke(day.event)]))[0]).toEqual(outcome);
      expect(day.types()).toEqual(["acquired", "failed"]);
      expect(day.events[1]).toMatchObject({ error: expect.any(LockTableError) });
    });

    it("a failing acquisition: the handler doesn't run, and what may have been taken is given back", async () => {
      const day = reportDay(table);
      failRequests(day.client, () => true);
      const handler = succeeding();
      const error = await wrap(handler, day.options)(day.event).catch((failure: unknown) => failure);
      expect(error).toBeInstanceOf(LockError);
      expect(error).toMatchObject({ code: "LOCK_REQUEST", cause: { name: "InternalServerError" } });
      expect(handler).not.toHaveBeenCalled();
      expect(day.sent.length).toBeGreaterThan(3);
      expect(new Set(day.sent)).toEqual(new Set(["UpdateItem"]));
      expect(await day.item()).toBeUndefined();
    });
  });
});
