/** The lock clients that are compared, behind one interface. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { CreateTableCommand, type DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { clientConfig } from "../scripts/engine.ts";
import { createClient } from "../src/dynamodb/aws-sdk.ts";
import { type Backoff, createLockTable, LockClient } from "../src/index.ts";
import { DEFAULTS } from "../src/lock/options.ts";
import { benchDirectory } from "./fetch.ts";
import { type Meter, metered, send } from "./meter.ts";

/** One client, with a connection of its own, as each process would have one. */
export interface Contestant {
  /** Waits for the lock as long as it takes. Gives its release. */
  acquire(key: string): Promise<() => Promise<unknown>>;
}

export interface Contender {
  readonly library: string;
  readonly settings: string;
  /** How long a waiter goes without looking at the lock, at most. */
  readonly lookMs: number;
  createTable(admin: DynamoDBClient): Promise<unknown>;
  connect(endpoint: string, meter: Meter): Contestant;
}

/** A table with these keys, each a string. */
export const keyTable = (tableName: string, ...keys: string[]) =>
  new CreateTableCommand({
    TableName: tableName,
    KeySchema: keys.map((name, i) => ({ AttributeName: name, KeyType: i === 0 ? "HASH" : "RANGE" })),
    AttributeDefinitions: keys.map((name) => ({ AttributeName: name, AttributeType: "S" })),
    BillingMode: "PAY_PER_REQUEST",
  });

/** Longer than any measurement. */
const WAIT_MS = 3_600_000;

const middyDynamoLock = (settings: string, tableName: string, backoff: Backoff): Contender => ({
  library: "middy-dynamo-lock",
  settings,
  lookMs: backoff.maxMs,
  createTable: (admin) => createLockTable(admin, { tableName }),
  connect(endpoint, meter) {
    const locks = new LockClient({ tableName, client: metered(createClient(clientConfig(endpoint)), meter) });
    return {
      async acquire(key) {
        const lock = await locks.acquire(key, { waitMs: WAIT_MS, backoff });
        return () => lock.release();
      },
    };
  },
});

/** CommonJS, without types, in .cache. */
// biome-ignore lint/suspicious/noExplicitAny: the libraries are there only when fetched
const load = (name: string): any => createRequire(join(benchDirectory, "package.json"))(name);

const dynamodbLockClient = (
  settings: string,
  tableName: string,
  config: { heartbeatPeriodMs: number; leaseDurationMs: number },
): Contender => ({
  library: "dynamodb-lock-client",
  settings,
  lookMs: config.leaseDurationMs,
  createTable: (admin) => admin.send(keyTable(tableName, "id")),
  connect(endpoint, meter) {
    process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = "1";
    process.env.AWS_NODEJS_CONNECTION_REUSE_ENABLED = "1"; // as version 3 does
    const AWS = load("aws-sdk");
    const dynamodb = new AWS.DynamoDB.DocumentClient(clientConfig(endpoint));
    // biome-ignore lint/suspicious/noExplicitAny: see load
    dynamodb.service.customizeRequests((request: any) => {
      request.on("send", () => send(meter, request.operation !== "getItem"));
    });
    const { FailOpen } = load("dynamodb-lock-client");
    const client = new FailOpen({
      dynamodb,
      lockTable: tableName,
      partitionKey: "id",
      retryCount: 1_000_000, // by default it gives up after the second look
      ...config,
    });
    return {
      acquire: (key) =>
        new Promise((resolve, reject) => {
          client.acquireLock(key, (error: Error | undefined, lock: CallbackLock) => {
            if (error) return reject(error);
            lock.on("error", () => {}); // a heartbeat that failed: mutual exclusion is checked by the benchmark
            resolve(() => new Promise<void>((done, fail) => lock.release((e) => (e ? fail(e) : done()))));
          });
        }),
    };
  },
});

interface CallbackLock {
  on(event: "error", listener: () => void): void;
  release(callback: (error?: Error) => void): void;
}

const deliveryhero = (
  settings: string,
  tableName: string,
  lookMs: number,
  options: Record<string, unknown>,
): Contender => ({
  library: "@deliveryhero/dynamodb-lock",
  settings,
  lookMs,
  createTable: (admin) => admin.send(keyTable(tableName, "lockId", "lockGroup")),
  connect(endpoint, meter) {
    const { DynamoDBClient } = load("@aws-sdk/client-dynamodb");
    const { DynamoDBDocument } = load("@aws-sdk/lib-dynamodb");
    const documents = DynamoDBDocument.from(metered(new DynamoDBClient(clientConfig(endpoint)), meter));
    const client = load("@deliveryhero/dynamodb-lock").dynamoDBLockClientFactory(documents, { tableName });
    return {
      async acquire(key) {
        const lock = await client.lock("bench", key, options);
        return () => client.releaseLock(lock);
      },
    };
  },
});

/** Each as its own documentation has it, and then set for a fast handoff. */
export const contenders: readonly Contender[] = [
  middyDynamoLock("defaults: backoff to 500 ms", "ours", DEFAULTS.backoff),
  middyDynamoLock("backoff to 200 ms", "ours-fast", { minMs: 25, maxMs: 200 }),
  deliveryhero("defaults: lease 20 s, prolonged every 5 s", "deliveryhero", 20_000, {}),
  deliveryhero("defaults, `trustLocalTime`, `waitDurationInMs` 100", "deliveryhero-fast", 100, {
    trustLocalTime: true,
    waitDurationInMs: 100,
  }),
  dynamodbLockClient("README's `FailOpen`: lease 10 s, heartbeat 3 s", "lock-client", {
    heartbeatPeriodMs: 3_000,
    leaseDurationMs: 10_000,
  }),
  dynamodbLockClient("`FailOpen`: lease 1 s, heartbeat 0.3 s", "lock-client-fast", {
    heartbeatPeriodMs: 300,
    leaseDurationMs: 1_000,
  }),
];
