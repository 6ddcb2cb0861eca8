/** A key that is wanted again under a lock which holds it already: the error says whose it is, and nobody waits for himself. */
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, it } from "vitest";
import {
  dynamoLock,
  dynamoLockBatch,
  type Lock,
  LockClient,
  LockHeldError,
  withLock,
  withLockBatch,
} from "../../src/index.ts";
import { consumer, failures, orderOf, queue, shop } from "../support/batches.ts";
import { lambdaContext } from "../support/lambda.ts";
import {
  chain,
  finished,
  invoker,
  type ReportEvent,
  released,
  reportDay,
  type Table,
  tableOfLocks,
  versions,
} from "../support/middy.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});

const own = /^The key is held by this invocation itself, under a lock around this one, until .* at the latest$/;
const thrownBy = (promise: Promise<unknown>) =>
  promise.then(
    () => "nothing",
    (error: unknown) => error,
  );
const waitMs = 5_000;

describe.each(versions)("$name", ({ middy }) => {
  it.each([0, waitMs])(
    "two locks on one key in one chain, of two clients: the inner one says so at once (waitMs %i)",
    async (waitMs) => {
      const [day, other] = [reportDay(table), reportDay(table)];
      const inner = dynamoLock({ ...other.options, waitMs });
      const begun = performance.now();
      const error = await thrownBy(chain(middy, [dynamoLock(day.options), inner], async () => "report")(day.event));
      expect(performance.now() - begun).toBeLessThan(waitMs || 1_000);
      expect(error).toBeInstanceOf(LockHeldError);
      expect(error).toMatchObject({ statusCode: 409, code: "LOCK_HELD", message: expect.stringMatching(own) });
      expect(other.types()).toEqual(["held"]);
      expect(other.sent).toEqual(["UpdateItem"]);
      expect(await day.item()).toMatchObject(released);
    },
  );

  it("a duplicateResponse doesn't answer for work that nobody does", async () => {
    const day = reportDay(table);
    const inner = dynamoLock({ ...day.options, duplicateResponse: "accepted" });
    const error = await thrownBy(chain(middy, [dynamoLock(day.options), inner], async () => "report")(day.event));
    expect(error).toMatchObject({ message: expect.stringMatching(own) });
    expect(await day.item()).toMatchObject(released);
  });

  it("withLock within dynamoLock, with another lock between them", async () => {
    const [day, other] = [reportDay(table), reportDay(table)];
    const within = withLock(async () => "report", { ...day.options, waitMs });
    const between = withLock(async (_event: ReportEvent, context) => within(day.event, { ...context }), other.options);
    const error = await thrownBy(
      chain(middy, [dynamoLock(day.options)], async (_e, context) => between(other.event, context))(day.event),
    );
    expect(error).toMatchObject({ message: expect.stringMatching(own) });
  });

  it("two dynamoLockBatch on the same keys: all records come back at once", async () => {
    const { options, statuses } = shop(table);
    const begun = performance.now();
    const { invoke, run } = consumer(options, undefined, {
      middy: middy as never,
      before: [dynamoLockBatch({ ...options, waitMs })],
    });
    expect(await invoke(queue("a", "b"))).toMatchObject(failures("m1", "m2"));
    expect(performance.now() - begun).toBeLessThan(waitMs);
    expect(run).not.toHaveBeenCalled();
    expect(await statuses("a", "b")).toEqual(["RELEASED", "RELEASED"]);
  });
});

