import { randomUUID } from "node:crypto";
import type { Context } from "aws-lambda";

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
