// example: with-lock-batch
import type { SQSEvent } from "aws-lambda";
import { withLockBatch } from "middy-dynamo-lock";

export const handler = withLockBatch(
  async (event: SQSEvent) => Promise.allSettled(event.Records.map((record) => shipOrder(record.body))),
  { key: (record) => JSON.parse(record.body).orderId, rememberMs: 15 * 24 * 3_600_000 },
);
