// example: batch
import type { Context, SQSEvent, SQSRecord } from "aws-lambda";
import { withCommit } from "middy-dynamo-lock";

const paymentOf = ({ body }: SQSRecord): { id: string; account: string; cents: number } => JSON.parse(body);

const book = withCommit(
  async (record: SQSRecord, { commit }) => {
    const { account, cents } = paymentOf(record);
    const Update = {
      TableName: "bank-accounts",
      Key: { account: { S: account } },
      UpdateExpression: "ADD cents :cents",
      ExpressionAttributeValues: { ":cents": { N: String(cents) } },
    };
    await commit([{ Update }]);
  },
  {
    namespace: "payments",
    key: (record) => paymentOf(record).id,
    fingerprint: (record) => record.body,
    rememberMs: 15 * 24 * 3_600_000, // longer than SQS keeps a message: 14 days at most
  },
);

export const handler = async ({ Records }: SQSEvent, context: Context) => {
  const outcomes = await Promise.allSettled(Records.map((record) => book(record, context)));
  const failed = Records.filter((_, index) => outcomes[index]?.status === "rejected");
  return { batchItemFailures: failed.map(({ messageId }) => ({ itemIdentifier: messageId })) };
};
