import { DynamoDBClient, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { mockClient } from "aws-sdk-client-mock";
import { LockClient } from "middy-dynamo-lock";
import { expect, test } from "vitest";

test("a missing permission is named", async () => {
  const client = new DynamoDBClient({ region: "eu-west-1" });
  const denied = { name: "AccessDeniedException", $metadata: { httpStatusCode: 400 } };
  mockClient(client)
    .on(UpdateItemCommand)
    .rejects(Object.assign(new Error("not authorized"), denied));
  const locks = new LockClient({ client });
  await expect(locks.acquire("report")).rejects.toThrow("Allow dynamodb:UpdateItem on table dynamo-locks in the role");
});
