import type { LockRecord } from "./record.ts";

/** Stable identifiers of what went wrong: match on these, not on messages. */
export type LockErrorCode =
  | "LOCK_HELD"
  | "LOCK_TIMEOUT"
  | "LOCK_LOST"
  | "LOCK_KEY"
  | "LOCK_OPTIONS"
  | "LOCK_TABLE"
  | "LOCK_REQUEST"
  | "LOCK_CLOSED"
  | "LOCK_STREAMING"
  | "LOCK_BATCH"
  | "LOCK_REPLAYED"
  | "LOCK_PAYLOAD_MISMATCH";

/**
 * Base of every error this package throws. `statusCode` is read by HTTP error handlers such as
 * `@middy/http-error-handler`; `cause` is the AWS error, where there is one.
 */
export class LockError extends Error {
  override readonly name: string = "LockError";
  readonly code: LockErrorCode;
  readonly statusCode: number = 500;

  constructor(code: LockErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * The key is held by another run, or finished and not yet forgotten: `record` shows which, without the stored response,
 * because errors are logged. Status 409.
 */
export class LockHeldError extends LockError {
  override readonly name = "LockHeldError";
  override readonly statusCode = 409;
  readonly record: LockRecord;

  constructor(record: LockRecord) {
    const until = new Date(record.expiresAt);
    const when = Number.isNaN(until.getTime()) ? "" : ` until ${until.toISOString()}`;
    const state = {
      FINISHED: `finished, and remembered${when}`,
      SEMAPHORE: `held by as many as it permits (${record.permits})`,
      IN_PROGRESS: `held by another run${when} at the latest`,
      RELEASED: "being taken by another run",
    }[record.status];
    super("LOCK_HELD", `The key is ${state}`); // not its name: HTTP error handlers send the message to the caller
    this.record = withoutPayload(record);
  }
}

/** The key was taken with another payload (`fingerprint`) by the run that holds it or has finished it. Status 422. */
export class PayloadMismatchError extends LockError {
  override readonly name = "PayloadMismatchError";
  override readonly statusCode = 422;
  readonly record: LockRecord;

  constructor(record: LockRecord) {
    super("LOCK_PAYLOAD_MISMATCH", "The key was used with another payload");
    this.record = withoutPayload(record);
  }
}

/** The time to wait for a key, or for the work under it, ran out. `record` is the holder's, when a key was waited for. Status 409. */
export class LockTimeoutError extends LockError {
  override readonly name = "LockTimeoutError";
  override readonly statusCode = 409;
  readonly record: LockRecord | undefined;

  constructor(message: string, record?: LockRecord) {
    super("LOCK_TIMEOUT", message);
    this.record = record;
  }
}

/**
 * Why a lock is no longer ours. `stolen`: another token holds the key. `expired`: the lease is over. `unreachable`: the
 * lease is over because DynamoDB could not be reached to renew it. `released`: this handle gave the lock up itself.
 */
export type LockLostReason = "stolen" | "expired" | "unreachable" | "released";

/** This handle does not hold the key any more; nothing was written. */
export class LockLostError extends LockError {
  override readonly name = "LockLostError";
  override readonly statusCode = 409;
  readonly reason: LockLostReason;

  constructor(key: string, reason: LockLostReason) {
    const why = {
      stolen: "another run has taken it over",
      expired: "its lease is over",
      unreachable: "it could not be renewed before its lease was over",
      released: "this handle has settled it",
    }[reason];
    super("LOCK_LOST", `Lock ${JSON.stringify(key)} is lost: ${why}`);
    this.reason = reason;
  }
}

/** The key function gave something that can't be a key. Status 400: over HTTP, the caller left it out. */
export class LockKeyError extends LockError {
  override readonly name = "LockKeyError";
  override readonly statusCode = 400;

  constructor(message: string) {
    super("LOCK_KEY", message);
  }
}

/** An option is unknown, out of bounds, or contradicts another. Thrown at construction. */
export class LockOptionsError extends LockError {
  override readonly name = "LockOptionsError";

  constructor(message: string) {
    super("LOCK_OPTIONS", message);
  }
}

/** The table is missing, has another key schema, holds a foreign item, or may not be used: the message says what to do. */
export class LockTableError extends LockError {
  override readonly name = "LockTableError";

  constructor(message: string, options?: ErrorOptions) {
    super("LOCK_TABLE", message, options);
  }
}

/**
 * The first run failed for good (`onError: 'finish'`) and its error is thrown again to a repeat.
 * `originalName` and `statusCode` are those of the first error.
 */
export class ReplayedError extends LockError {
  override readonly name = "ReplayedError";
  override readonly statusCode: number;
  readonly originalName: string;

  constructor(failure: { readonly name: string; readonly message: string; readonly statusCode?: number }) {
    super("LOCK_REPLAYED", failure.message);
    this.originalName = failure.name;
    this.statusCode = failure.statusCode ?? 500;
  }
}

/**
 * The event is no batch whose records can be locked one by one, or what the handler reported is about none of them. The whole
 * batch is to be retried.
 */
export class LockBatchError extends LockError {
  override readonly name = "LockBatchError";

  constructor(message: string, options?: ErrorOptions) {
    super("LOCK_BATCH", `dynamoLockBatch: ${message}`, options);
  }
}

/** The hash of a small payload can be guessed. */
const withoutPayload = ({
  result: _result,
  data: _data,
  fingerprint: _fingerprint,
  ...record
}: LockRecord): LockRecord => record;
