import middy from "@middy/core";
import { dynamoLock } from "middy-dynamo-lock";

let placed = 0;

export const handler = middy<{ id: string; amount: number }>()
  .use(dynamoLock({ key: (event) => event.id, fingerprint: (event) => event.amount, namespace: "orders" }))
  .handler(async ({ id }) => ({ id, number: ++placed }));
