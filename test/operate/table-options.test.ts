import {
  CreateTableCommand,
  type CreateTableCommandInput,
  DescribeTableCommand,
  DescribeTimeToLiveCommand,
  DynamoDBClient,
  DynamoDBServiceException,
  ListTagsOfResourceCommand,
  type TableDescription,
  UpdateTimeToLiveCommand,
} from "@aws-sdk/client-dynamodb";
import { mockClient } from "aws-sdk-client-mock";
import { describe, expect, it } from "vitest";
import {
  type CreateLockTableOptions,
  createLockTable,
  LockError,
  LockOptionsError,
  LockTableError,
} from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";

const awsError = (name: string, message = name) =>
  new DynamoDBServiceException({ name, message, $fault: "client", $metadata: { httpStatusCode: 400 } });
const notFound = awsError("ResourceNotFoundException");

const active: TableDescription = {
  TableStatus: "ACTIVE",
  TableArn: "arn:aws:dynamodb:eu-west-1:123456789012:table/t",
  KeySchema: [{ AttributeName: "lock_id", KeyType: "HASH" }],
  AttributeDefinitions: [{ AttributeName: "lock_id", AttributeType: "S" }],
  BillingModeSummary: { BillingMode: "PAY_PER_REQUEST" },
};
const ttlIs = (TimeToLiveStatus: "ENABLED" | "ENABLING" | "DISABLED" | "DISABLING", AttributeName = "ttl") => ({
  TimeToLiveDescription: { TimeToLiveStatus, AttributeName },
});

/** What the engines can't be made to do is played by a client that answers as DynamoDB does. */
const setUp = () => {
  const client = new DynamoDBClient({ region: "eu-west-1" });
  const clock = manualClock();
  const mock = mockClient(client);
  mock.on(DescribeTableCommand).rejectsOnce(notFound).resolves({ Table: active });
  mock.on(CreateTableCommand).resolves({});
  mock.on(DescribeTimeToLiveCommand).resolves(ttlIs("ENABLED"));
  mock.on(UpdateTimeToLiveCommand).resolves({});
  const create = (options: CreateLockTableOptions = {}) =>
    createLockTable(client, { tableName: "t", clock, ...options });
  return { mock, clock, create };
};

/** The table exists, as described. */
const existing = (table: TableDescription, ttl = ttlIs("ENABLED")) => {
  const test = setUp();
  test.mock.on(DescribeTableCommand).resolves({ Table: { ...active, ...table } });
  test.mock.on(DescribeTimeToLiveCommand).resolves(ttl);
  return test;
};

describe("the request that creates the table", () => {
  const policy = { Version: "2012-10-17", Statement: [] };
  it.each<[CreateLockTableOptions, Partial<CreateTableCommandInput>]>([
    [{}, { TableName: "t", BillingMode: "PAY_PER_REQUEST" }],
    [
      { billingMode: "PROVISIONED", readCapacityUnits: 5, writeCapacityUnits: 6 },
      { BillingMode: "PROVISIONED", ProvisionedThroughput: { ReadCapacityUnits: 5, WriteCapacityUnits: 6 } },
    ],
    [
      { maxReadRequestUnits: 100, maxWriteRequestUnits: 50 },
      { OnDemandThroughput: { MaxReadRequestUnits: 100, MaxWriteRequestUnits: 50 } },
    ],
    [{ maxWriteRequestUnits: 50 }, { OnDemandThroughput: { MaxWriteRequestUnits: 50 } }],
    [
      { warmReadUnitsPerSecond: 15_000, warmWriteUnitsPerSecond: 5_000 },
      { WarmThroughput: { ReadUnitsPerSecond: 15_000, WriteUnitsPerSecond: 5_000 } },
    ],
    [{ tableClass: "STANDARD_INFREQUENT_ACCESS" }, { TableClass: "STANDARD_INFREQUENT_ACCESS" }],
    [{ deletionProtection: true }, { DeletionProtectionEnabled: true }],
    [{ stream: true }, { StreamSpecification: { StreamEnabled: true, StreamViewType: "NEW_AND_OLD_IMAGES" } }],
    [
      { stream: true, streamViewType: "KEYS_ONLY" },
      { StreamSpecification: { StreamEnabled: true, StreamViewType: "KEYS_ONLY" } },
    ],
    [{ encryption: "KMS" }, { SSESpecification: { Enabled: true, SSEType: "KMS" } }],
    [
      { encryption: "KMS", kmsKeyId: "alias/locks" },
      { SSESpecification: { Enabled: true, SSEType: "KMS", KMSMasterKeyId: "alias/locks" } },
    ],
    [{ resourcePolicy: policy }, { ResourcePolicy: JSON.stringify(policy) }],
    [{ resourcePolicy: JSON.stringify(policy, null, 2) }, { ResourcePolicy: JSON.stringify(policy, null, 2) }],
    [
      { tags: { team: "payments", stage: "prod" } },
      {
        Tags: [
          { Key: "team", Value: "payments" },
          { Key: "stage", Value: "prod" },
        ],
      },
    ],
    [
      { keyAttribute: "pk", sortKey: { attribute: "sk", type: "N" } },
      {
        KeySchema: [
          { AttributeName: "pk", KeyType: "HASH" },
          { AttributeName: "sk", KeyType: "RANGE" },
        ],
        AttributeDefinitions: [
          { AttributeName: "pk", AttributeType: "S" },
          { AttributeName: "sk", AttributeType: "N" },
        ],
      },
    ],
  ])("%o", async (options, expected) => {
    const { mock, create } = setUp();
    await create(options);
    const [call] = mock.commandCalls(CreateTableCommand);
    expect(call?.args[0].input).toEqual({
      TableName: "t",
      BillingMode: "PAY_PER_REQUEST",
      KeySchema: [{ AttributeName: "lock_id", KeyType: "HASH" }],
      AttributeDefinitions: [{ AttributeName: "lock_id", AttributeType: "S" }],
      ...expected,
    });
  });
});

