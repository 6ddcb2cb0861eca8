import type { DynamoDBClient, DynamoDBClientConfig } from "@aws-sdk/client-dynamodb";
import { anyOf, type Check, milliseconds, ofType, text } from "./check.ts";
import type { Clock } from "./clock.ts";
import type { LockEventListener, LockLogger } from "./events.ts";
import { ATTRIBUTES } from "./record.ts";

export interface LockClientOptions {
  /**
   * Name or ARN of the table.
   * @default process.env.DYNAMO_LOCK_TABLE, or 'dynamo-locks'
   */
  readonly tableName?: string | undefined;
  /** A client of yours. Without it one is made, with short timeouts (see `clientConfig`). */
  readonly client?: DynamoDBClient | undefined;
  /**
   * Configuration of the client that is made: region, endpoint, credentials. Its defaults keep a hung connection from
   * eating the invocation: 500 ms to connect, 1,000 ms for a reply, 3 attempts.
   */
  readonly clientConfig?: DynamoDBClientConfig | undefined;
  /**
   * Prefix of every key, so that programs which share a table don't meet. Must not contain '#'.
   * @default none
   */
  readonly namespace?: string | undefined;
  /**
   * Who takes the locks, for people who read the table. Not a proof of ownership.
   * @default a random UUID per client
   */
  readonly owner?: string | undefined;
  /**
   * How long a lock is held without a sign of life, in ms.
   * @default 20_000
   */
  readonly leaseMs?: number | undefined;
  /**
   * How far clocks may differ, in ms: a lease is over for others this long after it ended.
   * @default 1_000
   */
  readonly clockSkewMs?: number | undefined;
  /**
   * How long a finished key blocks repeats, in ms.
   * @default 3_600_000
   */
  readonly rememberMs?: number | undefined;
  /**
   * Partition key of the table, of type S.
   * @default 'lock_id'
   */
  readonly keyAttribute?: string | undefined;
  /** For a table that has a sort key: its name, and the one value under which all records stand. */
  readonly sortKey?: { readonly attribute: string; readonly value: string | number } | undefined;
  /**
   * The table's TTL attribute.
   * @default 'ttl'
   */
  readonly ttlAttribute?: string | undefined;
  /**
   * How long a record stays in the table after it is over, before TTL deletes it, in ms.
   * @default 172_800_000 (2 days)
   */
  readonly retentionMs?: number | undefined;
  /** Powertools' Logger, `console`, or anything with `debug`, `warn` and `error`. */
  readonly logger?: LockLogger | undefined;
  /** Called for every transition, synchronously. */
  readonly onEvent?: LockEventListener | undefined;
  /** Time, for tests. */
  readonly clock?: Clock | undefined;
}

export interface AcquireOptions {
  /** Overrides the client's. */
  readonly leaseMs?: number | undefined;
  /** Overrides the client's. */
  readonly owner?: string | undefined;
}

export interface OnceOptions extends AcquireOptions {
  /** Overrides the client's. */
  readonly rememberMs?: number | undefined;
  /**
   * Keep what the function returned, and give it to repeats.
   * @default true
   */
  readonly storeResult?: boolean | undefined;
}

/** What holds where nothing is set. Times in ms. */
export const DEFAULTS = {
  tableName: "dynamo-locks",
  keyAttribute: "lock_id",
  ttlAttribute: "ttl",
  leaseMs: 20_000,
  clockSkewMs: 1_000,
  rememberMs: 3_600_000,
  retentionMs: 2 * 24 * 3_600_000,
} as const;

export const sharedChecks = {
  tableName: text,
  client: ofType("object"),
  clientConfig: ofType("object"),
  leaseMs: milliseconds(1),
  clockSkewMs: milliseconds(0, 3_600_000),
  rememberMs: milliseconds(1),
  logger: ofType("object"),
  onEvent: ofType("function"),
} satisfies Record<string, Check>;

export const namespaceCheck: Check = (value) =>
  text(value) ?? (String(value).includes("#") ? "must not contain '#'" : undefined);

const attributeName: Check = (value) =>
  text(value) ??
  ((Object.values(ATTRIBUTES) as unknown[]).includes(value)
    ? "must not be an attribute of the lock record"
    : undefined);

export const clientChecks: Record<string, Check> = {
  ...sharedChecks,
  namespace: namespaceCheck,
  owner: text,
  keyAttribute: attributeName,
  sortKey: (value) => {
    const { attribute, value: at } = Object(value) as Record<string, unknown>;
    return (attributeName(attribute) ?? anyOf(text, (n) => (Number.isFinite(n) ? undefined : "a finite number"))(at))
      ? "must be { attribute, value } with a name and a string or a number"
      : undefined;
  },
  ttlAttribute: attributeName,
  retentionMs: milliseconds(0),
  clock: ofType("object"),
};

export const acquireChecks: Record<string, Check> = { leaseMs: sharedChecks.leaseMs, owner: text };
export const onceChecks: Record<string, Check> = {
  ...acquireChecks,
  rememberMs: sharedChecks.rememberMs,
  storeResult: ofType("boolean"),
};
