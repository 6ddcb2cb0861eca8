import type { CreateTableCommandInput, TableDescription, Tag } from "@aws-sdk/client-dynamodb";
import { type Check, checkOptions, milliseconds, ofType, oneOf, text, wholeNumber } from "../common/check.ts";
import type { Clock } from "../common/clock.ts";
import { LockOptionsError } from "../common/errors.ts";
import { checkMethods, clientChecks, DEFAULTS } from "../lock/options.ts";

/** Options of `createLockTable`. What is left out is DynamoDB's default, unless it says otherwise. */
export interface CreateLockTableOptions {
  /** @default process.env.DYNAMO_LOCK_TABLE, or 'dynamo-locks' */
  readonly tableName?: string | undefined;
  /** @default 'lock_id' */
  readonly keyAttribute?: string | undefined;
  /** Keys are stored as strings, so that 42 and "42" are one key. */
  readonly keyType?: "S" | undefined;
  /** For a table that other records share: the `LockClient` then needs its `sortKey`. */
  readonly sortKey?: { readonly attribute: string; readonly type: "S" | "N" } | undefined;
  /** @default 'ttl' */
  readonly ttlAttribute?: string | undefined;
  /** @default 'PAY_PER_REQUEST' */
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
  /** @default 'STANDARD' */
  readonly tableClass?: "STANDARD" | "STANDARD_INFREQUENT_ACCESS" | undefined;
  /** @default false */
  readonly deletionProtection?: boolean | undefined;
  /** @default false */
  readonly stream?: boolean | undefined;
  /** @default 'NEW_AND_OLD_IMAGES', with `stream` */
  readonly streamViewType?: "KEYS_ONLY" | "NEW_IMAGE" | "OLD_IMAGE" | "NEW_AND_OLD_IMAGES" | undefined;
  /**
   * Whose key encrypts the table: DynamoDB's own, or one in KMS, at KMS's price
   * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/EncryptionAtRest.html).
   * @default 'AWS_OWNED'
   */
  readonly encryption?: "AWS_OWNED" | "KMS" | undefined;
  /**
   * Id, ARN, alias or alias ARN of the key, with `encryption: 'KMS'`.
   * @default 'alias/aws/dynamodb'
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
   * @default true
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

const CALLER = "createLockTable";

const units = wholeNumber(1, Number.MAX_SAFE_INTEGER);

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

const checks: Record<string, Check> = {
  tableName: text,
  keyAttribute: clientChecks.keyAttribute as Check,
  keyType: (value) =>
    value === "S" ? undefined : 'must be "S": keys are stored as strings, so that 42 and "42" are one key',
  sortKey: (value) => {
    const { attribute, type, ...rest } = Object(value) as Record<string, unknown>;
    const isKey = !clientChecks.keyAttribute?.(attribute) && (type === "S" || type === "N");
    return isKey && Object.keys(rest).length === 0 ? undefined : 'must be { attribute, type } with type "S" or "N"';
  },
  ttlAttribute: clientChecks.ttlAttribute as Check,
  billingMode: oneOf("PAY_PER_REQUEST", "PROVISIONED"),
  readCapacityUnits: units,
  writeCapacityUnits: units,
  maxReadRequestUnits: units,
  maxWriteRequestUnits: units,
  warmReadUnitsPerSecond: units,
  warmWriteUnitsPerSecond: units,
  tableClass: oneOf("STANDARD", "STANDARD_INFREQUENT_ACCESS"),
  deletionProtection: ofType("boolean"),
  stream: ofType("boolean"),
  streamViewType: oneOf("KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"),
  encryption: oneOf("AWS_OWNED", "KMS"),
  kmsKeyId: text,
  resourcePolicy: (value) => {
    try {
      return isObject(typeof value === "string" ? JSON.parse(value) : value) ? undefined : "must be a policy document";
    } catch {
      return "must be a policy document, as an object or as JSON";
    }
  },
  tags: (value) =>
    isObject(value) && !Array.isArray(value) && Object.values(value).every((tag) => typeof tag === "string")
      ? undefined
      : "must be an object of strings",
  waitMs: milliseconds(0),
  waitForTtl: ofType("boolean"),
  clock: ofType("object"),
};

/** Checks the options, one by one and against each other. Throws `LockOptionsError`. */
export const toTableSpec = (options: CreateLockTableOptions): TableSpec => {
  checkOptions(CALLER, options, checks);
  checkMethods(CALLER, options);
  const spec: TableSpec = {
    ...options,
    tableName: options.tableName ?? (process.env.DYNAMO_LOCK_TABLE || DEFAULTS.tableName),
    keyAttribute: options.keyAttribute ?? DEFAULTS.keyAttribute,
    ttlAttribute: options.ttlAttribute ?? DEFAULTS.ttlAttribute,
  };
  const provisioned = spec.billingMode === "PROVISIONED";
  const onlyWith = (names: (keyof TableSpec)[], holds: boolean, what: string) => {
    const name = holds ? undefined : names.find((candidate) => spec[candidate] !== undefined);
    if (name) throw new LockOptionsError(`${CALLER}: ${name} goes with ${what} only`);
  };
  onlyWith(["readCapacityUnits", "writeCapacityUnits"], provisioned, "billingMode 'PROVISIONED'");
  onlyWith(["maxReadRequestUnits", "maxWriteRequestUnits"], !provisioned, "billingMode 'PAY_PER_REQUEST'");
  onlyWith(["streamViewType"], spec.stream === true, "stream: true");
  onlyWith(["kmsKeyId"], spec.encryption === "KMS", "encryption 'KMS'");
  if (provisioned && (spec.readCapacityUnits === undefined || spec.writeCapacityUnits === undefined)) {
    throw new LockOptionsError(
      `${CALLER}: billingMode 'PROVISIONED' needs both readCapacityUnits and writeCapacityUnits`,
    );
  }
  const attributes = [spec.keyAttribute, spec.ttlAttribute, spec.sortKey?.attribute];
  if (new Set(attributes).size < attributes.length) {
    throw new LockOptionsError(`${CALLER}: keyAttribute, ttlAttribute and sortKey must have different names`);
  }
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
