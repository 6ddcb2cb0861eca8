import { randomUUID } from "node:crypto";
import { CreateTableCommand, DescribeTableCommand, DescribeTimeToLiveCommand } from "@aws-sdk/client-dynamodb";
import { beforeAll, describe, expect, it } from "vitest";
import { type CreateLockTableOptions, createLockTable, LockClient, LockTableError } from "../../src/index.ts";
import { countingClient, lockTable } from "../support/dynamodb.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

const tableWithKeys = async (...attributes: [string, "S" | "N"][]) => {
  const tableName = `other-${randomUUID()}`;
  await table.client.send(
    new CreateTableCommand({
      TableName: tableName,
      KeySchema: attributes.map(([AttributeName], index) => ({ AttributeName, KeyType: index ? "RANGE" : "HASH" })),
      AttributeDefinitions: attributes.map(([AttributeName, AttributeType]) => ({ AttributeName, AttributeType })),
      BillingMode: "PAY_PER_REQUEST",
    }),
  );
  return tableName;
};

describe("createLockTable", () => {
  it("makes an on-demand table with TTL, and leaves one that exists as it is", async () => {
    const tableName = `locks-${randomUUID()}`;
    await Promise.all([createLockTable(table.client, { tableName }), createLockTable(table.client, { tableName })]);
    await createLockTable(table.client, { tableName });
    const { Table } = await table.client.send(new DescribeTableCommand({ TableName: tableName }));
    expect(Table).toMatchObject({ TableStatus: "ACTIVE", KeySchema: [{ AttributeName: "lock_id", KeyType: "HASH" }] });
    expect(Table?.BillingModeSummary?.BillingMode).toBe("PAY_PER_REQUEST");
    const ttl = await table.client.send(new DescribeTimeToLiveCommand({ TableName: tableName }));
    expect(ttl.TimeToLiveDescription).toMatchObject({ TimeToLiveStatus: "ENABLED", AttributeName: "ttl" });
  });

  it("has names of its own for key and TTL attribute, and a client that knows them works there", async () => {
    const tableName = `locks-${randomUUID()}`;
    await createLockTable(table.client, { tableName, keyAttribute: "resource_id", ttlAttribute: "expires" });
    const { client } = countingClient();
    const locks = new LockClient({ client, tableName, keyAttribute: "resource_id", ttlAttribute: "expires" });
    expect(await locks.once("a", () => 1)).toBe(1);
    expect(await locks.once("a", () => 2)).toBe(1);
  });
});

describe("createLockTable with options", () => {
  const fresh = () => `locks-${randomUUID()}`;

  it("gives the table's description, with what was asked for", async () => {
    const description = await createLockTable(table.client, {
      tableName: fresh(),
      sortKey: { attribute: "sk", type: "N" },
      billingMode: "PROVISIONED",
      readCapacityUnits: 5,
      writeCapacityUnits: 6,
      deletionProtection: true,
      stream: true,
      streamViewType: "NEW_IMAGE",
      tags: { team: "payments" },
    });
    expect(description).toMatchObject({
      TableStatus: "ACTIVE",
      KeySchema: [
        { AttributeName: "lock_id", KeyType: "HASH" },
        { AttributeName: "sk", KeyType: "RANGE" },
      ],
      ProvisionedThroughput: { ReadCapacityUnits: 5, WriteCapacityUnits: 6 },
      DeletionProtectionEnabled: true,
      StreamSpecification: { StreamEnabled: true, StreamViewType: "NEW_IMAGE" },
      LatestStreamArn: expect.stringContaining("arn:"),
    });
  });

  it.each<CreateLockTableOptions>([
    { maxReadRequestUnits: 100, maxWriteRequestUnits: 50 },
    { warmReadUnitsPerSecond: 15_000, warmWriteUnitsPerSecond: 5_000 },
    { tableClass: "STANDARD_INFREQUENT_ACCESS" },
    { encryption: "KMS", kmsKeyId: "alias/locks" },
    { resourcePolicy: { Version: "2012-10-17", Statement: [] } },
  ])("%o: makes a table that locks", async (options) => {
    const tableName = fresh();
    await createLockTable(table.client, { tableName, ...options });
    const locks = new LockClient({ client: countingClient().client, tableName });
    expect(await locks.once("a", () => 1)).toBe(1);
  });

  it("the same call again, or five at once, changes nothing", async () => {
    const options = { tableName: fresh(), deletionProtection: true, sortKey: { attribute: "sk", type: "S" } } as const;
    const descriptions = await Promise.all(Array.from({ length: 5 }, () => createLockTable(table.client, options)));
    descriptions.push(await createLockTable(table.client, options));
    expect(new Set(descriptions.map(({ CreationDateTime }) => CreationDateTime?.getTime())).size).toBe(1);
  });

  it("says what differs when the table has another shape, and leaves it as it is", async () => {
    const tableName = await tableWithKeys(["id", "N"], ["sk", "S"]);
    await expect(createLockTable(table.client, { tableName, deletionProtection: true })).rejects.toThrow(
      `Table ${tableName} exists with another shape: partition key is id (N), not lock_id (S); sort key is sk (S), not none; ` +
        "deletionProtection is false, not true.",
    );
    const ttl = await table.client.send(new DescribeTimeToLiveCommand({ TableName: tableName }));
    expect(ttl.TimeToLiveDescription?.TimeToLiveStatus).toBe("DISABLED");
  });

  it("TTL on another attribute is another shape; no TTL is turned on", async () => {
    await expect(
      createLockTable(table.client, { tableName: table.tableName, ttlAttribute: "expires" }),
    ).rejects.toThrow("exists with another shape: TTL attribute is ttl, not expires.");

    const tableName = await tableWithKeys(["lock_id", "S"]);
    await createLockTable(table.client, { tableName, ttlAttribute: "expires" });
    const ttl = await table.client.send(new DescribeTimeToLiveCommand({ TableName: tableName }));
    expect(ttl.TimeToLiveDescription).toMatchObject({ TimeToLiveStatus: "ENABLED", AttributeName: "expires" });
  });

  it("of two that create it at once and want different TTL attributes, one is told", async () => {
    const tableName = fresh();
    const outcomes = await Promise.allSettled(
      ["ttl", "expires"].map((ttlAttribute) => createLockTable(table.client, { tableName, ttlAttribute })),
    );
    const [failure, ...others] = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
    expect(others).toEqual([]);
    expect(failure).toBeInstanceOf(LockTableError);
    expect(failure.message).toMatch(/TTL attribute is (ttl|expires), not (ttl|expires)/);
  });
});

