// example: order
import middy from "@middy/core";
import type { SQSEvent, SQSRecord } from "aws-lambda";
import { dynamoLockBatch } from "middy-dynamo-lock";

export const handler = middy<SQSEvent>()
  .use(
    dynamoLockBatch({
      namespace: "orders",
      key: (record: SQSRecord) => JSON.parse(record.body).orderId,
      rememberMs: 15 * 24 * 3_600_000, // longer than SQS keeps a message: 14 days at most
    }),
  )
  .handler(async (event) => Promise.allSettled(event.Records.map((record) => ship(record.body))));
