import { randomUUID } from "node:crypto";
import type { Context } from "aws-lambda";

/** What an invocation's context says. Everything else of Lambda's `Context` may be given too. */
export interface LambdaContextOptions extends Partial<Omit<Context, "getRemainingTimeInMillis">> {
  /**
   * The time that is left of the invocation, in ms. It runs from now on.
   * @default 30_000
   */
  readonly remainingMs?: number | undefined;
  /**
   * The time by which it runs.
   * @default `Date`
   */
  readonly clock?: { now(): number } | undefined;
}

/**
 * A context as Lambda gives one to a handler, with a request id of its own. Its type is the one
 * that the handler asks for: what middlewares add, such as `lock`, is there when they have run.
 *
 * @example
 * const response = await handler(event, lambdaContext({ functionName: "orders", remainingMs: 2_000 }));
 */
export const lambdaContext = <T extends Context = Context>(options: LambdaContextOptions = {}): T => {
  const { remainingMs = 30_000, clock = Date, functionName = "test-function", ...rest } = options;
  const deadline = clock.now() + remainingMs;
  const end = () => {
    throw new Error("lambdaContext: done, fail and succeed are not played: return or throw");
  };
  const context: Context = {
    functionName,
    functionVersion: "$LATEST",
    invokedFunctionArn: `arn:aws:lambda:us-east-1:000000000000:function:${functionName}`,
    memoryLimitInMB: "128",
    awsRequestId: randomUUID(),
    logGroupName: `/aws/lambda/${functionName}`,
    logStreamName: "test",
    callbackWaitsForEmptyEventLoop: true,
    done: end,
    fail: end,
    succeed: end,
    ...rest,
    getRemainingTimeInMillis: () => deadline - clock.now(),
  };
  return context as T;
};
