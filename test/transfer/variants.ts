/** The same transfer, protected in five ways. Each is what its documentation shows. */
import { IdempotencyConfig, makeIdempotent } from "@aws-lambda-powertools/idempotency";
import { DynamoDBPersistenceLayer } from "@aws-lambda-powertools/idempotency/dynamodb";
import { CreateTableCommand, type DynamoDBClient, TransactWriteItemsCommand } from "@aws-sdk/client-dynamodb";
import type { Context } from "aws-lambda";
import { createLockTable, LockClient, withCommit, withLock } from "../../src/index.ts";
import { type Bank, isBooked, movesOf, type Transfer } from "./bank.ts";
import { type Plan, POINTS, type Point } from "./faults.ts";

export interface Setting {
  readonly client: DynamoDBClient;
  readonly bank: Bank;
  /** Of the locks, or the idempotency records. */
  readonly tableName: string;
  /** Told where the code is: here faults strike. */
  readonly at: (point: Point) => Promise<void>;
}

export interface Variant {
  /** What stands in the tables of figures. */
  readonly title: string;
  readonly points: readonly Point[];
  createTable(client: DynamoDBClient, tableName: string): Promise<unknown>;
  /** A handler of messages. Its lease, or what comes close to it, is the remaining time of the invocation. */
  handler(setting: Setting): (transfer: Transfer, context: Context) => Promise<unknown>;
}

/** All run on one machine: its processes have one clock. */
const CLOCK_SKEW_MS = 20;

/** The effect and the end of the lock are one request: there is no finish of its own. */
const commit: Variant = {
  title: "`withLock` and `commit`",
  points: POINTS.filter((point) => point !== "within finish"),
  createTable: (client, tableName) => createLockTable(client, { tableName }),
  handler: ({ client, tableName, bank, at }) =>
    withLock(
      async (transfer: Transfer, context) => {
        await at("after acquire");
        const moves = movesOf(bank, transfer);
        const result = { transferred: transfer.amount };
        await at("before the effect");
        await context.lock.commit(moves, { result });
        await at("after the effect");
        return result;
      },
      { key: ({ id }) => id, client, tableName, clockSkewMs: CLOCK_SKEW_MS },
    ),
};

/** Nothing is taken before the effect, which finishes the key. */
const withoutLock: Variant = {
  title: "`withCommit`, without a lock",
  points: POINTS.filter((point) => point !== "within acquire" && point !== "within finish"),
  createTable: (client, tableName) => createLockTable(client, { tableName }),
  handler: ({ client, tableName, bank, at }) =>
    withCommit(
      async (transfer: Transfer, { commit }) => {
        await at("after acquire");
        const moves = movesOf(bank, transfer);
        const result = { transferred: transfer.amount };
        await at("before the effect");
        await commit(moves, { result });
        await at("after the effect");
        return result;
      },
      { key: ({ id }) => id, client, tableName, clockSkewMs: CLOCK_SKEW_MS },
    ),
};

/** The middleware as it is without `commit`: it finishes the key after the handler. */
const finish: Variant = {
  title: "`withLock` alone",
  points: POINTS,
  createTable: (client, tableName) => createLockTable(client, { tableName }),
  handler: ({ client, tableName, bank, at }) =>
    withLock(
      async (transfer: Transfer, context) => {
        await at("after acquire");
        const TransactItems = movesOf(bank, transfer);
        await at("before the effect");
        await client.send(new TransactWriteItemsCommand({ TransactItems }), { abortSignal: context.lock.signal });
        await at("after the effect");
        return { transferred: transfer.amount };
      },
      { key: ({ id }) => id, client, tableName, clockSkewMs: CLOCK_SKEW_MS },
    ),
};

const powertools: Variant = {
  title: "Powertools idempotency",
  points: POINTS,
  createTable: (client, tableName) =>
    client.send(
      new CreateTableCommand({
        TableName: tableName,
        KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
        AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
        BillingMode: "PAY_PER_REQUEST",
      }),
    ),
  handler({ client, tableName, bank, at }) {
    const config = new IdempotencyConfig({ eventKeyJmesPath: "id", throwOnNoIdempotencyKey: true });
    const persistenceStore = new DynamoDBPersistenceLayer({ tableName, awsSdkV3Client: client });
    // Given a Lambda context as second argument, it registers that: its records in progress end with the invocation.
    return makeIdempotent(
      async (transfer: Transfer, _context: Context) => {
        await at("after acquire");
        const TransactItems = movesOf(bank, transfer);
        await at("before the effect");
        await client.send(new TransactWriteItemsCommand({ TransactItems }));
        await at("after the effect");
        return { transferred: transfer.amount };
      },
      { persistenceStore, config },
    );
  },
};

/** A lock does not remember what is done: the handler looks into the ledger itself, under the lock. */
const plainLock: Variant = {
  title: "plain lock, and a look into the ledger",
  points: POINTS,
  createTable: (client, tableName) => createLockTable(client, { tableName }),
  handler({ client, tableName, bank, at }) {
    const locks = new LockClient({ client, tableName, clockSkewMs: CLOCK_SKEW_MS });
    return (transfer, context) =>
      locks.run(
        transfer.id,
        async (lock) => {
          await at("after acquire");
          if (!(await isBooked(client, bank, transfer))) {
            lock.signal.throwIfAborted();
            const TransactItems = movesOf(bank, transfer);
            await at("before the effect");
            await client.send(new TransactWriteItemsCommand({ TransactItems }), { abortSignal: lock.signal });
          }
          await at("after the effect");
          return { transferred: transfer.amount };
        },
        { leaseMs: context.getRemainingTimeInMillis() },
      );
  },
};

export const variants = { commit, withoutLock, powertools, finish, plainLock } as const satisfies Record<
  string,
  Variant
>;
export type VariantName = keyof typeof variants;
export const VARIANTS = Object.keys(variants) as VariantName[];

export const canHave = (name: VariantName, { point }: Plan): boolean => variants[name].points.includes(point);
