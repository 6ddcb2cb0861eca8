// example: table
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { createLockTable } from "middy-dynamo-lock";

await createLockTable(new DynamoDBClient({}), { tableName: "dynamo-locks" });
