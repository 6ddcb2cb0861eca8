// example: order
import { withCommit } from "middy-dynamo-lock";

type Order = { id: string; sku: string; pieces: number };

const isSoldOut = (error: { name?: string; CancellationReasons?: { Code?: string }[] }) =>
  error.name === "TransactionCanceledException" && error.CancellationReasons?.[0]?.Code === "ConditionalCheckFailed";

export const handler = withCommit(
  async ({ id, sku, pieces }: Order, { commit }) => {
    const reserve = {
      TableName: "shop-stock",
      Key: { sku: { S: sku } },
      UpdateExpression: "ADD pieces :less",
      ConditionExpression: "pieces >= :pieces",
      ExpressionAttributeValues: { ":less": { N: String(-pieces) }, ":pieces": { N: String(pieces) } },
    };
    const order = { id: { S: id }, sku: { S: sku }, pieces: { N: String(pieces) } };
    const items = [{ Update: reserve }, { Put: { TableName: "shop-orders", Item: order } }];
    try {
      return await commit(items, { result: { id, status: "placed" } });
    } catch (error) {
      if (!isSoldOut(Object(error))) throw error; // also the key's refusal: let it pass
      return { id, status: "sold out" }; // the key is finished with this, in one conditional write
    }
  },
  {
    namespace: "orders",
    key: ({ id }) => id,
    fingerprint: (order) => order,
    rememberMs: 15 * 24 * 3_600_000,
  },
);
