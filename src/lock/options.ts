import type { DynamoDBClientConfigLike, DynamoDBClientLike } from "../common/aws.ts";
import {
  anyOf,
  anything,
  type Check,
  checkValue,
  milliseconds,
  ofShape,
  ofType,
  oneOf,
  text,
  wholeNumber,
  withMethods,
} from "../common/check.ts";
import type { Clock } from "../common/clock.ts";
import { type LockLostError, LockOptionsError } from "../common/errors.ts";
import type { LockEventListener, LockLogger, LockMetrics } from "../common/events.ts";
import { ATTRIBUTES } from "../protocol/record.ts";
import { MAX_SEMAPHORE_LEASE_MS, type TableLayout } from "../protocol/requests.ts";
import type { Backoff } from "../protocol/wait.ts";
import type { Lock } from "./lock.ts";

/** Options of `LockClient`: where the records are, who takes locks, and what holds for all of them unless a call says otherwise. */
export interface LockClientOptions {
  /**
   * Name or ARN of the table.
   * @default process.env.DYNAMO_LOCK_TABLE, or 'dynamo-locks'
   */
  readonly tableName?: string | undefined;
  /**
   * A client of yours; one for documents (`DynamoDBDocumentClient`) does as well. Without it one is made, with short timeouts
   * (see `clientConfig`).
   */
  readonly client?: DynamoDBClientLike | undefined;
  /**
   * Configuration of the client that is made: region, endpoint, credentials. Its defaults keep a hung connection from
   * eating the invocation: 500 ms to connect, 1,000 ms for a reply, 3 attempts.
   */
  readonly clientConfig?: DynamoDBClientConfigLike | undefined;
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
   * How often a lease is renewed, in ms: at most half of it; `false`: never.
   * @default a third of the lease
   */
  readonly heartbeatMs?: number | false | undefined;
  /**
   * How far wall clocks may differ, in ms: by the clock, a lease and the time that a finished key is remembered are over for
   * others this long after their end. The latter with `expiry: 'observed'` too.
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
   * How many finished records are kept in memory at least, the least recently used going first when there are twice as many:
   * a repeat in the same process then costs no request until the record's window ends. Who breaks or purges a finished lock
   * through another client is not noticed by then. 0: none.
   * @default 0
   */
  readonly cacheSize?: number | undefined;
  /**
   * How long a record stays in the table after it is over, before TTL deletes it, in ms: at least twice `clockSkewMs`.
   * @default 172_800_000 (2 days)
   */
  readonly retentionMs?: number | undefined;
  /** Powertools' Logger, `console`, or anything with `debug`, `warn` and `error`. */
  readonly logger?: LockLogger | undefined;
  /**
   * Powertools' Metrics, or anything with `addMetric`: counts of what becomes of keys, wait and hold times, without dimensions
   * of their own. They are printed with yours, by `logMetrics` or `publishStoredMetrics`.
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
  /**
   * Create the table, with `createLockTable`'s defaults, when it turns out to be missing. Needs
   * `dynamodb:CreateTable`, and `UpdateTimeToLive`, without which TTL stays off.
   * @default false
   */
  readonly ensureTable?: boolean | undefined;
  /**
   * `'observed'`: no wall clock ends a lease: it is over only when this client has watched it unchanged for its length, in this
   * call or in calls before it. How long a finished key is remembered goes by the wall clock even so, within `clockSkewMs`.
   * @default 'clock': when the wall clock says so, or when it was watched unchanged for its length
   */
  readonly expiry?: "clock" | "observed" | undefined;
  /** Time, for tests. */
  readonly clock?: Clock | undefined;
  /** Chance, for tests: 0 <= n < 1. */
  readonly random?: (() => number) | undefined;
}

/** Options of `tryAcquire`, which doesn't wait. */
export interface TryAcquireOptions {
  /** Overrides the client's. */
  readonly leaseMs?: number | undefined;
  /** Overrides the client's. */
  readonly heartbeatMs?: number | false | undefined;
  /** Overrides the client's. */
  readonly owner?: string | undefined;
  /** Overrides the client's. */
  readonly expiry?: "clock" | "observed" | undefined;
  /**
   * How many may hold the key at once, up to 100. More than one make it a semaphore, which can't be finished.
   * @default 1
   */
  readonly permits?: number | undefined;
  /**
   * If this client holds the key for the same owner already, count one more hold on that lock: it is free after as many
   * releases.
   * @default false
   */
  readonly reentrant?: boolean | undefined;
  /**
   * Take the key whatever its state: held, or finished. Then it costs two requests.
   * @default false
   */
  readonly force?: boolean | undefined;
  /**
   * Any JSON value, stored with the lock for others to read; what JSON would change is an error.
   * Left out: what the holder before left stays.
   */
  readonly data?: unknown;
  /**
   * When `onExpiring` is called, in ms before the lease ends.
   * @default a quarter of the lease
   */
  readonly safeMs?: number | undefined;
  /** Called when `safeMs` are left of the lease and it has not been renewed; never after its end. */
  readonly onExpiring?: ((lock: Lock) => void) | undefined;
  /** Called once when the lock is lost, after its signal was aborted. */
  readonly onLost?: ((lock: Lock, error: LockLostError) => void) | undefined;
}

