// example: stream
import middy from "@middy/core";
import type { KinesisStreamEvent, KinesisStreamRecord } from "aws-lambda";
import { dynamoLockBatch } from "middy-dynamo-lock";

const dataOf = (record: KinesisStreamRecord) => Buffer.from(record.kinesis.data, "base64");

export const handler = middy<KinesisStreamEvent>()
  .use(
    dynamoLockBatch({
      key: (record: KinesisStreamRecord) => JSON.parse(dataOf(record).toString()).readingId,
      waitMs: 60_000, // the function's timeout: a shard has nothing else to do, and its retries are counted
      reserveMs: 20_000, // less than that: what the handler needs for a whole batch
    }),
  )
  .handler(async (event) => {
    for (const record of event.Records) {
      try {
        await storeReading(dataOf(record));
      } catch {
        return { batchItemFailures: [{ itemIdentifier: record.kinesis.sequenceNumber }] };
      }
    }
    return { batchItemFailures: [] };
  });
