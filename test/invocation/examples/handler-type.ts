// example: handler-type
import type { ScheduledHandler } from "aws-lambda";
import { withLock } from "middy-dynamo-lock";

export const handler: ScheduledHandler = withLock(
  async (event, context) => {
    await makeReport(event.time, context.lock.fencingToken);
  },
  { key: (event) => event.time.slice(0, 10), rememberMs: 48 * 3_600_000 },
);
