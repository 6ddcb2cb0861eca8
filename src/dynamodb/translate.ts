/**
 * Turns errors of AWS into ours: what failed, AWS's own message, what was not done, and what to do.
 */
import { LockError, LockTableError, textOf } from "../common/errors.ts";
import type { TableLayout } from "../protocol/expression.ts";
import { codesOf, isNamed, mayHaveApplied, mayPass, PASSING, reasonsOf } from "./aws-errors.ts";

/** How DynamoDB, and after it DynamoDB Local, say that the key is not the table's. */
const KEY_SCHEMA = /key element|number of conditions on the keys|required keys was not given|type mismatch for key/i;

/** A KMS key, as AWS names it in messages: by its service, or in an ARN. */
const KMS = /\bKMS|kms:/;
const DENIED = /^AccessDenied|is not authorized to perform/;
const READS = /Get|Scan|Query|Describe|List/;

/**
 * The error of ours that says what to do about one of AWS. `region` may reject: a stand-in for a
 * client has none.
 */
export const translate = async (
  { tableName, keyAttribute, sortKey }: Pick<TableLayout, "tableName" | "keyAttribute" | "sortKey">,
  region: () => Promise<string>,
  action: string,
  error: unknown,
): Promise<LockError> => {
  if (error instanceof LockError) return error;
  const schema = `partition key ${keyAttribute} (S) and ${sortKey ? `sort key ${sortKey.attribute}` : "no sort key"}`;
  const details = detailsOf(error);
  let advice: string | undefined;
  if (isNamed(error, "ResourceNotFoundException") && !KMS.test(details)) {
    advice =
      `does not exist in ${await region().catch(() => "the client's region")}, or is not ACTIVE yet: create it with ` +
      `createLockTable or in your template, with ${schema}, or set tableName or DYNAMO_LOCK_TABLE to the right name`;
  } else if (/Validation/.test(codesOf(error)) && KEY_SCHEMA.test(details)) {
    advice = `has another key schema: expected ${schema}. Set keyAttribute and sortKey as the table has them`;
  }
  return advice
    ? new LockTableError(`Table ${tableName} ${advice}. AWS says: ${details}`, { cause: error })
    : failureOf(action, tableName, error);
};

/** The text of an AWS error. What is wrong with a transaction stands in its reasons. */
const detailsOf = (error: unknown): string =>
  [textOf(error), ...reasonsOf(error).flatMap(({ Message }) => Message ?? [])].join("; ");

/** The error of ours for a request that failed, with what it means for the caller. */
export const failureOf = (action: string, tableName: string, error: unknown): LockError => {
  const details = detailsOf(error);
  const isTransient = mayPass(error);
  const advice = adviceOn(action, tableName).find(([symptom]) => symptom.test(`${details} ${codesOf(error)}`))?.[1];
  const about = `${action} on table ${tableName} failed: ${details.replace(/\.$/, "")}`;
  const message = `${about}. ${whatIsUndone(action, error)}${advice ? ` ${advice}.` : ""}`;
  return DENIED.test(details) || (KMS.test(details) && !isTransient)
    ? new LockTableError(message, { cause: error })
    : new LockError("LOCK_REQUEST", message, { cause: error, statusCode: isTransient ? 503 : 500 });
};

const whatIsUndone = (action: string, error: unknown): string => {
  if (READS.test(action)) return "Nothing was read.";
  return mayHaveApplied(error) ? "It is not known whether it was applied: a repeat will show." : "Nothing was written.";
};

/**
 * Advice, by the words in which AWS, its SDK and Node.js tell what is wrong. Of a refused
 * permission AWS names the action, the resource and the kind of policy, though not in every message
 * (https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html). A table that
 * is encrypted with a key of KMS needs the caller's permission for that, too
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html).
 */
const adviceOn = (action: string, tableName: string): readonly (readonly [symptom: RegExp, advice: string])[] => [
  [PASSING, "Repeat it later. If that goes on, the table needs more capacity"],
  [
    /explicit deny|because no .+ allows/,
    "Change that policy (an identity-based one is the role's): against a Deny no Allow elsewhere helps",
  ],
  [KMS, "Enable the table's KMS key, and allow kms:Decrypt on it in the role and in the key's own policy"],
  [
    DENIED,
    // There is no action of this name: each write of a transaction needs its own.
    `Allow dynamodb:${action.replace("TransactWriteItems", "UpdateItem")} on table ${tableName} in the role. If that is so ` +
      "already, look at the policies of the table, the VPC endpoint and the organization, and at permissions boundaries",
  ],
  [
    /credential|region is missing|authentication|security token|access ?key|signature|expired/i,
    "Check the region and the credentials (those of the role, of AWS_... variables or of clientConfig), when they expire, " +
      "and this machine's clock",
  ],
  [
    /\bE[A-Z_]{4,}\b|CERT|[Tt]imeout|Invalid URL/,
    "Check the region, the endpoint and the network: a VPC needs an endpoint for DynamoDB, or a NAT gateway",
  ],
  [/ResourceInUse/, "Repeat it when the table is ACTIVE"],
  [/SizeLimit|exceeded the maximum allowed size/, "Store less with the lock, or give locks a table of their own"],
];

/**
 * Adds to an error of a commit what its message leaves out: of a cancelled transaction, which of
 * the items were refused; of a missing table or permission, what all of them need. A transaction
 * needs the permission of each of its writes
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html).
 */
export const explained = (error: unknown, items: readonly object[]): unknown => {
  if (!(error instanceof Error)) return error;
  const { name, message, stack } = error;
  const refused: string[] = [];
  const needed = new Set<string>();
  for (const [index, item] of items.entries()) {
    const [action, { TableName }] = Object.entries(item).find(([, body]) => body) as [string, { TableName: string }];
    const { Code = "None", Message } = reasonsOf(error)[index] ?? {};
    needed.add(`dynamodb:${action}Item on ${TableName}`);
    if (Code !== "None") refused.push(`items[${index}] (${action} on ${TableName}): ${Code}, ${Message}`);
  }
  const isOfAll = /^(ResourceNotFound|AccessDenied)/.test(name) && needed.size > 0;
  const detail = isOfAll ? `the items need ${[...needed].join(", ")}` : refused.join("; ");
  if (!detail || message.includes(detail)) return error;
  error.message = `${message}: ${detail}`;
  if (stack) error.stack = stack.replace(message, () => error.message); // it begins with the message as it was
  return error;
};
