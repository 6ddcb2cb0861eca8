import {
  CreateTableCommand,
  type CreateTableCommandInput,
  DescribeTimeToLiveCommand,
  type DynamoDBClient,
  UpdateTimeToLiveCommand,
  waitUntilTableExists,
} from "@aws-sdk/client-dynamodb";
import { checkOptions, text } from "./check.ts";
import { DEFAULTS } from "./options.ts";

export interface CreateLockTableOptions {
  /** @default process.env.DYNAMO_LOCK_TABLE, or 'dynamo-locks' */
  readonly tableName?: string | undefined;
  /** @default 'lock_id' */
  readonly keyAttribute?: string | undefined;
  /** @default 'ttl' */
  readonly ttlAttribute?: string | undefined;
}

/**
 * Creates the table of locks, on demand, with TTL on, and waits until it can be used. Does nothing to a table that
 * exists, except to turn TTL on. Needs `dynamodb:CreateTable`, `DescribeTable`, `DescribeTimeToLive` and `UpdateTimeToLive`.
 *
 * @example
 * await createLockTable(new DynamoDBClient({ region: "eu-west-1" }), { tableName: "dynamo-locks" });
 */
export const createLockTable = async (client: DynamoDBClient, options: CreateLockTableOptions = {}): Promise<void> => {
  checkOptions("createLockTable", options, { tableName: text, keyAttribute: text, ttlAttribute: text });
  const tableName = options.tableName ?? (process.env.DYNAMO_LOCK_TABLE || DEFAULTS.tableName);
  const keyAttribute = options.keyAttribute ?? DEFAULTS.keyAttribute;
  const input: CreateTableCommandInput = {
    TableName: tableName,
    KeySchema: [{ AttributeName: keyAttribute, KeyType: "HASH" }],
    AttributeDefinitions: [{ AttributeName: keyAttribute, AttributeType: "S" }],
    BillingMode: "PAY_PER_REQUEST",
  };
  await client.send(new CreateTableCommand(input)).catch((error: Error) => {
    if (error.name !== "ResourceInUseException") throw error; // it exists, or somebody else is creating it
  });
  await waitUntilTableExists({ client, minDelay: 1, maxDelay: 5, maxWaitTime: 120 }, { TableName: tableName });
  await enableTtl(client, tableName, options.ttlAttribute ?? DEFAULTS.ttlAttribute);
};

const enableTtl = async (client: DynamoDBClient, tableName: string, attribute: string): Promise<void> => {
  const { TimeToLiveDescription: ttl } = await client.send(new DescribeTimeToLiveCommand({ TableName: tableName }));
  if (ttl?.TimeToLiveStatus === "ENABLED" || ttl?.TimeToLiveStatus === "ENABLING") return;
  await client.send(
    new UpdateTimeToLiveCommand({
      TableName: tableName,
      TimeToLiveSpecification: { Enabled: true, AttributeName: attribute },
    }),
  );
};
