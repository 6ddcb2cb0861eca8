// example: condition
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient, TransactWriteCommand } from "@aws-sdk/lib-dynamodb";
import { LockClient } from "middy-dynamo-lock";

const client = new DynamoDBClient({});
const documents = DynamoDBDocumentClient.from(client);
const locks = new LockClient({ client });

/** A part: at most 99 rows. */
export const importRows = (file: string, parts: AsyncIterable<{ sku: string; price: number }[]>) =>
  locks.once(
    file,
    async (lock) => {
      let imported = 0;
      for await (const rows of parts) {
        const puts = rows.map((Item) => ({ Put: { TableName: "prices", Item } }));
        const held = { ConditionCheck: lock.documentCondition() };
        await documents.send(new TransactWriteCommand({ TransactItems: [held, ...puts] }));
        imported += rows.length;
      }
      return { imported };
    },
    { rememberMs: 15 * 24 * 3_600_000 },
  );
