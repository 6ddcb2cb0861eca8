import type { CreateTableCommandInput, StreamViewType, TableDescription, Tag } from "@aws-sdk/client-dynamodb";
import type { Clock } from "../common/clock.ts";
import {
  BOOLEAN,
  type Contradictions,
  checkOptions,
  firstSet,
  fits,
  join,
  MS_OR_ZERO,
  type Rule,
  type Rules,
  refuse,
  TEXT,
} from "../common/rules.ts";
import { ATTRIBUTE_RULES, type AttributeOptions, NAME_CONTRADICTIONS, namesOf, sortKeyRule } from "../lock/layout.ts";
import { CLOCK, type TableOptions } from "../lock/options.ts";

/** Options of `createLockTable`. What is left out is DynamoDB's default, unless it says otherwise. */
export interface CreateLockTableOptions extends AttributeOptions, Pick<TableOptions, "tableName"> {
  /** Keys are stored as strings, so that 42 and "42" are one key. */
  readonly keyType?: "S" | undefined;
  /** For a table that other records share: the `LockClient` then needs its `sortKey`. */
  readonly sortKey?: { readonly attribute: string; readonly type: "S" | "N" } | undefined;
  /**
   * How requests are paid for: each, or by the capacity that is reserved.
   * @default `'PAY_PER_REQUEST'`
   */
  readonly billingMode?: "PAY_PER_REQUEST" | "PROVISIONED" | undefined;
  /** Read units per second; with `PROVISIONED`, and required there. */
  readonly readCapacityUnits?: number | undefined;
  /** Write units per second; with `PROVISIONED`, and required there. */
  readonly writeCapacityUnits?: number | undefined;
  /** Most read units per second that on-demand billing may reach. */
  readonly maxReadRequestUnits?: number | undefined;
  /** Most write units per second that on-demand billing may reach. */
  readonly maxWriteRequestUnits?: number | undefined;
  /**
   * Read units per second that the table can serve at once, beyond 12,000 of a new on-demand table
   * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/warm-throughput.html).
   */
  readonly warmReadUnitsPerSecond?: number | undefined;
  /** Write units per second that the table can serve at once, beyond 4,000 of a new on-demand table. */
  readonly warmWriteUnitsPerSecond?: number | undefined;
  /**
   * What storage and requests cost. The second is for tables that are large and rarely used.
   * @default `'STANDARD'`
   */
  readonly tableClass?: "STANDARD" | "STANDARD_INFREQUENT_ACCESS" | undefined;
  /**
   * Refuse to delete the table while this is on.
   * @default `false`
   */
  readonly deletionProtection?: boolean | undefined;
  /**
   * Whether changes of its records are published as a stream.
   * @default `false`
   */
  readonly stream?: boolean | undefined;
  /**
   * What the stream shows of a changed record.
   * @default `'NEW_AND_OLD_IMAGES'`, with `stream`
   */
  readonly streamViewType?: StreamViewType | undefined;
  /**
   * Whose key encrypts the table: DynamoDB's own, or one in KMS, at KMS's price
   * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/EncryptionAtRest.html).
   * @default `'AWS_OWNED'`
   */
  readonly encryption?: "AWS_OWNED" | "KMS" | undefined;
  /**
   * Id, ARN, alias or alias ARN of the key, with `encryption: 'KMS'`.
   * @default `'alias/aws/dynamodb'`
   */
  readonly kmsKeyId?: string | undefined;
  /** Policy document, as an object or as JSON. */
  readonly resourcePolicy?: string | object | undefined;
  /** At most 50. */
  readonly tags?: Readonly<Record<string, string>> | undefined;
  /**
   * How long to wait until the table can be used and TTL is on, in ms.
   * @default 300_000
   */
  readonly waitMs?: number | undefined;
  /**
   * Wait until TTL is on, which takes DynamoDB up to an hour
   * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateTimeToLive.html). `false`: until it has been
   * asked for. No lock depends on it.
   * @default `true`
   */
  readonly waitForTtl?: boolean | undefined;
  /** Time, for tests. */
  readonly clock?: Clock | undefined;
}

/** The same, with what is always needed filled in. */
export type TableSpec = CreateLockTableOptions & {
  readonly tableName: string;
  readonly keyAttribute: string;
  readonly ttlAttribute: string;
};

const UNITS = "a whole number from 1 to 9007199254740991";

