// example: dynamodblock-table
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { createLockTable } from "middy-dynamo-lock";

await createLockTable(new DynamoDBClient({}), {
  tableName: "my_lock_table",
  billingMode: "PROVISIONED",
  readCapacityUnits: 5,
  writeCapacityUnits: 5,
  stream: true,
  tags: { team: "payments" },
});
