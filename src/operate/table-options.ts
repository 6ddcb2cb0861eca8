import { type Check, milliseconds, ofShape, ofType, oneOf, text, wholeNumber } from "../common/check.ts";
import type { Clock } from "../common/clock.ts";
import { clientChecks } from "../lock/options.ts";

/**
 * Options of `createLockTable`. What is left out is DynamoDB's default, unless it says otherwise.
 */
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
  /**
   * Write units per second that the table can serve at once, beyond 4,000 of a new on-demand table.
   */
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
   * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateTimeToLive.html).
   * `false`: wait until it has been asked for. No lock depends on TTL.
   * @default true
   */
  readonly waitForTtl?: boolean | undefined;
  /** Time, for tests. */
  readonly clock?: Clock | undefined;
}

/** One option, as data. */
type TableOption = readonly [
  rule: Check,
  /**
   * Where it stands in the request that creates the table, and in the table's description:
   * `outer.inner`.
   */
  path?: string,
  more?: {
    /** Where it stands in the description, if that is elsewhere. */
    readonly described?: string;
    /** The value that a description means when it leaves it out. */
    readonly absent?: unknown;
    /** The option that it needs: in words, and whether that is set. */
    readonly only?: readonly [words: string, isSet: (options: CreateLockTableOptions) => boolean];
    /** How its value is written in the request. */
    // biome-ignore lint/suspicious/noExplicitAny: the rule has checked it
    readonly write?: (value: any) => unknown;
    /** Whether a table has what was asked for. Without it the two have to be equal. */
    // biome-ignore lint/suspicious/noExplicitAny: the rule has checked it
    readonly fits?: (asked: any, actual: any) => boolean;
  },
];

const units = wholeNumber(1, Number.MAX_SAFE_INTEGER);
const boolean = ofType("boolean");
const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

const keyType: Check = (value) =>
  value === "S" ? undefined : 'must be "S": keys are stored as strings, so that 42 and "42" are one key';

const sortKey = ofShape('must be { attribute, type } with type "S" or "N"', {
  attribute: clientChecks.keyAttribute as Check,
  type: oneOf("S", "N"),
});

const policy: Check = (value) => {
  try {
    if (isObject(typeof value === "string" ? JSON.parse(value) : value)) return undefined;
  } catch {
    // It is no JSON.
  }
  return "must be a policy document, as an object or as JSON";
};

const strings: Check = (value) =>
  isObject(value) && !Array.isArray(value) && Object.values(value).every((one) => typeof one === "string")
    ? undefined
    : "must be an object of strings";

type Only = (options: CreateLockTableOptions) => boolean;
export const isProvisioned: Only = ({ billingMode }) => billingMode === "PROVISIONED";
const provisioned = { only: ["billingMode 'PROVISIONED'", isProvisioned] } as const;
const onDemand = {
  only: ["billingMode 'PAY_PER_REQUEST'", (options: CreateLockTableOptions) => !isProvisioned(options)],
  absent: "none",
} as const;
const atLeast = { fits: (asked: number, actual: number) => !(actual < asked) };

/** All options. To add one, add a line here, and its documentation above. */
export const TABLE_OPTIONS: Readonly<Record<keyof CreateLockTableOptions, TableOption>> = {
  tableName: [text],
  keyAttribute: [clientChecks.keyAttribute as Check],
  keyType: [keyType],
  sortKey: [sortKey],
  ttlAttribute: [clientChecks.ttlAttribute as Check],
  billingMode: [
    oneOf("PAY_PER_REQUEST", "PROVISIONED"),
    "BillingMode",
    { described: "BillingModeSummary.BillingMode", absent: "PROVISIONED" },
  ],
  readCapacityUnits: [units, "ProvisionedThroughput.ReadCapacityUnits", provisioned],
  writeCapacityUnits: [units, "ProvisionedThroughput.WriteCapacityUnits", provisioned],
  maxReadRequestUnits: [units, "OnDemandThroughput.MaxReadRequestUnits", onDemand],
  maxWriteRequestUnits: [units, "OnDemandThroughput.MaxWriteRequestUnits", onDemand],
  warmReadUnitsPerSecond: [units, "WarmThroughput.ReadUnitsPerSecond", atLeast],
  warmWriteUnitsPerSecond: [units, "WarmThroughput.WriteUnitsPerSecond", atLeast],
  tableClass: [
    oneOf("STANDARD", "STANDARD_INFREQUENT_ACCESS"),
    "TableClass",
    { described: "TableClassSummary.TableClass", absent: "STANDARD" },
  ],
  deletionProtection: [boolean, "DeletionProtectionEnabled", { absent: false }],
  stream: [
    boolean,
    "StreamSpecification",
    {
      described: "StreamSpecification.StreamEnabled",
      absent: false,
      write: (on) => (on ? { StreamEnabled: true, StreamViewType: "NEW_AND_OLD_IMAGES" } : undefined),
    },
  ],
  streamViewType: [
    oneOf("KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"),
    "StreamSpecification.StreamViewType",
    { absent: "none", only: ["stream: true", ({ stream }) => stream === true] },
  ],
  encryption: [
    oneOf("AWS_OWNED", "KMS"),
    "SSESpecification",
    {
      described: "SSEDescription.SSEType",
      absent: "AWS_OWNED",
      write: (value) => (value === "KMS" ? { Enabled: true, SSEType: "KMS" } : undefined),
    },
  ],
  kmsKeyId: [
    text,
    "SSESpecification.KMSMasterKeyId",
    {
      described: "SSEDescription.KMSMasterKeyArn",
      absent: "none",
      only: ["encryption 'KMS'", ({ encryption }) => encryption === "KMS"],
      // Only KMS can resolve an alias.
      fits: (asked, arn) => asked.includes("alias/") || arn === asked || arn.endsWith(`:key/${asked}`),
    },
  ],
  // DynamoDB may give back an equal policy in other words.
  resourcePolicy: [
    policy,
    "ResourcePolicy",
    { fits: () => true, write: (value) => (isObject(value) ? JSON.stringify(value) : value) },
  ],
  // A table's tags are not in its description.
  tags: [
    strings,
    "Tags",
    { fits: () => true, write: (value) => Object.entries(value).map(([Key, Value]) => ({ Key, Value })) },
  ],
  waitMs: [milliseconds(0)],
  waitForTtl: [boolean],
  clock: [ofType("object")],
};
