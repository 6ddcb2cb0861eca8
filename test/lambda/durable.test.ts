/**
 * Durable execution: one execution is many invocations, each of which runs the handler again from the top. Driven by
 * AWS's own local runner, which suspends, checkpoints and invokes again as the service does.
 */
import { type DurableContext, withDurableExecution } from "@aws/durable-execution-sdk-js";
import { LocalDurableTestRunner, WaitingOperationStatus } from "@aws/durable-execution-sdk-js-testing";
import middy from "@middy/core";
import { executionModeDurableContext } from "@middy/core/DurableContext";
import type { Context } from "aws-lambda";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import {
  type DynamoLockOptions,
  dynamoLock,
  type Lock,
  type LockClient,
  type LockContext,
  withLock,
} from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { lambdaContext } from "../support/lambda.ts";
import {
  deferred,
  finished,
  inProgress,
  type Middleware,
  oneRun,
  type ReportEvent,
  released,
  reportDay,
  type Table,
  tableOfLocks,
} from "../support/middy.ts";

type Durable = DurableContext & Context & LockContext;
type DurableHandler = (event: ReportEvent, context: Durable) => PromiseLike<unknown>;
type DurableInvoke = ReturnType<typeof withDurableExecution>;
type Options = DynamoLockOptions<ReportEvent>;

const hour = 3_600_000;

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
  await LocalDurableTestRunner.setupTestEnvironment({ skipTime: false });
});
afterAll(() => LocalDurableTestRunner.teardownTestEnvironment());

/** Middy's timer outlives a suspended invocation, which never ends for it; where it is not tested it is off. */
const noTimer = { timeoutEarlyInMillis: 0 };

const wrappers: { name: string; wrap: (handler: DurableHandler, options: Options) => DurableInvoke }[] = [
  {
    name: "dynamoLock in Middy's durable mode",
    wrap: (handler, options) => {
      const chained = middy({ executionMode: executionModeDurableContext, ...noTimer });
      chained.use(dynamoLock(options) as Middleware);
      chained.handler(handler as never);
      return chained as unknown as DurableInvoke;
    },
  },
  {
    name: "withLock in withDurableExecution",
    wrap: (handler, options) => withDurableExecution(withLock(handler as never, options) as never),
  },
];

/** Starts an execution of its own, with an ARN of its own. */
const start = (handlerFunction: DurableInvoke, payload: ReportEvent) => {
  const runner = new LocalDurableTestRunner({ handlerFunction });
  return { runner, outcome: runner.run({ payload }) };
};

/** The local runner names the function so. */
const functionName = "my-function-name";
const setUp = () => {
  const day = reportDay(table);
  const options: Options = { ...day.options, leaseMs: hour };
  return { day, options, item: () => table.item(`${functionName}#${day.event.date}`) };
};

/** Waits for an approval between two steps, so that it takes two invocations. */
const twoSteps = () => {
  const locks: Lock[] = [];
  const fetched = vi.fn(() => "data");
  const handler: DurableHandler = async (_event, context) => {
    locks.push(context.lock);
    const data = await context.step("fetch", async () => fetched());
    const approval = await context.waitForCallback<string>("approval", async () => {});
    return `${data} ${JSON.parse(approval)}`;
  };
  return { handler, locks, fetched };
};

const suspended = async ({ runner }: ReturnType<typeof start>) => {
  const approval = runner.getOperation("approval");
  await approval.waitForData(WaitingOperationStatus.SUBMITTED);
  return { approve: () => approval.sendCallbackSuccess(JSON.stringify("approved")) };
};

