import { LockError, LockTableError, textOf } from "../common/errors.ts";
import type { TableLayout } from "../protocol/expression.ts";
import type { Item, TransactWriteItem } from "../protocol/item.ts";

/** What became of one item of a cancelled transaction. */
export interface CancellationReason {
  readonly Code?: string | undefined;
  readonly Message?: string | undefined;
  readonly Item?: Item | undefined;
}

/** How DynamoDB, and after it DynamoDB Local, say that the key is not the table's. */
const KEY_SCHEMA = /key element|number of conditions on the keys|required keys was not given|type mismatch for key/i;

/** By name, as the AWS SDK advises where several copies of its classes may be loaded. */
export const isNamed = (
  error: unknown,
  name: string,
): error is Error & { readonly Item?: Item; readonly CancellationReasons?: CancellationReason[] } =>
  error instanceof Error && error.name === name;

/** The SDK notes in its errors how often it sent the request. */
const wasRetried = (error: unknown): boolean =>
  ((Object(error) as { $metadata?: { attempts?: number } }).$metadata?.attempts ?? 1) > 1;

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
  error instanceof LockError && error.code === "LOCK_REQUEST" ? error.cause : undefined;

/** Whether an AWS error leaves open if the request applied: a fault of the network or the server. */
const isFault = (cause: unknown): boolean => {
  const { name, code, $metadata } = Object(cause) as {
    name?: string;
    code?: string;
    $metadata?: { httpStatusCode?: number };
  };
  if (/^(InternalServer|ServiceUnavailable|TimeoutError|RequestTimeout)/.test(name ?? "")) return true;
  return ($metadata?.httpStatusCode ?? 0) >= 500 || /^(?!ERR_INVALID)(E[A-Z_]+|ERR_\w+|UND_ERR_\w+)$/.test(code ?? "");
};

/** Whether it is not known if the request applied: a fault of the network or the server. */
export const isUnknown = (error: unknown): boolean => isFault(causeOf(error));

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

/** Errors of a request that was sent anew after an attempt of which nobody knows whether it applied. */
const afterDoubt = new WeakSet<object>();

/** Whether a request that failed so may have applied: the last attempt, or one before it. */
export const mayHaveApplied = (error: unknown): boolean =>
  afterDoubt.has(Object(error)) || !isRefusal(error) || wasRetried(error);

export const rememberDoubt = (error: unknown): void => {
  afterDoubt.add(Object(error));
};

/** Whether the request of one of our errors may have applied: also one that was refused for good after a reply was lost. */
export const isInDoubt = (error: unknown): boolean =>
  error instanceof LockError && error.cause !== undefined && mayHaveApplied(error.cause);

/** Whether an error is DynamoDB's own word that it did not apply the request, rather than a reply that is missing. */
export const isRefusal = (error: unknown): boolean => {
  const { $metadata } = Object(error) as { $metadata?: { httpStatusCode?: number } };
  const status = $metadata?.httpStatusCode ?? 0;
  if (isNamed(error, "TransactionInProgressException")) return false; // an attempt before this one is on its way
  const isCondition =
    isNamed(error, "ConditionalCheckFailedException") || isNamed(error, "TransactionCanceledException");
  return (status >= 400 && status < 500) || isCondition || isPassing(error);
};

/** One of our errors, which says what to do about it. */
export const translate = async (
  region: () => Promise<string>,
  layout: TableLayout,
  action: string,
  error: unknown,
  reasons: CancellationReason[] = [],
): Promise<LockError> => {
  if (error instanceof LockError) return error;
  const { tableName, keyAttribute, sortKey } = layout;
  const cause = { cause: error };
  const schema = `partition key ${keyAttribute} (S)${sortKey ? ` and sort key ${sortKey.attribute}` : " and no sort key"}`;
  if (isNamed(error, "ResourceNotFoundException") && !KMS.test(error.message)) {
    const place = await regionOf(region);
    return new LockTableError(
      `Table ${tableName} does not exist in ${place}: create it with createLockTable or in your template, ` +
        `with ${schema}, or set tableName or DYNAMO_LOCK_TABLE to the right name. ` +
        `If it has just been created, wait until it is ACTIVE. AWS says: ${textOf(error)}`,
      cause,
    );
  }
  const details = detailsOf(error, reasons);
  const invalid = isNamed(error, "ValidationException") || reasons.some(({ Code }) => Code === "ValidationError");
  if (invalid && KEY_SCHEMA.test(details)) {
    return new LockTableError(
      `Table ${tableName} has another key schema: expected ${schema}. Set keyAttribute and sortKey as the table has them. ` +
        `AWS says: ${details}`,
      cause,
    );
  }
  return failureOf(action, tableName, error, details);
};

