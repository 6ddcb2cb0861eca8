import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Logger } from "@aws-lambda-powertools/logger";
import { injectLambdaContext } from "@aws-lambda-powertools/logger/middleware";
import middy from "@middy/core";
import type { ScheduledEvent } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";

const logger = new Logger({ serviceName: "report" });

/** EventBridge retries for up to 24 hours (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html). */
const REMEMBER_MS = 48 * 3_600_000;

/** Stands for the work: how long it takes. */
const WORK_MS = Number(process.env.WORK_MS ?? 5_000);

const dateOf = (event: ScheduledEvent) => event.time.slice(0, 10);

/** A daily report: one per date, however often the event comes. */
export const handler = middy<ScheduledEvent>()
  .use(injectLambdaContext(logger))
  .use(dynamoLock<ScheduledEvent>({ namespace: "reports", key: dateOf, rememberMs: REMEMBER_MS, logger }))
  .handler(async (event, context) => {
    const date = dateOf(event);
    logger.info("Report begun", { date });
    await sleep(WORK_MS);
    const report = { date, reportId: randomUUID(), fencingToken: context.lock.fencingToken };
    logger.info("Report done", { report });
    return report;
  });
