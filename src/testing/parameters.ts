/**
 * The parameters that each operation reads. One that is not read is refused: a test must not pass
 * because it was ignored.
 */
import { unsupported } from "./errors.ts";

/**
 * Every read is consistent here, though only one that asks for it is counted so. There are no local
 * indexes to count.
 */
const EVERYWHERE = ["ReturnConsumedCapacity", "ReturnItemCollectionMetrics", "ConsistentRead"];
const EXPRESSIONS = ["ExpressionAttributeNames", "ExpressionAttributeValues"];
const WRITE = ["TableName", "ConditionExpression", ...EXPRESSIONS, "ReturnValuesOnConditionCheckFailure"];
const TTL = ["TableName", "TimeToLiveSpecification"];

const PAGE = [
  "TableName",
  "Limit",
  "ExclusiveStartKey",
  "Select",
  "FilterExpression",
  "ProjectionExpression",
  ...EXPRESSIONS,
];

const OPERATIONS: Readonly<Record<string, readonly string[]>> = {
  BatchExecuteStatement: ["Statements"],
  BatchGetItem: ["RequestItems"],
  BatchWriteItem: ["RequestItems"],
  CreateTable: [
    "TableName",
    "KeySchema",
    "AttributeDefinitions",
    "BillingMode",
    "ProvisionedThroughput",
    "OnDemandThroughput",
    "WarmThroughput",
    "TableClass",
    "DeletionProtectionEnabled",
    "StreamSpecification",
    "SSESpecification",
    "ResourcePolicy",
    "Tags",
  ],
  DeleteItem: [...WRITE, "Key", "ReturnValues"],
  DeleteTable: ["TableName"],
  DescribeTable: ["TableName"],
  DescribeTimeToLive: ["TableName"],
  GetItem: ["TableName", "Key", "ProjectionExpression", "ExpressionAttributeNames"],
  ListTables: ["Limit", "ExclusiveStartTableName"],
  ListTagsOfResource: ["ResourceArn", "NextToken"],
  PutItem: [...WRITE, "Item", "ReturnValues"],
  Query: [...PAGE, "KeyConditionExpression", "ScanIndexForward"],
  Scan: PAGE,
  TransactWriteItems: ["TransactItems", "ClientRequestToken"],
  UpdateItem: [...WRITE, "Key", "UpdateExpression", "ReturnValues"],
  UpdateTimeToLive: TTL,
};

const PARTS: Readonly<Record<string, readonly string[]>> = {
  ConditionCheck: [...WRITE, "Key"],
  Put: [...WRITE, "Item"],
  Update: [...WRITE, "Key", "UpdateExpression"],
  Delete: [...WRITE, "Key"],
};
const OF_TABLE = ["Keys", "ProjectionExpression", "ExpressionAttributeNames", "PutRequest", "DeleteRequest"];
const STATEMENT = ["Statement", "Parameters", "ReturnValuesOnConditionCheckFailure"];

const check = (what: string, given: unknown, known: readonly string[]): void => {
  for (const [name, value] of Object.entries(Object(given))) {
    if (value === undefined || known.includes(name) || EVERYWHERE.includes(name)) continue;
    throw unsupported(`${name} in ${what}`);
  }
};

// biome-ignore lint/suspicious/noExplicitAny: each operation has an input of its own
export const checkParameters = (operation: string, input: any): void => {
  check(operation, input, OPERATIONS[operation] ?? []);
  for (const part of input.TransactItems ?? []) {
    check("TransactItems", part, Object.keys(PARTS));
    for (const [action, own] of Object.entries(part)) check(`${action} of TransactItems`, own, PARTS[action] ?? []);
  }
  for (const own of Object.values(input.RequestItems ?? {}).flat()) check("RequestItems", own, OF_TABLE);
  for (const own of input.Statements ?? []) check("Statements", own, STATEMENT);
};