describe("a table with a sort key", () => {
  it.each([
    ["S" as const, "lock"],
    ["N" as const, 0],
  ])("of type %s holds locks under one sort key value", async (type, value) => {
    const tableName = await tableWithKeys(["pk", "S"], ["sk", type]);
    const { client } = countingClient();
    const locks = new LockClient({ client, tableName, keyAttribute: "pk", sortKey: { attribute: "sk", value } });
    const lock = await locks.acquire("a");
    expect(await locks.tryAcquire("a")).toBeUndefined();
    await lock.release();
    expect(await locks.get("a")).toMatchObject({ key: "a", status: "RELEASED" });
  });
});

describe("a table that can't be used says what to do", () => {
  const use = (tableName: string) => {
    const locks = new LockClient({ client: countingClient().client, tableName });
    return [() => locks.acquire("a"), () => locks.get("a")];
  };

  it("a missing one", async () => {
    for (const attempt of use("no-such-table")) {
      const error = await attempt().catch((e: unknown) => e);
      expect(error).toBeInstanceOf(LockTableError);
      expect(error).toMatchObject({
        code: "LOCK_TABLE",
        statusCode: 500,
        message: expect.stringMatching(
          /^Table no-such-table does not exist in eu-west-1, or is not ACTIVE yet: create it with createLockTable or in your template, with partition key lock_id \(S\) and no sort key, or set tableName or DYNAMO_LOCK_TABLE to the right name\. AWS says: ResourceNotFoundException: ./,
        ),
        cause: expect.objectContaining({ name: "ResourceNotFoundException" }),
      });
    }
  });

  it.each<[string, [string, "S" | "N"][]]>([
    ["another key attribute", [["id", "S"]]],
    ["a number as key", [["lock_id", "N"]]],
    [
      "a sort key",
      [
        ["lock_id", "S"],
        ["concurrency_id", "N"],
      ],
    ],
  ])("one with %s", async (_name, attributes) => {
    for (const attempt of use(await tableWithKeys(...attributes))) {
      await expect(attempt()).rejects.toThrow(
        /has another key schema: expected partition key lock_id \(S\) and no sort key/,
      );
    }
  });
});

describe("an item that something else wrote under the key", () => {
  const now = Math.floor(Date.now() / 1000);
  it.each<[string, Parameters<typeof table.put>[0]]>([
    ["nothing but the key", {}],
    ["Powertools idempotency", { status: { S: "INPROGRESS" }, expiration: { N: `${now}` } }],
    ["dynamodblock", { owner_id: { S: "abc123" }, ttl: { N: `${now - 100}` } }],
    ["the Java lock client", { ownerName: { S: "o" }, leaseDuration: { S: "20000" }, recordVersionNumber: { S: "r" } }],
    [
      "attributes named like ours, of other types",
      { status: { S: "RELEASED" }, token: { N: "1" }, fence: { N: "1" }, expires_at: { N: "0" } },
    ],
    [
      "a status that is not ours",
      { status: { S: "DONE" }, token: { S: "t" }, fence: { N: "1" }, expires_at: { N: "0" } },
    ],
    [
      "an expiry that is no number",
      { status: { S: "IN_PROGRESS" }, token: { S: "t" }, fence: { N: "1" }, expires_at: { S: "soon" } },
    ],
  ])("%s: refused with a clear error, and left as it is", async (name, attributes) => {
    const item = { lock_id: { S: name }, ...attributes };
    await table.put(item);
    const { client } = countingClient();
    const locks = new LockClient({ client, tableName: table.tableName });
    await expect(locks.acquire(name)).rejects.toThrow(/is no lock record: something else writes to this table/);
    await expect(locks.get(name)).rejects.toThrow(LockTableError);
    expect(await table.item(name)).toEqual(item);
  });
});
