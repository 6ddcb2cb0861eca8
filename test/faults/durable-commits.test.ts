/** A commit within a durable execution, which would go on after it. */
import { type DurableContext, withDurableExecution } from "@aws/durable-execution-sdk-js";
import { LocalDurableTestRunner } from "@aws/durable-execution-sdk-js-testing";
import type { Context } from "aws-lambda";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type LockContext, withLock } from "../../src/index.ts";
import { reportDay, type Table, tableOfLocks } from "../support/middy.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
  await LocalDurableTestRunner.setupTestEnvironment({ skipTime: false });
});
afterAll(() => LocalDurableTestRunner.teardownTestEnvironment());

it("is refused: when the execution was resumed after it, the steps that follow would be left out", async () => {
  const day = reportDay(table);
  let refusal: unknown;
  const handler = withLock(
    async (_event: object, context: DurableContext & Context & LockContext) => {
      refusal = await context.lock.commit([]).catch((error: unknown) => error);
      return "shipped";
    },
    { ...day.options, leaseMs: 3_600_000 } as never,
  );
  const runner = new LocalDurableTestRunner({ handlerFunction: withDurableExecution(handler as never) });
  expect((await runner.run({ payload: day.event })).getResult()).toBe("shipped");
  expect(refusal).toMatchObject({ code: "LOCK_OPTIONS" });
});
