/** Every example of docs/exactly-once.md is a module in `exactly-once/`, to the letter, and does here what the page says it does. */
import {
  type AttributeValue,
  CreateTableCommand,
  DynamoDBClient,
  PutItemCommand,
  ScanCommand,
} from "@aws-sdk/client-dynamodb";
import type { SQSRecord } from "aws-lambda";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { LockClient, PayloadMismatchError } from "../src/index.ts";
import { sqsRecord } from "./support/batches.ts";
import { localConfig } from "./support/dynamodb.ts";
import { expectExamples, runExamples } from "./support/examples.ts";
import { freeKey } from "./support/free.ts";
import { lambdaContext } from "./support/lambda.ts";

runExamples({});

/** The tables that the examples write to, by the name of their key. */
const TABLES = {
  "bank-accounts": "account",
  "bank-ledger": "id",
  prices: "sku",
  reports: "id",
  "shop-stock": "sku",
  "shop-orders": "id",
};
let client: DynamoDBClient;
beforeAll(async () => {
  client = new DynamoDBClient(localConfig());
  for (const [TableName, AttributeName] of Object.entries(TABLES)) {
    await client.send(
      new CreateTableCommand({
        TableName,
        KeySchema: [{ AttributeName, KeyType: "HASH" }],
        AttributeDefinitions: [{ AttributeName, AttributeType: "S" }],
        BillingMode: "PAY_PER_REQUEST",
      }),
    );
  }
});
const itemsOf = async (TableName: keyof typeof TABLES): Promise<Record<string, AttributeValue>[]> => {
  const { Items = [] } = await client.send(new ScanCommand({ TableName, ConsistentRead: true }));
  return Items;
};

it("has each example, and no other", () => expectExamples("docs/exactly-once.md", "exactly-once"));

describe("order", () => {
  const stock = async (pieces?: number) => {
    const Item = { sku: { S: "lamp" }, pieces: { N: String(pieces) } };
    if (pieces !== undefined) await client.send(new PutItemCommand({ TableName: "shop-stock", Item }));
    return (await itemsOf("shop-stock")).map((item) => Number(item.pieces?.N));
  };

  it("is placed once, however often it comes, and at the same time: all get one response", async () => {
    const { handler } = await import("./exactly-once/order.ts");
    await stock(10);
    const order = { id: "o1", sku: "lamp", pieces: 3 };
    const answers = await Promise.all(Array.from({ length: 5 }, () => handler(order, lambdaContext())));
    answers.push(await handler(order, lambdaContext()));
    expect(answers).toEqual(Array.from({ length: 6 }, () => ({ id: "o1", status: "placed" })));
    expect([await stock(), (await itemsOf("shop-orders")).map(({ id }) => id?.S)]).toEqual([[7], ["o1"]]);
  });

  it("is placed although its repeats find the stock sold out, which their own condition tells", async () => {
    const { handler } = await import("./exactly-once/order.ts");
    await stock(3);
    const order = { id: "o2", sku: "lamp", pieces: 3 };
    for (let n = 0; n < 2; n++) expect(await handler(order, lambdaContext())).toEqual({ id: "o2", status: "placed" });
    expect(await stock()).toEqual([0]);
  });

  it("that is sold out stays so, also when there is stock again", async () => {
    const { handler } = await import("./exactly-once/order.ts");
    await stock(1);
    const order = { id: "o3", sku: "lamp", pieces: 3 };
    expect(await handler(order, lambdaContext())).toEqual({ id: "o3", status: "sold out" });
    await stock(100);
    expect(await handler(order, lambdaContext())).toEqual({ id: "o3", status: "sold out" });
    await expect(handler({ ...order, pieces: 1 }, lambdaContext())).rejects.toThrow(PayloadMismatchError);
    expect(await stock()).toEqual([100]);
  });
});

describe("batch", () => {
  const payment = (messageId: string, id: string, cents: number) =>
    ({ ...sqsRecord(messageId, ""), body: JSON.stringify({ id, account: "batch", cents }) }) satisfies SQSRecord;
  const balance = async () => {
    const item = (await itemsOf("bank-accounts")).find(({ account }) => account?.S === "batch");
    return Number(item?.cents?.N);
  };

  it("books each payment once; what fails comes back alone", async () => {
    const { handler } = await import("./exactly-once/batch.ts");
    const Records = [payment("m1", "p1", 100), payment("m2", "p2", 50), payment("m3", "p1", 100)];
    expect(await handler({ Records }, lambdaContext())).toEqual({ batchItemFailures: [] });
    const held = await new LockClient({ namespace: "payments" }).acquire("p4");
    const more = [payment("m1", "p1", 100), payment("m4", "p2", 51), payment("m5", "p3", 7), payment("m6", "p4", 1)];
    expect(await handler({ Records: more }, lambdaContext())).toEqual({
      batchItemFailures: [{ itemIdentifier: "m4" }, { itemIdentifier: "m6" }],
    });
    expect(await balance()).toBe(157);
    await held.release();
    expect(await handler({ Records: more.slice(3) }, lambdaContext())).toEqual({ batchItemFailures: [] });
    expect(await balance()).toBe(158);
  });
});

