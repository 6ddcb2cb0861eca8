import { setTimeout as sleep } from "node:timers/promises";
import { Logger } from "@aws-lambda-powertools/logger";
import { injectLambdaContext } from "@aws-lambda-powertools/logger/middleware";
import middy from "@middy/core";
import type { SQSEvent, SQSRecord } from "aws-lambda";
import { dynamoLockBatch } from "middy-dynamo-lock";

const logger = new Logger({ serviceName: "order" });

/** Longer than a message can come again, by way of the dead-letter queue too: a queue keeps it for 14 days at most. */
const REMEMBER_MS = 15 * 24 * 3_600_000;

/** Stands for the work: how long it takes. */
const WORK_MS = Number(process.env.WORK_MS ?? 500);

interface Order {
  orderId: string;
  item: string;
  quantity: number;
}

const orderOf = (record: SQSRecord): Order => JSON.parse(record.body) as Order;

const ship = async (record: SQSRecord): Promise<void> => {
  const order = orderOf(record);
  logger.info("Shipment begun", { order });
  await sleep(WORK_MS);
  logger.info("Shipment done", { order });
};

/**
 * Ships each order once. The key is the order's own id: a producer that sends twice makes two messages with two message
 * ids. An order that another invocation is shipping goes back to the queue, and so does one whose shipment fails; the
 * others of the batch are done.
 */
export const handler = middy<SQSEvent>()
  .use(injectLambdaContext(logger))
  .use(
    dynamoLockBatch({
      namespace: "orders",
      key: (record: SQSRecord) => orderOf(record).orderId,
      rememberMs: REMEMBER_MS,
      bulk: true,
      logger,
    }),
  )
  .handler(async ({ Records }) => Promise.allSettled(Records.map(ship)));
