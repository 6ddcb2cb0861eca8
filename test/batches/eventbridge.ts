// example: eventbridge
import middy from "@middy/core";
import type { EventBridgeEvent } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";

export const handler = middy<EventBridgeEvent<"OrderPlaced", { orderId: string }>>()
  .use(dynamoLock({ key: (event) => event.id }))
  .handler(async (event) => notify(event.detail));
