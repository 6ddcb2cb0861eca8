/** What Middy's control flow can do to a batch, on both majors of Middy. */
import { beforeAll, describe, expect, it, vi } from "vitest";
import {
  dynamoLock,
  dynamoLockBatch,
  type Lock,
  LockBatchError,
  LockLostError,
  LockTableError,
} from "../../src/index.ts";
import {
  consumer,
  failing,
  failures,
  fifo,
  kinesis,
  type OrderHandler,
  type OrderRecord,
  orderOf,
  queue,
  shop,
} from "../support/batches.ts";
import { lambdaContext } from "../support/lambda.ts";
import { deferred, type Table, tableOfLocks, versions } from "../support/middy.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});

interface Request {
  event: { Records: OrderRecord[] };
  response: unknown;
  earlyResponse?: unknown;
  error: unknown;
}

/** A context whose remaining time only changes when the test says so. */
const invocation = () => {
  let remainingMs = 10_000;
  return {
    context: lambdaContext({ getRemainingTimeInMillis: () => remainingMs }),
    left(ms: number) {
      remainingMs = ms;
    },
  };
};

describe.each(versions)("$name", ({ middy: version }) => {
  const middy = version as unknown as NonNullable<NonNullable<Parameters<typeof consumer>[2]>["middy"]>;
  const inner = (...middlewares: unknown[]) => ({ middy, behind: middlewares });
  const outer = (...middlewares: unknown[]) => ({ middy, before: middlewares });

  describe("before the handler", () => {
    it("a batch that is refused for its table touches nothing, and the handler doesn't run", async () => {
      const { options } = shop(table);
      const { invoke, run } = consumer({ ...options, tableName: "no-such-table" }, undefined, { middy });
      await expect(invoke(queue("a", "b"))).rejects.toBeInstanceOf(LockTableError);
      expect(run).not.toHaveBeenCalled();
    });

    it("another before throws first, or answers: nothing is sent", async () => {
      const { options, sent } = shop(table);
      const throwing = consumer(
        options,
        undefined,
        outer({ before: () => Promise.reject(new Error("no permission")) }),
      );
      await expect(throwing.invoke(queue("a"))).rejects.toThrow("no permission");
      const answering = consumer(options, undefined, outer({ before: () => "from the cache" }));
      expect(await answering.invoke(queue("a"))).toBe("from the cache");
      expect(sent).toEqual([]);
    });

    it("a later before throws: everything is released", async () => {
      const { options, statuses } = shop(table);
      const { invoke, run } = consumer(
        options,
        undefined,
        inner({ before: () => Promise.reject(new Error("invalid")) }),
      );
      await expect(invoke(queue("a", "b"))).rejects.toThrow("invalid");
      expect(run).not.toHaveBeenCalled();
      expect(await statuses("a", "b")).toEqual(["RELEASED", "RELEASED"]);
    });

    it("a later before answers: none of our hooks runs, and it is the lease that ends the locks", async () => {
      const { options, statuses } = shop(table);
      const { invoke } = consumer(options, undefined, inner({ before: () => "early" }));
      expect(await invoke(queue("a"))).toBe("early");
      expect(await statuses("a")).toEqual(["IN_PROGRESS"]);
    });

    it("a context that can't be copied: everything is released", async () => {
      const { options, statuses } = shop(table);
      const { invoke, run } = consumer(options, undefined, { middy });
      const context = new Proxy(lambdaContext(), {
        ownKeys: () => {
          throw new TypeError("no keys");
        },
      });
      await expect(invoke(queue("a"), context)).rejects.toThrow("no keys");
      expect(run).not.toHaveBeenCalled();
      expect(await statuses("a")).toEqual(["RELEASED"]);
    });

    it("a context that can't be added to: the handler finds its locks in one of its own", async () => {
      const { options, statuses } = shop(table);
      const { invoke } = consumer(
        options,
        async ({ Records }, { locks }) => void (await Promise.all(Records.map((record) => locks.get(record).finish()))),
        { middy },
      );
      const context = Object.freeze(lambdaContext());
      expect(await invoke(queue("a", "b"), context)).toMatchObject(failures());
      expect(context).not.toHaveProperty("locks");
      expect(await statuses("a", "b")).toEqual(["FINISHED", "FINISHED"]);
    });

    it("DYNAMO_LOCK_DISABLED is read at each invocation, and refused if it says neither yes nor no", async () => {
      const { options, sent } = shop(table);
      const { invoke, run } = consumer(options, undefined, { middy });
      vi.stubEnv("DYNAMO_LOCK_DISABLED", "yes");
      await invoke(queue("a"));
      expect(sent).toEqual([]);
      vi.stubEnv("DYNAMO_LOCK_DISABLED", "maybe");
      await expect(invoke(queue("a"))).rejects.toThrow("DYNAMO_LOCK_DISABLED must be '1', 'true', 'yes', 'on'");
      expect(run).toHaveBeenCalledTimes(1);
      vi.unstubAllEnvs();
      await invoke(queue("a"));
      expect(sent).toEqual(["UpdateItem", "UpdateItem"]);
    });
  });

  describe("the event", () => {
    it("is a copy with the owned records for the handler and for inner middlewares; the caller's is as it was", async () => {
      const { options, heldByAnother } = shop(table);
      await heldByAnother("b");
      const seen: Record<string, string[]> = {};
      const see = (name: string) => (request: Request) => {
        seen[name] = request.event.Records.map(orderOf);
      };
      const spy = (name: string) => ({ before: see(`before ${name}`), after: see(`after ${name}`) });
      const { invoke, given } = consumer(options, undefined, { middy, before: [spy("outer")], behind: [spy("inner")] });
      const event = { ...queue("a", "b", "c"), extra: "kept" };
      const asItWas = structuredClone(event);
      await invoke(event);
      expect(event).toEqual(asItWas);
      expect(given()).toEqual([["a", "c"]]);
      expect(seen).toEqual({
        "before outer": ["a", "b", "c"],
        "before inner": ["a", "c"],
        "after inner": ["a", "c"],
        "after outer": ["a", "b", "c"],
      });
    });

    it("is whole again for an outer onError, which would acknowledge what it doesn't see", async () => {
      const { options, heldByAnother } = shop(table);
      await heldByAnother("b");
      const onError = (request: Request) => {
        request.response = request.event.Records.map(orderOf);
      };
      const { invoke } = consumer(options, () => Promise.reject(new Error("no connection")), outer({ onError }));
      expect(await invoke(queue("a", "b", "c"))).toEqual(["a", "b", "c"]);
    });

    it("may be changed by the handler: keys and identifiers were fixed before", async () => {
      const { options, statuses } = shop(table);
      const handler: OrderHandler = ({ Records }) => {
        for (const record of Records) Object.assign(record, { body: "{}", messageId: "another" });
        Records.length = 0;
        return failures("m1");
      };
      const { invoke } = consumer(options, handler, { middy });
      expect(await invoke(queue("a", "b"))).toEqual(failures("m1"));
      expect(await statuses("a", "b")).toEqual(["RELEASED", "FINISHED"]);
    });
  });

  describe("after the handler", () => {
    it("an outer after throws after ours finished: FINISHED stays", async () => {
      const { options, statuses } = shop(table);
      const { invoke } = consumer(options, undefined, outer({ after: () => Promise.reject(new Error("no audit")) }));
      await expect(invoke(queue("a"))).rejects.toThrow("no audit");
      expect(await statuses("a")).toEqual(["FINISHED"]);
    });

    it("an inner after throws: everything is released", async () => {
      const { options, statuses } = shop(table);
      const { invoke } = consumer(options, undefined, inner({ after: () => Promise.reject(new Error("invalid")) }));
      await expect(invoke(queue("a"))).rejects.toThrow("invalid");
      expect(await statuses("a")).toEqual(["RELEASED"]);
    });

    it("an inner after that answers skips ours, and it is the lease that ends the locks", async () => {
      const { options, statuses } = shop(table);
      const { invoke } = consumer(options, undefined, inner({ after: () => failures("m9") }));
      expect(await invoke(queue("a"))).toEqual(failures("m9"));
      expect(await statuses("a")).toEqual(["IN_PROGRESS"]);
    });

    it("an inner onError that answers is understood as the handler's answer", async () => {
      const { options, statuses, heldByAnother } = shop(table);
      await heldByAnother("c");
      const onError = (request: Request) => {
        request.response = failures("m2");
      };
      const { invoke } = consumer(options, () => Promise.reject(new Error("after a")), inner({ onError }));
      expect(await invoke(queue("a", "b", "c"))).toEqual(failures("m2", "m3"));
      expect(await statuses("a", "b")).toEqual(["FINISHED", "RELEASED"]);
    });

    it.each([{ statusCode: 500 }, { statusCode: 200 }, {}, { batchItemFailures: null }, null, "sorry"])(
      "an inner onError that answers %j instead has not done the handler's work: everything is released, and the whole batch fails",
      async (answer) => {
        const { options, statuses } = shop(table);
        const onError = (request: Request) => {
          request.response = answer;
        };
        const { invoke } = consumer(options, () => Promise.reject(new Error("after a")), inner({ onError }));
        await expect(invoke(queue("a"))).rejects.toBeInstanceOf(LockBatchError);
        expect(await statuses("a")).toEqual(["RELEASED"]);
      },
    );

    it.each([
      { kind: "not async", handler: () => failures("m2") },
      {
        kind: "of a thenable",
        // biome-ignore lint/suspicious/noThenProperty: a thenable is what is tested
        handler: () => ({ then: (settle: (value: unknown) => void) => void setTimeout(settle, 10, failures("m2")) }),
      },
    ])("a handler that is $kind is a handler", async ({ handler }) => {
      const { options, statuses } = shop(table);
      const { invoke } = consumer(options, handler, { middy });
      expect(await invoke(queue("a", "b"))).toEqual(failures("m2"));
      expect(await statuses("a", "b")).toEqual(["FINISHED", "RELEASED"]);
    });

    it("a stream is refused, and the keys are left to their leases", async () => {
      const { options, statuses } = shop(table);
      const { invoke } = consumer(options, () => new ReadableStream(), { middy });
      await expect(invoke(queue("a"))).rejects.toMatchObject({ code: "LOCK_STREAMING" });
      expect(await statuses("a")).toEqual(["IN_PROGRESS"]);
    });
  });

  describe("an early timeout while the handler still runs", () => {
    const slowRun = (options: Parameters<typeof consumer>[0], plugin: object, leftMs: number) => {
      const { context, left } = invocation();
      const work = deferred<unknown>();
      const locks: Lock[] = [];
      const { invoke } = consumer(
        options,
        async ({ Records }, handlerContext) => {
          locks.push(...Records.map((record) => handlerContext.locks.get(record)));
          left(leftMs);
          return work.promise;
        },
        { middy, plugin },
      );
      return { invoke: (event: unknown) => invoke(event, context), work, locks };
    };

    it("that throws: nothing is settled, the signals are aborted, and the whole batch is retried", async () => {
      const { options, sent, types } = shop(table);
      const { invoke, work, locks } = slowRun(options, {}, 5);
      await expect(invoke(queue("a", "b"))).rejects.toMatchObject({ name: "TimeoutError" });
      work.resolve(undefined);
      expect(sent).toHaveLength(2);
      expect(types()).toEqual(["acquired", "acquired", "kept", "kept"]);
      expect(locks.map(({ signal }) => signal.reason)).toEqual([expect.any(LockLostError), expect.any(LockLostError)]);
    });

    it("that answers, in Middy's default time: nothing is settled, and everything comes back whatever the answer says", async () => {
      const { options, statuses, finishedBefore } = shop(table);
      await finishedBefore("b");
      const { invoke, work } = slowRun(options, { timeoutEarlyResponse: () => failures() }, 5);
      expect(await invoke(queue("a", "b", "c"))).toEqual(failures("m1", "m3"));
      work.resolve(undefined);
      expect(await statuses("a", "c")).toEqual(["IN_PROGRESS", "IN_PROGRESS"]);
    });

    it("that answers, at a declared time", async () => {
      const { options, statuses } = shop(table);
      const plugin = { timeoutEarlyInMillis: 1_500, timeoutEarlyResponse: () => undefined };
      const { invoke, work } = slowRun({ ...options, timeoutEarlyMs: 1_500 }, plugin, 1_500);
      expect(await invoke(kinesis("a", "b"))).toEqual(failures("1001"));
      work.resolve(undefined);
      expect(await statuses("a", "b")).toEqual(["IN_PROGRESS", "IN_PROGRESS"]);
    });

    it("what the handler has finished itself by then is acknowledged, in order", async () => {
      const { options } = shop(table);
      const work = deferred<unknown>();
      const { invoke } = consumer(
        { ...options, reserveMs: 0 },
        async ({ Records }, { locks }) => {
          for (const index of [0, 2]) await locks.get(Records[index] as OrderRecord).finish();
          return work.promise;
        },
        { middy, plugin: { timeoutEarlyResponse: () => undefined } },
      );
      const event = fifo(["red", "a"], ["red", "b"], ["red", "c"]);
      expect(await invoke(event, lambdaContext({ timeoutMs: 500 }))).toEqual(failures("m2", "m3"));
      work.resolve(undefined);
    });

    it("a handler that ended in time is not taken for a timeout", async () => {
      const { options, statuses } = shop(table);
      const { invoke, work } = slowRun(options, {}, 60);
      work.resolve(undefined);
      expect(await invoke(queue("a"))).toEqual(failures());
      expect(await statuses("a")).toEqual(["FINISHED"]);
    });
  });

  describe("several instances in one chain", () => {
    const byCustomer = (options: ReturnType<typeof shop>["options"]) => ({
      ...options,
      key: (record: OrderRecord) => `customer-${orderOf(record)[0]}`,
    });

    it("both hold their keys while the handler runs, and both settle", async () => {
      const { options, statuses } = shop(table);
      let during: unknown;
      const { invoke } = consumer(
        byCustomer(options),
        async () => {
          during = await statuses("a1", "b1", "customer-a", "customer-b");
          return failures("m2");
        },
        inner(dynamoLockBatch(options)),
      );
      expect(await invoke(queue("a1", "b1"))).toEqual(failures("m2"));
      expect(during).toEqual(Array(4).fill("IN_PROGRESS"));
      expect(await statuses("a1", "b1", "customer-a", "customer-b")).toEqual([
        "FINISHED",
        "RELEASED",
        "FINISHED",
        "RELEASED",
      ]);
    });

    it("the inner one returns and drops records of the outer one's", async () => {
      const { options, statuses, heldByAnother, finishedBefore } = shop(table);
      await heldByAnother("b1");
      await finishedBefore("c1");
      const { invoke, given } = consumer(byCustomer(options), undefined, inner(dynamoLockBatch(options)));
      expect(await invoke(queue("a1", "b1", "c1"))).toEqual(failures("m2"));
      expect(given()).toEqual([["a1"]]);
      expect(await statuses("customer-a", "customer-b", "customer-c")).toEqual(["FINISHED", "RELEASED", "FINISHED"]);
    });

    it("the inner one has nothing to run, and answers: the outer one settles by that answer, and returns its own", async () => {
      const { options, statuses, heldByAnother } = shop(table);
      await heldByAnother("b1");
      await heldByAnother("customer-a");
      const { invoke, run } = consumer(byCustomer(options), undefined, inner(dynamoLockBatch(options)));
      expect(await invoke(queue("a1", "b1"))).toEqual(failures("m1", "m2"));
      expect(run).not.toHaveBeenCalled();
      expect(await statuses("customer-b")).toEqual(["RELEASED"]);
    });

    it("a dynamoLock behind it answers a repeat: held records come back all the same", async () => {
      const { options, statuses, heldByAnother } = shop(table);
      const day = { ...options, key: () => "day" };
      const { invoke, run } = consumer(options, undefined, inner(dynamoLock(day)));
      expect(await invoke(queue("a"))).toEqual(failures());
      await heldByAnother("b");
      expect(await invoke(queue("b", "c"))).toEqual(failures("m1"));
      expect(run).toHaveBeenCalledTimes(1);
      expect(await statuses("c")).toEqual(["FINISHED"]);
    });

    it("a dynamoLock ahead of it is free again when there is nothing to run", async () => {
      const { options, statuses, finishedBefore } = shop(table);
      await finishedBefore("a");
      const { invoke } = consumer(options, undefined, outer(dynamoLock({ ...options, key: () => "day" })));
      expect(await invoke(queue("a"))).toEqual(failures());
      expect(await statuses("day")).toEqual(["RELEASED"]);
    });
  });

  it("requests of the same time, with an internal that they share, are told apart", async () => {
    const { options } = shop(table);
    const { invoke } = consumer(options, failing("c"), { middy, plugin: { internal: { shared: true } } });
    expect(await Promise.all([invoke(queue("a", "b")), invoke(queue("c", "d"))])).toEqual([failures(), failures("m1")]);
  });

  it("the hooks bear names, for Middy's profilers", () => {
    const { before: first, after, onError } = dynamoLockBatch({ key: () => "a" });
    expect([first.name, after.name, onError.name]).toEqual([
      "dynamoLockBatchMiddlewareBefore",
      "dynamoLockBatchMiddlewareAfter",
      "dynamoLockBatchMiddlewareOnError",
    ]);
  });

  it("disabled: every record runs under a stand-in of a lock, and failures are still returned in order", async () => {
    const { options, sent } = shop(table);
    const handler = vi.fn<OrderHandler>(async ({ Records }, { locks }) => {
      expect(locks.get(Records[0] as OrderRecord).fencingToken).toBeGreaterThan(0);
      return failures("1002");
    });
    const never = () => {
      throw new Error("asked about a record");
    };
    const asked = { key: never, owner: never, leaseMs: never, fingerprint: never };
    const { invoke } = consumer({ ...options, ...asked, disabled: true }, handler, { middy });
    expect(await invoke(kinesis("a", "b", "b"))).toEqual(failures("1002"));
    expect(handler.mock.calls[0]?.[0].Records).toHaveLength(3);
    expect(sent).toEqual([]);
  });
});