describe("transfer", () => {
  const balances = async () =>
    Object.fromEntries(
      (await itemsOf("bank-accounts"))
        .filter(({ account }) => account?.S !== "batch")
        .map(({ account, cents }) => [account?.S, Number(cents?.N)]),
    );
  const ledger = async () => (await itemsOf("bank-ledger")).map(({ id }) => id?.S);
  beforeEach(async () => {
    for (const [account, cents] of [
      ["a", 1_000],
      ["b", 0],
    ] as const) {
      const Item = { account: { S: account }, cents: { N: String(cents) } };
      await client.send(new PutItemCommand({ TableName: "bank-accounts", Item }));
    }
  });

  it("moves the money once, and a repeat gets the first response", async () => {
    const { handler } = await import("./exactly-once/transfer.ts");
    const transfer = { id: "t1", from: "a", to: "b", cents: 400 };
    const response = { status: "transferred", cents: 400 };
    for (let n = 0; n < 2; n++) expect(await handler(transfer, lambdaContext())).toEqual(response);
    expect(await balances()).toEqual({ a: 600, b: 400 });
    expect(await ledger()).toEqual(["t1"]);
  });

  it("is rejected for good when the account does not cover it, and nothing is written", async () => {
    const { handler } = await import("./exactly-once/transfer.ts");
    const transfer = { id: "t2", from: "a", to: "b", cents: 5_000 };
    for (let n = 0; n < 2; n++) {
      expect(await handler(transfer, lambdaContext())).toEqual({ status: "rejected", cents: 5_000 });
    }
    expect(await balances()).toEqual({ a: 1_000, b: 0 });
    expect(await ledger()).not.toContain("t2");
    const record = await new LockClient({ namespace: "transfers" }).get("t2");
    expect(record).toMatchObject({ status: "FINISHED", result: { value: { status: "rejected", cents: 5_000 } } });
  });

  it("under the same id with another amount is refused", async () => {
    const { handler } = await import("./exactly-once/transfer.ts");
    const transfer = { id: "t3", from: "a", to: "b", cents: 400 };
    await handler(transfer, lambdaContext());
    await expect(handler({ ...transfer, cents: 4 }, lambdaContext())).rejects.toThrow(PayloadMismatchError);
    expect(await balances()).toEqual({ a: 600, b: 400 });
  });
});

describe("condition", () => {
  const part = (name: string) => Array.from({ length: 99 }, (_, n) => ({ sku: `${name}-${n}`, price: n }));
  const skus = async () => (await itemsOf("prices")).map(({ sku }) => sku?.S?.split("-")[0]);

  it("lets the holder write part by part", async () => {
    const { importRows } = await import("./exactly-once/condition.ts");
    const parts = async function* () {
      yield* [part("first"), part("second")];
    };
    expect(await importRows("prices.csv", parts())).toEqual({ imported: 198 });
    expect(await skus()).toHaveLength(198);
  });

  it("cancels what a superseded run goes on to write", async () => {
    const { importRows } = await import("./exactly-once/condition.ts");
    const parts = async function* () {
      yield part("third");
      await freeKey(new LockClient(), "more.csv");
      yield part("fourth");
    };
    const importing = importRows("more.csv", parts());
    await expect(importing).rejects.toMatchObject({ name: "TransactionCanceledException" });
    expect(new Set(await skus())).toEqual(new Set(["first", "second", "third"]));
  });
});

describe("fencing-token", () => {
  const reports = async () => (await itemsOf("reports")).map(({ id, report }) => [id?.S, report?.S]);

  it("of a superseded run is refused by the resource, however late it comes", async () => {
    const { publish } = await import("./exactly-once/fencing-token.ts");
    const begun = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<string>();
    const stalled = publish("november", () => {
      begun.resolve();
      return goOn.promise;
    });
    await begun.promise;
    await freeKey(new LockClient(), "report-november");
    await publish("november", async () => "by the next holder");
    goOn.resolve("by who stalled");
    await expect(stalled).rejects.toMatchObject({ name: "ConditionalCheckFailedException" });
    expect(await reports()).toEqual([["november", "by the next holder"]]);
  });

  it("of every later run is accepted", async () => {
    const { publish } = await import("./exactly-once/fencing-token.ts");
    await publish("november", async () => "corrected");
    expect(await reports()).toEqual([["november", "corrected"]]);
  });
});
