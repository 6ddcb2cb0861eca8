/** Errors as DynamoDB answers them, in the form in which the AWS SDK throws them. */

/** What an error of DynamoDB carries beside its name and message. */
export interface FailureDetails {
  /** The item that refused a write. */
  readonly Item?: object | undefined;
  /** Why the parts of a transaction were refused. */
  readonly CancellationReasons?: readonly object[] | undefined;
}

/**
 * An error of the engine in memory. `instanceof ConditionalCheckFailedException` and the like hold
 * for it: the SDK's classes recognise errors by `name`, `$fault` and `$metadata`.
 */
export class MemoryFailure extends Error {
  readonly $fault: "client" | "server";
  readonly $metadata: { readonly httpStatusCode: number; readonly attempts: number; readonly totalRetryDelay: number };

  constructor(name: string, message: string, details: FailureDetails = {}, status = 400) {
    super(message);
    this.name = name;
    this.$fault = status < 500 ? "client" : "server";
    this.$metadata = { httpStatusCode: status, attempts: 1, totalRetryDelay: 0 };
    Object.assign(this, details);
  }
}

export const invalid = (message: string): MemoryFailure => new MemoryFailure("ValidationException", message);

/**
 * For what DynamoDB knows and this engine does not: a test must not pass because it was ignored.
 */
export const unsupported = (what: string): MemoryFailure =>
  new MemoryFailure(
    "NotSupportedInMemory",
    `The engine in memory of middy-dynamo-lock/testing does not support ${what}`,
  );

export const noSuchTable = (name?: string): MemoryFailure =>
  new MemoryFailure(
    "ResourceNotFoundException",
    `Requested resource not found${name ? `: Table: ${name} not found` : ""}`,
  );

export const conditionFailed = (item: object | undefined): MemoryFailure =>
  new MemoryFailure("ConditionalCheckFailedException", "The conditional request failed", item && { Item: item });
