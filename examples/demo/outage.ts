/** For the demo only: ships one order per invocation, but the warehouse is down when its message comes for the first time. */
import { setTimeout as sleep } from "node:timers/promises";
import { Logger } from "@aws-lambda-powertools/logger";
import { injectLambdaContext } from "@aws-lambda-powertools/logger/middleware";
import middy from "@middy/core";
import type { SQSEvent } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";

const logger = new Logger({ serviceName: "outage" });

export const handler = middy<SQSEvent>()
  .use(injectLambdaContext(logger))
  .use(
    dynamoLock({
      namespace: "outage",
      key: ({ Records: [record] }) => record && JSON.parse(record.body).orderId,
      logger,
    }),
  )
  .handler(async ({ Records: [record] }) => {
    logger.info("Shipment begun");
    await sleep(Number(process.env.WORK_MS));
    if (record?.attributes.ApproximateReceiveCount === "1") throw new Error("the warehouse is down");
    logger.info("Shipment done");
  });
