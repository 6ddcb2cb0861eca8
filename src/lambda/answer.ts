/** Answers a repeat: with the stored response, or with `duplicateResponse`. */

import { LockOptionsError, type LockTimeoutError } from "../common/errors.ts";
import { depthOf } from "../common/json.ts";
import { type LockRecord, withoutTokens } from "../common/record.ts";
import type { Locks } from "../lock/locks.ts";
import { isRefused, type Refused } from "../lock/refused.ts";
import type { AnswerOptions, DuplicateResponse, LockRequest } from "./options.ts";
import { partialBatchOf, reportsFailures } from "./partial-batch.ts";

/** Answers a run that was refused, or has waited until its time was up. */
export const answer = async <TEvent>(
  locks: Locks,
  refused: Refused | LockTimeoutError,
  { duplicateResponse, replayedHeader }: AnswerOptions<TEvent> & { readonly replayedHeader?: boolean | undefined },
  request: LockRequest<TEvent>,
): Promise<unknown> => {
  const finished = isRefused(refused) ? locks.finishedBy(refused) : undefined;
  if (duplicateResponse === undefined && finished) {
    if (!replayedHeader) return locks.replay(finished);
    return markReplayed(await locks.replay(finished, { [REPLAYED]: "true" }));
  }
  const record = (finished ?? refused.record) as LockRecord;
  const error = () => (isRefused(refused) ? refused.error : refused);
  if (isRefused(refused)) {
    locks.reportHeld(record);
    if (duplicateResponse === undefined || refused.isOwn) throw error();
  }
  const response =
    typeof duplicateResponse === "function"
      ? await (duplicateResponse as DuplicateResponse<TEvent>)(withoutTokens(await locks.withResult(record)), request)
      : structuredClone(duplicateResponse);
  // Another run that holds the key may still fail: its records must not be acknowledged.
  if (finished || !partialBatchOf(request.event) || reportsFailures(response)) return response;
  throw error();
};

/**
 * The copy of a `duplicateResponse` that is kept. Each repeat gets one of its own, as a middleware
 * may add what is one caller's.
 */
export const toCopy = (caller: string, value: AnswerOptions<never>["duplicateResponse"]): typeof value => {
  if (value === undefined || typeof value === "function") return value;
  try {
    const copy: unknown = structuredClone(value);
    if (isWhole(copy, value)) return copy as typeof value;
  } catch {
    // It has a function in it, or a reference to itself.
  }
  throw new LockOptionsError(
    `${caller}: duplicateResponse must be plain data, without a function, an instance of a class, or a reference to itself ` +
      "in it: give a function that makes the response",
  );
};

/**
 * Whether a copy has all of the original: `structuredClone` makes a plain object of an instance, in
 * whatever realm.
 */
const isWhole = (copy: unknown, original: unknown): boolean => {
  if (Object(original) !== original) return true;
  const [one, other] = [copy, original] as [Record<string, unknown>, Record<string, unknown>];
  const isOfSameClass = depthOf(one) === Math.max(1, depthOf(other)); // the copy of an object without a prototype has one
  return isOfSameClass && Object.keys(other).every((name) => isWhole(one[name], other[name]));
};

/**
 * The header that Stripe's API has for it (https://docs.stripe.com/error-low-level#idempotency).
 */
const REPLAYED = "Idempotent-Replayed";

const markReplayed = (response: unknown): unknown => {
  const { statusCode, headers, multiValueHeaders } = Object(response) as Record<string, object | undefined>;
  if (statusCode === undefined) return response;
  const marked = (all: object | undefined, value: unknown) => {
    const others = Object.entries(all ?? {}).filter(([name]) => name.toLowerCase() !== REPLAYED.toLowerCase());
    return Object.fromEntries([...others, [REPLAYED, value]]);
  };
  // Where there are both, API Gateway takes a header that has several values, and a load balancer
  // those alone.
  const added = multiValueHeaders
    ? { multiValueHeaders: marked(multiValueHeaders, ["true"]) }
    : { headers: marked(headers, "true") };
  return { ...(response as object), ...added };
};
