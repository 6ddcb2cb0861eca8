/** The same run by each library: take the key, work, finish it with a small JSON response. The key is new each time. */
import { randomUUID } from "node:crypto";
import { IdempotencyConfig, makeIdempotent } from "@aws-lambda-powertools/idempotency";
import { DynamoDBPersistenceLayer } from "@aws-lambda-powertools/idempotency/dynamodb";
import { DynamoDBClient, PutItemCommand, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import type { Context } from "aws-lambda";
import { clientConfig } from "../scripts/engine.ts";
import { withLock } from "../src/index.ts";
import { lambdaContext } from "../test/support/lambda.ts";

interface ReportEvent {
  readonly date: string;
}

const response = { total: 42 };
const work = async (_event: ReportEvent, _context: Context) => response;

/** Makes what runs once at each call. `endpoint`: of a DynamoDB whose table `locks` has never seen the key. */
type OneRun = (endpoint: string) => () => Promise<unknown>;

/** The context has an `awsRequestId` of 36 characters, and the function's name `report`. */
const invocation = (handler: (event: ReportEvent, context: Context) => Promise<unknown>) => () =>
  handler({ date: "2026-11-21" }, lambdaContext());

const ours: OneRun = (endpoint) =>
  invocation(
    withLock(work, {
      key: ({ date }) => date, // report#2026-11-21
      tableName: "locks",
      clientConfig: clientConfig(endpoint),
    }),
  );

const powertools: OneRun = (endpoint) => {
  process.env.AWS_LAMBDA_FUNCTION_NAME = "report"; // the prefix of its keys
  const awsSdkV3Client = new DynamoDBClient(clientConfig(endpoint));
  const persistenceStore = new DynamoDBPersistenceLayer({ tableName: "locks", awsSdkV3Client });
  const config = new IdempotencyConfig({ eventKeyJmesPath: "date" });
  return invocation(makeIdempotent(work, { persistenceStore, config }));
};

/** The least that any library can do: two conditional writes, as short as they can be. */
const bare: OneRun = (endpoint) => {
  const client = new DynamoDBClient(clientConfig(endpoint));
  return invocation(async (event, context) => {
    const id = { S: `${context.functionName}#${event.date}` };
    const token = { S: randomUUID() };
    const now = { N: `${Date.now()}` };
    const TableName = "locks";
    await client.send(
      new PutItemCommand({
        TableName,
        Item: { id, token, until: { N: `${Date.now() + context.getRemainingTimeInMillis()}` } },
        ConditionExpression: "attribute_not_exists(id) OR until < :now",
        ExpressionAttributeValues: { ":now": now },
      }),
    );
    const result = await work(event, context);
    await client.send(
      new UpdateItemCommand({
        TableName,
        Key: { id },
        UpdateExpression: "SET r = :r, until = :until",
        ConditionExpression: "token = :token",
        ExpressionAttributeValues: {
          ":r": { S: JSON.stringify(result) },
          ":until": { N: `${Date.now() + 3_600_000}` },
          ":token": token,
        },
      }),
    );
    return result;
  });
};

export const contenders = {
  "the SDK alone: two conditional writes": bare,
  "middy-dynamo-lock: `withLock`": ours,
  "Powertools 2.35.0: `makeIdempotent`": powertools,
} as const;

export const OURS = "middy-dynamo-lock: `withLock`";
