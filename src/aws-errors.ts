import type { CancellationReason, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { LockError, LockTableError } from "./errors.ts";
import type { Item } from "./record.ts";
import type { TableLayout } from "./requests.ts";

/** How DynamoDB, and after it DynamoDB Local, say that the key is not the table's. */
const KEY_SCHEMA = /key element|number of conditions on the keys|required keys was not given|type mismatch for key/i;

/** By name, as the AWS SDK advises where several copies of its classes may be loaded. */
export const isNamed = (
  error: unknown,
  name: string,
): error is Error & { readonly Item?: Item; readonly CancellationReasons?: CancellationReason[] } =>
  error instanceof Error && error.name === name;

/** The SDK notes in its errors how often it sent the request. */
export const wasRetried = (error: unknown): boolean =>
  ((error as { $metadata?: { attempts?: number } }).$metadata?.attempts ?? 1) > 1;

/** Whether a transaction of somebody else was in the way. */
export const isConflict = (error: unknown): boolean => {
  const { name, CancellationReasons = [] } = Object(error) as {
    name?: string;
    CancellationReasons?: CancellationReason[];
  };
  if (name === "TransactionConflictException" || name === "TransactionInProgressException") return true;
  const codes = CancellationReasons.map(({ Code }) => Code);
  return codes.includes("TransactionConflict") && !codes.includes("ConditionalCheckFailed");
};

const THROTTLED = /^(ProvisionedThroughputExceeded|Throttling|RequestLimitExceeded)/;

/** The AWS error behind one of ours that tells of a failed request. */
const causeOf = (error: unknown) =>
  Object(error instanceof LockError && error.code === "LOCK_REQUEST" ? error.cause : undefined) as {
    name?: string;
    code?: string;
    $metadata?: { httpStatusCode?: number };
    CancellationReasons?: CancellationReason[];
  };

/** Whether it is not known if the request applied: a fault of the network or the server. */
export const isUnknown = (error: unknown): boolean => {
  const { name = "", code = "", $metadata } = causeOf(error);
  if (/^(InternalServer|ServiceUnavailable|TimeoutError|RequestTimeout)/.test(name)) return true;
  return ($metadata?.httpStatusCode ?? 0) >= 500 || /^(E[A-Z_]+|ERR_\w+|UND_ERR_\w+)$/.test(code);
};

/** Whether DynamoDB refused the request for the moment: it was not applied, and may be a moment later. */
export const isPassing = (cause: unknown): boolean => {
  const { name, CancellationReasons = [] } = Object(cause) as {
    name?: string;
    CancellationReasons?: CancellationReason[];
  };
  const refused = CancellationReasons.some(({ Code }) => Code === "ConditionalCheckFailed");
  const throttled = CancellationReasons.some(({ Code }) => /Throttling|ThroughputExceeded/.test(Code ?? ""));
  return THROTTLED.test(name ?? "") || (throttled && !refused) || isConflict(cause);
};

/** Whether the same request may succeed a moment later. */
export const isTransient = (error: unknown): boolean => isUnknown(error) || isPassing(causeOf(error));

/** Whether the request of one of our errors may have applied: the last attempt of the SDK, or one before it. */
export const isInDoubt = (error: unknown): boolean =>
  error instanceof LockError && error.code === "LOCK_REQUEST" && (!isRefusal(error.cause) || wasRetried(error.cause));

/** Whether an error is DynamoDB's own word that it did not apply the request, rather than a reply that is missing. */
export const isRefusal = (error: unknown): boolean => {
  const { $metadata } = Object(error) as { $metadata?: { httpStatusCode?: number } };
  const status = $metadata?.httpStatusCode ?? 0;
  if (isNamed(error, "TransactionInProgressException")) return false; // an attempt before this one is on its way
  return (status >= 400 && status < 500) || isNamed(error, "TransactionCanceledException") || isPassing(error);
};

/** One of our errors, which says what to do about it. */
export const translate = async (
  client: DynamoDBClient,
  layout: TableLayout,
  action: string,
  error: unknown,
  reasons: CancellationReason[] = [],
): Promise<LockError> => {
  if (error instanceof LockError) return error;
  const { tableName, keyAttribute, sortKey } = layout;
  const cause = { cause: error };
  const schema = `partition key ${keyAttribute} (S)${sortKey ? ` and sort key ${sortKey.attribute}` : " and no sort key"}`;
  if (isNamed(error, "ResourceNotFoundException")) {
    const region = await client.config.region();
    return new LockTableError(
      `Table ${tableName} does not exist in ${region}: create it with createLockTable or in your template, ` +
        `with ${schema}, or set tableName or DYNAMO_LOCK_TABLE to the right name`,
      cause,
    );
  }
  if (isNamed(error, "AccessDeniedException")) {
    // There is no action of this name: each write of a transaction needs its own.
    const needed = action === "TransactWriteItems" ? "UpdateItem" : action;
    return new LockTableError(`No permission: allow dynamodb:${needed} on table ${tableName} in the role`, cause);
  }
  const details = [error, ...reasons].map((part) => Object(part).message ?? Object(part).Message).join(" ");
  const invalid = isNamed(error, "ValidationException") || reasons.some(({ Code }) => Code === "ValidationError");
  if (invalid && KEY_SCHEMA.test(details)) {
    return new LockTableError(
      `Table ${tableName} has another key schema: expected ${schema}. Set keyAttribute and sortKey as the table has them`,
      cause,
    );
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return new LockError("LOCK_REQUEST", `${action} on table ${tableName} failed: ${message}`, cause);
};
