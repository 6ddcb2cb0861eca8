/** A commit within a durable execution, which goes on after it. */
import { type DurableContext, withDurableExecution } from "@aws/durable-execution-sdk-js";
import { LocalDurableTestRunner, WaitingOperationStatus } from "@aws/durable-execution-sdk-js-testing";
import type { Context } from "aws-lambda";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type LockContext, withLock } from "../../src/index.ts";
import { reportDay, type Table, tableOfLocks } from "../middy/setup.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
  await LocalDurableTestRunner.setupTestEnvironment({ skipTime: false });
});
afterAll(() => LocalDurableTestRunner.teardownTestEnvironment());

it("the steps after a commit run, though the execution was suspended in between", async () => {
  const day = reportDay(table);
  const ran: string[] = [];
  const handler = withLock(
    async (_event: object, context: DurableContext & Context & LockContext) => {
      await context.step("pay", async () => {
        ran.push("pay");
        await context.lock.commit([], { result: "paid" });
      });
      await context.waitForCallback<string>("approval", async () => {});
      await context.step("ship", async () => {
        ran.push("ship");
      });
      return "shipped";
    },
    { ...day.options, leaseMs: 3_600_000 } as never,
  );
  const runner = new LocalDurableTestRunner({ handlerFunction: withDurableExecution(handler as never) });
  const outcome = runner.run({ payload: day.event });
  const approval = runner.getOperation("approval");
  await approval.waitForData(WaitingOperationStatus.SUBMITTED);
  await approval.sendCallbackSuccess(JSON.stringify("yes"));
  const result = (await outcome).getResult();
  expect([ran, result]).toEqual([["pay", "ship"], "shipped"]);
});