describe.each(wrappers)("$name", ({ wrap }) => {
  it("an execution keeps its key while it is suspended, and enters again with a new token and a higher fence", async () => {
    const { day, options, item } = setUp();
    const { handler, locks, fetched } = twoSteps();
    const execution = start(wrap(handler, options), day.event);
    const { approve } = await suspended(execution);
    await vi.waitFor(() => expect(locks).toHaveLength(1));
    expect(await item()).toMatchObject(inProgress(locks[0]));
    expect(locks[0]?.owner).toBe((await item())?.owner_id?.S);
    expect(day.sent).toEqual(["UpdateItem"]);

    await approve();
    expect((await execution.outcome).getResult()).toBe("data approved");
    const [first, second] = locks;
    expect(locks).toHaveLength(2);
    expect(second?.owner).toBe(first?.owner);
    expect(second?.token).not.toBe(first?.token);
    expect(second?.fencingToken).toBeGreaterThan(Number(first?.fencingToken));
    expect(fetched).toHaveBeenCalledTimes(1);
    // The first request to enter again shows the record, and the second takes the key from just that.
    expect(day.sent).toEqual(["UpdateItem", "UpdateItem", ...oneRun]);
    expect(day.types()).toEqual(["acquired", "acquired", "finished"]);
    expect(await item()).toMatchObject({ ...finished("data approved"), owner_id: { S: first?.owner } });
  });

  it("the owner is the ARN of the execution, not an invocation's request id", async () => {
    const { day, options } = setUp();
    const seen: { owner: string; arn: string; requestId: string }[] = [];
    const handler: DurableHandler = async (_event, { lock, executionContext, lambdaContext: { awsRequestId } }) => {
      seen.push({ owner: lock.owner, arn: executionContext.durableExecutionArn, requestId: awsRequestId });
    };
    await start(wrap(handler, options), day.event).outcome;
    expect(seen[0]?.owner).toBe(seen[0]?.arn);
    expect(seen[0]?.owner).not.toBe(seen[0]?.requestId);
  });

  it("another execution is refused while the first one is suspended, and touches nothing", async () => {
    const { day, options, item } = setUp();
    const { handler, locks } = twoSteps();
    const first = start(wrap(handler, options), day.event);
    const { approve } = await suspended(first);
    const asItWas = await item();

    const second = await start(wrap(handler, options), day.event).outcome;
    expect(second.getStatus()).toBe("FAILED");
    expect(second.getError()).toMatchObject({ errorType: "LockHeldError" });
    expect(locks).toHaveLength(1);
    expect(await item()).toEqual(asItWas);

    await approve();
    expect((await first.outcome).getResult()).toBe("data approved");
    expect(day.types()).toEqual(["acquired", "held", "acquired", "finished"]);
  });

  it("once it has finished, another execution gets its response without running", async () => {
    const { day, options } = setUp();
    const handler = vi.fn<DurableHandler>(async () => ({ total: 42 }));
    expect((await start(wrap(handler, options), day.event).outcome).getResult()).toEqual({ total: 42 });
    expect((await start(wrap(handler, options), day.event).outcome).getResult()).toEqual({ total: 42 });
    expect(handler).toHaveBeenCalledTimes(1);
    expect(day.types()).toEqual(["acquired", "finished", "replayed"]);
  });

  it("a run within a run has its own lock, and both count the steps of one execution", async () => {
    const { day, options } = setUp();
    const inner = reportDay(table);
    const seen: string[] = [];
    const ran: string[] = [];
    const step = (context: Durable, name: string) =>
      context.step(name, async () => {
        ran.push(name);
        return name;
      });
    const fetch = withLock(
      async (_event: ReportEvent, context: Durable) => {
        seen.push(context.lock.key);
        const first = await step(context, "first");
        await context.waitForCallback<string>("approval", async () => {});
        return `${first} ${await step(context, "second")}`;
      },
      { ...inner.options, leaseMs: hour },
    );
    const execution = start(
      wrap(async (_event, context) => {
        const before = await step(context, "before");
        const fetched = await fetch(inner.event, context);
        seen.push(context.lock.key);
        return `${before} ${fetched} ${await step(context, "after")}`;
      }, options),
      day.event,
    );
    await (await suspended(execution)).approve();
    expect((await execution.outcome).getResult()).toBe("before first second after");
    expect(ran).toEqual(["before", "first", "second", "after"]);
    const keys = [inner, day].map(({ event }) => `${functionName}#${event.date}`);
    expect(seen).toEqual([keys[0], ...keys]);
  });

  it("a run within a run doesn't take the key away from it", async () => {
    const { day, options, item } = setUp();
    const again = withLock(async (_event: ReportEvent, _context: Durable) => "again", options);
    const refusals: unknown[] = [];
    const execution = start(
      wrap(async (event, context) => {
        await again(event, context).catch((error: unknown) => refusals.push(error));
        return context.lock.status;
      }, options),
      day.event,
    );
    expect((await execution.outcome).getResult()).toBe("held");
    expect(refusals).toMatchObject([{ message: expect.stringMatching("held by this invocation itself") }]);
    expect(await item()).toMatchObject(finished("held"));
  });

  it("an execution that fails releases the key, though it was taken twice", async () => {
    const { day, options, item } = setUp();
    const { handler } = twoSteps();
    const execution = start(
      wrap(async (event, context) => {
        await handler(event, context);
        throw new Error("no printer");
      }, options),
      day.event,
    );
    await (await suspended(execution)).approve();
    expect((await execution.outcome).getError()).toMatchObject({ errorMessage: "no printer" });
    expect(await item()).toMatchObject(released);
    expect(day.types()).toEqual(["acquired", "acquired", "released"]);
  });

  it("what an earlier invocation does with its lock changes nothing any more", async () => {
    const { day, options, item } = setUp();
    const { handler, locks } = twoSteps();
    const gate = deferred();
    const late = deferred();
    const execution = start(
      wrap(async (event, context) => {
        const report = await handler(event, context);
        late.resolve();
        await gate.promise;
        return report;
      }, options),
      day.event,
    );
    await (await suspended(execution)).approve();
    await late.promise;
    await expect(locks[0]?.release()).rejects.toMatchObject({ code: "LOCK_LOST", reason: "stolen" });
    expect(await item()).toMatchObject(inProgress(locks[1]));
    gate.resolve();
    expect((await execution.outcome).getResult()).toBe("data approved");
  });

  it("an execution that comes back after its lease was over and taken is refused, and leaves the key alone", async () => {
    const { day, item } = setUp();
    const clock = manualClock();
    const options: Options = { ...day.clockedOptions(clock), leaseMs: hour };
    const { handler, locks } = twoSteps();
    const first = start(wrap(handler, options), day.event);
    const { approve } = await suspended(first);
    clock.advance(hour + 1_000);
    const second = start(wrap(handler, options), day.event);
    const other = await suspended(second);
    const asItWas = await item();
    expect(asItWas).toMatchObject(inProgress(locks[1]));

    await approve();
    expect((await first.outcome).getError()).toMatchObject({ errorType: "LockHeldError" });
    expect(await item()).toEqual(asItWas);
    await other.approve();
    expect((await second.outcome).getResult()).toBe("data approved");
    expect(day.types()).toEqual(["acquired", "lost", "taken-over", "held", "acquired", "finished"]);
  });

  it("closing the client doesn't free the key under an execution that is suspended", async () => {
    const { day, item } = setUp();
    const options: Options = { ...day.clockedOptions(manualClock()), leaseMs: hour };
    const { handler, locks } = twoSteps();
    const execution = start(wrap(handler, options), day.event);
    const { approve } = await suspended(execution);
    await (options.locks as LockClient).close(); // as on SIGTERM
    expect(await item()).toMatchObject(inProgress(locks[0]));
    await approve();
    await execution.outcome;
  });

  it("without leaseMs the error says what to set, and nothing is sent", async () => {
    const { day, item } = setUp();
    const { handler, locks } = twoSteps();
    const execution = await start(wrap(handler, day.options), day.event).outcome;
    expect(execution.getError()).toMatchObject({
      errorType: "LockOptionsError",
      errorMessage: expect.stringContaining("leaseMs must be set in a durable execution"),
    });
    expect(locks).toHaveLength(0);
    expect(day.sent).toEqual([]);
    expect(await item()).toBeUndefined();
  });

  describe("an owner function of the user's is for people: what enters again is the execution", () => {
    it("two executions whose owner function gives the same name don't enter each other's lock", async () => {
      const { day, options, item } = setUp();
      const { handler, locks } = twoSteps();
      const invoke = wrap(handler, { ...options, owner: () => "nightly reports" });
      const first = start(invoke, day.event);
      const { approve } = await suspended(first);
      const asItWas = await item();

      const second = start(invoke, day.event);
      const outcome = await Promise.race([second.outcome, suspended(second)]);
      expect(outcome).toHaveProperty("getError");
      expect(locks).toHaveLength(1);
      expect(await item()).toEqual(asItWas);
      await approve();
      expect((await first.outcome).getResult()).toBe("data approved");
    });

    it("an execution whose owner function names the invocation enters again", async () => {
      const { day, options } = setUp();
      const { handler } = twoSteps();
      let invocations = 0;
      const execution = start(wrap(handler, { ...options, owner: () => `invocation ${++invocations}` }), day.event);
      await (await suspended(execution)).approve();
      const outcome = await execution.outcome;
      expect(outcome.getStatus()).toBe("SUCCEEDED");
      expect(outcome.getResult()).toBe("data approved");
    });
  });

  // A DurablePromise is no Promise, begins when it is first awaited, and Middy 7 doesn't await it.
  it("a handler that returns a durable operation, unawaited, finishes when that has ended", async () => {
    const { day, options, item } = setUp();
    const { handler, locks } = twoSteps();
    const invoke = wrap(
      (event, context) =>
        context.runInChildContext("work", async (child) => handler(event, withLockOf(context, child))),
      options,
    );
    const execution = start(invoke, day.event);
    const { approve } = await suspended(execution);
    expect(await item()).toMatchObject(inProgress(locks[0]));
    await approve();
    expect((await execution.outcome).getResult()).toBe("data approved");
    expect(await item()).toMatchObject(finished("data approved"));
  });
});

