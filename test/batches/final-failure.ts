// example: final-failure
import middy from "@middy/core";
import type { SQSEvent, SQSRecord } from "aws-lambda";
import { dynamoLockBatch } from "middy-dynamo-lock";

export const handler = middy<SQSEvent>()
  .use(
    dynamoLockBatch({
      namespace: "orders",
      key: (record: SQSRecord) => JSON.parse(record.body).orderId,
      rememberMs: 15 * 24 * 3_600_000,
    }),
  )
  .handler(async (event, { locks }) =>
    Promise.allSettled(
      event.Records.map(async (record) => {
        try {
          await shipOrder(record.body);
        } catch (error) {
          if (!isRejected(error)) throw error; // comes back
          await locks.get(record).finish({ error }); // doesn't: it is remembered as a failure, and acknowledged
        }
      }),
    ),
  );