const POLICY: Rule = [
  "a policy document, as an object or as JSON",
  (value) => {
    try {
      return fits(typeof value === "string" ? JSON.parse(value) : value, "an object");
    } catch {
      return false;
    }
  },
];

export const CREATE_LOCK_TABLE_RULES: Rules<CreateLockTableOptions> = /* @__PURE__ */ join(ATTRIBUTE_RULES, {
  tableName: TEXT,
  keyType: ["'S': keys are stored as strings, so that 42 and '42' are one key", (value: unknown) => value === "S"],
  sortKey: /* @__PURE__ */ sortKeyRule("type", "'S' or 'N'"),
  billingMode: "'PAY_PER_REQUEST' or 'PROVISIONED'",
  readCapacityUnits: UNITS,
  writeCapacityUnits: UNITS,
  maxReadRequestUnits: UNITS,
  maxWriteRequestUnits: UNITS,
  warmReadUnitsPerSecond: UNITS,
  warmWriteUnitsPerSecond: UNITS,
  tableClass: "'STANDARD' or 'STANDARD_INFREQUENT_ACCESS'",
  deletionProtection: BOOLEAN,
  stream: BOOLEAN,
  streamViewType: "'KEYS_ONLY', 'NEW_IMAGE', 'OLD_IMAGE' or 'NEW_AND_OLD_IMAGES'",
  encryption: "'AWS_OWNED' or 'KMS'",
  kmsKeyId: TEXT,
  resourcePolicy: POLICY,
  tags: [
    "an object of strings",
    (value: unknown) =>
      fits(value, "an object") && Object.values(value as object).every((tag) => typeof tag === "string"),
  ],
  waitMs: MS_OR_ZERO,
  waitForTtl: BOOLEAN,
  clock: CLOCK,
} as const);

const isProvisioned = ({ billingMode }: CreateLockTableOptions) => billingMode === "PROVISIONED";

const CONTRADICTIONS: Contradictions<CreateLockTableOptions> = [
  [
    (options) => !isProvisioned(options) && firstSet(options, ["readCapacityUnits", "writeCapacityUnits"]),
    "{} goes with billingMode 'PROVISIONED' only",
  ],
  [
    (options) => isProvisioned(options) && firstSet(options, ["maxReadRequestUnits", "maxWriteRequestUnits"]),
    "{} goes with billingMode 'PAY_PER_REQUEST' only",
  ],
  [
    (options) => isProvisioned(options) && !(options.readCapacityUnits && options.writeCapacityUnits),
    "billingMode 'PROVISIONED' needs both readCapacityUnits and writeCapacityUnits",
  ],
  [({ stream, streamViewType }) => streamViewType && stream !== true, "streamViewType goes with stream: true only"],
  [({ encryption, kmsKeyId }) => kmsKeyId && encryption !== "KMS", "kmsKeyId goes with encryption 'KMS' only"],
];

/** Checks the options, one by one and against each other. Throws `LockOptionsError`. */
export const toTableSpec = (options: CreateLockTableOptions): TableSpec => {
  checkOptions("createLockTable", options, CREATE_LOCK_TABLE_RULES, CONTRADICTIONS);
  const spec: TableSpec = { ...options, ...namesOf(options) };
  refuse("createLockTable", spec, NAME_CONTRADICTIONS);
  return spec;
};

/** The request that creates the table. TTL is not part of it: DynamoDB has a request of its own for that. */
export const createTableRequest = (spec: TableSpec): CreateTableCommandInput => {
  const { keyAttribute, sortKey, tags, resourcePolicy } = spec;
  const keys = [{ attribute: keyAttribute, type: "S" as const }, ...(sortKey ? [sortKey] : [])];
  return {
    TableName: spec.tableName,
    KeySchema: keys.map(({ attribute }, i) => ({ AttributeName: attribute, KeyType: i === 0 ? "HASH" : "RANGE" })),
    AttributeDefinitions: keys.map(({ attribute, type }) => ({ AttributeName: attribute, AttributeType: type })),
    BillingMode: spec.billingMode ?? "PAY_PER_REQUEST",
    ProvisionedThroughput: group({
      ReadCapacityUnits: spec.readCapacityUnits,
      WriteCapacityUnits: spec.writeCapacityUnits,
    }),
    OnDemandThroughput: group({
      MaxReadRequestUnits: spec.maxReadRequestUnits,
      MaxWriteRequestUnits: spec.maxWriteRequestUnits,
    }),
    WarmThroughput: group({
      ReadUnitsPerSecond: spec.warmReadUnitsPerSecond,
      WriteUnitsPerSecond: spec.warmWriteUnitsPerSecond,
    }),
    TableClass: spec.tableClass,
    DeletionProtectionEnabled: spec.deletionProtection,
    StreamSpecification: spec.stream
      ? { StreamEnabled: true, StreamViewType: spec.streamViewType ?? "NEW_AND_OLD_IMAGES" }
      : undefined,
    SSESpecification:
      spec.encryption === "KMS" ? { Enabled: true, SSEType: "KMS", KMSMasterKeyId: spec.kmsKeyId } : undefined,
    ResourcePolicy: typeof resourcePolicy === "object" ? JSON.stringify(resourcePolicy) : resourcePolicy,
    Tags: tags && Object.entries(tags).map(([Key, Value]) => ({ Key, Value })),
  };
};

