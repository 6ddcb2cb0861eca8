// example: order
import middy from "@middy/core";
import type { SQSEvent } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";

export const handler = middy<SQSEvent>()
  .use(
    dynamoLock({
      key: (event) => JSON.parse(event.Records[0]?.body ?? "{}").orderId,
      rememberMs: 7 * 24 * 3_600_000, // longer than the queue keeps a message
      onError: (error) => (isFinal(error) ? "finish" : "release"), // don't try a rejected order again
    }),
  )
  .handler(async (event) => ship(event.Records[0]?.body));
