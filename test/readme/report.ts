// example: report
import middy from "@middy/core";
import type { ScheduledEvent } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";

export const handler = middy<ScheduledEvent>()
  .use(
    dynamoLock<ScheduledEvent>({
      namespace: "reports",
      key: (event) => event.time.slice(0, 10),
      rememberMs: 48 * 3_600_000,
    }),
  )
  .handler(async (event) => makeReport(event.time));
