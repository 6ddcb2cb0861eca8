import { randomUUID } from "node:crypto";
import type { Context } from "aws-lambda";
import { LockOptionsError } from "./errors.ts";
import type { AttemptOptions } from "./lock-client.ts";

/** What is needed of an invocation's context. */
export interface Execution {
  readonly requestId: string | undefined;
  readonly functionName: string | undefined;
  readonly remainingMs: (() => number) | undefined;
  readonly durableArn: string | undefined;
}

/** Lambda's context, or a durable execution's, which carries Lambda's inside (https://docs.aws.amazon.com/lambda/latest/dg/durable-functions.html). */
export const describeExecution = (context: Partial<Context>): Execution => {
  const { executionContext, lambdaContext } = context as {
    executionContext?: { durableExecutionArn?: string };
    lambdaContext?: Context;
  };
  const lambda = lambdaContext ?? context;
  return {
    requestId: lambda.awsRequestId,
    functionName: lambda.functionName,
    remainingMs: lambda.getRemainingTimeInMillis?.bind(lambda),
    durableArn: executionContext?.durableExecutionArn,
  };
};

/** The owner that a function of the user's gave, or the execution itself. */
export const ownerOf = <TArguments extends unknown[]>(
  given: ((...about: TArguments) => string) | undefined,
  about: TArguments,
  { durableArn, requestId }: Execution,
): string => {
  const owner = given ? given(...about) : (durableArn ?? requestId ?? randomUUID());
  if (typeof owner === "string" && owner !== "") return owner;
  throw new LockOptionsError(`owner must return a non-empty string, got ${JSON.stringify(owner)}`);
};

/** A Lambda can't outlive its deadline, so its lease needs no heartbeat. A durable execution outlives many of them. */
export const leaseOf = (
  { leaseMs, heartbeatMs }: { readonly leaseMs: number | undefined; readonly heartbeatMs: number | false | undefined },
  { remainingMs, durableArn }: Execution,
): Pick<AttemptOptions, "leaseMs" | "leaseOf" | "heartbeatMs"> => {
  if (leaseMs !== undefined) {
    const shorter = leaseMs < (remainingMs?.() ?? Number.POSITIVE_INFINITY) && durableArn === undefined;
    return { leaseMs, heartbeatMs: heartbeatMs ?? (shorter ? undefined : false) };
  }
  if (!remainingMs) return {}; // outside Lambda: the client's lease and heartbeat
  return { leaseOf: () => Math.max(1, Math.floor(remainingMs())), heartbeatMs: false };
};

/** How long to wait for a held key at most, so that `reserveMs` of the invocation are left after it. */
export const waitOf = (waitMs = 0, reserveMs: number, { remainingMs }: Execution): number =>
  Math.max(0, Math.min(waitMs, (remainingMs?.() ?? Number.POSITIVE_INFINITY) - reserveMs));
