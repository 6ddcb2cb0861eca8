// example: sqs-partial-batch-failure
import middy from "@middy/core";
import sqsPartialBatchFailure from "@middy/sqs-partial-batch-failure";
import type { SQSEvent, SQSRecord } from "aws-lambda";
import { dynamoLockBatch } from "middy-dynamo-lock";

export const handler = middy<SQSEvent>()
  .use(
    dynamoLockBatch({
      key: (record: SQSRecord) => JSON.parse(record.body).orderId,
      rememberMs: 15 * 24 * 3_600_000,
    }),
  )
  .use(sqsPartialBatchFailure())
  .handler(async (event) => Promise.allSettled(event.Records.map((record) => shipOrder(record.body))));
