import { randomUUID } from "node:crypto";
import { DynamoDBClient, type DynamoDBClientConfig, GetItemCommand, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { inject } from "vitest";
import { clientConfig } from "../../scripts/engine.ts";
import { createLockTable } from "../../src/index.ts";
import type { Item } from "../../src/protocol/item.ts";
import { newClient } from "./client.ts";

export const localConfig = () => clientConfig(inject("endpoint"));

/** A client of the engine under test that notes each request it really sends, retries included. */
export const countingClient = (config: DynamoDBClientConfig = {}) => {
  const client = newClient({ ...localConfig(), ...config });
  const sent: string[] = [];
  client.middlewareStack.add(
    (next, context) => (args) => {
      sent.push(String(context.commandName).replace("Command", ""));
      return next(args);
    },
    { step: "finalizeRequest", priority: "low", name: "count" },
  );
  return { client, sent };
};

/** A fresh table of locks, and raw access to its items. */
export const lockTable = async () => {
  const tableName = `locks-${randomUUID()}`;
  const client = new DynamoDBClient(localConfig());
  await createLockTable(client, { tableName });
  return {
    tableName,
    client,
    item: async (key: string): Promise<Item | undefined> =>
      (
        await client.send(
          new GetItemCommand({ TableName: tableName, Key: { lock_id: { S: key } }, ConsistentRead: true }),
        )
      ).Item,
    put: (item: Item) => client.send(new PutItemCommand({ TableName: tableName, Item: item })),
  };
};

/** A request that reaches DynamoDB, and whose reply never comes back: what a lost reply looks like to the SDK. */
export const loseReplies = (client: DynamoDBClient, lose: (request: number) => boolean) => {
  let count = 0;
  client.middlewareStack.add(
    (next) => async (args) => {
      const output = await next(args).then(
        (value) => ({ value }),
        (error: unknown) => ({ error }),
      );
      if (lose(++count)) throw Object.assign(new Error("socket hang up"), { name: "TimeoutError", code: "ECONNRESET" });
      if ("error" in output) throw output.error;
      return output.value;
    },
    { step: "finalizeRequest", priority: "low", name: "lose-replies" },
  );
};

/** Lets something happen right before the client's next request of this kind reaches DynamoDB: a race, told as a story. */
export const actBefore = (client: DynamoDBClient, operation: string, act: () => Promise<unknown>) => {
  let done = false;
  client.middlewareStack.add(
    (next, context) => async (args) => {
      if (!done && context.commandName === `${operation}Command`) {
        done = true;
        await act();
      }
      return next(args);
    },
    { step: "initialize", name: `before-${operation}` },
  );
};

/** Lets a manual clock's `pass` wait for the requests of this client. */
export const followRequests = (clock: { isIdle: () => boolean }, client: DynamoDBClient) => {
  const others = clock.isIdle;
  let onTheWay = 0;
  clock.isIdle = () => onTheWay === 0 && others();
  client.middlewareStack.add(
    (next) => (args) => {
      onTheWay++;
      return next(args).finally(() => onTheWay--);
    },
    { step: "deserialize", priority: "high", name: "follow" },
  );
};
