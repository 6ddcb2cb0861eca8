import { IdempotencyConfig, makeIdempotent } from "@aws-lambda-powertools/idempotency";
import { DynamoDBPersistenceLayer } from "@aws-lambda-powertools/idempotency/dynamodb";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { clientConfig, invocation, type OneRun, work } from "./run.ts";

export const prepare: OneRun = (endpoint) => {
  process.env.AWS_LAMBDA_FUNCTION_NAME = "report"; // the prefix of its keys
  const awsSdkV3Client = new DynamoDBClient(clientConfig(endpoint));
  const persistenceStore = new DynamoDBPersistenceLayer({ tableName: "locks", awsSdkV3Client });
  const config = new IdempotencyConfig({ eventKeyJmesPath: "date" });
  return invocation(makeIdempotent(work, { persistenceStore, config }));
};
