/**
 * Options that several doors have: each is declared once, its type and text above, its rule and its
 * default below.
 */
import type { DynamoDBClientConfigLike, DynamoDBClientLike } from "../common/aws.ts";
import type { LockEventListener, LockLogger, LockMetrics } from "../common/events.ts";
import {
  type Contradictions,
  FUNCTION,
  fits,
  MS,
  MS_OF_INVOCATION,
  type Rule,
  type Rules,
  TEXT,
} from "../common/rules.ts";

/** How DynamoDB is reached: by a client of the AWS SDK. */
export interface ClientOptions {
  /**
   * Your `DynamoDBClient`, or a client for documents (`DynamoDBDocumentClient`).
   * @default a new client
   */
  readonly client?: DynamoDBClientLike | undefined;
  /**
   * Configuration of the client that is made: region, endpoint, credentials. Its defaults keep a
   * hung connection from eating the invocation.
   * @default 500 ms to connect, 1,000 ms for a reply, 3 attempts
   */
  readonly clientConfig?: DynamoDBClientConfigLike | undefined;
}

/** The options of a door whose requests are sent otherwise: `TClient` stands in place of a client. */
export type Over<TClient, TOptions> = [TClient] extends [ClientOptions]
  ? TOptions
  : Omit<TOptions, keyof ClientOptions> & TClient;

/** Where the records are, and how they are read. */
export interface TableOptions extends ClientOptions {
  /**
   * Name or ARN of the table.
   * @default `DYNAMO_LOCK_TABLE` or `dynamo-locks`
   */
  readonly tableName?: string | undefined;
  /**
   * How far wall clocks may differ, in ms. A lease, and the time that a finished key is remembered,
   * are over for others this long after their end by the clock. The latter is so with
   * `expiry: 'observed'` too.
   * @default 1_000
   */
  readonly clockSkewMs?: number | undefined;
  /**
   * How many finished records are kept in memory at most, the least recently used going first: a
   * repeat in the same process then costs no request until the record's window ends. An operator
   * elsewhere who breaks or purges a finished lock is not noticed until then.
   * @default 0
   */
  readonly cacheSize?: number | undefined;
}

/** The listeners that are told what becomes of keys. */
export interface ReportOptions {
  /** Powertools' Logger, `console`, or anything with `debug`, `warn` and `error`. */
  readonly logger?: LockLogger | undefined;
  /**
   * Powertools' Metrics, or anything with `addMetric`: counts of what becomes of keys, wait and
   * hold times, without dimensions of their own. They are printed with yours, by `logMetrics` or
   * `publishStoredMetrics`.
   */
  readonly metrics?: LockMetrics | undefined;
  /**
   * Called for every transition, synchronously.
   *
   * @example
   * onEvent: (event) => {
   *   if (event.type === "lost") page(`${event.key}: ${event.reason}`);
   * }
   */
  readonly onEvent?: LockEventListener | undefined;
}

export interface RememberOptions {
  /**
   * How long a finished key blocks repeats, in ms: longer than the event's source, and its
   * dead-letter queue, can deliver it again.
   * @default 3_600_000
   */
  readonly rememberMs?: number | undefined;
}

export interface SettleTimeOptions {
  /**
   * How long a finish, a release, a commit or an extension is tried while DynamoDB is throttled,
   * fails or doesn't answer, in ms; 0: each is sent once. In a Lambda never into the last 300 ms of the invocation, or
   * its last half if less than 600 ms are left. A caller may be waiting for the response. With less
   * time, a handler that has succeeded may run again, because nobody knows of it.
   * @default 10_000
   */
  readonly settleMs?: number | undefined;
}

/** The values that hold where nothing is set. */
export const DEFAULTS = {
  tableName: "dynamo-locks",
  keyAttribute: "lock_id",
  ttlAttribute: "ttl",
  leaseMs: 20_000,
  clockSkewMs: 1_000,
  rememberMs: 3_600_000,
  settleMs: 10_000,
  backoff: { minMs: 25, maxMs: 500 },
  retentionMs: 172_800_000,
} as const;

/**
 * Not by its class: there may be several copies of the AWS SDK, and a client for documents will do
 * as well.
 */
export const CLIENT: Rule = [
  "a DynamoDBClient with the method send",
  (value) => {
    const { serviceId } = Object(Object(value).config);
    const isOther = typeof serviceId === "string" && serviceId !== "DynamoDB";
    return isOther ? `a client of ${serviceId}` : fits(value, CLIENT[0]) || fits(value, ENGINE);
  },
];

/** What middy-dynamo-lock/lean takes in place of DynamoDB. */
const ENGINE = "an engine with the method request";

export const CLOCK = "a clock with the methods now, monotonic, sleep, setTimer";

export const TABLE_RULES: Rules<TableOptions> = {
  tableName: TEXT,
  client: CLIENT,
  clientConfig: ["a configuration, not a client", (value) => fits(value, "an object") && !fits(value, CLIENT[0])],
  clockSkewMs: "a whole number of milliseconds from 0 to 3600000",
  cacheSize: "a whole number from 0 to 1000000",
};

export const REPORT_RULES: Rules<ReportOptions> = {
  logger: "an object with the methods debug, warn, error",
  metrics: "an object with the method addMetric",
  onEvent: FUNCTION,
};

export const REMEMBER_RULES: Rules<RememberOptions> = { rememberMs: MS };
export const SETTLE_TIME_RULES: Rules<SettleTimeOptions> = { settleMs: MS_OF_INVOCATION };

export const CLIENT_CONTRADICTIONS: Contradictions<TableOptions> = [
  [
    ({ client, clientConfig }) => client !== undefined && clientConfig !== undefined,
    "client and clientConfig contradict each other",
  ],
];