/** An object of what is set, or nothing. */
const group = <T extends object>(fields: T): T | undefined =>
  Object.values(fields).some((value) => value !== undefined) ? fields : undefined;

/**
 * What a table has that is not as asked for, in words. The keys always count; an option that was not given doesn't. More
 * throughput than asked for is no difference, nor is a key that is named by an alias, which only KMS can resolve.
 */
export const differences = (spec: TableSpec, table: TableDescription, tags: readonly Tag[]): string[] => {
  const found: string[] = [];
  const compare = (what: string, asked: unknown, actual: unknown) => {
    if (asked !== undefined && asked !== actual) found.push(`${what} is ${actual}, not ${asked}`);
  };
  const keyOf = (keyType: "HASH" | "RANGE") => {
    const name = table.KeySchema?.find((key) => key.KeyType === keyType)?.AttributeName;
    const type = table.AttributeDefinitions?.find(({ AttributeName }) => AttributeName === name)?.AttributeType;
    return name === undefined ? "none" : `${name} (${type})`;
  };
  const { sortKey, kmsKeyId } = spec;
  compare("partition key", `${spec.keyAttribute} (S)`, keyOf("HASH"));
  compare("sort key", sortKey ? `${sortKey.attribute} (${sortKey.type})` : "none", keyOf("RANGE"));

  const { ProvisionedThroughput, OnDemandThroughput, WarmThroughput, StreamSpecification, SSEDescription } = table;
  compare("billing mode", spec.billingMode, table.BillingModeSummary?.BillingMode ?? "PROVISIONED");
  compare("read capacity", spec.readCapacityUnits, ProvisionedThroughput?.ReadCapacityUnits);
  compare("write capacity", spec.writeCapacityUnits, ProvisionedThroughput?.WriteCapacityUnits);
  compare("maximum of read units", spec.maxReadRequestUnits, OnDemandThroughput?.MaxReadRequestUnits ?? "none");
  compare("maximum of write units", spec.maxWriteRequestUnits, OnDemandThroughput?.MaxWriteRequestUnits ?? "none");
  const atLeast = (asked: number | undefined, actual: number | undefined) =>
    actual !== undefined && asked !== undefined && actual < asked ? actual : asked;
  const { warmReadUnitsPerSecond: warmReads, warmWriteUnitsPerSecond: warmWrites } = spec;
  compare("warm read throughput", warmReads, atLeast(warmReads, WarmThroughput?.ReadUnitsPerSecond));
  compare("warm write throughput", warmWrites, atLeast(warmWrites, WarmThroughput?.WriteUnitsPerSecond));
  compare("table class", spec.tableClass, table.TableClassSummary?.TableClass ?? "STANDARD");
  compare("deletion protection", spec.deletionProtection, table.DeletionProtectionEnabled ?? false);
  compare("stream", spec.stream, StreamSpecification?.StreamEnabled ?? false);
  compare("stream view type", spec.streamViewType, StreamSpecification?.StreamViewType ?? "none");
  compare("encryption", spec.encryption, SSEDescription?.SSEType ?? "AWS_OWNED");
  if (kmsKeyId && !kmsKeyId.includes("alias/")) {
    const arn = SSEDescription?.KMSMasterKeyArn;
    compare("KMS key", kmsKeyId, arn?.endsWith(`:key/${kmsKeyId}`) ? kmsKeyId : (arn ?? "none"));
  }
  for (const [key, value] of Object.entries(spec.tags ?? {})) {
    compare(`tag ${key}`, value, tags.find((tag) => tag.Key === key)?.Value ?? "none");
  }
  return found;
};
