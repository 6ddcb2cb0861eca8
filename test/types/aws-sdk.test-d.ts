/** Checked by tsc, never run: our own types of what belongs to the AWS SDK fit the SDK's, both ways. */
import {
  type AttributeValue,
  type ConditionCheck,
  DynamoDBClient,
  type DynamoDBClientConfig,
  type StreamViewType,
  type TableDescription,
  type TransactWriteItem,
  TransactWriteItemsCommand,
  type TransactWriteItemsCommandInput,
} from "@aws-sdk/client-dynamodb";
import { type DynamoDBDocument, type DynamoDBDocumentClient, TransactWriteCommand } from "@aws-sdk/lib-dynamodb";
import { marshall } from "@aws-sdk/util-dynamodb";
import {
  type CreateLockTableOptions,
  createLockTable,
  dynamoLock,
  type Lock,
  LockClient,
  type LockClientOptions,
} from "../../src/index.ts";
import { expectTrue } from "./expect.ts";

type Fits<A, B> = [A] extends [B] ? true : false;
type Committed = Parameters<Lock["commit"]>[0][number];
type Condition = ReturnType<Lock["condition"]>;
type Value = NonNullable<Condition["Key"]>[string];

// Items.

expectTrue<Fits<AttributeValue, Value>>();
expectTrue<Fits<Value, AttributeValue>>();
expectTrue<Fits<TransactWriteItem, Committed>>();
expectTrue<Fits<Committed, TransactWriteItem>>();
expectTrue<Fits<ConditionCheck, Condition>>();
expectTrue<Fits<Condition, ConditionCheck>>();

export const commit = async (lock: Lock, client: DynamoDBClient, documents: DynamoDBDocumentClient) => {
  const items: TransactWriteItem[] = [
    { Put: { TableName: "orders", Item: { id: { S: "42" }, paid: { BOOL: true } } } },
  ];
  await lock.commit(items);
  const input: TransactWriteItemsCommandInput = { TransactItems: items };
  await lock.commit(input.TransactItems ?? []);
  await lock.commit([
    { Put: { TableName: "orders", Item: marshall({ id: "42", lines: [1, 2], note: { text: new Uint8Array(2) } }) } },
    { Update: { TableName: "stock", Key: { id: { N: "7" } }, UpdateExpression: "ADD n :n" } },
    { Delete: { TableName: "carts", Key: { id: { S: "42" } }, ReturnValuesOnConditionCheckFailure: "ALL_OLD" } },
    { ConditionCheck: lock.condition() },
  ]);
  await client.send(new TransactWriteItemsCommand({ TransactItems: [{ ConditionCheck: lock.condition() }, ...items] }));
  await documents.send(new TransactWriteCommand({ TransactItems: [{ ConditionCheck: lock.documentCondition() }] }));
  // @ts-expect-error: a value has a type
  await lock.commit([{ Put: { TableName: "orders", Item: { id: "42" } } }]);
  // @ts-expect-error: a value has one type
  await lock.commit([{ Put: { TableName: "orders", Item: { id: { S: "42", N: "42" } } } }]);
  // @ts-expect-error: an unknown part of a transaction
  await lock.commit([{ Upsert: { TableName: "orders", Item: { id: { S: "42" } } } }]);
  // @ts-expect-error: a table has to be named
  await lock.commit([{ Put: { Item: { id: { S: "42" } } } }]);
};

// Clients.

export const clients = (client: DynamoDBClient, documents: DynamoDBDocumentClient, document: DynamoDBDocument) => [
  new LockClient({ client }),
  new LockClient({ client: documents }),
  new LockClient({ client: document }),
  new LockClient({ client: { send: async () => ({}) } }),
  dynamoLock({ key: () => "k", client }),
];
/** Another service's client has other settings. */
declare const s3: { send(command: object): Promise<object>; readonly config: { readonly forcePathStyle: boolean } };
// @ts-expect-error: not of DynamoDB
new LockClient({ client: s3 });

// Their configuration.

type ClientConfig = NonNullable<LockClientOptions["clientConfig"]>;
expectTrue<Fits<DynamoDBClientConfig, ClientConfig>>();
/** When this fails, the SDK has a new option: `DynamoDBClientConfigLike` gets it too. */
expectTrue<Fits<keyof DynamoDBClientConfig, keyof ClientConfig>>();
expectTrue<Fits<keyof ClientConfig, keyof DynamoDBClientConfig>>();

export const configured = (config: DynamoDBClientConfig) => [
  new LockClient({ clientConfig: config }),
  new LockClient({ clientConfig: { ...config, maxAttempts: 2, requestHandler: { connectionTimeout: 300 } } }),
  new LockClient({ clientConfig: { region: async () => "eu-west-1", endpoint: "http://localhost:8000" } }),
  new LockClient({ clientConfig: { credentials: { accessKeyId: "local", secretAccessKey: "local" } } }),
];
// @ts-expect-error: an unknown option
new LockClient({ clientConfig: { reigon: "eu-west-1" } });
// @ts-expect-error: a region is a string
new LockClient({ clientConfig: { region: 7 } });

// Tables.

type LockTable = Awaited<ReturnType<typeof createLockTable>>;
expectTrue<Fits<TableDescription, LockTable>>();
/** Each of ours is one of theirs. */
expectTrue<Fits<keyof LockTable, keyof TableDescription>>();
expectTrue<Fits<StreamViewType, NonNullable<CreateLockTableOptions["streamViewType"]>>>();
expectTrue<Fits<NonNullable<CreateLockTableOptions["streamViewType"]>, StreamViewType>>();
export const table = async (documents: DynamoDBDocument): Promise<string | undefined> =>
  (await createLockTable(documents)).LatestStreamArn ?? (await createLockTable(new DynamoDBClient())).TableArn;
