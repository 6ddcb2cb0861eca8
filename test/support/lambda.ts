import { randomUUID } from "node:crypto";
import type { Context } from "aws-lambda";
import type { Clock } from "../../src/index.ts";

/** A Lambda context with a real deadline. */
export const lambdaContext = (overrides: Partial<Context> & { timeoutMs?: number } = {}): Context => {
  const { timeoutMs = 10_000, ...rest } = overrides;
  const deadline = Date.now() + timeoutMs;
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionName: "report",
    functionVersion: "$LATEST",
    invokedFunctionArn: "arn:aws:lambda:eu-west-1:123456789012:function:report",
    memoryLimitInMB: "128",
    awsRequestId: randomUUID(),
    logGroupName: "/aws/lambda/report",
    logStreamName: "2026/11/21/[$LATEST]0123456789abcdef",
    getRemainingTimeInMillis: () => deadline - Date.now(),
    done: () => {},
    fail: () => {},
    succeed: () => {},
    ...rest,
  };
};

/** A Lambda context whose time passes with a clock that the test moves. */
export const clockedContext = (clock: Clock, timeoutMs: number): Context => {
  const deadline = clock.now() + timeoutMs;
  return lambdaContext({ getRemainingTimeInMillis: () => deadline - clock.now() });
};
