/**
 * What a repeat costs whose answer is stored, by the size of that, beside Powertools' idempotency. In units of capacity, as
 * DynamoDB Local counts them for each request (`ReturnConsumedCapacity`).
 *
 * For a refused write neither DynamoDB nor DynamoDB Local says what it consumed. On DynamoDB it is as much as the item is large
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html), so an update of the same item
 * that changes nothing is measured in its place.
 */
import { randomBytes } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { IdempotencyConfig, makeIdempotent } from "@aws-lambda-powertools/idempotency";
import { DynamoDBPersistenceLayer } from "@aws-lambda-powertools/idempotency/dynamodb";
import {
  type AttributeValue,
  CreateTableCommand,
  DynamoDBClient,
  type ReturnConsumedCapacity,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import type { Context } from "aws-lambda";
import { clientConfig, startEngine } from "../scripts/engine.ts";
import { createLockTable, withLock } from "../src/index.ts";
import { lambdaContext } from "../test/support/lambda.ts";
import { printTable } from "./figures.ts";

const SIZES_KB = [0.1, 1, 2, 4, 10, 100, 300];
/** Of a million request units on demand in us-east-1, in $ (https://aws.amazon.com/dynamodb/pricing/on-demand/). */
const WRITE_PRICE = 0.625;
const READ_PRICE = 0.125;

/** Rows as an API gives them, of about that many bytes as JSON. */
const rows = (bytes: number): unknown => {
  const found = [];
  for (let id = 1, size = 0; size < bytes; id++) {
    const [a, b] = randomBytes(2) as unknown as [number, number];
    const row = {
      id: `ord-${100_000 + id}`,
      customer: ["Ada", "Grace", "Edsger", "Barbara"][a % 4],
      total: (a * 256 + b) / 100,
      currency: "EUR",
      placedAt: new Date(Date.UTC(2026, 10, 21, 0, id)).toISOString(),
    };
    found.push(row);
    size += JSON.stringify(row).length + 1;
  }
  return { statusCode: 200, body: JSON.stringify(found).slice(0, bytes) };
};

/** A file, say: there is nothing in it to compress but its encoding. */
const base64 = (bytes: number): unknown => ({
  statusCode: 200,
  isBase64Encoded: true,
  body: randomBytes(Math.ceil((bytes * 3) / 4))
    .toString("base64")
    .slice(0, bytes),
});

const contents = { "JSON rows": rows, "base64 of random bytes": base64 };

interface Units {
  requests: number;
  write: number;
  read: number;
}

/** Counts what the requests of a client consume. */
const meter = (client: DynamoDBClient, endpoint: string) => {
  const units: Units = { requests: 0, write: 0, read: 0 };
  const unmetered = new DynamoDBClient(clientConfig(endpoint));
  /** An update that changes nothing. */
  const costOfWrite = async (TableName: string, Key: Record<string, AttributeValue>): Promise<number> => {
    const { ConsumedCapacity } = await unmetered.send(
      new UpdateItemCommand({ TableName, Key, UpdateExpression: "REMOVE absent", ReturnConsumedCapacity: "TOTAL" }),
    );
    return ConsumedCapacity?.CapacityUnits ?? Number.NaN;
  };
  client.middlewareStack.add(
    (next, context) => async (args) => {
      const input = args.input as Metered;
      input.ReturnConsumedCapacity = "TOTAL";
      units.requests++;
      const isRead = /^(Batch|Transact)?Get/.test(String(context.commandName));
      try {
        const reply = await next(args);
        const { ConsumedCapacity = [] } = reply.output as { ConsumedCapacity?: Consumed | Consumed[] };
        for (const { CapacityUnits = 0 } of [ConsumedCapacity].flat())
          units[isRead ? "read" : "write"] += CapacityUnits;
        return reply;
      } catch (error) {
        if ((error as Error).name !== "ConditionalCheckFailedException") throw error;
        const { id } = input.Item ?? {};
        units.write += await costOfWrite(input.TableName, input.Key ?? { id: id as AttributeValue });
        throw error;
      }
    },
    { step: "initialize", name: "meter" },
  );
  return units;
};

interface Metered {
  readonly TableName: string;
  readonly Key?: Record<string, AttributeValue>;
  readonly Item?: Record<string, AttributeValue>;
  ReturnConsumedCapacity?: ReturnConsumedCapacity;
}

interface Consumed {
  readonly CapacityUnits?: number;
}

type Handler = (event: { readonly key: string }, context: Context) => Promise<unknown>;
type Work = () => Promise<unknown>;

/** The same handler, each on a client of its own. */
interface Library {
  createTable(client: DynamoDBClient): Promise<unknown>;
  /** `cached`: with the library's memory of what is finished. */
  protect(client: DynamoDBClient, cached: boolean): (work: Work) => Handler;
}

const libraries: Record<string, Library> = {
  "middy-dynamo-lock": {
    createTable: (client) => createLockTable(client, { tableName: "locks" }),
    protect(client, cached) {
      const key = (event: { readonly key: string }) => event.key;
      return (work) => withLock(work, { key, client, tableName: "locks", ...(cached && { cacheSize: 100 }) });
    },
  },
  "Powertools idempotency": {
    createTable: (client) =>
      client.send(
        new CreateTableCommand({
          TableName: "idempotency",
          KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
          AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
          BillingMode: "PAY_PER_REQUEST",
        }),
      ),
    protect(client, cached) {
      const persistenceStore = new DynamoDBPersistenceLayer({ tableName: "idempotency", awsSdkV3Client: client });
      const config = new IdempotencyConfig({ eventKeyJmesPath: "key", useLocalCache: cached });
      return (work) =>
        makeIdempotent((_event: { key: string }, _context: Context) => work(), { persistenceStore, config });
    },
  },
};

const engine = await startEngine({ engine: "dynamodb-local" });
const measured = [];
try {
  const contestants = await Promise.all(
    Object.entries(libraries).map(async ([name, library]) => {
      const client = new DynamoDBClient(clientConfig(engine.endpoint));
      await library.createTable(client);
      const units = meter(client, engine.endpoint);
      return { name, units, ways: [library.protect(client, false), library.protect(client, true)] };
    }),
  );
  for (const [content, make] of Object.entries(contents)) {
    for (const size of SIZES_KB) {
      const response = make(size * 1_000);
      for (const { name, ways, units } of contestants) {
        const invocations: Units[] = [];
        for (const [way, protect] of ways.entries()) {
          let runs = 0;
          const handler = protect(async () => {
            runs++;
            return response;
          });
          for (let n = 1; n <= 2; n++) {
            const before = { ...units };
            const answer = await handler({ key: `${content}-${size}-${way}` }, lambdaContext());
            if (!isDeepStrictEqual(answer, response)) throw new Error(`${name}: not the response`);
            const { requests, write, read } = units;
            invocations.push({
              requests: requests - before.requests,
              write: write - before.write,
              read: read - before.read,
            });
          }
          if (runs !== 1) throw new Error(`${name}: the handler ran ${runs} times`);
        }
        const [first, repeat, , cached] = invocations as [Units, Units, Units, Units];
        measured.push({ name, content, size, first, repeat, cached });
      }
    }
  }
} finally {
  await engine.stop();
}

console.log(`Engine: ${engine.name}, Node.js ${process.version}\n`);
const dollars = ({ write, read }: Units) => Math.round((write * WRITE_PRICE + read * READ_PRICE) * 100) / 100;
printTable(
  measured.map(({ name, content, size, first, repeat, cached }) => ({
    response: content,
    kB: size,
    library: name,
    "first run: requests": first.requests,
    "first run: write units": first.write,
    "repeat: requests": repeat.requests,
    "repeat: write units": repeat.write,
    "repeat: read units": repeat.read,
    "$ per million repeats": dollars(repeat),
    "repeat from memory: requests": cached.requests,
  })),
);