/** Options of `acquire`, which may wait. */
export interface AcquireOptions extends TryAcquireOptions {
  /**
   * How long to wait for a held key, in ms. Throttling and faults of the network are retried as long, too. Needs
   * `dynamodb:GetItem`.
   * @default 0
   */
  readonly waitMs?: number | undefined;
  /** Gives up waiting; `acquire` then throws its reason. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Bounds of the random delay between two looks at a held key, in ms: it grows from below the first to below the second.
   * @default { minMs: 25, maxMs: 500 }
   */
  readonly backoff?: Backoff | undefined;
}

/** Options of `run`: those of `acquire`, and a limit on the work. */
export interface RunOptions extends AcquireOptions {
  /**
   * Limit on the work itself, in ms: then `lock.signal` is aborted, and `run` throws a `LockTimeoutError`. The key is
   * released when the work ends after all, or else when its lease does.
   */
  readonly timeoutMs?: number | undefined;
}

/** Options of `once`: those of `acquire`, and how the key is finished. A semaphore can't be. */
export interface OnceOptions extends Omit<AcquireOptions, "permits" | "reentrant"> {
  /** Overrides the client's. */
  readonly rememberMs?: number | undefined;
  /**
   * Keep what JSON makes of what the function returned, and give that to all callers. `false`: the
   * first caller gets what the function returned, repeats get `undefined`.
   * @default true
   */
  readonly storeResult?: boolean | undefined;
  /**
   * What is done under the key, any JSON value (integers up to 2^53 - 1, or bigint). The same key
   * with another one is a `PayloadMismatchError`.
   */
  readonly fingerprint?: unknown;
}

/** What holds where nothing is set. Times in ms. */
export const DEFAULTS = {
  tableName: "dynamo-locks",
  keyAttribute: "lock_id",
  ttlAttribute: "ttl",
  leaseMs: 20_000,
  clockSkewMs: 1_000,
  rememberMs: 3_600_000,
  backoff: { minMs: 25, maxMs: 500 },
  retentionMs: 2 * 24 * 3_600_000,
} as const;

export const sharedChecks = {
  tableName: text,
  client: ofType("object"),
  clientConfig: ofType("object"),
  leaseMs: milliseconds(1),
  heartbeatMs: anyOf(milliseconds(1), oneOf(false)),
  clockSkewMs: milliseconds(0, 3_600_000),
  rememberMs: milliseconds(1),
  cacheSize: wholeNumber(0, 1_000_000),
  logger: ofType("object"),
  metrics: ofType("object"),
  onEvent: ofType("function"),
  expiry: oneOf("clock", "observed"),
} satisfies Record<string, Check>;

/** Not by its class: there may be several copies of the AWS SDK, and a client for documents will do as well. */
export const clientCheck: Check = (value) => {
  const complaint = withMethods("a DynamoDBClient of the AWS SDK v3", "send")(value);
  if (complaint) return complaint;
  const { serviceId } = Object((value as Partial<DynamoDBClientLike>).config) as { serviceId?: unknown };
  return typeof serviceId === "string" && serviceId !== "DynamoDB"
    ? `must be a DynamoDBClient: it is a client of ${serviceId}`
    : undefined;
};

const methodChecks: Record<string, Check> = {
  client: clientCheck,
  clientConfig: (value) => (clientCheck(value) ? undefined : "must be a configuration: pass a client as client"),
  logger: withMethods("Powertools' Logger, or what has debug, warn and error", "debug", "warn", "error"),
  metrics: withMethods("Powertools' Metrics, or what has its addMetric", "addMetric"),
  clock: withMethods("a Clock", "now", "monotonic", "sleep", "setTimer"),
};

/** Whether the objects among the options can do what they are for. To be asked after contradictions, which say more. */
export const checkMethods = (caller: string, options: object): void => {
  for (const [name, check] of Object.entries(methodChecks)) {
    checkValue(caller, name, (options as Record<string, unknown>)[name], check);
  }
};

export const namespaceCheck: Check = (value) =>
  text(value) ?? (String(value).includes("#") ? "must not contain '#'" : undefined);

const attributeName: Check = (value) =>
  text(value) ??
  ((Object.values(ATTRIBUTES) as unknown[]).includes(value)
    ? "must not be an attribute of the lock record"
    : undefined);

/** A rounded integer would be the sort key of somebody else's items too. */
const exactNumber: Check = (value) =>
  Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value)) ? undefined : "must be exact";

