import middy from "@middy/core";
import type { ScheduledEvent } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock/lean";

export const handler = middy<ScheduledEvent>()
  .use(dynamoLock<ScheduledEvent>({ key: (event) => event.time.slice(0, 10) }))
  .handler(async () => makeReport());
