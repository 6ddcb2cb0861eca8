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
  .use(
    dynamoLock<EventBridgeEvent<"Transfer", Transfer>>({
      namespace: "transfers",
      key: (event) => event.detail.id,
      fingerprint: (event) => event.detail,
      rememberMs: 16 * 24 * 3_600_000, // 24 h of EventBridge, 6 h of Lambda, and 14 days of a dead-letter queue
    }),
  )
  .handler(async ({ detail }, context) => {
    const response = { transferred: detail.cents };
    await context.lock.commit([add(detail.from, -detail.cents), add(detail.to, detail.cents)], { result: response });
    return response;
  });
