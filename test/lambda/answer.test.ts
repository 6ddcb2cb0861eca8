/** How a run that may not take the key, or has none, is answered: by `dynamoLock` on both Middys as by `withLock`. */
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import {
  type DuplicateResponse,
  type DynamoLockOptions,
  type Lock,
  LockHeldError,
  LockKeyError,
} from "../../src/index.ts";
import { lambdaContext } from "../support/lambda.ts";
import {
  deferred,
  failing,
  finished,
  type Handler,
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

type Options = Partial<DynamoLockOptions<ReportEvent>>;

describe.each(wrappers)("$name", ({ wrap }) => {
  describe("a held key", () => {
    it("throws LockHeldError with the holder's record, so that the event is retried", async () => {
      const day = reportDay(table);
      const holder = await day.takenByAnother();
      const error = await wrap(succeeding(), day.options)(day.event).catch((refusal: unknown) => refusal);
      expect(error).toBeInstanceOf(LockHeldError);
      expect(error).toMatchObject({
        statusCode: 409,
        record: { key: day.key, status: "IN_PROGRESS", owner: holder.owner, token: holder.token },
      });
    });

    it("the same request delivered twice at the same time: one runs", async () => {
      const day = reportDay(table);
      const context = lambdaContext();
      const again = lambdaContext({ awsRequestId: context.awsRequestId });
      const gate = deferred();
      const handler = vi.fn<Handler>(async () => {
        await gate.promise;
        return "report";
      });
      const invoke = wrap(handler, day.options);
      const deliveries = [invoke(day.event, context), invoke(day.event, again)];
      const refusal = await Promise.race(deliveries.map((delivery) => delivery.catch((error: unknown) => error)));
      expect(refusal).toBeInstanceOf(LockHeldError);
      gate.resolve();
      const outcomes = await Promise.allSettled(deliveries);
      expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
      expect(handler).toHaveBeenCalledTimes(1);
      expect(await day.item()).toMatchObject({ ...finished("report"), owner_id: { S: context.awsRequestId } });
      expect(day.types().toSorted()).toEqual(["acquired", "finished", "held"]);
    });

    it("of 20 invocations at the same time one runs", async () => {
      const day = reportDay(table);
      const handler = succeeding();
      const invoke = wrap(handler, { ...day.options, duplicateResponse: "elsewhere" });
      const answers = await Promise.all(Array.from({ length: 20 }, () => invoke(day.event)));
      expect(handler).toHaveBeenCalledTimes(1);
      expect(answers.filter((answer) => answer === "report")).toHaveLength(1);
      expect(day.sent).toHaveLength(21);
    });
  });

  describe("duplicateResponse", () => {
    const answers: { what: string; duplicateResponse: DynamoLockOptions["duplicateResponse"]; answer: unknown }[] = [
      { what: "a value", duplicateResponse: { statusCode: 409 }, answer: { statusCode: 409 } },
      { what: "null", duplicateResponse: null, answer: null },
      { what: "false", duplicateResponse: false, answer: false },
      { what: "a function", duplicateResponse: () => "seen", answer: "seen" },
      { what: "an async function", duplicateResponse: async () => "seen", answer: "seen" },
      { what: "a function that returns undefined", duplicateResponse: () => undefined, answer: undefined },
      { what: "an async function of undefined", duplicateResponse: async () => undefined, answer: undefined },
    ];

    it.each(answers)("$what answers a held key, and touches nothing", async ({ duplicateResponse, answer }) => {
      const day = reportDay(table);
      await day.takenByAnother();
      const asItWas = await day.item();
      const handler = succeeding();
      expect(await wrap(handler, { ...day.options, duplicateResponse })(day.event)).toEqual(answer);
      expect(handler).not.toHaveBeenCalled();
      expect(day.sent).toEqual(["UpdateItem"]);
      expect(await day.item()).toEqual(asItWas);
      expect(day.types()).toEqual(["held"]);
    });

    it.each(answers)(
      "$what answers a finished key, in place of the response",
      async ({ duplicateResponse, answer }) => {
        const day = reportDay(table);
        const handler = succeeding();
        const invoke = wrap(handler, { ...day.options, duplicateResponse });
        expect(await invoke(day.event)).toBe("report");
        const asItWas = await day.item();
        expect(await invoke(day.event)).toEqual(answer);
        expect(handler).toHaveBeenCalledTimes(1);
        expect(await day.item()).toEqual(asItWas);
      },
    );

    it("a function sees the record with its stored response, and the request", async () => {
      const day = reportDay(table);
      const duplicateResponse = vi.fn<DuplicateResponse<ReportEvent>>((record) => record.result?.value);
      const invoke = wrap(succeeding(), { ...day.options, duplicateResponse });
      await invoke(day.event);
      const context = lambdaContext();
      expect(await invoke(day.event, context)).toBe("report");
      expect(duplicateResponse).toHaveBeenCalledTimes(1);
      const [record, request] = duplicateResponse.mock.calls[0] ?? [];
      expect(record).toMatchObject({ key: day.key, status: "FINISHED", result: { value: "report" } });
      expect(request).toMatchObject({ event: day.event, context: { awsRequestId: context.awsRequestId } });
    });

    it("a function that throws fails the invocation, and touches nothing", async () => {
      const day = reportDay(table);
      await day.takenByAnother();
      const asItWas = await day.item();
      const duplicateResponse = () => {
        throw new Error("no template");
      };
      const invoke = wrap(succeeding(), { ...day.options, duplicateResponse });
      await expect(invoke(day.event)).rejects.toThrow("no template");
      expect(day.sent).toEqual(["UpdateItem"]);
      expect(await day.item()).toEqual(asItWas);
    });

    it("answers a final failure too, in place of ReplayedError", async () => {
      const day = reportDay(table);
      const options: Options = {
        onError: "finish",
        duplicateResponse: (record) => record.failure,
      };
      const invoke = wrap(failing(), { ...day.options, ...options });
      await expect(invoke(day.event)).rejects.toThrow("no paper");
      expect(await invoke(day.event)).toEqual({ name: "OutOfStockError", message: "no paper", statusCode: 410 });
    });
  });

  describe("onMissingKey", () => {
    const missing = [undefined, null, ""];

    it.each(missing)("'throw', the default: %j is a LockKeyError, and nothing is sent", async (key) => {
      const day = reportDay(table);
      const handler = succeeding();
      const invoke = wrap(handler, { ...day.options, key: () => key });
      const error = await invoke(day.event).catch((refusal: unknown) => refusal);
      expect(error).toBeInstanceOf(LockKeyError);
      expect(error).toMatchObject({ statusCode: 400 });
      expect(handler).not.toHaveBeenCalled();
      expect(day.sent).toEqual([]);
    });

    it.each(missing)("'run': with %j the handler runs without a lock, as often as it likes", async (key) => {
      const day = reportDay(table);
      const locks: (Lock | undefined)[] = [];
      const invoke = wrap(
        async (_event, { lock }) => {
          locks.push(lock);
          return "report";
        },
        { ...day.options, key: () => key, onMissingKey: "run" },
      );
      expect([await invoke(day.event), await invoke(day.event)]).toEqual(["report", "report"]);
      expect(locks).toEqual([undefined, undefined]);
      expect(day.sent).toEqual([]);
      expect(day.types()).toEqual([]);
    });

    it("'run': an error without a lock is the handler's, and nothing is sent", async () => {
      const day = reportDay(table);
      const invoke = wrap(failing(), { ...day.options, key: () => undefined, onMissingKey: "run" });
      await expect(invoke(day.event)).rejects.toThrow("no paper");
      expect(day.sent).toEqual([]);
    });

    it("'run': what is there but can't be a key is an error all the same", async () => {
      const day = reportDay(table);
      const key = async () => day.event.date;
      const invoke = wrap(succeeding(), { ...day.options, key: key as never, onMissingKey: "run" });
      await expect(invoke(day.event)).rejects.toThrow("the key function must not be async");
      expect(day.sent).toEqual([]);
    });

    it("'run': with a key it locks as ever, 0 included", async () => {
      const day = reportDay(table);
      const options = { ...day.options, namespace: day.event.date, key: () => 0, onMissingKey: "run" } as const;
      await wrap(succeeding(), options)(day.event);
      expect(await table.item(`${day.event.date}#0`)).toMatchObject(finished("report"));
    });

    it("a key function that throws fails the invocation, and nothing is sent", async () => {
      const day = reportDay(table);
      const key = (event: ReportEvent) => (event as unknown as { detail: { date: string } }).detail.date;
      const handler = succeeding();
      await expect(wrap(handler, { ...day.options, key })(day.event)).rejects.toBeInstanceOf(TypeError);
      expect(handler).not.toHaveBeenCalled();
      expect(day.sent).toEqual([]);
    });
  });
});
