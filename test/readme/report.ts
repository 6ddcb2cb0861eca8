// example: report
import middy from "@middy/core";
import type { ScheduledEvent } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";

export const handler = middy<ScheduledEvent>()
  .use(dynamoLock({ key: (event) => event.time.slice(0, 10) }))
  .handler(async (event) => makeReport(event.time));
