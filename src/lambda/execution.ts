import { randomUUID } from "node:crypto";
import { show, text } from "../common/check.ts";
import { LockOptionsError } from "../common/errors.ts";
import { notAsync } from "../common/not-async.ts";
import { durableArnOf, lambdaContextOf, remainingMsOf, textOrNone } from "./context.ts";

/** The parts of an invocation's context that are used. */
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
  const complaint = text(owner);
  if (!complaint) return owner;
  const got = (owner as unknown) instanceof Promise ? "a Promise" : show(owner);
  throw new LockOptionsError(`owner ${complaint.replace("must be", "must return")}, got ${got}`);
};

/**
 * How long an acquisition holds its keys, and how often it is renewed. The client decides what is
 * undefined.
 */
interface LeaseWanted {
  readonly leaseMs?: number | undefined;
  /** For a lease that shrinks while it is waited for. */
  readonly leaseOf?: () => number;
  readonly heartbeatMs?: number | false | undefined;
}

/**
 * A Lambda can't outlive its deadline, so its lease needs no heartbeat. A durable execution
 * outlives many of them.
 */
export const leaseOf = (
  { leaseMs, heartbeatMs }: Pick<LeaseWanted, "leaseMs" | "heartbeatMs">,
  { remainingMs, durableArn }: Execution,
): LeaseWanted => {
  const leftMs = remainingMs();
  if (leaseMs !== undefined) {
    const isShorter = leaseMs < leftMs && durableArn === undefined;
    return { leaseMs, heartbeatMs: heartbeatMs ?? (isShorter ? undefined : false) };
  }
  if (leftMs === Number.POSITIVE_INFINITY) return {}; // outside Lambda: the client's lease and heartbeat
  return { leaseOf: () => Math.max(1, Math.floor(Math.min(leftMs, remainingMs()))), heartbeatMs: false };
};

/** Until `reserveMs` of the invocation are left, in ms; negative when less is. */
export const timeUntil = (reserveMs: number, { remainingMs }: Execution): number => remainingMs() - reserveMs;

/**
 * Time of the invocation that is kept for settling and answering, after calls on a lock were waited
 * for.
 */
const SETTLE_RESERVE_MS = 500;

/**
 * How long to wait for calls on a lock that the handler has not awaited. One that hangs must not
 * eat the invocation.
 */
export const patienceOf = (execution: Execution): number => {
  const leftMs = timeUntil(0, execution);
  return leftMs - Math.min(SETTLE_RESERVE_MS, leftMs / 4);
};

/**
 * How long to wait for a held key at most, so that `reserveMs` of the invocation are left after it.
 */
export const waitOf = (waitMs = 0, reserveMs: number, execution: Execution): number =>
  Math.max(0, Math.min(waitMs, timeUntil(reserveMs, execution)));
