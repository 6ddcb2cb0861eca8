/** What Middy, other middlewares and other locks do to a commit without a lock. */
import { Readable } from "node:stream";
import middy7 from "@middy/core";
import httpErrorHandler from "@middy/http-error-handler";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { dynamoCommit, dynamoLock, LockTimeoutError, withCommit, withLock } from "../../src/index.ts";
import { type Committing, commitChain, commitDoors, countersIn } from "../support/commits.ts";
import { lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";
import {
  chain,
  deferred,
  finished,
  type Handler,
  invoker,
  type Middy,
  type Request,
  released,
  reportDay,
  type Table,
  tableOfLocks,
  versions,
} from "../support/middy.ts";

let table: Table;
let counters: ReturnType<typeof countersIn>;
beforeAll(async () => {
  table = await tableOfLocks();
  counters = countersIn(await lockTable());
});

const response = { statusCode: 201 };
const committing: Committing = ({ date }, { commit }) => commit([counters.add(date)], { result: response });

/** A context whose remaining time only changes when the test says so. */
const invocation = () => {
  let remainingMs = 10_000;
  const context = lambdaContext({ getRemainingTimeInMillis: () => remainingMs });
  const left = (ms: number) => {
    remainingMs = ms;
  };
  return { context, left };
};

describe.each(versions)("$name", ({ middy }) => {
  describe.each([
    ["throws", {}, { status: "rejected", reason: expect.objectContaining({ name: "TimeoutError" }) }],
    ["answers", { timeoutEarlyResponse: () => "late" }, { status: "fulfilled", value: "late" }],
  ])("an early timeout that %s", (_what, plugin, outcome) => {
    it("while the handler goes on: nothing is finished, and a later commit is refused unsent", async () => {
      const day = reportDay(table);
      const { context, left } = invocation();
      const goOn = deferred();
      const late = deferred<unknown>();
      const handler: Committing = async ({ date }, { commit }) => {
        left(20);
        queueMicrotask(() => left(5)); // after Middy has asked
        await goOn.promise;
        late.resolve(commit([counters.add(date)], { result: response }).catch((error: unknown) => error));
      };
      const invoke = commitChain(middy, day.options, handler, { plugin });
      expect((await Promise.allSettled([invoke(day.event, context)]))[0]).toEqual(outcome);
      goOn.resolve();
      expect(await late.promise).toBeInstanceOf(LockTimeoutError);
      expect([day.sent, await day.item(), await counters.total(day.event.date)]).toEqual([[], undefined, 0]);
    });

    it("while a commit is on its way: it counts, or not, and a repeat gets what counts", async () => {
      const day = reportDay(table);
      const { context, left } = invocation();
      const goOn = deferred();
      const done = deferred<unknown>();
      day.client.middlewareStack.add(
        (next) => async (args) => {
          await goOn.promise;
          return next(args);
        },
        { step: "finalizeRequest", name: "hold" },
      );
      const handler: Committing = async (event, context) => {
        done.resolve(committing(event, context));
        left(20);
        queueMicrotask(() => left(5));
        return done.promise;
      };
      const invoke = commitChain(middy, day.options, handler, { plugin });
      expect((await Promise.allSettled([invoke(day.event, context)]))[0]).toEqual(outcome);
      goOn.resolve();
      expect(await done.promise).toEqual(response);
      const repeat: Committing = ({ date }, { commit }) => commit([counters.add(date)], { result: "repeat" });
      expect(await commitChain(middy, day.options, repeat)(day.event)).toEqual(response);
      expect(await counters.total(day.event.date)).toBe(1);
    });
  });

  it("a refused commit that the handler throws: no outer onError makes an error of it", async () => {
    const day = reportDay(table);
    const onError = vi.fn((request: Request) => {
      request.response = { statusCode: 409 };
    });
    const outer = [{ onError }];
    const none: Committing = ({ date }, { commit }) => commit([counters.add(date)]);
    expect(await commitChain(middy, day.options, none, { outer })(day.event)).toBeUndefined();
    expect(await commitChain(middy, day.options, committing, { outer })(day.event)).toBeNull();
    expect(onError).not.toHaveBeenCalled();
  });

  it("a key that is held is an error that an outer onError answers", async () => {
    const day = reportDay(table);
    await day.takenByAnother();
    const outer = [httpErrorHandler({ logger: false })];
    const answer = await commitChain(middy, day.options, committing, { outer })(day.event);
    expect(answer).toMatchObject({ statusCode: 409 });
  });

  it("another error of a handler that was held up is replaced by the LockHeldError", async () => {
    const day = reportDay(table);
    await day.takenByAnother();
    const handler: Committing = async (event, context) => {
      await Promise.resolve(committing(event, context)).catch(() => {});
      throw new Error("something else");
    };
    const errors: unknown[] = [];
    const outer = [{ onError: ({ error }: Request) => void errors.push((error as { code?: string }).code) }];
    await expect(commitChain(middy, day.options, handler, { outer })(day.event)).rejects.toMatchObject({
      code: "LOCK_HELD",
    });
    expect(errors).toEqual(["LOCK_HELD"]);
  });

  it("an outer lock is given back when a repeat is answered from onError, where no outer hook runs", async () => {
    const day = reportDay(table);
    const other = reportDay(table);
    const outer = [dynamoLock({ ...other.options, key: () => other.event.date })];
    await commitChain(middy, day.options, committing)(day.event);
    expect(await commitChain(middy, day.options, committing, { outer })(day.event)).toEqual(response);
    expect(await other.item()).toMatchObject(released);
  });

  it("Powertools' middlewares outside clean up when a repeat is answered from onError", async () => {
    const day = reportDay(table);
    const cleanUp = vi.fn();
    const outer = [
      {
        before: ({ internal }: Request) => {
          internal["powertools-for-aws.metrics"] = cleanUp;
        },
      },
    ];
    await commitChain(middy, day.options, committing)(day.event);
    expect(await commitChain(middy, day.options, committing, { outer })(day.event)).toEqual(response);
    expect(cleanUp).toHaveBeenCalledTimes(1);
  });

  it("an outer after runs on the answer of a repeat whose handler has caught the refusal", async () => {
    const day = reportDay(table);
    const after = vi.fn(({ response: given }: Request) => {
      expect(given).toEqual(response);
    });
    await commitChain(middy, day.options, committing)(day.event);
    const catching: Committing = (event, context) => Promise.resolve(committing(event, context)).catch(() => "mine");
    expect(await commitChain(middy, day.options, catching, { outer: [{ after }] })(day.event)).toEqual(response);
    expect(after).toHaveBeenCalledTimes(1);
  });

  it("another before that fails or answers: nothing is sent", async () => {
    const day = reportDay(table);
    const failing = { before: () => Promise.reject(new Error("no body")) };
    const answering = { before: async () => "early" };
    for (const place of ["outer", "inner"] as const) {
      await expect(commitChain(middy, day.options, committing, { [place]: [failing] })(day.event)).rejects.toThrow(
        "no body",
      );
      expect(await commitChain(middy, day.options, committing, { [place]: [answering] })(day.event)).toBe("early");
    }
    expect(day.sent).toEqual([]);
  });

  it("an inner after that fails: nothing is finished; an outer one that fails after ours: it stays finished", async () => {
    const [one, other] = [reportDay(table), reportDay(table)];
    const failing = { after: () => Promise.reject(new Error("no paper")) };
    const plain: Committing = () => "report";
    await expect(commitChain(middy, one.options, plain, { inner: [failing] })(one.event)).rejects.toThrow("no paper");
    await expect(commitChain(middy, other.options, plain, { outer: [failing] })(other.event)).rejects.toThrow();
    expect([await one.item(), await other.item()]).toEqual([undefined, expect.objectContaining(finished("report"))]);
  });

  it("two in one chain: the handler has the inner one's commit, and each finishes its key", async () => {
    const [outside, inside] = [reportDay(table), reportDay(table)];
    const outer = [dynamoCommit({ ...outside.options, key: () => outside.event.date })];
    const invoke = commitChain(middy, inside.options, committing, { outer });
    expect([await invoke(inside.event), await invoke(inside.event)]).toEqual([response, response]);
    expect([await inside.item(), await outside.item()]).toEqual([
      expect.objectContaining(finished(response)),
      expect.objectContaining(finished(response)),
    ]);
    expect(await counters.total(inside.event.date)).toBe(1);
  });

  it("a handler's thenable that is no Promise is waited for", async () => {
    const day = reportDay(table);
    // biome-ignore lint/suspicious/noThenProperty: such a handler is what this is about
    const thenable: Committing = () => ({ then: (resolve: (value: unknown) => void) => resolve("report") });
    expect(await commitChain(middy, day.options, thenable)(day.event)).toBe("report");
    expect(await day.item()).toMatchObject(finished("report"));
  });

  it("hooks carry the name that Middy's profiling shows", () => {
    const hooks = Object.values(dynamoCommit({ key: () => "x", client: reportDay(table).client }));
    expect(hooks.map(({ name }) => name)).toEqual([
      "dynamoCommitMiddlewareBefore",
      "dynamoCommitMiddlewareAfter",
      "dynamoCommitMiddlewareOnError",
    ]);
  });
});

describe.each(commitDoors)("$name", ({ wrap }) => {
  it("under a lock of its own on the same key: refused, and the error says by whom", async () => {
    const day = reportDay(table);
    const inner = wrap(committing, day.options);
    const invoke = invoker(withLock((event: { date: string }, context) => inner(event, context), day.options));
    await expect(invoke(day.event)).rejects.toThrow("held by this invocation itself");
    expect(await counters.total(day.event.date)).toBe(0);
  });

  it("leaves the caller's context as it is, and gives the run one of its own", async () => {
    const day = reportDay(table);
    const context = lambdaContext();
    const handler: Committing = (_event, own) => [typeof own.commit, own.awsRequestId === context.awsRequestId];
    expect(await wrap(handler, day.options)(day.event, context)).toEqual(["function", true]);
    expect("commit" in context).toBe(false);
  });

  it("a commit after the handler has ended is refused unsent", async () => {
    const day = reportDay(table);
    let later: (() => Promise<unknown>) | undefined;
    const handler: Committing = (_event, { commit }) => {
      later = () => commit([counters.add(day.event.date)]);
      throw new Error("ended");
    };
    await wrap(handler, day.options)(day.event).catch(() => {});
    await expect(later?.()).rejects.toBeInstanceOf(LockTimeoutError);
    expect(day.sent).toEqual([]);
  });

  it("a stream is no response to finish; after a commit it goes out", async () => {
    const day = reportDay(table);
    const streaming = wrap(() => Readable.from(["a"]), day.options);
    await expect(streaming(day.event)).rejects.toMatchObject({ code: "LOCK_STREAMING" });
    expect([day.sent, await day.item()]).toEqual([[], undefined]);
    const committed: Committing = async (event, context) => {
      await committing(event, context);
      return Readable.from(["a"]);
    };
    expect(await wrap(committed, day.options)(day.event)).toBeInstanceOf(Readable);
    expect(await wrap(committed, day.options)(day.event)).toEqual(response);
  });

  it("a commit that hangs while the invocation ends is an error, also if nobody awaits it", async () => {
    const day = reportDay(table);
    day.client.middlewareStack.add(() => () => new Promise(() => {}), { step: "finalizeRequest", name: "hang" });
    const careless: Committing = (event, context) => {
      void committing(event, context);
      return "done";
    };
    const context = lambdaContext({ timeoutMs: 600 });
    await expect(wrap(careless, day.options)(day.event, context)).rejects.toMatchObject({ code: "LOCK_REQUEST" });
  });
});

it("a Middy within withCommit that times out early: its handler's later commit is refused unsent", async () => {
  const day = reportDay(table);
  const goOn = deferred();
  const late = deferred<unknown>();
  const { context, left } = invocation();
  const within = (middy7 as unknown as Middy)().handler(async ({ date }, own) => {
    await goOn.promise;
    const { commit } = own as unknown as Parameters<Committing>[1];
    late.resolve(commit([counters.add(date)]).catch((error: unknown) => error));
  });
  left(20);
  const invoke = invoker(withCommit(within as never, day.options));
  await expect(invoke(day.event, context)).rejects.toMatchObject({ name: "TimeoutError" });
  goOn.resolve();
  expect(await late.promise).toBeInstanceOf(LockTimeoutError);
  expect(day.sent).toEqual([]);
});

it("handlers with a callback, and what is no handler, are refused at construction", () => {
  const { options } = reportDay(table);
  const callback = (_event: unknown, _context: unknown, _callback: unknown) => {};
  expect(() => withCommit(callback as never, options)).toThrow("at most 2 parameters");
  expect(() => withCommit("handler" as never, options)).toThrow("must be a function");
  for (const door of [dynamoCommit, (given: never) => withCommit(committing, given)]) {
    expect(() => door({ ...options, onUnavailable: "run" } as never)).toThrow("unknown option 'onUnavailable'");
    expect(() => door({ ...options, key: "id" } as never)).toThrow("key must be a function");
    expect(() => door({ ...options, clockSkewMs: -1 } as never)).toThrow("clockSkewMs must be");
    expect(() => door({ key: () => "a", duplicateResponse: { send() {} } } as never)).toThrow("plain data");
  }
});

it("chain of other middlewares sees Lambda's own responses the first time", async () => {
  const day = reportDay(table);
  const at = new Date(0);
  const handler = (() => ({ at })) as unknown as Handler;
  const invoke = chain(versions[0]?.middy as never, [dynamoCommit(day.options)], handler);
  expect([await invoke(day.event), await invoke(day.event)]).toEqual([{ at }, { at: at.toISOString() }]);
  const wrapped = invoker(withCommit(() => ({ at }), reportDay(table).options));
  expect(await wrapped({ date: "json" })).toEqual({ at: at.toISOString() });
});
