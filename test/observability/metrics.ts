// example: metrics
import { Metrics } from "@aws-lambda-powertools/metrics";
import { logMetrics } from "@aws-lambda-powertools/metrics/middleware";
import middy from "@middy/core";
import type { ScheduledEvent } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";

const metrics = new Metrics({ namespace: "reports" });

export const handler = middy<ScheduledEvent>()
  .use(logMetrics(metrics)) // before the lock: it prints what the lock adds after the handler, too
  .use(dynamoLock<ScheduledEvent>({ key: (event) => event.time.slice(0, 10), rememberMs: 48 * 3_600_000, metrics }))
  .handler(async (event) => makeReport(event.time));
