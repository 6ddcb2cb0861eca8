import { setTimeout as sleep } from "node:timers/promises";
import { Logger } from "@aws-lambda-powertools/logger";
import { injectLambdaContext } from "@aws-lambda-powertools/logger/middleware";
import middy from "@middy/core";
import type { SQSEvent } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";

const logger = new Logger({ serviceName: "order" });

/** A message can come again for as long as a queue can keep it, by way of the dead-letter queue too: 14 days at most. */
const REMEMBER_MS = 14 * 24 * 3_600_000;

/** Stands for the work: how long it takes. */
const WORK_MS = Number(process.env.WORK_MS ?? 500);

interface Order {
  orderId: string;
  item: string;
  quantity: number;
}

const orderOf = ({ Records: [record, ...others] }: SQSEvent): Order => {
  if (!record || others.length > 0) throw new Error("One key, one record: set the event source's BatchSize to 1");
  return JSON.parse(record.body) as Order;
};

/**
 * Ships an order once. The key is the order's own id: a producer that sends twice makes two messages with two message
 * ids. A message that is refused, because another invocation ships the order, goes back to the queue.
 */
export const handler = middy<SQSEvent>()
  .use(injectLambdaContext(logger))
  .use(dynamoLock({ key: (event) => orderOf(event).orderId, rememberMs: REMEMBER_MS, storeResponse: false, logger }))
  .handler(async (event) => {
    const order = orderOf(event);
    logger.info("Shipment begun", { order });
    await sleep(WORK_MS);
    logger.info("Shipment done", { order });
  });
