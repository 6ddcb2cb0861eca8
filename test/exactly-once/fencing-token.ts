// example: fencing-token
import { DynamoDBClient, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { LockClient } from "middy-dynamo-lock";

const client = new DynamoDBClient({});
const locks = new LockClient({ client });

export const publish = (id: string, makeReport: () => Promise<string>) =>
  locks.run(`report-${id}`, async (lock) => {
    const report = await makeReport(); // takes long: by now another may hold the lock, and this process not know
    // UPDATE reports SET report = $3, fence = $1 WHERE id = $2 AND fence < $1
    await client.send(
      new UpdateItemCommand({
        TableName: "reports",
        Key: { id: { S: id } },
        UpdateExpression: "SET report = :report, fence = :fence",
        ConditionExpression: "attribute_not_exists(fence) OR fence < :fence",
        ExpressionAttributeValues: { ":report": { S: report }, ":fence": { N: String(lock.fencingToken) } },
      }),
    );
  });
