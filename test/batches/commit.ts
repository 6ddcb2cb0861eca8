// example: commit
import middy from "@middy/core";
import type { SQSEvent, SQSRecord } from "aws-lambda";
import { dynamoLockBatch } from "middy-dynamo-lock";

const paymentOf = (record: SQSRecord): { id: string; account: string; cents: number } => JSON.parse(record.body);

export const handler = middy<SQSEvent>()
  .use(
    dynamoLockBatch({
      key: (record: SQSRecord) => paymentOf(record).id,
      fingerprint: (record) => record.body,
      rememberMs: 15 * 24 * 3_600_000, // longer than SQS keeps a message: 14 days at most
    }),
  )
  .handler(async (event, { locks }) =>
    Promise.allSettled(
      event.Records.map(async (record) => {
        const { account, cents } = paymentOf(record);
        const Update = {
          TableName: "balances",
          Key: { id: { S: account } },
          UpdateExpression: "ADD cents :cents",
          ExpressionAttributeValues: { ":cents": { N: String(cents) } },
        };
        await locks.get(record).commit([{ Update }]);
      }),
    ),
  );
