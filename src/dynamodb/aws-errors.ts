/** Classifies errors of AWS, its SDK and the network by what they say of the request. */
import { LockError, textOf } from "../common/errors.ts";
import type { Item } from "../protocol/item.ts";

/** Why an item of a transaction was refused. */
export interface CancellationReason {
  readonly Code?: string | undefined;
  readonly Message?: string | undefined;
  readonly Item?: Item | undefined;
}

/**
 * The parts of an error that are used here. What was thrown may lack any of them, or be no error.
 */
export interface AwsError extends Error {
  readonly code?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly attempts?: number };
  readonly Item?: Item;
  readonly CancellationReasons?: readonly CancellationReason[];
}

const read = (error: unknown) => Object(error) as Partial<AwsError>;

/** Recognises by name, as the AWS SDK advises where several copies of its classes may be loaded. */
export const isNamed = (error: unknown, name: string): error is AwsError =>
  error instanceof Error && error.name === name;

export const reasonsOf = (error: unknown): readonly CancellationReason[] => read(error).CancellationReasons ?? [];

/** The error's name and codes, by which it is classified. */
export const codesOf = (error: unknown): string => {
  const { name, code } = read(error);
  return [name, code, ...reasonsOf(error).map(({ Code }) => Code)].join(" ");
};

const REFUSED = /ConditionalCheckFailed/;
/** Errors of the SDK's configuration, before anything is sent. */
const NEVER_SENT = /^CredentialsProvider|Region is missing|credential object|Invalid URL/;
const CONFLICT = /TransactionConflict|TransactionInProgress/;
export const PASSING = /Throttling|ThroughputExceeded|RequestLimitExceeded|TransactionConflict/;
/**
 * Errors of the server, of the SDK, and codes of Node.js: `ECONNRESET`, `ERR_SSL_...`,
 * `UND_ERR_SOCKET`.
 */
const FAULT =
  /\b(TransactionInProgress|InternalServer|ServiceUnavailable|TimeoutError|AbortError|RequestTimeout|(?!ERR_INVALID)(E[A-Z_]+|ERR_\w+|UND_ERR_\w+)\b)/;

/**
 * The fate of a request that failed. `refused`: DynamoDB did not apply it, and would not again.
 * `passing`: it did not apply it, and may a moment later. `unknown`: its reply is missing, it may
 * have applied, and may succeed when it is repeated. `strange`: anything else. It may have applied,
 * and a repeat is of no use.
 */
export type RequestFate = "refused" | "passing" | "unknown" | "strange";

/** Expects an error as the SDK throws it. */
export const fateOf = (error: unknown): RequestFate => {
  const codes = codesOf(error);
  const { httpStatusCode: status = 0 } = read(error).$metadata ?? {};
  if (REFUSED.test(codes) || NEVER_SENT.test(textOf(error))) return "refused";
  if (PASSING.test(codes)) return "passing";
  if (FAULT.test(codes) || status >= 500) return "unknown";
  return status >= 400 || isNamed(error, "TransactionCanceledException") ? "refused" : "strange";
};

/** Whether a transaction of somebody else was in the way, or an earlier attempt of this one is. */
export const isConflict = (error: unknown): boolean => {
  const codes = codesOf(error);
  return CONFLICT.test(codes) && !REFUSED.test(codes);
};

/** Whether DynamoDB refused the request for the moment: the same may be applied a moment later. */
export const isPassing = (error: unknown): boolean => fateOf(error) === "passing" || isConflict(error);

/** Whether the same request may succeed a moment later. Expects an error as the SDK throws it. */
export const mayPass = (error: unknown): boolean => ["passing", "unknown"].includes(fateOf(error));

/** Whether an error is DynamoDB's own word that it did not apply the request. */
export const isRefusal = (error: unknown): boolean => ["refused", "passing"].includes(fateOf(error));

/**
 * Errors of requests that were sent again after an attempt of which nobody knows whether it
 * applied.
 */
const afterDoubt = new WeakSet<object>();

export const rememberDoubt = (error: unknown): void => {
  afterDoubt.add(Object(error));
};

/** The SDK notes in its errors how often it sent the request. */
const wasRetried = (error: unknown): boolean => (read(error).$metadata?.attempts ?? 1) > 1;

/**
 * Whether a request that failed with this error may have applied, by the last attempt or an earlier
 * one.
 */
export const mayHaveApplied = (error: unknown): boolean =>
  afterDoubt.has(Object(error)) || !isRefusal(error) || wasRetried(error);

/** Whether the same request may succeed a moment later. Expects one of our errors. */
export const isTransient = (error: unknown): boolean =>
  error instanceof LockError && error.code === "LOCK_REQUEST" && mayPass(error.cause);

/**
 * Whether the request may have applied, also if a later attempt was refused for good. Expects one
 * of our errors.
 */
export const isInDoubt = (error: unknown): boolean =>
  error instanceof LockError && error.cause !== undefined && mayHaveApplied(error.cause);
