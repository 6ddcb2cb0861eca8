import { randomUUID } from "node:crypto";
import { describe, expect } from "vitest";
import { describeRuntime } from "./describe-runtime.ts";
import { answerOf, HELD, isHeld, test } from "./fixture.ts";

const ROUNDS = 12;
const LEASE_TOLERANCE_MS = 250;

describeRuntime("a locked function in Lambda's runtime", () => {
  describe.each(["middleware", "wrapper"] as const)("%s", (handler) => {
    test("an event that comes again is answered with the first response", async ({ lambda }) => {
      const task = lambda.task();
      const sandbox = lambda.sandbox(handler);
      const first = await sandbox.invoke(task.job(), { requestId: "first" });
      const again = await sandbox.invoke(task.job(), { requestId: "again" });
      const elsewhere = await lambda.sandbox(handler).invoke(task.job(), { requestId: "elsewhere" });
      expect([first, again, elsewhere]).toMatchObject([answerOf("first"), answerOf("first"), answerOf("first")]);
      expect(task.runs).toHaveLength(1);
      expect(await lambda.record(task)).toMatchObject({
        key: `report#${task.key}`,
        status: "FINISHED",
        owner: "first",
        result: { value: { ranBy: "first" } },
      });
    });

    test("while the handler runs, the record names the request, and its lease ends at the function's deadline", async ({
      lambda,
    }) => {
      const task = lambda.task();
      const running = lambda.sandbox(handler).invoke(task.job({ gate: "end" }), { requestId: "runner" });
      await task.has("began");
      const record = await lambda.record(task);
      task.open("end");
      expect(await running).toMatchObject(answerOf("runner"));

      expect(record).toMatchObject({ status: "IN_PROGRESS", owner: "runner" });
      const [{ deadline = Number.NaN } = {}] = task.runs;
      expect(record?.expiresAt).toBeGreaterThanOrEqual(deadline);
      expect(record?.expiresAt).toBeLessThan(deadline + LEASE_TOLERANCE_MS);
    });

    test("an event that Lambda delivers again after it succeeded, with its request id, is answered with the response", async ({
      lambda,
    }) => {
      const task = lambda.task();
      const sandbox = lambda.sandbox(handler);
      expect(await sandbox.invoke(task.job(), { requestId: "same" })).toMatchObject(answerOf("same"));
      expect(await sandbox.invoke(task.job(), { requestId: "same" })).toMatchObject(answerOf("same"));
      expect(task.runs).toHaveLength(1);
    });

    test.for([
      ["two events of one key", ["one", "two"]],
      ["one event that Lambda delivers twice, with one request id", ["same", "same"]],
    ] as const)("%s, in two sandboxes at once: one runs, the other is refused", async ([, requestIds], { lambda }) => {
      const task = lambda.task();
      const invocations = requestIds.map((requestId) =>
        lambda.sandbox(handler).invoke(task.job({ gate: "end" }), { requestId }),
      );
      expect(await Promise.race(invocations)).toMatchObject(HELD);
      task.open("end");
      const outcomes = await Promise.all(invocations);
      const [runner] = task.runs;
      expect(task.runs).toHaveLength(1);
      expect(outcomes.filter((outcome) => !isHeld(outcome))).toMatchObject([answerOf(runner?.requestId ?? "nobody")]);
    });

    test("whenever two sandboxes start at once, the key is run exactly once", async ({ lambda }) => {
      const sandboxes = [lambda.sandbox(handler), lambda.sandbox(handler)];
      for (let round = 0; round < ROUNDS; round++) {
        const task = lambda.task();
        const outcomes = await Promise.all(sandboxes.map((sandbox) => sandbox.retry(task.job())));
        const [runner] = task.runs;
        expect(task.runs).toHaveLength(1);
        const answer = answerOf(runner?.requestId ?? "nobody");
        expect(outcomes).toMatchObject([{ outcome: answer }, { outcome: answer }]);
      }
    });

    test("with onSuccess 'release' every event runs, one after the other", async ({ lambda }) => {
      const task = lambda.task();
      const [first, second] = [
        lambda.sandbox(handler, { onSuccess: "release" }),
        lambda.sandbox(handler, { onSuccess: "release" }),
      ];
      for (const [index, sandbox] of [first, second, first, second].entries()) {
        expect(await sandbox.invoke(task.job(), { requestId: `run-${index}` })).toMatchObject(answerOf(`run-${index}`));
      }
      expect(task.runs.map(({ requestId }) => requestId)).toEqual(["run-0", "run-1", "run-2", "run-3"]);
      expect(await lambda.record(task)).toMatchObject({ status: "RELEASED", expiresAt: 0, owner: "run-3" });
    });

    test("with onSuccess 'release' two sandboxes never run at the same time", async ({ lambda }) => {
      const task = lambda.task();
      const keepRunning = async () => {
        const sandbox = lambda.sandbox(handler, { onSuccess: "release" });
        for (let round = 0; round < ROUNDS; round++) await sandbox.retry(task.job());
      };
      await Promise.all([keepRunning(), keepRunning()]);

      const { runs, steps } = task;
      expect(runs).toHaveLength(2 * ROUNDS);
      expect(steps.map(({ step, requestId }) => [step, requestId])).toEqual(
        runs.flatMap(({ requestId }) => [
          ["began", requestId],
          ["ended", requestId],
        ]),
      );
      const fences = runs.map(({ fencingToken }) => fencingToken);
      expect(fences).toEqual([...new Set(fences)].sort((a, b) => a - b));
    });

    test("a handler that throws fails with its own error, and a retry runs at once", async ({ lambda }) => {
      const task = lambda.task();
      const sandbox = lambda.sandbox(handler);
      const requestId = randomUUID();
      expect(await sandbox.invoke(task.job({ ends: "throwing" }), { requestId })).toMatchObject({
        type: "error",
        errorType: "RangeError",
        errorMessage: "out of paper",
      });
      expect(await lambda.record(task)).toMatchObject({ status: "RELEASED", expiresAt: 0 });
      expect(await sandbox.invoke(task.job(), { requestId })).toMatchObject(answerOf(requestId));
      expect(task.runs).toHaveLength(2);
    });

    test("a handler that returns nothing runs once, and its repeat gets the same null", async ({ lambda }) => {
      const task = lambda.task();
      const sandbox = lambda.sandbox(handler);
      const nothing = { type: "response", payload: null };
      expect(await sandbox.invoke(task.job({ ends: "with nothing" }))).toMatchObject(nothing);
      expect(await sandbox.invoke(task.job({ ends: "with nothing" }))).toMatchObject(nothing);
      expect(task.runs).toHaveLength(1);
      expect((await lambda.record(task))?.result).toEqual({ value: undefined });
    });

    test("an invocation leaves no timer and no socket that would keep its process awake", async ({ lambda }) => {
      const sandbox = lambda.sandbox(handler);
      const [finished, failed, later] = [lambda.task(), lambda.task(), lambda.task()];
      await sandbox.invoke(finished.job());
      await sandbox.invoke(failed.job({ ends: "throwing" }));
      await sandbox.invoke(finished.job());
      await sandbox.invoke(later.job());
      const [first, last] = [...finished.runs, ...later.runs];
      // The same process: after each response it asked Lambda for more, or it would have been replaced.
      expect(last).toMatchObject({ pid: first?.pid, awake: [] });
    });
  });
});
