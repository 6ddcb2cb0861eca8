// example: exactly-once
import middy from "@middy/core";
import type { EventBridgeEvent } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";

type Transfer = { id: string; from: string; to: string; cents: number };

const add = (account: string, cents: number) => ({
  Update: {
    TableName: "accounts",
    Key: { id: { S: account } },
    UpdateExpression: "ADD cents :cents",
    ExpressionAttributeValues: { ":cents": { N: String(cents) } },
  },
});

export const handler = middy<EventBridgeEvent<"Transfer", Transfer>>()
  .use(dynamoLock({ key: (event) => event.detail.id, fingerprint: (event) => event.detail }))
  .handler(async ({ detail }, context) => {
    const response = { transferred: detail.cents };
    await context.lock.commit([add(detail.from, -detail.cents), add(detail.to, detail.cents)], { result: response });
    return response;
  });
