// example: fifo
import middy from "@middy/core";
import type { SQSBatchItemFailure, SQSEvent, SQSRecord } from "aws-lambda";
import { dynamoLockBatch } from "middy-dynamo-lock";

export const handler = middy<SQSEvent>()
  .use(
    dynamoLockBatch({
      key: (record: SQSRecord) => JSON.parse(record.body).movementId,
      rememberMs: 15 * 24 * 3_600_000,
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