describe("withLock", () => {
  it("of several keys, one of which is held around it: nothing is taken, and nobody waits", async () => {
    const [day, other] = [reportDay(table), reportDay(table)];
    const both = { ...day.options, key: () => [other.event.date, day.event.date], waitMs };
    const invoke = invoker(
      withLock(
        async (_event: ReportEvent, context) => withLock(async () => "both", both)(day.event, context),
        day.options,
      ),
    );
    const stranger = await other.takenByAnother();
    expect(await thrownBy(invoke(day.event))).toMatchObject({
      message: expect.stringMatching(own),
      record: { key: day.key },
    });
    await stranger.release();
    expect(await thrownBy(invoke(day.event))).toMatchObject({ message: expect.stringMatching(own) });
    expect(await other.item()).toMatchObject(released);
  });

  it("though a run without a key is between them", async () => {
    const day = reportDay(table);
    const inner = withLock(async () => "report", { ...day.options, waitMs });
    const between = withLock(async (event: ReportEvent, context) => inner(event, context), {
      ...day.options,
      key: () => undefined,
      onMissingKey: "run",
    });
    const invoke = invoker(withLock(async (event: ReportEvent, context) => between(event, context), day.options));
    expect(await thrownBy(invoke(day.event))).toMatchObject({ message: expect.stringMatching(own) });
  });

  it("with another payload it is still its own lock that is in the way, and no mismatch", async () => {
    const day = reportDay(table);
    const outer = { ...day.options, fingerprint: () => "outer" };
    const inner = { ...day.options, fingerprint: () => "inner" };
    const invoke = invoker(
      withLock(
        async (_event: ReportEvent, context) => withLock(async () => "report", inner)(day.event, context),
        outer,
      ),
    );
    expect(await thrownBy(invoke(day.event))).toMatchObject({ message: expect.stringMatching(own) });
  });

  it("what the outer run has committed is replayed to the inner one, as to anybody", async () => {
    const day = reportDay(table);
    const invoke = invoker(
      withLock(async (_event: ReportEvent, context) => {
        await context.lock.commit([], { result: "committed" });
        return withLock(async () => "again", day.options)(day.event, context);
      }, day.options),
    );
    expect(await invoke(day.event)).toBe("committed");
    expect(await day.item()).toMatchObject(finished("committed"));
  });

  it("what the outer run has released is free", async () => {
    const day = reportDay(table);
    const invoke = invoker(
      withLock(async (_event: ReportEvent, context) => {
        await context.lock.release();
        return withLock(async () => "inner", { ...day.options, waitMs })(day.event, context);
      }, day.options),
    );
    expect(await invoke(day.event)).toBe("inner");
  });

  it("a record's own key within withLockBatch", async () => {
    const { options, statuses } = shop(table);
    const again = withLock(async (_record: object, _context: object) => "shipped", {
      ...options,
      key: orderOf,
      waitMs,
    });
    const errors: unknown[] = [];
    const invoke = withLockBatch(async ({ Records }: ReturnType<typeof queue>, context) => {
      const results = await Promise.allSettled(Records.map((record) => again(record, context)));
      errors.push(...results.flatMap((result) => (result.status === "rejected" ? [result.reason] : [])));
      return results;
    }, options);
    expect(await invoke(queue("a", "b"), lambdaContext())).toMatchObject(failures("m1", "m2"));
    for (const error of errors) expect(error).toMatchObject({ message: expect.stringMatching(own) });
    expect(errors).toHaveLength(2);
    expect(await statuses("a", "b")).toEqual(["RELEASED", "RELEASED"]);
  });
});

describe("a lock of the same process that may be another invocation's", () => {
  const here = /^The key is held by another run of this process, or by this invocation itself, until .* at the latest$/;

  it("LockClient's verbs under a handler's own lock", async () => {
    const day = reportDay(table);
    const locks = new LockClient({ client: day.client, tableName: table.tableName });
    const errors: unknown[] = [];
    const invoke = withLock(async () => {
      errors.push(await thrownBy(locks.acquire(day.key)), await thrownBy(locks.once(day.key, () => "report")));
    }, day.options);
    await invoke(day.event, lambdaContext());
    for (const error of errors)
      expect(error).toMatchObject({ code: "LOCK_HELD", message: expect.stringMatching(here) });
    expect(errors).toHaveLength(2);
  });

  it("owners of one name prove nothing: two invocations at once, whose owner is the same, are two runs", async () => {
    const day = reportDay(table);
    const options = { ...day.options, owner: () => "reports" };
    const gate = Promise.withResolvers<void>();
    const taken = Promise.withResolvers<Lock>();
    const invoke = invoker(
      withLock(async (_event: ReportEvent, { lock }) => {
        taken.resolve(lock);
        await gate.promise;
      }, options),
    );
    const context = lambdaContext();
    const first = invoke(day.event, context);
    await taken.promise;
    expect(await thrownBy(invoke(day.event, context))).toMatchObject({ message: expect.stringMatching(here) });
    gate.resolve();
    await first;
  });

  it("is waited for, because it may end", async () => {
    const day = reportDay(table);
    const gate = Promise.withResolvers<void>();
    const taken = Promise.withResolvers<void>();
    const invoke = invoker(
      withLock(
        async () => {
          taken.resolve();
          await gate.promise;
        },
        { ...day.options, onSuccess: "release", waitMs },
      ),
    );
    const first = invoke(day.event);
    await taken.promise;
    const second = invoke(day.event);
    await sleep(20);
    gate.resolve();
    await Promise.all([first, second]);
    expect(day.types().filter((type) => type === "released")).toHaveLength(2);
  });

  it("another process's holder is another run", async () => {
    const day = reportDay(table);
    await day.takenByAnother();
    await table.put({ ...(await day.item()), token: { S: "of another process" } });
    expect(await thrownBy(invoker(withLock(async () => "report", day.options))(day.event))).toMatchObject({
      message: expect.stringMatching(/^The key is held by another run until/),
    });
  });
});
