// example: semaphore
import middy from "@middy/core";
import { dynamoSemaphore } from "middy-dynamo-lock";

export const handler = middy<{ orderId: string }>()
  .use(dynamoSemaphore({ namespace: "erp", key: () => "connections", permits: 5, waitMs: 10_000 }))
  .handler(async (event, context) => exportOrder(event.orderId, { signal: context.lock.signal }));
