// example: transfer
import { withLock } from "middy-dynamo-lock";

type Transfer = { id: string; from: string; to: string; cents: number };

const add = (account: string, cents: number) => ({
  TableName: "bank-accounts",
  Key: { account: { S: account } },
  UpdateExpression: "ADD cents :change",
  ExpressionAttributeValues: { ":change": { N: String(cents) } },
});

const debit = (account: string, cents: number) => {
  const { ExpressionAttributeValues, ...update } = add(account, -cents);
  const values = { ...ExpressionAttributeValues, ":cents": { N: String(cents) } };
  return { ...update, ConditionExpression: "cents >= :cents", ExpressionAttributeValues: values };
};

const isOverdrawn = (error: { name?: string; CancellationReasons?: { Code?: string }[] }) =>
  error.name === "TransactionCanceledException" && error.CancellationReasons?.[0]?.Code === "ConditionalCheckFailed";

export const handler = withLock(
  async ({ id, from, to, cents }: Transfer, context) => {
    const response = { status: "transferred", cents };
    const entry = { id: { S: id }, from: { S: from }, to: { S: to }, cents: { N: String(cents) } };
    const items = [
      { Update: debit(from, cents) },
      { Update: add(to, cents) },
      { Put: { TableName: "bank-ledger", Item: entry } },
    ];
    try {
      await context.lock.commit(items, { result: response });
      return response;
    } catch (error) {
      if (!isOverdrawn(Object(error))) throw error; // to the event source, which comes again
      return { status: "rejected", cents }; // the lock is still held: this is the result that it finishes with
    }
  },
  {
    namespace: "transfers",
    key: ({ id }) => id,
    fingerprint: (transfer) => transfer,
    rememberMs: 15 * 24 * 3_600_000,
  },
);