describe("options that are wrong", () => {
  it.each<[Record<string, unknown>, string]>([
    [{ keyType: "N" }, "keyType must be 'S': keys are stored as strings, so that 42 and '42' are one key, got 'N'"],
    [
      { keyAttribute: "status" },
      "keyAttribute must be the name of an attribute that the lock record doesn't have, got 'status'",
    ],
    [{ ttlAttribute: "lock_id" }, "keyAttribute, ttlAttribute and sortKey must have different names"],
    [{ sortKey: { attribute: "ttl", type: "S" } }, "keyAttribute, ttlAttribute and sortKey must have different names"],
    [
      { sortKey: { attribute: "sk", type: "B" } },
      "sortKey must be { attribute, type } with the name of an attribute that the lock record doesn't have, and 'S' or 'N', got {",
    ],
    [{ sortKey: { attribute: "sk", type: "S", value: "x" } }, "sortKey must be { attribute, type }"],
    [{ billingMode: "ON_DEMAND" }, "billingMode must be 'PAY_PER_REQUEST' or 'PROVISIONED', got 'ON_DEMAND'"],
    [{ billingMode: "PROVISIONED" }, "billingMode 'PROVISIONED' needs both readCapacityUnits and writeCapacityUnits"],
    [{ billingMode: "PROVISIONED", readCapacityUnits: 5 }, "needs both readCapacityUnits and writeCapacityUnits"],
    [{ readCapacityUnits: 5 }, "readCapacityUnits goes with billingMode 'PROVISIONED' only"],
    [
      { billingMode: "PROVISIONED", readCapacityUnits: 1, writeCapacityUnits: 1, maxWriteRequestUnits: 1 },
      "maxWriteRequestUnits goes with billingMode 'PAY_PER_REQUEST' only",
    ],
    [{ maxReadRequestUnits: 0 }, "maxReadRequestUnits must be a whole number from 1 to 9007199254740991, got 0"],
    [
      { warmReadUnitsPerSecond: 1.5 },
      "warmReadUnitsPerSecond must be a whole number from 1 to 9007199254740991, got 1.5",
    ],
    [{ tableClass: "GLACIER" }, "tableClass must be 'STANDARD' or 'STANDARD_INFREQUENT_ACCESS'"],
    [{ deletionProtection: "on" }, "deletionProtection must be a boolean, got 'on'"],
    [{ streamViewType: "NEW_IMAGE" }, "streamViewType goes with stream: true only"],
    [{ stream: false, streamViewType: "NEW_IMAGE" }, "streamViewType goes with stream: true only"],
    [{ stream: true, streamViewType: "ALL" }, "streamViewType must be 'KEYS_ONLY', 'NEW_IMAGE'"],
    [{ encryption: "AES256" }, "encryption must be 'AWS_OWNED' or 'KMS', got 'AES256'"],
    [{ kmsKeyId: "alias/locks" }, "kmsKeyId goes with encryption 'KMS' only"],
    [{ encryption: "AWS_OWNED", kmsKeyId: "alias/locks" }, "kmsKeyId goes with encryption 'KMS' only"],
    [{ resourcePolicy: "{" }, "resourcePolicy must be a policy document, as an object or as JSON"],
    [{ resourcePolicy: "1" }, "resourcePolicy must be a policy document"],
    [{ tags: { a: 1 } }, "tags must be an object of strings"],
    [{ tags: [{ Key: "a", Value: "b" }] }, "tags must be an object of strings"],
    [{ waitMs: -1 }, "waitMs must be a whole number of milliseconds"],
    [{ globalSecondaryIndexes: [] }, "unknown option 'globalSecondaryIndexes'"],
  ])("%o: refused before anything is sent", async (options, message) => {
    const { mock, create } = setUp();
    const error = await create(options).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(LockOptionsError);
    expect((error as Error).message).toContain(`createLockTable: ${message.startsWith("needs") ? "" : message}`);
    expect((error as Error).message).toContain(message);
    expect(mock.calls()).toEqual([]);
  });
});

