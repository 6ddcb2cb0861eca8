/** Options that several doors have: each is declared once, its type and text above, its rule and default below. */
import type { DynamoDBClient, DynamoDBClientConfig } from "@aws-sdk/client-dynamodb";
import type { LockLostError } from "../common/errors.ts";
import type { LockEventListener, LockLogger, LockMetrics } from "../common/events.ts";
import { type Contradictions, FUNCTION, fits, MS, MS_OR_ZERO, type Rule, type Rules, TEXT } from "../common/rules.ts";
import type { Lock } from "./lock.ts";

/** Where the records are, and how they are read. */
export interface TableOptions {
  /**
   * Name or ARN of the table.
   * @default `DYNAMO_LOCK_TABLE` or `dynamo-locks`
   */
  readonly tableName?: string | undefined;
  /**
   * Your `DynamoDBClient`, or a client for documents (`DynamoDBDocumentClient`).
   * @default a new client
   */
  readonly client?: DynamoDBClient | undefined;
  /**
   * Configuration of the client that is made: region, endpoint, credentials. Its defaults keep a hung
   * connection from eating the invocation.
   * @default 500 ms to connect, 1,000 ms for a reply, 3 attempts
   */
  readonly clientConfig?: DynamoDBClientConfig | undefined;
  /**
   * How far wall clocks may differ, in ms. A lease, and the time that a finished key is remembered,
   * are over for others this long after their end by the clock. The latter is so with
   * `expiry: 'observed'` too.
   * @default 1_000
   */
  readonly clockSkewMs?: number | undefined;
  /**
   * How many finished records are kept in memory at least: a repeat in the same process then costs no
   * request until the record's window ends. The least recently used go first, when there are twice as
   * many. An operator elsewhere who breaks or purges a finished lock is not noticed until then.
   * @default 0
   */
  readonly cacheSize?: number | undefined;
}

/** Who is told of what becomes of keys. */
export interface ReportOptions {
  /** Powertools' Logger, `console`, or anything with `debug`, `warn` and `error`. */
  readonly logger?: LockLogger | undefined;
  /**
   * Powertools' Metrics, or anything with `addMetric`: counts of what becomes of keys, wait and hold
   * times, without dimensions of their own. They are printed with yours, by `logMetrics` or
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

/** How long a lock is held. */
export interface LeaseOptions<TLease = number> {
  /**
   * How long a lock is held without a sign of life, in ms. In a batch it may be a function of the
   * record, which fails alone if the result is wrong.
   * @default remaining time of the invocation; elsewhere 20_000
   */
  readonly leaseMs?: TLease | undefined;
  /**
   * How often a lease is renewed, in ms: at most half of it; `false`: never. A lease as long as the
   * invocation needs no renewal.
   * @default a third of `leaseMs`
   */
  readonly heartbeatMs?: number | false | undefined;
  /**
   * `'observed'`: no wall clock ends a lease. It is over only when it was watched unchanged for its
   * length, in this call or in calls before it. How long a finished key is remembered goes by the wall
   * clock even so, within `clockSkewMs`.
   * @default 'clock'
   */
  readonly expiry?: "clock" | "observed" | undefined;
}

export interface WaitOptions {
  /**
   * How long to wait for a held key, in ms. A key that finishes meanwhile is not waited for any longer:
   * it is replayed, or a record of a batch is acknowledged. After waiting in vain there is a
   * `LockTimeoutError`, or the record comes back. In a Lambda the time is the handler's too: the wait
   * ends 500 ms before the invocation, and for a batch 250 ms before `reserveMs`. Needs
   * `dynamodb:GetItem`.
   * @default 0
   */
  readonly waitMs?: number | undefined;
}

export interface LossOptions {
  /** Called once when the lock is lost while it is in use, after its signal was aborted. */
  readonly onLost?: ((lock: Lock, error: LockLostError) => void) | undefined;
}

export interface RememberOptions {
  /**
   * How long a finished key blocks repeats, in ms: longer than the event's source, and its dead-letter
   * queue, can deliver it again.
   * @default 3_600_000
   */
  readonly rememberMs?: number | undefined;
}

/** What holds where nothing is set. */
export const DEFAULTS = {
  tableName: "dynamo-locks",
  keyAttribute: "lock_id",
  ttlAttribute: "ttl",
  leaseMs: 20_000,
  clockSkewMs: 1_000,
  rememberMs: 3_600_000,
  backoff: { minMs: 25, maxMs: 500 },
  retentionMs: 172_800_000,
} as const;

/** Not by its class: there may be several copies of the AWS SDK, and a client for documents will do as well. */
export const CLIENT: Rule = [
  "a DynamoDBClient with the method send",
  (value) => {
    const { serviceId } = Object(Object(value).config);
    const isOther = typeof serviceId === "string" && serviceId !== "DynamoDB";
    return isOther ? `a client of ${serviceId}` : fits(value, CLIENT[0]);
  },
];

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

export const LEASE_RULES: Rules<LeaseOptions> = {
  leaseMs: MS,
  heartbeatMs: `${MS} or false`,
  expiry: "'clock' or 'observed'",
};

export const WAIT_RULES: Rules<WaitOptions> = { waitMs: MS_OR_ZERO };
export const LOSS_RULES: Rules<LossOptions> = { onLost: FUNCTION };
export const REMEMBER_RULES: Rules<RememberOptions> = { rememberMs: MS };

export const CLIENT_CONTRADICTIONS: Contradictions<TableOptions> = [
  [
    ({ client, clientConfig }) => client !== undefined && clientConfig !== undefined,
    "client and clientConfig contradict each other",
  ],
];

/** A lease, as long as it is where something may have another default. */
export interface KnownLease {
  readonly leaseMs: number;
  readonly heartbeatMs?: number | false | undefined;
  readonly safeMs?: number | undefined;
}

export const LEASE_CONTRADICTIONS: Contradictions<KnownLease> = [
  [({ heartbeatMs, leaseMs }) => Number(heartbeatMs) > leaseMs / 2, "heartbeatMs must be at most half of leaseMs"],
  [({ safeMs, leaseMs }) => Number(safeMs) >= leaseMs, "safeMs must be less than leaseMs"],
];