/** The text of an AWS error. What is wrong with a transaction stands in its reasons. */
const detailsOf = (error: unknown, reasons: readonly CancellationReason[] = []): string =>
  [textOf(error), ...reasons.flatMap(({ Message }) => Message ?? [])].join("; ");

const regionOf = async (region: () => Promise<string>): Promise<string> => {
  try {
    return await region();
  } catch {
    return "the client's region"; // of a stand-in for a client
  }
};

/** The error for a request that failed, with what it means for the caller. */
export const failureOf = (
  action: string,
  tableName: string,
  error: unknown,
  details: string = detailsOf(error),
): LockError => {
  const options = { cause: error };
  const about = `${action} on table ${tableName}`;
  const said = `${details.replace(/\.$/, "")}. ${outcomeOf(action, error)}`;
  if (/^AccessDenied/.test(Object(error).name ?? "") || /is not authorized to perform/.test(details)) {
    return new LockTableError(
      `No permission: ${permissionAdvice(action, tableName, details)}. ${about}: ${said}`,
      options,
    );
  }
  const transient = isFault(error) || isPassing(error);
  if (KMS.test(details) && !transient) {
    return new LockTableError(
      `The KMS key of table ${tableName} can't be used: it must be enabled, and DynamoDB must be allowed to use it. ${about}: ${said}`,
      options,
    );
  }
  const { code = "" } = Object(error) as { code?: unknown };
  const advice = ADVICE.find(([symptom]) => symptom.test(`${details} ${code}`))?.[1];
  const message = `${about} failed: ${said}${advice ? ` ${advice}` : ""}`;
  return new LockError("LOCK_REQUEST", message, { ...options, statusCode: transient ? 503 : 500 });
};

const READS = /^(Get|BatchGet|Scan|Query|Describe|List)/;

/** Says what was not done. */
const outcomeOf = (action: string, error: unknown): string => {
  if (READS.test(action)) return "Nothing was read.";
  if (NEVER_SENT.test(textOf(error))) return "Nothing was sent.";
  return isRefusal(error) && !wasRetried(error)
    ? "Nothing was written."
    : "It is not known whether it was applied: a repeat will show.";
};

const NEVER_SENT = /^CredentialsProviderError|region is missing|credential object|invalid url/i;

/** A KMS key, as AWS names it in messages: by its service, or in an ARN. */
const KMS = /\bKMS|kms:/;

/**
 * Advice about a refused permission. AWS names the action, the resource and the kind of policy, though not in every message
 * (https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html). A table that is encrypted with a key of KMS
 * needs the caller's permission for that, too
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html).
 */
const permissionAdvice = (action: string, tableName: string, message: string): string => {
  const [, named, resource] = /to perform: (\S+)(?: on resource: (\S+))?/.exec(message) ?? [];
  const isKms = KMS.test(named ?? message);
  // There is no action of this name: each write of a transaction needs its own.
  const dynamodb = `dynamodb:${action === "TransactWriteItems" ? "UpdateItem" : action}`;
  const needed = named ?? (isKms ? "kms:Decrypt" : dynamodb);
  const on = resource ?? (isKms ? `the KMS key of table ${tableName}` : `table ${tableName}`);
  const byRole = message.replaceAll("identity-based policy", "identity-based policy of the role");
  const [, missing] = /because no (.+?) allows/.exec(byRole) ?? [];
  if (missing) return `allow ${needed} on ${on} in the ${missing}`;
  const [denied, policy = "a policy"] = /explicit deny(?: in (an? [^:;.]+))?/.exec(byRole) ?? [];
  if (denied) return `a Deny in ${policy} forbids ${needed} on ${on}, and no Allow elsewhere helps: change that`;
  if (isKms) return `allow ${needed} on ${on} in the role and in the key's own policy, and see that the key is enabled`;
  return (
    `allow ${needed} on ${on} in the role. If that is so already, look at the table's own policy, the VPC endpoint's, ` +
    "permissions boundaries and the organization's policies"
  );
};

