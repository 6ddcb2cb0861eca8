import { withLock } from "middy-dynamo-lock";
import { lambdaContext, memoryDynamoDB } from "middy-dynamo-lock/testing";
import { expect, test } from "vitest";

const memory = memoryDynamoDB({
  tables: { payments: "id", audit: { key: "account", sortKey: { name: "at", type: "N" } } },
});

const pay = withLock(
  async (event: { id: string }, { lock }) => {
    const result = { paid: event.id };
    await lock.commit([{ Put: { TableName: "payments", Item: { id: { S: event.id } } } }], { result });
    return result;
  },
  { key: (event) => event.id, client: memory },
);

test("the payment and the end of its key are written together", async () => {
  expect(await pay({ id: "p1" }, lambdaContext())).toEqual({ paid: "p1" });
  expect(memory.items("payments")).toEqual([{ id: { S: "p1" } }]);
  expect(memory.sent).toEqual(["UpdateItem", "TransactWriteItems"]);
});
