// example: fifo
import middy from "@middy/core";
import type { SQSBatchItemFailure, SQSEvent, SQSRecord } from "aws-lambda";
import { dynamoLockBatch } from "middy-dynamo-lock";

export const handler = middy<SQSEvent>()
  .use(
    dynamoLockBatch({
      key: (record: SQSRecord) => JSON.parse(record.body).movementId,
      rememberMs: 29 * 24 * 3_600_000, // 14 days in the queue, and 14 in its dead-letter queue
    }),
  )
  .handler(async (event) => {
    const batchItemFailures: SQSBatchItemFailure[] = [];
    const stopped = new Set<string | undefined>();
    for (const record of event.Records) {
      const group = record.attributes.MessageGroupId;
      if (!stopped.has(group)) await book(record.body).catch(() => stopped.add(group));
      if (stopped.has(group)) batchItemFailures.push({ itemIdentifier: record.messageId });
    }
    return { batchItemFailures };
  });
