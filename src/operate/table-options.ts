import type { Clock } from "../common/clock.ts";
import { BOOLEAN, fits, MS_OR_ZERO, type Rule, TEXT } from "../common/rules.ts";
import { ATTRIBUTE_RULES, type AttributeOptions, sortKeyRule } from "../lock/layout.ts";
import { CLOCK, type TableOptions } from "../lock/options.ts";

/**
 * Options of `createLockTable`. What is left out is DynamoDB's default, unless it says otherwise.
 */
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
  /**
   * Write units per second that the table can serve at once, beyond 4,000 of a new on-demand table.
   */
  readonly warmWriteUnitsPerSecond?: number | undefined;
  /**
   * The price class of storage and requests. The second is for tables that are large and rarely
   * used.
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
   * The part of a changed record that the stream shows.
   * @default `'NEW_AND_OLD_IMAGES'`, with `stream`
   */
  readonly streamViewType?: "KEYS_ONLY" | "NEW_IMAGE" | "OLD_IMAGE" | "NEW_AND_OLD_IMAGES" | undefined;
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
   * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateTimeToLive.html).
   * `false`: until it has been asked for. No lock depends on it.
   * @default `true`
   */
  readonly waitForTtl?: boolean | undefined;
  /** Time, for tests. */
  readonly clock?: Clock | undefined;
}

/** One option, as data. */
type TableOption = readonly [
  rule: Rule,
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

const UNITS = "a whole number from 1 to 9007199254740991";
const isObject = (value: unknown): value is object => fits(value, "an object") === true;

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

const STRINGS: Rule = [
  "an object of strings",
  (value) => isObject(value) && Object.values(value).every((tag) => typeof tag === "string"),
];

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
  tableName: [TEXT],
  keyAttribute: [ATTRIBUTE_RULES.keyAttribute],
  keyType: [["'S': keys are stored as strings, so that 42 and '42' are one key", (value) => value === "S"]],
  sortKey: [/* @__PURE__ */ sortKeyRule("type", "'S' or 'N'")],
  ttlAttribute: [ATTRIBUTE_RULES.ttlAttribute],
  billingMode: [
    "'PAY_PER_REQUEST' or 'PROVISIONED'",
    "BillingMode",
    { described: "BillingModeSummary.BillingMode", absent: "PROVISIONED" },
  ],
  readCapacityUnits: [UNITS, "ProvisionedThroughput.ReadCapacityUnits", provisioned],
  writeCapacityUnits: [UNITS, "ProvisionedThroughput.WriteCapacityUnits", provisioned],
  maxReadRequestUnits: [UNITS, "OnDemandThroughput.MaxReadRequestUnits", onDemand],
  maxWriteRequestUnits: [UNITS, "OnDemandThroughput.MaxWriteRequestUnits", onDemand],
  warmReadUnitsPerSecond: [UNITS, "WarmThroughput.ReadUnitsPerSecond", atLeast],
  warmWriteUnitsPerSecond: [UNITS, "WarmThroughput.WriteUnitsPerSecond", atLeast],
  tableClass: [
    "'STANDARD' or 'STANDARD_INFREQUENT_ACCESS'",
    "TableClass",
    { described: "TableClassSummary.TableClass", absent: "STANDARD" },
  ],
  deletionProtection: [BOOLEAN, "DeletionProtectionEnabled", { absent: false }],
  stream: [
    BOOLEAN,
    "StreamSpecification",
    {
      described: "StreamSpecification.StreamEnabled",
      absent: false,
      write: (on) => (on ? { StreamEnabled: true, StreamViewType: "NEW_AND_OLD_IMAGES" } : undefined),
    },
  ],
  streamViewType: [
    "'KEYS_ONLY', 'NEW_IMAGE', 'OLD_IMAGE' or 'NEW_AND_OLD_IMAGES'",
    "StreamSpecification.StreamViewType",
    { absent: "none", only: ["stream: true", ({ stream }) => stream === true] },
  ],
  encryption: [
    "'AWS_OWNED' or 'KMS'",
    "SSESpecification",
    {
      described: "SSEDescription.SSEType",
      absent: "AWS_OWNED",
      write: (value) => (value === "KMS" ? { Enabled: true, SSEType: "KMS" } : undefined),
    },
  ],
  kmsKeyId: [
    TEXT,
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
    POLICY,
    "ResourcePolicy",
    { fits: () => true, write: (value) => (isObject(value) ? JSON.stringify(value) : value) },
  ],
  // A table's tags are not in its description.
  tags: [
    STRINGS,
    "Tags",
    { fits: () => true, write: (value) => Object.entries(value).map(([Key, Value]) => ({ Key, Value })) },
  ],
  waitMs: [MS_OR_ZERO],
  waitForTtl: [BOOLEAN],
  clock: [CLOCK],
};