export const clientChecks: Record<string, Check> = {
  ...sharedChecks,
  namespace: namespaceCheck,
  owner: text,
  keyAttribute: attributeName,
  sortKey: ofShape(
    "must be { attribute, value } with a name and a string or a number (well-formed, or exact: no integer beyond 2^53 - 1)",
    { attribute: attributeName, value: anyOf(text, exactNumber) },
  ),
  ttlAttribute: attributeName,
  retentionMs: milliseconds(0),
  ensureTable: ofType("boolean"),
  clock: ofType("object"),
  random: ofType("function"),
};

/** More would not fit into one expression when a semaphore becomes a plain key again. */
const MAX_PERMITS = 100;

export const tryAcquireChecks = {
  leaseMs: sharedChecks.leaseMs,
  heartbeatMs: sharedChecks.heartbeatMs,
  owner: text,
  expiry: sharedChecks.expiry,
  permits: wholeNumber(1, MAX_PERMITS),
  reentrant: ofType("boolean"),
  force: ofType("boolean"),
  data: anything,
  safeMs: milliseconds(0),
  onExpiring: ofType("function"),
  onLost: ofType("function"),
};
export const acquireChecks = {
  ...tryAcquireChecks,
  waitMs: milliseconds(0),
  signal: (value: unknown) => (value instanceof AbortSignal ? undefined : "must be an AbortSignal"),
  backoff: (value: unknown) => {
    const bounds = "must be { minMs, maxMs } with 1 <= minMs <= maxMs";
    const complaint = ofShape(bounds, { minMs: milliseconds(1), maxMs: milliseconds(1) })(value);
    return complaint ?? ((value as Backoff).minMs <= (value as Backoff).maxMs ? undefined : bounds);
  },
};
export const runChecks = { ...acquireChecks, timeoutMs: milliseconds(1) };
const finishable = (({ permits: _permits, reentrant: _reentrant, ...rest }) => rest)(acquireChecks);
export const onceChecks = {
  ...finishable,
  rememberMs: sharedChecks.rememberMs,
  storeResult: ofType("boolean"),
  fingerprint: anything,
};

/** What a set of options contradicts in itself, whoever takes them. */
export const checkAcquisition = (caller: string, options: AcquireOptions, keys: number, leaseMs: number): void => {
  const { heartbeatMs, permits = 1, safeMs } = options;
  if (permits > 1 && leaseMs > MAX_SEMAPHORE_LEASE_MS && leaseMs < Number.POSITIVE_INFINITY) {
    throw new LockOptionsError(
      `${caller}: leaseMs of a semaphore must be at most ${MAX_SEMAPHORE_LEASE_MS}, got ${leaseMs}`,
    );
  }
  if (typeof heartbeatMs === "number" && leaseMs < 2 * heartbeatMs) {
    throw new LockOptionsError(
      `${caller}: heartbeatMs must be at most half of the lease, so that one may fail: ${leaseMs / 2}, got ${heartbeatMs}`,
    );
  }
  if (safeMs !== undefined && safeMs >= leaseMs) {
    throw new LockOptionsError(`${caller}: safeMs must be less than the lease: ${leaseMs}, got ${safeMs}`);
  }
  if (permits === 1) return;
  if (keys > 1) throw new LockOptionsError(`${caller}: permits and several keys contradict each other`);
  for (const other of ["reentrant", "force"] as const) {
    if (options[other]) throw new LockOptionsError(`${caller}: permits and ${other} contradict each other`);
  }
  if (options.expiry === "observed") {
    throw new LockOptionsError(
      `${caller}: permits and expiry 'observed' contradict each other: slots end by the clock`,
    );
  }
};

/** Where the records are, by the options of a client. */
export const layoutOf = (options: LockClientOptions): TableLayout => {
  const layout: TableLayout = {
    tableName: options.tableName ?? (process.env.DYNAMO_LOCK_TABLE || DEFAULTS.tableName),
    keyAttribute: options.keyAttribute ?? DEFAULTS.keyAttribute,
    ttlAttribute: options.ttlAttribute ?? DEFAULTS.ttlAttribute,
    sortKey: options.sortKey,
    retentionMs: options.retentionMs ?? DEFAULTS.retentionMs,
  };
  const attributes = [layout.keyAttribute, layout.ttlAttribute, layout.sortKey?.attribute];
  if (new Set(attributes).size < attributes.length) {
    throw new LockOptionsError("LockClient: keyAttribute, ttlAttribute and sortKey must have different names");
  }
  // Without its record a key counts from the clock of who takes it next: by then even a slow one has to be past its last token.
  const { clockSkewMs = DEFAULTS.clockSkewMs } = options;
  if (layout.retentionMs < 2 * clockSkewMs) {
    throw new LockOptionsError(
      `LockClient: retentionMs must be at least twice clockSkewMs, so that fencing tokens increase when TTL has deleted the record: ${2 * clockSkewMs}, got ${layout.retentionMs}`,
    );
  }
  return layout;
};