describe("waiting", () => {
  it("until the table is active and TTL is on", async () => {
    const { mock, clock, create } = setUp();
    const creating = { Table: { ...active, TableStatus: "CREATING" as const } };
    mock
      .on(DescribeTableCommand)
      .rejectsOnce(notFound)
      .rejectsOnce(notFound)
      .resolvesOnce(creating)
      .resolves({ Table: active });
    mock.on(CreateTableCommand).resolvesOnce({}).rejects(awsError("ResourceInUseException"));
    mock
      .on(DescribeTimeToLiveCommand)
      .resolvesOnce(ttlIs("DISABLED"))
      .resolvesOnce(ttlIs("ENABLING"))
      .resolves(ttlIs("ENABLED"));
    const start = clock.now();
    expect(await create()).toEqual(active);
    expect(mock.commandCalls(UpdateTimeToLiveCommand)).toHaveLength(1);
    expect(clock.now()).toBeGreaterThan(start);
  });

  it("until a table of that name that is being deleted is gone", async () => {
    const { mock, create } = setUp();
    const deleting = { Table: { ...active, TableStatus: "DELETING" as const } };
    mock
      .on(DescribeTableCommand)
      .resolvesOnce(deleting)
      .resolvesOnce(deleting)
      .rejectsOnce(notFound)
      .resolves({ Table: active });
    await create();
    expect(mock.commandCalls(CreateTableCommand)).toHaveLength(1);
  });

  it("not for TTL, when that is not wanted", async () => {
    const { mock, create } = setUp();
    mock.on(DescribeTimeToLiveCommand).resolvesOnce(ttlIs("DISABLED")).resolves(ttlIs("ENABLING"));
    await create({ waitForTtl: false });
    expect(mock.commandCalls(UpdateTimeToLiveCommand)).toHaveLength(1);
  });

  it("not for ever", async () => {
    const { mock, clock, create } = setUp();
    mock.on(DescribeTimeToLiveCommand).resolves(ttlIs("ENABLING"));
    const start = clock.now();
    const error = await create({ waitMs: 60_000 }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(LockTableError);
    expect((error as Error).message).toBe(
      "Table t: TTL still ENABLING after 60000 ms: wait longer with waitMs, or call again",
    );
    expect(clock.now() - start).toBeLessThanOrEqual(60_000);
    mock.on(DescribeTableCommand).resolves({ Table: { ...active, TableStatus: "CREATING" } });
    await expect(create()).rejects.toThrow("Table t: still CREATING after 300000 ms");
  });

  it("not for a table that can't come back", async () => {
    const { create } = existing({ TableStatus: "INACCESSIBLE_ENCRYPTION_CREDENTIALS" });
    await expect(create()).rejects.toThrow("Table t is INACCESSIBLE_ENCRYPTION_CREDENTIALS");
  });
});

describe("turning TTL on", () => {
  it.each([
    awsError("ValidationException", "TimeToLive is already enabled"),
    awsError("ValidationException", "Time to live has been modified multiple times within a fixed interval"),
    awsError("ResourceInUseException"),
    awsError("LimitExceededException"),
    awsError("ThrottlingException"),
  ])("a refusal that passes is waited out: %o", async (refusal) => {
    const { mock, create } = setUp();
    mock.on(UpdateTimeToLiveCommand).rejectsOnce(refusal).resolves({});
    mock
      .on(DescribeTimeToLiveCommand)
      .resolvesOnce(ttlIs("DISABLED"))
      .resolvesOnce(ttlIs("DISABLED"))
      .resolves(ttlIs("ENABLED"));
    await create();
    expect(mock.commandCalls(UpdateTimeToLiveCommand)).toHaveLength(2);
  });

  it("one that doesn't pass in time is the cause of the error", async () => {
    const { mock, create } = setUp();
    const refusal = awsError(
      "ValidationException",
      "Time to live has been modified multiple times within a fixed interval",
    );
    mock.on(UpdateTimeToLiveCommand).rejects(refusal);
    mock.on(DescribeTimeToLiveCommand).resolves(ttlIs("DISABLED"));
    const error = await create().catch((e: unknown) => e);
    expect(error).toMatchObject({ message: expect.stringContaining("TTL still DISABLED"), cause: refusal });
  });

  it("another one is an error at once", async () => {
    const { mock, create } = setUp();
    mock.on(UpdateTimeToLiveCommand).rejects(awsError("ValidationException", "attributeName is too long"));
    mock.on(DescribeTimeToLiveCommand).resolves(ttlIs("DISABLED"));
    await expect(create()).rejects.toThrow(
      "UpdateTimeToLive on table t failed: ValidationException: attributeName is too long",
    );
  });

  it("is not asked for again while it is being turned off, and then is", async () => {
    const { mock, create } = existing({}, ttlIs("DISABLING"));
    mock
      .on(DescribeTimeToLiveCommand)
      .resolvesOnce(ttlIs("DISABLING"))
      .resolvesOnce(ttlIs("DISABLING"))
      .resolvesOnce(ttlIs("DISABLED"))
      .resolves(ttlIs("ENABLED"));
    await create();
    expect(mock.commandCalls(UpdateTimeToLiveCommand)).toHaveLength(1);
  });

  it("for another attribute, by someone who was faster, is said", async () => {
    const { mock, create } = setUp();
    mock
      .on(UpdateTimeToLiveCommand)
      .rejects(awsError("ValidationException", "TimeToLive is active on a different AttributeName"));
    mock.on(DescribeTimeToLiveCommand).resolvesOnce(ttlIs("DISABLED")).resolves(ttlIs("ENABLED", "expires"));
    await expect(create()).rejects.toThrow("exists with another shape: TTL attribute is expires, not ttl");
  });
});

describe("a table that exists", () => {
  const kmsArn = "arn:aws:kms:eu-west-1:123456789012:key/1234-abcd";
  const rich: TableDescription = {
    BillingModeSummary: { BillingMode: "PROVISIONED" },
    ProvisionedThroughput: { ReadCapacityUnits: 5, WriteCapacityUnits: 6 },
    WarmThroughput: { ReadUnitsPerSecond: 15_000, WriteUnitsPerSecond: 5_000 },
    TableClassSummary: { TableClass: "STANDARD_INFREQUENT_ACCESS" },
    DeletionProtectionEnabled: true,
    StreamSpecification: { StreamEnabled: true, StreamViewType: "KEYS_ONLY" },
    SSEDescription: { SSEType: "KMS", KMSMasterKeyArn: kmsArn },
  };

  it.each<[TableDescription, CreateLockTableOptions]>([
    [rich, {}],
    [
      rich,
      {
        billingMode: "PROVISIONED",
        readCapacityUnits: 5,
        writeCapacityUnits: 6,
        warmReadUnitsPerSecond: 13_000,
        warmWriteUnitsPerSecond: 5_000,
        tableClass: "STANDARD_INFREQUENT_ACCESS",
        deletionProtection: true,
        stream: true,
        streamViewType: "KEYS_ONLY",
        encryption: "KMS",
        kmsKeyId: kmsArn,
        resourcePolicy: {},
      },
    ],
    [rich, { encryption: "KMS", kmsKeyId: "1234-abcd" }],
    [rich, { encryption: "KMS", kmsKeyId: "alias/locks" }],
    [
      {},
      {
        billingMode: "PAY_PER_REQUEST",
        tableClass: "STANDARD",
        deletionProtection: false,
        stream: false,
        encryption: "AWS_OWNED",
      },
    ],
  ])("and is as the options say is left as it is (%#)", async (table, options) => {
    const { mock, create } = existing(table);
    await create(options);
    expect(mock.commandCalls(CreateTableCommand)).toEqual([]);
    expect(mock.commandCalls(UpdateTimeToLiveCommand)).toEqual([]);
  });

  it.each<[TableDescription, CreateLockTableOptions, string]>([
    [{}, { keyAttribute: "pk" }, "partition key is lock_id (S), not pk (S)"],
    [
      { AttributeDefinitions: [{ AttributeName: "lock_id", AttributeType: "N" }] },
      {},
      "partition key is lock_id (N), not lock_id (S)",
    ],
    [{}, { sortKey: { attribute: "sk", type: "S" } }, "sort key is none, not sk (S)"],
    [
      rich,
      { billingMode: "PAY_PER_REQUEST", maxReadRequestUnits: 7 },
      "billingMode is PROVISIONED, not PAY_PER_REQUEST; maxReadRequestUnits is none, not 7",
    ],
    [
      rich,
      { billingMode: "PROVISIONED", readCapacityUnits: 1, writeCapacityUnits: 2 },
      "readCapacityUnits is 5, not 1; writeCapacityUnits is 6, not 2",
    ],
    [
      rich,
      { warmReadUnitsPerSecond: 20_000, warmWriteUnitsPerSecond: 20_000 },
      "warmReadUnitsPerSecond is 15000, not 20000; warmWriteUnitsPerSecond is 5000, not 20000",
    ],
    [{}, { tableClass: "STANDARD_INFREQUENT_ACCESS" }, "tableClass is STANDARD, not STANDARD_INFREQUENT_ACCESS"],
    [
      rich,
      { deletionProtection: false, stream: false },
      "deletionProtection is true, not false; stream is true, not false",
    ],
    [rich, { stream: true, streamViewType: "OLD_IMAGE" }, "streamViewType is KEYS_ONLY, not OLD_IMAGE"],
    [rich, { encryption: "AWS_OWNED" }, "encryption is KMS, not AWS_OWNED"],
    [rich, { encryption: "KMS", kmsKeyId: "other" }, `kmsKeyId is ${kmsArn}, not other`],
  ])("with another shape: says what differs (%#)", async (table, options, message) => {
    const { mock, create } = existing(table, ttlIs("DISABLED"));
    const error = await create(options).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(LockTableError);
    expect((error as Error).message).toBe(
      `Table t exists with another shape: ${message}. Change the options to what it is, or take another tableName`,
    );
    expect(mock.commandCalls(UpdateTimeToLiveCommand)).toEqual([]);
  });

  it("has the tags that were given, and may have more, on whatever page", async () => {
    const { mock, create } = existing({});
    mock
      .on(ListTagsOfResourceCommand)
      .resolves({ Tags: [{ Key: "team", Value: "payments" }], NextToken: "2" })
      .on(ListTagsOfResourceCommand, { NextToken: "2" })
      .resolves({ Tags: [{ Key: "stage", Value: "prod" }] });
    await create({ tags: { stage: "prod" } });
    await expect(create({ tags: { stage: "test", team: "payments", cost: "1" } })).rejects.toThrow(
      "shape: tag stage is prod, not test; tag cost is none, not 1.",
    );
  });
});

describe("errors of AWS", () => {
  it.each([
    ["DescribeTable", DescribeTableCommand],
    ["CreateTable", CreateTableCommand],
    ["DescribeTimeToLive", DescribeTimeToLiveCommand],
    ["UpdateTimeToLive", UpdateTimeToLiveCommand],
  ] as const)("without permission for %s, says which to give", async (action, command) => {
    const { mock, create } = setUp();
    const refusal = awsError("AccessDeniedException");
    if (action === "UpdateTimeToLive") mock.on(DescribeTimeToLiveCommand).resolves(ttlIs("DISABLED"));
    // biome-ignore lint/suspicious/noExplicitAny: the commands have no type in common that the mock would take
    mock.on(command as any).rejects(refusal);
    const error = await create().catch((e: unknown) => e);
    expect(error).toBeInstanceOf(LockTableError);
    expect(error).toMatchObject({
      message: expect.stringContaining(`Allow dynamodb:${action} on table t in the role`),
      cause: refusal,
    });
  });

  it("others are a LockError with their cause", async () => {
    const { mock, create } = setUp();
    const cause = awsError("LimitExceededException", "Subscriber limit exceeded");
    mock.on(CreateTableCommand).rejects(cause);
    const error = await create().catch((e: unknown) => e);
    expect(error).toBeInstanceOf(LockError);
    expect(error).toMatchObject({
      code: "LOCK_REQUEST",
      message: "CreateTable on table t failed: LimitExceededException: Subscriber limit exceeded. Nothing was written.",
      cause,
    });
  });
});
