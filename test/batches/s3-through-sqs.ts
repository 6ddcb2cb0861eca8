// example: s3-through-sqs
import middy from "@middy/core";
import type { S3Event, S3EventRecord, SQSEvent, SQSRecord } from "aws-lambda";
import { type BatchResult, dynamoLockBatch } from "middy-dynamo-lock";

/** From S3 itself, or through SNS, raw or in its envelope. The test that S3 sends has no `Records`. */
const changesIn = ({ body }: SQSRecord): S3EventRecord[] => {
  const sent = JSON.parse(body);
  const event: Partial<S3Event> = sent.Type === "Notification" ? JSON.parse(sent.Message) : sent;
  return event.Records ?? [];
};
const objectKeyOf = (record: S3EventRecord) => decodeURIComponent(record.s3.object.key.replaceAll("+", " "));

export const handler = middy<SQSEvent, BatchResult>()
  .use(
    dynamoLockBatch({
      key: (record: SQSRecord) =>
        changesIn(record)
          .map((change) => `${change.s3.bucket.name}/${objectKeyOf(change)}/${change.s3.object.sequencer}`)
          .join(),
      onMissingKey: "run",
      rememberMs: 15 * 24 * 3_600_000,
    }),
  )
  .handler(async (event) =>
    Promise.allSettled(
      event.Records.map(async (record) => {
        for (const change of changesIn(record)) await indexObject(change.s3.bucket.name, objectKeyOf(change));
      }),
    ),
  );
