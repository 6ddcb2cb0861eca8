// example: s3
import middy from "@middy/core";
import type { S3Event, S3EventRecord } from "aws-lambda";
import { dynamoLock } from "middy-dynamo-lock";

// Encoded as in a URL, a key of 1,024 bytes may have more than the 2,048 that a lock's key can have.
const objectKeyOf = (record: S3EventRecord) => decodeURIComponent(record.s3.object.key.replaceAll("+", " "));

export const handler = middy<S3Event>()
  .use(
    dynamoLock({
      key: (event: S3Event) =>
        event.Records.map((record) => `${record.s3.bucket.name}/${objectKeyOf(record)}/${record.s3.object.sequencer}`),
      rememberMs: 15 * 24 * 3_600_000,
    }),
  )
  .handler(async (event) => {
    for (const record of event.Records) await indexObject(record.s3.bucket.name, objectKeyOf(record));
  });
