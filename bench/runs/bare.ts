import { randomUUID } from "node:crypto";
import { DynamoDBClient, PutItemCommand, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { clientConfig, invocation, type OneRun, work } from "./run.ts";

/** The least that any library can do: two conditional writes, as short as they can be. */
export const prepare: OneRun = (endpoint) => {
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
