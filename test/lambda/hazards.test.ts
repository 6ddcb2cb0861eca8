/** What Middy's control flow can do to a lock: the rows of DESIGN section 5, on both majors of Middy. */
import { beforeAll, describe, expect, it, vi } from "vitest";
import { dynamoLock, LockHeldError, withLock } from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { lambdaContext } from "../support/lambda.ts";
import {
  chain,
  deferred,
  finished,
  type Handler,
  inProgress,
  type Middleware,
  oneRun,
  released,
  reportDay,
  reporter,
  type Table,
  tableOfLocks,
  versions,
} from "../support/middy.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});

const lease = 10_000;
const skew = 1_000;
const oneLease = () => lambdaContext({ getRemainingTimeInMillis: () => lease });

describe.each(versions)("$name", ({ middy }) => {
  it("an uncontended run costs two requests, and a repeat is answered with one", async () => {
    const day = reportDay(table);
    const { handler } = reporter({ total: 42 });
    const invoke = chain(middy, [dynamoLock(day.options)], handler);
    expect(await invoke(day.event)).toEqual({ total: 42 });
    expect(day.sent).toEqual(oneRun);
    expect(await invoke(day.event)).toEqual({ total: 42 });
    expect(day.sent).toEqual([...oneRun, "UpdateItem"]);
    expect(handler).toHaveBeenCalledTimes(1);
    expect(day.types()).toEqual(["acquired", "finished", "replayed"]);
    expect(await day.item()).toMatchObject(finished({ total: 42 }));
  });

  describe("before the handler", () => {
    it("a refused run touches nothing", async () => {
      const day = reportDay(table);
      await day.takenByAnother();
      const asItWas = await day.item();
      const { handler } = reporter();
      await expect(chain(middy, [dynamoLock(day.options)], handler)(day.event)).rejects.toBeInstanceOf(LockHeldError);
      expect(handler).not.toHaveBeenCalled();
      expect(day.sent).toEqual(["UpdateItem"]);
      expect(await day.item()).toEqual(asItWas);
      expect(day.types()).toEqual(["held"]);
    });

    it.each(["release", "finish", "keep"] as const)(
      "a refused run touches nothing with onError: '%s' either",
      async (onError) => {
        const day = reportDay(table);
        await day.takenByAnother();
        const asItWas = await day.item();
        const invoke = chain(middy, [dynamoLock({ ...day.options, onError })], reporter().handler);
        await expect(invoke(day.event)).rejects.toBeInstanceOf(LockHeldError);
        expect(day.sent).toEqual(["UpdateItem"]);
        expect(await day.item()).toEqual(asItWas);
      },
    );

    it("a refused repeat touches nothing", async () => {
      const day = reportDay(table);
      const { handler } = reporter();
      const invoke = chain(middy, [dynamoLock(day.options)], handler);
      await invoke(day.event);
      const asItWas = await day.item();
      expect(await invoke(day.event)).toBe("report");
      expect(await day.item()).toEqual(asItWas);
      expect(handler).toHaveBeenCalledTimes(1);
    });

    it("another before throws first: nothing is sent", async () => {
      const day = reportDay(table);
      const { handler } = reporter();
      const before = () => {
        throw new Error("no permission");
      };
      const invoke = chain(middy, [{ before }, dynamoLock(day.options)], handler);
      await expect(invoke(day.event)).rejects.toThrow("no permission");
      expect(handler).not.toHaveBeenCalled();
      expect(day.sent).toEqual([]);
      expect(await day.item()).toBeUndefined();
      expect(day.types()).toEqual([]);
    });

    it("another before throws first: a key that another run holds stays held", async () => {
      const day = reportDay(table);
      await day.takenByAnother();
      const asItWas = await day.item();
      const before = () => {
        throw new Error("no permission");
      };
      const invoke = chain(middy, [{ before }, dynamoLock(day.options)], reporter().handler);
      await expect(invoke(day.event)).rejects.toThrow("no permission");
      expect(await day.item()).toEqual(asItWas);
    });

    it("an outer before answers early: nothing is sent", async () => {
      const day = reportDay(table);
      const { handler } = reporter();
      const invoke = chain(middy, [{ before: () => "from the cache" }, dynamoLock(day.options)], handler);
      expect(await invoke(day.event)).toBe("from the cache");
      expect(handler).not.toHaveBeenCalled();
      expect(day.sent).toEqual([]);
      expect(await day.item()).toBeUndefined();
    });

    it("a later before throws: the key is released, though the handler never ran", async () => {
      const day = reportDay(table);
      const { handler } = reporter();
      const before = () => {
        throw new Error("invalid");
      };
      const invoke = chain(middy, [dynamoLock(day.options), { before }], handler);
      await expect(invoke(day.event)).rejects.toThrow("invalid");
      expect(handler).not.toHaveBeenCalled();
      expect(day.sent).toEqual(oneRun);
      expect(await day.item()).toMatchObject(released);
    });

    const early: { how: string; before: Middleware["before"]; answer: unknown }[] = [
      { how: "returns a value", before: () => "early", answer: "early" },
      {
        how: "sets an earlyResponse that is undefined",
        before: (request) => {
          request.earlyResponse = undefined;
        },
        answer: undefined,
      },
    ];
    it.each(early)(
      "a later before $how: none of our hooks runs, and it is the lease that ends the lock",
      async ({ before, answer }) => {
        const day = reportDay(table);
        const clock = manualClock();
        const options = day.clockedOptions(clock);
        const { handler, locks } = reporter();
        const answersEarly = chain(middy, [dynamoLock(options), { before }], handler);
        const runs = chain(middy, [dynamoLock(options)], handler);

        expect(await answersEarly(day.event, oneLease())).toBe(answer);
        expect(handler).not.toHaveBeenCalled();
        expect(day.sent).toEqual(["UpdateItem"]);
        expect(await day.item()).toMatchObject({ status: { S: "IN_PROGRESS" } });

        clock.advance(lease + skew - 1);
        await expect(runs(day.event, oneLease())).rejects.toBeInstanceOf(LockHeldError);
        clock.advance(1);
        expect(await runs(day.event, oneLease())).toBe("report");
        expect(locks[0]?.previous).toMatchObject({ key: day.key, status: "IN_PROGRESS" });
        expect(day.types()).toEqual(["acquired", "lost", "held", "taken-over", "finished"]);
        expect(await day.item()).toMatchObject(finished("report"));
      },
    );

    it("where other middlewares answer early, withLock as the handler has nothing to leak", async () => {
      const day = reportDay(table);
      const { handler } = reporter();
      const invoke = chain(middy, [{ before: () => "early" }], withLock(handler, day.options));
      expect(await invoke(day.event)).toBe("early");
      expect(day.sent).toEqual([]);
    });
  });

  describe("after the handler", () => {
    it("an outer after throws after ours finished: FINISHED stays, and a repeat is answered", async () => {
      const day = reportDay(table);
      const { handler } = reporter();
      let first = true;
      const after = () => {
        if (first) throw new Error("serializer failed");
      };
      const invoke = chain(middy, [{ after }, dynamoLock(day.options)], handler);
      await expect(invoke(day.event)).rejects.toThrow("serializer failed");
      expect(day.sent).toEqual(oneRun);
      expect(await day.item()).toMatchObject(finished("report"));
      first = false;
      expect(await invoke(day.event)).toBe("report");
      expect(handler).toHaveBeenCalledTimes(1);
      expect(day.types()).toEqual(["acquired", "finished", "replayed"]);
    });

    it("an outer after throws after ours released: the key stays free", async () => {
      const day = reportDay(table);
      const after = () => {
        throw new Error("serializer failed");
      };
      const options = { ...day.options, onSuccess: "release", onError: "finish" } as const;
      const invoke = chain(middy, [{ after }, dynamoLock(options)], reporter().handler);
      await expect(invoke(day.event)).rejects.toThrow("serializer failed");
      expect(day.sent).toEqual(oneRun);
      expect(await day.item()).toMatchObject(released);
    });

    it("an inner after returns a value: our after is skipped, and it is the lease that ends the lock", async () => {
      const day = reportDay(table);
      const clock = manualClock();
      const options = day.clockedOptions(clock);
      const { handler, locks } = reporter();
      const answers = chain(middy, [dynamoLock(options), { after: () => "from the after" }], handler);
      const runs = chain(middy, [dynamoLock(options)], handler);

      expect(await answers(day.event, oneLease())).toBe("from the after");
      expect(day.sent).toEqual(["UpdateItem"]);
      expect(await day.item()).toMatchObject(inProgress(locks[0]));

      clock.advance(lease + skew);
      expect(await runs(day.event, oneLease())).toBe("report");
      expect(day.types()).toEqual(["acquired", "lost", "taken-over", "finished"]);
      expect(handler).toHaveBeenCalledTimes(2);
    });

    it("an inner after throws: the run has failed, and the key is released", async () => {
      const day = reportDay(table);
      const after = () => {
        throw new Error("response is invalid");
      };
      const invoke = chain(middy, [dynamoLock(day.options), { after }], reporter().handler);
      await expect(invoke(day.event)).rejects.toThrow("response is invalid");
      expect(day.sent).toEqual(oneRun);
      expect(await day.item()).toMatchObject(released);
    });

    it("a repeat gets what our after saw: the work of inner afters, and not that of outer ones", async () => {
      const day = reportDay(table);
      const add =
        (word: string): Middleware["after"] =>
        (request) => {
          (request.response as string[]).push(word);
        };
      const invoke = chain(
        middy,
        [{ after: add("outer") }, dynamoLock(day.options), { after: add("inner") }],
        async () => ["handler"],
      );
      expect(await invoke(day.event)).toEqual(["handler", "inner", "outer"]);
      expect(await invoke(day.event)).toEqual(["handler", "inner"]);
      expect(await day.item()).toMatchObject(finished(["handler", "inner"]));
    });

    it("a handler that returns undefined: a repeat gets undefined, and doesn't run", async () => {
      const day = reportDay(table);
      const handler = vi.fn<Handler>(async () => undefined);
      const invoke = chain(middy, [dynamoLock(day.options)], handler);
      expect(await invoke(day.event)).toBeUndefined();
      expect(await day.item()).toMatchObject(finished(undefined));
      expect(await invoke(day.event)).toBeUndefined();
      expect(handler).toHaveBeenCalledTimes(1);
      expect(day.sent).toEqual([...oneRun, "UpdateItem"]);
      expect(day.types()).toEqual(["acquired", "finished", "replayed"]);
    });

    it("a repeat that gets undefined doesn't run the befores behind ours either", async () => {
      const day = reportDay(table);
      const before = vi.fn();
      const invoke = chain(middy, [dynamoLock(day.options), { before }], async () => undefined);
      await invoke(day.event);
      await invoke(day.event);
      expect(before).toHaveBeenCalledTimes(1);
    });

    it.each([null, false, 0, ""])("a repeat of a handler that returned %j gets the same", async (response) => {
      const day = reportDay(table);
      const { handler } = reporter(response);
      const invoke = chain(middy, [dynamoLock(day.options)], handler);
      expect(await invoke(day.event)).toBe(response);
      expect(await invoke(day.event)).toBe(response);
      expect(handler).toHaveBeenCalledTimes(1);
    });

    it("a handler that is not async is a handler", async () => {
      const day = reportDay(table);
      const handler = vi.fn<Handler>(() => "report");
      const invoke = chain(middy, [dynamoLock(day.options)], handler);
      expect(await invoke(day.event)).toBe("report");
      expect(await invoke(day.event)).toBe("report");
      expect(handler).toHaveBeenCalledTimes(1);
      expect(await day.item()).toMatchObject(finished("report"));
    });

    // Middy 7 only awaits a Promise: with a thenable of another class it goes on while the work has yet to begin.
    describe("a handler that returns a thenable, such as a query builder's or a durable step's", () => {
      it("holds the key until it has settled", async () => {
        const day = reportDay(table);
        const work = deferred<string>();
        const asked = deferred();
        const { handler, locks } = reporter();
        const invoke = chain(middy, [dynamoLock(day.options)], (event, context) => {
          void handler(event, context);
          return {
            // biome-ignore lint/suspicious/noThenProperty: a thenable is what is tested
            then: (onSettled: (value: string) => void, onError: (reason: unknown) => void) => {
              asked.resolve();
              return work.promise.then(onSettled, onError);
            },
          };
        });
        const invocation = invoke(day.event);
        await asked.promise;
        expect(await day.item()).toMatchObject(inProgress(locks[0]));
        work.resolve("report");
        expect(await invocation).toBe("report");
        expect(await day.item()).toMatchObject(finished("report"));
        expect(await invoke(day.event)).toBe("report");
        expect(handler).toHaveBeenCalledTimes(1);
      });

      it("releases the key when it rejects", async () => {
        const day = reportDay(table);
        const invoke = chain(middy, [dynamoLock(day.options)], () => ({
          // biome-ignore lint/suspicious/noThenProperty: a thenable is what is tested
          then: (_onSettled: unknown, onError: (reason: unknown) => void) => onError(new Error("query failed")),
        }));
        await expect(invoke(day.event)).rejects.toThrow("query failed");
        expect(await day.item()).toMatchObject(released);
      });
    });
  });

  describe("when the handler fails", () => {
    const failing: Handler = async () => {
      throw new Error("no data");
    };

    it("the key is released, and a retry runs", async () => {
      const day = reportDay(table);
      const handler = vi.fn(failing).mockImplementationOnce(failing).mockResolvedValue("report");
      const invoke = chain(middy, [dynamoLock(day.options)], handler);
      await expect(invoke(day.event)).rejects.toThrow("no data");
      expect(day.sent).toEqual(oneRun);
      expect(await day.item()).toMatchObject(released);
      expect(await invoke(day.event)).toBe("report");
      expect(day.types()).toEqual(["acquired", "released", "acquired", "finished"]);
    });

    it("an inner onError that sets a response: the handler failed all the same, and the key is released", async () => {
      const day = reportDay(table);
      const onError: Middleware["onError"] = (request) => {
        request.response = { statusCode: 500 };
      };
      const invoke = chain(middy, [dynamoLock(day.options), { onError }], failing);
      expect(await invoke(day.event)).toEqual({ statusCode: 500 });
      expect(await day.item()).toMatchObject(released);
    });

    it("an inner onError that returns a response skips ours, and it is the lease that ends the lock", async () => {
      const day = reportDay(table);
      const clock = manualClock();
      const options = day.clockedOptions(clock);
      const answers = chain(middy, [dynamoLock(options), { onError: () => ({ statusCode: 500 }) }], failing);
      expect(await answers(day.event, oneLease())).toEqual({ statusCode: 500 });
      expect(day.sent).toEqual(["UpdateItem"]);
      clock.advance(lease + skew);
      expect(await chain(middy, [dynamoLock(options)], reporter().handler)(day.event, oneLease())).toBe("report");
      expect(day.types()).toEqual(["acquired", "lost", "taken-over", "finished"]);
    });

    it("an outer onError answers: the key is released before", async () => {
      const day = reportDay(table);
      const onError = vi.fn<NonNullable<Middleware["onError"]>>(async () => {
        expect(await day.item()).toMatchObject(released);
        return { statusCode: 500 };
      });
      const invoke = chain(middy, [{ onError }, dynamoLock(day.options)], failing);
      expect(await invoke(day.event)).toEqual({ statusCode: 500 });
      expect(onError).toHaveBeenCalledTimes(1);
    });

    it("an outer onError throws: the key was released before", async () => {
      const day = reportDay(table);
      const onError = () => {
        throw new Error("alarm failed");
      };
      const invoke = chain(middy, [{ onError }, dynamoLock(day.options)], failing);
      await expect(invoke(day.event)).rejects.toThrow("alarm failed");
      expect(await day.item()).toMatchObject(released);
    });

    it("an error in another onError is not ours to answer: what a refused run finds stays as it is", async () => {
      const day = reportDay(table);
      await day.takenByAnother();
      const asItWas = await day.item();
      const onError = () => {
        throw new Error("alarm failed");
      };
      const invoke = chain(middy, [dynamoLock(day.options), { onError }], failing);
      await expect(invoke(day.event)).rejects.toThrow("alarm failed");
      expect(await day.item()).toEqual(asItWas);
    });

    it.each([
      ["null", null],
      ["undefined", undefined],
      ["a text", "no data"],
      ["a number", 7],
    ])("%s can be thrown too", async (_name, thrown) => {
      const day = reportDay(table);
      const invoke = chain(middy, [dynamoLock(day.options)], async () => {
        throw thrown;
      });
      const outcome = await invoke(day.event).then(
        (value) => ({ value }),
        (error: unknown) => ({ error }),
      );
      expect(outcome).toEqual({ error: thrown });
      expect(await day.item()).toMatchObject(released);
    });
  });

  describe("when a hook of Middy's plugin throws", () => {
    const fails = () => {
      throw new Error("profiler failed");
    };
    const failsAt = (name: string) => (at: string) => {
      if (at === name) fails();
    };

    it.each([
      { hook: "afterMiddleware", when: "behind our before", throws: failsAt("dynamoLockMiddlewareBefore") },
      { hook: "beforeMiddleware", when: "ahead of our after", throws: failsAt("dynamoLockMiddlewareAfter") },
      { hook: "beforeHandler", when: "ahead of the handler", throws: fails },
      { hook: "afterHandler", when: "behind the handler", throws: fails },
    ])("$hook, $when: the run has failed, and the key is released", async ({ hook, throws }) => {
      const day = reportDay(table);
      const invoke = chain(middy, [dynamoLock(day.options)], reporter().handler, { [hook]: throws });
      await expect(invoke(day.event)).rejects.toThrow("profiler failed");
      expect(day.sent).toEqual(oneRun);
      expect(await day.item()).toMatchObject(released);
    });

    it.each([
      { hook: "afterMiddleware", when: "behind our after", throws: failsAt("dynamoLockMiddlewareAfter") },
      { hook: "requestEnd", when: "at the end", throws: fails },
    ])("$hook, $when: FINISHED stays", async ({ hook, throws }) => {
      const day = reportDay(table);
      const invoke = chain(middy, [dynamoLock(day.options)], reporter().handler, { [hook]: throws });
      await expect(invoke(day.event)).rejects.toThrow("profiler failed");
      expect(day.sent).toEqual(oneRun);
      expect(await day.item()).toMatchObject(finished("report"));
    });
  });
});
