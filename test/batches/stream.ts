// example: stream
import middy from "@middy/core";
import type { KinesisStreamEvent, KinesisStreamRecord } from "aws-lambda";
import { dynamoLockBatch } from "middy-dynamo-lock";

const dataOf = (record: KinesisStreamRecord) => Buffer.from(record.kinesis.data, "base64");

export const handler = middy<KinesisStreamEvent>()
  .use(
    dynamoLockBatch({
      key: (record: KinesisStreamRecord) => JSON.parse(dataOf(record).toString()).readingId,
      rememberMs: 48 * 3_600_000, // longer than the stream keeps a record: 24 h, unless you have extended that
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
