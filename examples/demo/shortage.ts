/** For the demo only: ships like ../handlers/order.ts, but order-14 can't be packed when it comes for the first time. */
import { setTimeout as sleep } from "node:timers/promises";
import { Logger } from "@aws-lambda-powertools/logger";
import { injectLambdaContext } from "@aws-lambda-powertools/logger/middleware";
import middy from "@middy/core";
import type { SQSEvent, SQSRecord } from "aws-lambda";
import { dynamoLockBatch } from "middy-dynamo-lock";

const logger = new Logger({ serviceName: "shortage" });

const orderOf = (record: SQSRecord): { orderId: string } => JSON.parse(record.body);

const ship = async (record: SQSRecord): Promise<void> => {
  const order = orderOf(record);
  logger.info("Shipment begun", { order });
  await sleep(Number(process.env.WORK_MS));
  if (order.orderId === "order-14" && record.attributes.ApproximateReceiveCount === "1")
    throw new Error("out of stock");
  logger.info("Shipment done", { order });
};

export const handler = middy<SQSEvent>()
  .use(injectLambdaContext(logger))
  .use(dynamoLockBatch({ namespace: "shortage", key: (record: SQSRecord) => orderOf(record).orderId, logger }))
  .handler(async ({ Records }) => Promise.allSettled(Records.map(ship)));
