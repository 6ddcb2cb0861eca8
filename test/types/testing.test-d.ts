/** Checked by tsc, never run: the types of `middy-dynamo-lock/testing`. */
import {
  type AttributeValue,
  DynamoDBClient,
  GetItemCommand,
  TransactWriteItemsCommand,
} from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient } from "@aws-sdk/lib-dynamodb";
import type { Context } from "aws-lambda";
import { createLockTable, dynamoLock, type Lock, LockClient, type LockContext, withLock } from "../../src/index.ts";
import { lambdaContext, memoryDynamoDB } from "../../src/testing.ts";
import { manualClock } from "../support/clock.ts";
import { expectTrue } from "./expect.ts";

type Fits<A, B> = [A] extends [B] ? true : false;

const memory = memoryDynamoDB({
  tables: { orders: "id", readings: { key: "sensor", sortKey: { name: "at", type: "N" } } },
});

/** It fits wherever a client does. */
export const uses = [
  new LockClient({ client: memory }),
  dynamoLock({ key: () => "k", client: memory }),
  createLockTable(memory),
  DynamoDBDocumentClient.from(new DynamoDBClient(memory.clientConfig())),
];

/** Replies have the types of the SDK. */
export const replies = async () => {
  const { Item } = await memory.send(new GetItemCommand({ TableName: "orders", Key: { id: { S: "1" } } }));
  expectTrue<Fits<typeof Item, Record<string, AttributeValue> | undefined>>();
  const { $metadata } = await memory.send(new TransactWriteItemsCommand({ TransactItems: [] }));
  return $metadata.attempts?.toFixed();
};
// @ts-expect-error: no command
memory.send({ TableName: "orders" });

/** A context is of the type that the handler asks for. */
const handler = withLock(async (_event: string, { lock }) => lock.token, { key: (event) => event, client: memory });
export const called = [
  handler("k", lambdaContext({ remainingMs: 2_000, memoryLimitInMB: "512" })),
  ((_context: Context & LockContext) => {})(lambdaContext()),
];
expectTrue<Fits<ReturnType<typeof lambdaContext>, Context>>();
// @ts-expect-error: not of Lambda's context
lambdaContext({ remaining: 2_000 });

export const states = async (): Promise<Lock[]> => {
  await memory.finishLock("k", { namespace: "orders", result: { statusCode: 201 }, rememberMs: 1_000 });
  await memory.crashLock("k", { tableName: "my-locks" });
  const held = await memory.holdLock(["k"][0], { data: { page: 7 } });
  return [held, ...(await memory.holdPermits("k", { permits: 3, taken: 2 }))];
};
// @ts-expect-error: a semaphore has a number of permits
memory.holdPermits("k", {});
// @ts-expect-error: an unknown fault
memory.fault("explode");

// @ts-expect-error: an unknown option
memoryDynamoDB({ table: {} });
memoryDynamoDB({ clock: manualClock(), onRequest: async ({ operation, input }) => [operation, input] });
