// example: eventbridge
import middy from "@middy/core";
import type { EventBridgeEvent } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";

export const handler = middy<EventBridgeEvent<"OrderPlaced", { orderId: string }>>()
  .use(
    dynamoLock<EventBridgeEvent<"OrderPlaced", { orderId: string }>>({
      key: (event) => event.id,
      rememberMs: 16 * 24 * 3_600_000,
    }),
  )
  .handler(async (event) => notify(event.detail));
