/** CreateTable, DescribeTable, DeleteTable, ListTables, ListTagsOfResource and the two of TTL. */
import { randomUUID } from "node:crypto";
import { invalid, MemoryFailure, noSuchTable } from "./errors.ts";
import { type KeyPart, MemoryTable, type Store, tableNameOf } from "./tables.ts";

// biome-ignore lint/suspicious/noExplicitAny: each operation has parameters of its own
type Parameters = any;

const ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/";

const existing = (store: Store, nameOrArn: unknown): MemoryTable => {
  const name = tableNameOf(nameOrArn);
  const table = store.tables.get(name);
  if (table) return table;
  throw noSuchTable(name);
};

export const createTable = (store: Store, input: Parameters) => {
  const name = tableNameOf(input.TableName);
  if (!/^[\w.-]{3,255}$/.test(name)) {
    throw invalid(
      `1 validation error detected: Value '${name}' at 'tableName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+ and have 3 to 255 characters`,
    );
  }
  const keys = keysOf(input);
  if (store.tables.has(name)) throw new MemoryFailure("ResourceInUseException", `Table already exists: ${name}`);
  const table = store.add(
    new MemoryTable(name, keys, store.meter, { description: toDescription(store, name, input), tags: input.Tags }),
  );
  return { TableDescription: describe(table, "CREATING") };
};

const keysOf = ({ KeySchema = [], AttributeDefinitions = [] }: Parameters): KeyPart[] => {
  const keys = KeySchema.map(({ AttributeName: name }: Parameters) => {
    const type = AttributeDefinitions.find((each: Parameters) => each.AttributeName === name)?.AttributeType;
    if (/^[SNB]$/.test(type)) return { name, type };
    throw invalid(
      "One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. " +
        `Keys: [${name}], AttributeDefinitions: [${AttributeDefinitions.map((each: Parameters) => each.AttributeName)}]`,
    );
  });
  const types = KeySchema.map(({ KeyType }: Parameters) => KeyType).join();
  if (types !== "HASH" && types !== "HASH,RANGE") {
    throw invalid(
      "1 validation error detected: Invalid KeySchema: it needs a HASH key first, and may have a RANGE key second",
    );
  }
  if (AttributeDefinitions.length === keys.length) return keys;
  throw invalid(
    "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions",
  );
};

const toDescription = (store: Store, name: string, input: Parameters) => {
  const {
    BillingMode,
    TableClass,
    SSESpecification,
    StreamSpecification,
    Tags: _,
    ResourcePolicy: __,
    ...same
  } = input;
  const key = SSESpecification?.KMSMasterKeyId ?? "alias/aws/dynamodb";
  return {
    ...same,
    TableName: name,
    TableId: randomUUID(),
    TableArn: `${ARN}${name}`,
    CreationDateTime: new Date(store.now()),
    ProvisionedThroughput: {
      ReadCapacityUnits: 0,
      WriteCapacityUnits: 0,
      NumberOfDecreasesToday: 0,
      ...input.ProvisionedThroughput,
    },
    DeletionProtectionEnabled: input.DeletionProtectionEnabled ?? false,
    ...(BillingMode === "PAY_PER_REQUEST" && { BillingModeSummary: { BillingMode } }),
    ...(TableClass && { TableClassSummary: { TableClass } }),
    ...(StreamSpecification && {
      StreamSpecification,
      LatestStreamArn: `${ARN}${name}/stream/${new Date(store.now()).toISOString()}`,
    }),
    ...(SSESpecification?.Enabled && {
      SSEDescription: { Status: "ENABLED", SSEType: "KMS", KMSMasterKeyArn: key },
    }),
  };
};

const describe = (table: MemoryTable, TableStatus = "ACTIVE") => ({
  TableName: table.name,
  TableArn: `${ARN}${table.name}`,
  KeySchema: table.keys.map(({ name }, i) => ({ AttributeName: name, KeyType: i === 0 ? "HASH" : "RANGE" })),
  AttributeDefinitions: table.keys.map(({ name, type }) => ({ AttributeName: name, AttributeType: type })),
  ...structuredClone(table.description),
  ...table.size,
  TableStatus,
});

export const describeTable = (store: Store, input: Parameters) => ({
  Table: describe(existing(store, input.TableName)),
});

export const deleteTable = (store: Store, input: Parameters) => {
  const table = existing(store, input.TableName);
  if (table.description.DeletionProtectionEnabled) {
    throw invalid(
      `Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first. Table: ${table.name}`,
    );
  }
  store.tables.delete(table.name);
  return { TableDescription: describe(table, "DELETING") };
};

export const listTables = (store: Store, { Limit = 100, ExclusiveStartTableName = "" }: Parameters) => {
  const names = [...store.tables.keys()].sort().filter((name) => name > ExclusiveStartTableName);
  const TableNames = names.slice(0, Limit);
  return { TableNames, ...(names.length > Limit && { LastEvaluatedTableName: TableNames.at(-1) }) };
};

export const listTagsOfResource = (store: Store, { ResourceArn }: Parameters) => ({
  Tags: structuredClone(existing(store, ResourceArn).tags),
});

export const describeTimeToLive = (store: Store, input: Parameters) => {
  const { ttlAttribute: AttributeName } = existing(store, input.TableName);
  return {
    TimeToLiveDescription: AttributeName
      ? { TimeToLiveStatus: "ENABLED", AttributeName }
      : { TimeToLiveStatus: "DISABLED" },
  };
};

export const updateTimeToLive = (store: Store, { TableName, TimeToLiveSpecification }: Parameters) => {
  const table = existing(store, TableName);
  const { Enabled, AttributeName } = TimeToLiveSpecification ?? {};
  if (typeof Enabled !== "boolean" || !AttributeName) {
    throw invalid(
      "1 validation error detected: Value null at 'timeToLiveSpecification' failed to satisfy constraint: Member must not be null",
    );
  }
  const { ttlAttribute } = table;
  if (ttlAttribute && ttlAttribute !== AttributeName) {
    throw invalid(`TimeToLive is active on a different AttributeName: current AttributeName is ${ttlAttribute}`);
  }
  if (Enabled === (ttlAttribute !== undefined))
    throw invalid(`TimeToLive is already ${Enabled ? "enabled" : "disabled"}`);
  table.ttlAttribute = Enabled ? AttributeName : undefined;
  return { TimeToLiveSpecification: { Enabled, AttributeName } };
};
