import { randomUUID } from "node:crypto";
import { LockOptionsError } from "../common/errors.ts";
import { notAsync } from "../common/not-async.ts";
import { fits, show, TEXT } from "../common/rules.ts";
import type { AttemptOptions } from "../lock/attempt.ts";
import type { SettleTime } from "../lock/lock-writes.ts";
import type { Locks } from "../lock/locks.ts";
import { durableArnOf, lambdaContextOf, remainingMsOf, textOrNone } from "./context.ts";

/** The part of an invocation's context that is needed here. */
export interface Execution {
  readonly requestId: string | undefined;
  readonly functionName: string | undefined;
  /** `Infinity` where that is not known. */
  readonly remainingMs: () => number;
  readonly durableArn: string | undefined;
}

/** A context made for tests may lack anything. */
export const describeExecution = (context: object): Execution => {
  const { awsRequestId, functionName } = lambdaContextOf(context);
  return {
    requestId: textOrNone(awsRequestId),
    functionName: textOrNone(functionName),
    remainingMs: () => remainingMsOf(context),
    durableArn: durableArnOf(context),
  };
};

/** The owner that a function of the user's gave, or the execution itself. */
export const ownerOf = <TArguments extends unknown[]>(
  given: ((...about: TArguments) => string) | undefined,
  about: TArguments,
  { durableArn, requestId }: Execution,
): string => {
  const owner = given ? notAsync(given(...about)) : (durableArn ?? requestId ?? randomUUID());
  if (fits(owner, TEXT)) return owner;
  throw new LockOptionsError(`owner must return ${TEXT}, got ${show(owner)}`);
};

/**
 * How long an acquisition holds its keys, and how it is renewed. What is undefined is the client's
 * to say.
 */
type LeaseWanted = Pick<AttemptOptions, "leaseMs" | "heartbeatMs">;

/**
 * A Lambda can't outlive its deadline, so its lease needs no heartbeat. A durable execution
 * outlives many of them.
 */
export const leaseOf = (
  {
    leaseMs,
    heartbeatMs,
  }: { readonly leaseMs?: number | undefined; readonly heartbeatMs?: number | false | undefined },
  { remainingMs, durableArn }: Execution,
): LeaseWanted => {
  const leftMs = remainingMs();
  if (leaseMs !== undefined) {
    const isShorter = leaseMs < leftMs && durableArn === undefined;
    return { leaseMs, heartbeatMs: heartbeatMs ?? (isShorter ? undefined : false) };
  }
  if (leftMs === Number.POSITIVE_INFINITY) return {}; // outside Lambda: the client's lease and heartbeat
  return { leaseMs: () => Math.max(1, Math.floor(Math.min(leftMs, remainingMs()))), heartbeatMs: false };
};

/** Until `reserveMs` of the invocation are left, in ms; negative when less is. */
export const timeUntil = (reserveMs: number, { remainingMs }: Execution): number => remainingMs() - reserveMs;

/** At the very end a request has this time nevertheless: its reply may be faster than the end. */
const ONE_REQUEST_MS = 50;

/**
 * The time that an invocation has for something, in ms: up to `reserveMs` before its end, and half
 * of what is left where that is more. An invocation without time left is one of a test.
 */
const timeFor = (reserveMs: number, { remainingMs }: Execution): number => {
  const leftMs = remainingMs();
  return leftMs > 0 ? Math.max(leftMs - reserveMs, leftMs / 2, ONE_REQUEST_MS) : Number.POSITIVE_INFINITY;
};

/** The time that waiting for a key leaves to the handler. */
const WAIT_RESERVE_MS = 500;
/** The time after which no reply is waited for, less what giving back takes. */
const ACQUIRE_RESERVE_MS = 350;
/** The time that settling leaves to what comes after it: other middlewares, and the response. */
const SETTLE_RESERVE_MS = 300;

/** How long an acquisition may take at most, in ms. */
export const acquireTimeOf = (execution: Execution): number => timeFor(ACQUIRE_RESERVE_MS, execution);

/** Gives how long a lock of an invocation is tried to settle. */
export const settleTimeOf =
  (settleMs: number | undefined, locks: Locks, execution: Execution): (() => SettleTime) =>
  () =>
    locks.settleTime(settleMs, timeFor(SETTLE_RESERVE_MS, execution));

/**
 * How long to wait at most for calls on a lock that the handler has not awaited: one that hangs
 * must not eat the invocation. Then there is time to settle.
 */
export const patienceOf = (execution: Execution): number => {
  const leftMs = timeUntil(0, execution);
  return leftMs - Math.min(WAIT_RESERVE_MS, leftMs / 4);
};

/** How long to wait for a held key at most. */
export const waitOf = (waitMs = 0, execution: Execution): number =>
  Math.max(0, Math.min(waitMs, timeUntil(WAIT_RESERVE_MS, execution)));