/** Advice, by the words in which AWS, its SDK and Node.js tell what is wrong. */
const ADVICE: readonly (readonly [symptom: RegExp, advice: string])[] = [
  [/^(ExpiredToken|RequestExpired)|token (in.*)?(is|has) expired/i, "The credentials have expired: get new ones."],
  [
    /^(UnrecognizedClient|InvalidClientTokenId|InvalidAccessKey)/,
    "AWS doesn't know the credentials: check the access key, the session token and the region.",
  ],
  [/^(InvalidSignature|SignatureDoesNotMatch|IncompleteSignature)/, "Check the secret key and this machine's clock."],
  [
    /^(CredentialsProvider|MissingAuthentication|TokenProvider)|credential/i,
    "Give the process a role or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or set clientConfig.credentials.",
  ],
  [/region is missing/i, "Set AWS_REGION, or clientConfig.region."],
  [
    /ENOTFOUND|EAI_AGAIN|ECONN|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|EPIPE|CERT|EPROTO|Timeout|invalid url/i,
    "Check the region, the endpoint and the network: in a VPC, DynamoDB is reached by an endpoint of the VPC or a NAT gateway.",
  ],
  [/^ResourceInUse/, "The table is being created, changed or deleted: repeat it when the table is ACTIVE."],
  [
    /^ItemCollectionSizeLimit/,
    "The items of this partition key have reached the 10 GB that local secondary indexes allow: give locks a table of their own.",
  ],
  [/exceeded the maximum allowed size/, "Store less with the lock: its data, or the result."],
  [
    /Throttl|ThroughputExceeded|RequestLimitExceeded/,
    "Repeat it later. If that goes on, the table needs more capacity.",
  ],
];

/** DynamoDB's own error, whose message says little of which item it is about: adds what is known, and what to do. */
export const explained = (error: unknown, items: readonly TransactWriteItem[]): unknown => {
  if (!(error instanceof Error)) return error;
  const named = items.map((item, index) => {
    const [[action = "", { TableName = "" } = {}] = []] = Object.entries(item) as [string, { TableName?: string }][];
    return { name: `items[${index}] (${action} on ${TableName})`, action, TableName };
  });
  const { CancellationReasons = [] } = error as { CancellationReasons?: CancellationReason[] };
  const about = named.flatMap(({ name }, index) => {
    const { Code = "None", Message } = CancellationReasons[index] ?? {};
    return Code === "None" ? [] : [`${name}: ${Code}${Message ? `, ${Message}` : ""}`];
  });
  const tables = [...new Set(named.map(({ TableName }) => TableName))].join(", ");
  const more: Record<string, string | undefined> = {
    TransactionCanceledException: about.join("; "),
    ResourceNotFoundException: `one of the tables of the items is not in this account and region: ${tables}`,
    AccessDeniedException: `the items need ${[...new Set(named.map(permissionFor))].join(", ")} in the role`,
  };
  const { message } = error;
  const detail = more[error.name];
  if (!detail || named.length === 0 || message.includes(detail)) return error;
  error.message = `${message}: ${detail}`;
  if (error.stack) error.stack = error.stack.replace(message, () => error.message); // it begins with the message as it was
  return error;
};

/** A transaction needs the permission of each of its writes (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html). */
const permissionFor = ({ action, TableName }: { readonly action: string; readonly TableName: string }): string =>
  `dynamodb:${action === "ConditionCheck" ? "ConditionCheckItem" : `${action}Item`} on ${TableName}`;
