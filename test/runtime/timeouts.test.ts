import { describe, expect } from "vitest";
import { describeRuntime } from "./describe-runtime.ts";
import { answerOf, type CheckedSandbox, eventually, HELD, type Lambda, type Task, test } from "./fixture.ts";

const TIMEOUT_MS = 900;

/** Middy's timer leaves 5 ms to answer in: too few for a busy machine, so Lambda comes a little late. */
const GRACE_MS = 3_000;

describeRuntime("a locked function that does not end", () => {
  /** The state in which a run leaves its key when it is cut off. */
  const leftBehind = async (lambda: Lambda, task: Task) => {
    const record = await lambda.record(task);
    const [{ requestId = "nobody", deadline = Number.NaN } = {}] = task.runs;
    expect(task.runs).toHaveLength(1);
    expect(record).toMatchObject({ status: "IN_PROGRESS", owner: requestId });
    expect(record).not.toHaveProperty("result");
    expect(record?.expiresAt).toBeGreaterThanOrEqual(deadline);
    return record as NonNullable<typeof record>;
  };

  /** Refused while the lease lasts; then it runs, and knows whom it succeeds. */
  const takesOver = async (lambda: Lambda, sandbox: CheckedSandbox, task: Task, requestId: string) => {
    const left = await leftBehind(lambda, task);
    const { outcome, refusals } = await sandbox.retry(task.job(), { requestId });
    expect(refusals).toBeGreaterThan(0);
    expect(outcome).toMatchObject(answerOf(requestId));
    expect(outcome.stdout).toContain("Lock taken-over");

    const [, successor] = task.runs;
    expect(task.runs).toHaveLength(2);
    expect(successor).toMatchObject({ requestId, previous: left.token });
    // By the clock it is over `clockSkewMs` later, but the retries have watched it for its length.
    expect(successor?.acquiredAt).toBeGreaterThanOrEqual(left.expiresAt);
    expect(successor?.fencingToken).toBeGreaterThan(left.fencingToken);
    expect(await lambda.record(task)).toMatchObject({ status: "FINISHED", result: { value: { ranBy: requestId } } });
  };

  describe.concurrent.each(["middleware", "wrapper"] as const)("%s", (handler) => {
    test("killed at its deadline: Lambda's retry is refused until the lease is over", async ({ lambda }) => {
      const task = lambda.task();
      const [sandbox, other] = await Promise.all([lambda.warmSandbox(handler), lambda.warmSandbox(handler)]);
      const invocation = { requestId: "event", timeoutMs: TIMEOUT_MS };
      expect(await sandbox.invoke(task.job({ ends: "blocking" }), invocation)).toMatchObject({ type: "timeout" });
      await takesOver(lambda, other, task, "event");
    });

    test("its process exits: a retry is refused until the lease is over", async ({ lambda }) => {
      const task = lambda.task();
      const options = { clockSkewMs: 0 };
      const [sandbox, other] = await Promise.all([
        lambda.warmSandbox(handler, options),
        lambda.warmSandbox(handler, options),
      ]);
      const crashed = await sandbox.invoke(task.job({ ends: "exiting" }), { timeoutMs: TIMEOUT_MS });
      expect(crashed).toMatchObject({ type: "crash", exitCode: 7 });
      await takesOver(lambda, other, task, "retry");
    });

    test("its process is killed: a retry is refused until the lease is over", async ({ lambda }) => {
      const task = lambda.task();
      const options = { clockSkewMs: 0 };
      const [sandbox, other] = await Promise.all([
        lambda.warmSandbox(handler, options),
        lambda.warmSandbox(handler, options),
      ]);
      const crashed = sandbox.invoke(task.job({ gate: "never" }), { timeoutMs: TIMEOUT_MS });
      await task.has("began");
      await sandbox.kill();
      expect(await crashed).toMatchObject({ type: "crash", signal: "SIGKILL" });
      await takesOver(lambda, other, task, "retry");
    });
  });

  /** Runs into Middy's early timeout. The sandbox is frozen then, in the middle of the handler's work. */
  const timeOutEarly = async (sandbox: CheckedSandbox, job: ReturnType<Task["job"]>) => {
    const outcome = await sandbox.invoke(job, { requestId: "slow", timeoutMs: TIMEOUT_MS, graceMs: GRACE_MS });
    expect(outcome).toMatchObject({ type: "error", errorType: "TimeoutError" });
  };

  describe.concurrent("Middy's early timeout", () => {
    test.for([
      ["throws", "middleware", { type: "error", errorType: "TimeoutError" }],
      ["answers", "answersEarly", { type: "response", payload: "still at it" }],
    ] as const)(
      "%s: the key is neither released nor finished, and a retry is refused",
      async ([, handler, early], { lambda }) => {
        const task = lambda.task();
        const [sandbox, other] = await Promise.all([lambda.warmSandbox(handler), lambda.warmSandbox(handler)]);
        const outcome = await sandbox.invoke(task.job({ gate: "never" }), { timeoutMs: TIMEOUT_MS, graceMs: GRACE_MS });
        expect(outcome).toMatchObject(early);
        expect(outcome.stdout).toContain("Lock kept");
        expect(await other.invoke(task.job())).toMatchObject(HELD);
        await leftBehind(lambda, task);
      },
    );

    test("the handler goes on in the sandbox's next invocation, knows that its lock is gone, and its end writes nothing", async ({
      lambda,
    }) => {
      const task = lambda.task();
      const sandbox = await lambda.warmSandbox("middleware");
      await timeOutEarly(sandbox, task.job({ gate: "end" }));
      const left = await leftBehind(lambda, task);

      const next = lambda.task();
      const thawed = sandbox.invoke(next.job({ gate: "end" }), { requestId: "next" });
      await next.has("began");
      task.open("end");
      await task.has("ended", "slow");
      next.open("end");
      const outcome = await thawed;
      expect(outcome).toMatchObject(answerOf("next"));
      expect(outcome.stdout).not.toContain(task.key);
      expect(task.steps).toMatchObject([{ step: "began" }, { step: "ended", signalAborted: true }]);
      expect(await lambda.record(task)).toEqual(left);
    });

    test("the handler that goes on can't settle the key by hand once another run holds it", async ({ lambda }) => {
      const task = lambda.task();
      const sandbox = await lambda.warmSandbox("middleware", { clockSkewMs: 0 });
      await timeOutEarly(sandbox, task.job({ gate: "slow end", ends: "settling by hand" }));

      const retry = sandbox.retry(task.job({ gate: "end" }), { requestId: "retry" });
      await task.has("began", "retry");
      const held = await lambda.record(task);
      task.open("slow end");
      await eventually(() => expect(task.steps.filter(({ step }) => step === "refused")).toHaveLength(2));
      expect(await lambda.record(task)).toEqual(held);
      task.open("end");
      expect((await retry).outcome).toMatchObject(answerOf("retry"));

      expect(task.steps).toMatchObject([
        { step: "began", requestId: "slow" },
        { step: "began", requestId: "retry" },
        { step: "ended", requestId: "slow" },
        { step: "refused", requestId: "slow", error: "LockLostError" },
        { step: "refused", requestId: "slow", error: "LockLostError" },
        { step: "ended", requestId: "retry" },
      ]);
      expect(await sandbox.invoke(task.job())).toMatchObject(answerOf("retry"));
    });
  });

  describe.concurrent("withLock inside Middy, whose early timeout it outlives", () => {
    test("a handler that ends in the sandbox's next invocation finishes the key that nobody has taken over", async ({
      lambda,
    }) => {
      const task = lambda.task();
      const sandbox = await lambda.warmSandbox("wrapperInMiddy");
      await timeOutEarly(sandbox, task.job({ gate: "end" }));
      await leftBehind(lambda, task);

      const next = lambda.task();
      const thawed = sandbox.invoke(next.job({ gate: "end" }));
      await next.has("began");
      task.open("end");
      await eventually(async () => expect(await lambda.record(task)).toMatchObject({ status: "FINISHED" }));
      next.open("end");
      await thawed;
      expect(await sandbox.invoke(task.job())).toMatchObject(answerOf("slow"));
    });

    test("a handler that ends after another run has taken the key over writes nothing, and reports the loss", async ({
      lambda,
    }) => {
      const task = lambda.task();
      const sandbox = await lambda.warmSandbox("wrapperInMiddy", { clockSkewMs: 0 });
      await timeOutEarly(sandbox, task.job({ gate: "slow end" }));

      const retry = sandbox.retry(task.job({ gate: "end" }), { requestId: "retry" });
      await task.has("began", "retry");
      task.open("slow end");
      await task.has("ended", "slow");
      task.open("end");
      const { outcome } = await retry;
      expect(outcome).toMatchObject(answerOf("retry"));
      expect(outcome.stdout).toContain("Lock lost");
      expect(await sandbox.invoke(task.job())).toMatchObject(answerOf("retry"));
    });
  });
});