const withLockOf = (context: Durable, child: DurableContext): Durable =>
  Object.assign(child as Durable, { lock: context.lock });

it("Middy's early timeout in durable mode leaves the key to its lease", async () => {
  const { day, options } = setUp();
  const work = deferred<string>();
  let lock: Lock | undefined;
  let remainingMs = 10_000;
  const chained = middy({ executionMode: executionModeDurableContext });
  chained.use(dynamoLock(options) as Middleware);
  chained.handler(((_event: ReportEvent, context: Durable) => {
    lock = context.lock;
    remainingMs = 5;
    return work.promise;
  }) as never);
  const invocation = {
    DurableExecutionArn: "arn:aws:lambda:eu-west-1:123456789012:function:report:$LATEST/durable-execution/1/2",
    CheckpointToken: "token",
    InitialExecutionState: {
      Operations: [
        {
          Id: "execution",
          Type: "EXECUTION",
          Status: "STARTED",
          StartTimestamp: new Date(),
          ExecutionDetails: { InputPayload: JSON.stringify(day.event) },
        },
      ],
    },
  };
  const invoke = chained as unknown as (event: unknown, context: Context) => Promise<unknown>;
  const outcome = await invoke(invocation, lambdaContext({ getRemainingTimeInMillis: () => remainingMs }));
  expect(outcome).toMatchObject({ Status: "FAILED", Error: { ErrorType: "TimeoutError" } });
  expect(await day.item()).toMatchObject(inProgress(lock));
  expect(day.types()).toEqual(["acquired", "kept"]);
  expect(lock?.signal.aborted).toBe(true);
  work.resolve("report");
});
