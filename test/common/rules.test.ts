import { Logger } from "@aws-lambda-powertools/logger";
import { Metrics } from "@aws-lambda-powertools/metrics";
import { DynamoDB, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient } from "@aws-sdk/lib-dynamodb";
import { mockClient } from "aws-sdk-client-mock";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  breakLock,
  createLockTable,
  describeLock,
  dynamoLock,
  dynamoLockBatch,
  dynamoSemaphore,
  finishLock,
  forgetLock,
  LockClient,
  LockKeyError,
  LockOptionsError,
  listLocks,
  purgeLocks,
  withLock,
  withLockBatch,
} from "../../src/index.ts";

const key = () => "k";
const client = new DynamoDBClient({ region: "eu-west-1" });
const locks = new LockClient({ client });
/** As the AWS SDK's clients for other services are: they all have `send`, and say whose they are. */
const anotherService = { send: async () => ({}), config: { serviceId: "S3" } };

/** Options that TypeScript would refuse, as JavaScript users write them. */
// biome-ignore lint/suspicious/noExplicitAny: see above
type Wrong = any;

describe.each<[string, (options: Wrong) => unknown]>([
  ["dynamoLock", (options) => dynamoLock(options)],
  ["withLock", (options) => withLock(() => 1, options)],
])("%s says what is wrong with its options", (caller, make) => {
  it.each<[Wrong, string]>([
    [undefined, "options must be an object, got undefined"],
    [{}, "key must be a function, got undefined"],
    [{ key: "date" }, "key must be a function, got 'date'"],
    [{ key, leasMs: 1 }, "unknown option 'leasMs'; options are key, tableName, client,"],
    [(): string => "k", "options must be an object, got [Function (anonymous)]"],
    [[{ key }], "options must be an object, got [Array]"],
    [locks, "options must be an object, got LockClient {}"],
    [client, "options must be an object, got [DynamoDBClient]"],
    [Promise.resolve({ key }), "options must be an object, got [Promise]"],
    [{ key, client: {} }, "client must be a DynamoDBClient with the method send, got {}"],
    [
      { key, client: DynamoDBClient },
      "client must be a DynamoDBClient with the method send, got [class DynamoDBClient",
    ],
    [{ key, client: locks }, "client must be a DynamoDBClient with the method send, got LockClient {}"],
    [{ key, client: anotherService }, "client must be a DynamoDBClient with the method send, got a client of S3"],
    [{ key, clientConfig: [] }, "clientConfig must be a configuration, not a client, got []"],
    [{ key, clientConfig: client }, "clientConfig must be a configuration, not a client, got [DynamoDBClient]"],
    [{ key, logger: {} }, "logger must be an object with the methods debug, warn, error, got {}"],
    [
      { key, logger: { debug: key, warn: key } },
      "logger must be an object with the methods debug, warn, error, got [Object]",
    ],
    [{ key, logger: Logger }, "logger must be an object with the methods debug, warn, error, got [class Logger"],
    [{ key, metrics: {} }, "metrics must be an object with the method addMetric, got {}"],
    [{ key, metrics: Metrics }, "metrics must be an object with the method addMetric, got [class Metrics"],
    [{ key, locks: LockClient }, "locks must be a LockClient, got [class LockClient extends LockClientOver]"],
    [{ key, locks: new Proxy(locks, {}) }, "locks must be a LockClient, got LockClient {}"],
    [{ key, onEvent: { type: "lost" } }, "onEvent must be a function, got [Object]"],
    [{ key, owner: Symbol("me") }, "owner must be a function, got Symbol(me)"],
    [{ key, onLost: Object.create(null) }, "onLost must be a function, got [Object: null prototype] {}"],
    [
      { key, leaseMs: [Symbol("ms")] },
      "leaseMs must be a whole number of milliseconds from 1 to 3153600000000, got [Array]",
    ],
    [{ key, heartbeatMs: [false] }, "heartbeatMs needs leaseMs"],
    [{ key, leaseMs: 9, heartbeatMs: ["false"] }, "heartbeatMs must be a whole number"],
    [{ key, tableName: "\ud83d" }, "tableName must be a non-empty string of whole characters, got '\\ud83d'"],
    [{ key, constructor: 1 }, "unknown option 'constructor'"],
    [{ key, leaseMs: 0 }, "leaseMs must be a whole number of milliseconds from 1 to 3153600000000, got 0"],
    [{ key, leaseMs: 1.5 }, "leaseMs must be a whole number of milliseconds"],
    [{ key, rememberMs: "1h" }, "rememberMs must be a whole number of milliseconds from 1 to 3153600000000, got '1h'"],
    [{ key, rememberMs: Number.NaN }, "rememberMs must be a whole number of milliseconds"],
    [{ key, clockSkewMs: -1 }, "clockSkewMs must be a whole number of milliseconds from 0 to 3600000, got -1"],
    [{ key, tableName: "" }, "tableName must be a non-empty string of whole characters, got ''"],
    [
      { key, namespace: "a#b" },
      "namespace must be false or a non-empty string of whole characters, without '#', got 'a#b'",
    ],
    [
      { key, namespace: true },
      "namespace must be false or a non-empty string of whole characters, without '#', got true",
    ],
    [{ key, owner: "me" }, "owner must be a function, got 'me'"],
    [{ key, onSuccess: "keep" }, "onSuccess must be 'finish' or 'release', got 'keep'"],
    [{ key, onError: "retry" }, "onError must be 'release', 'finish', 'keep' or a function, got 'retry'"],
    [{ key, onMissingKey: "skip" }, "onMissingKey must be 'throw' or 'run', got 'skip'"],
    [{ key, storeResponse: "yes" }, "storeResponse must be a boolean, got 'yes'"],
    [{ key, disabled: "true" }, "disabled must be a boolean, got 'true'"],
    [{ key, client: null }, "client must be a DynamoDBClient with the method send, got null"],
    [{ key, locks: {} }, "locks must be a LockClient, got {}"],
    [{ key, locks, tableName: "t" }, "locks and tableName contradict each other: set it on the LockClient"],
    [{ key, locks, onEvent: key }, "locks and onEvent contradict each other"],
    [{ key, locks, metrics: {} }, "locks and metrics contradict each other: set it on the LockClient"],
    [{ key, metrics: () => {} }, "metrics must be an object with the method addMetric, got [Function: metrics]"],
    [{ key, client, clientConfig: {} }, "client and clientConfig contradict each other"],
    [{ key, onSuccess: "release", storeResponse: true }, "storeResponse needs onSuccess 'finish'"],
    [{ key, onSuccess: "release", rememberMs: 1 }, "rememberMs (1) needs onSuccess or onError 'finish'"],
  ])("%o", (options, message) => {
    const attempt = () => make(options);
    expect(attempt).toThrow(LockOptionsError);
    expect(attempt).toThrow(`${caller}: ${message}`);
  });

  it("an option that is undefined is not set", () => {
    expect(() => make({ key, leaseMs: undefined, locks: undefined, namespace: undefined })).not.toThrow();
  });

  it("rememberMs goes with release when a failure may be final", () => {
    expect(() => make({ key, onSuccess: "release", rememberMs: 1, onError: "finish" })).not.toThrow();
    expect(() => make({ key, onSuccess: "release", rememberMs: 1, onError: () => "finish" })).not.toThrow();
  });
});

describe("LockClient says what is wrong with its options", () => {
  it.each<[Wrong, string]>([
    [null, "LockClient: options must be an object, got null"],
    [{ key }, "LockClient: unknown option 'key'"],
    [
      { sortKey: "sk" },
      "LockClient: sortKey must be { attribute, value } with the name of an attribute that the lock record doesn't have",
    ],
    [{ sortKey: { attribute: "sk" } }, "LockClient: sortKey must be"],
    [{ sortKey: {} }, "LockClient: sortKey must be { attribute, value }"],
    [{ sortKey: { attribute: "sk", value: "v", type: "S" } }, "got { attribute, value, type }"],
    [{ clientConfig: { region: "" } }, "clientConfig: the AWS SDK can't make a client of it: Error: Region is missing"],
    ["table", "LockClient: options must be an object, got 'table'"],
    [locks, "LockClient: options must be an object, got LockClient {}"],
    [new Map(), "LockClient: options must be an object, got Map(0) {}"],
    [{ clock: {} }, "LockClient: clock must be a clock with the methods now, monotonic, sleep, setTimer, got {}"],
    [{ random: 5 }, "LockClient: random must be a function, got 5"],
    [{ logger: {} }, "LockClient: logger must be an object with the methods debug"],
    [{ metrics: {} }, "LockClient: metrics must be"],
    [{ client: {} }, "LockClient: client must be a DynamoDBClient"],
    [
      { keyAttribute: "token" },
      "LockClient: keyAttribute must be the name of an attribute that the lock record doesn't have, got 'token'",
    ],
    [
      { ttlAttribute: "expires_at" },
      "LockClient: ttlAttribute must be the name of an attribute that the lock record doesn't have",
    ],
    [{ keyAttribute: "ttl" }, "LockClient: keyAttribute, ttlAttribute and sortKey must have different names"],
    [{ sortKey: { attribute: "lock_id", value: "x" } }, "must have different names"],
    [{ retentionMs: -1 }, "LockClient: retentionMs must be a whole number of milliseconds"],
    [{ retentionMs: 1_999 }, "LockClient: retentionMs (1999) must be at least twice clockSkewMs (1000)"],
    [
      { retentionMs: 9_999, clockSkewMs: 5_000 },
      "retentionMs (9999) must be at least twice clockSkewMs (5000), or fencing tokens may decrease",
    ],
    [{ client, clientConfig: {} }, "LockClient: client and clientConfig contradict each other"],
  ])("%o", (options, message) => {
    expect(() => new LockClient(options)).toThrow(message);
    expect(() => new LockClient(options)).toThrow(LockOptionsError);
  });

  it.each<[string, Wrong, string]>([
    ["acquire", { waitMss: 1 }, "acquire: unknown option 'waitMss'"],
    ["tryAcquire", { leaseMs: 0 }, "tryAcquire: leaseMs must be a whole number"],
    ["acquire", { owner: 5 }, "acquire: owner must be a non-empty string of whole characters, got 5"],
    ["acquire", 5_000, "acquire: options must be an object, got 5000"],
    ["acquire", null, "acquire: options must be an object, got null"],
    ["acquire", { signal: {} }, "acquire: signal must be an AbortSignal, got {}"],
    ["acquire", { signal: new AbortController() }, "acquire: signal must be an AbortSignal, got AbortController {}"],
    [
      "acquire",
      { backoff: {} },
      "acquire: backoff must be { minMs, maxMs } with whole numbers, 1 <= minMs <= maxMs, got {",
    ],
    [
      "acquire",
      { backoff: { minMs: 2, maxMs: 1 } },
      "acquire: backoff must be { minMs, maxMs } with whole numbers, 1 <= minMs <= maxMs, got [Object]",
    ],
    ["acquire", { backoff: { minMs: 1, maxMs: 9, factor: 2 } }, "got { minMs, maxMs, factor }"],
    ["acquire", Promise.resolve({}), "acquire: options must be an object, got [Promise]"],
    ["run", undefined, "run: work, the second argument, must be a function, got undefined"],
    ["run", "x", "run: work, the second argument, must be a function, got 'x'"],
    ["run", { leaseMs: 5_000 }, "run: work, the second argument, must be a function, got [Object]"],
    ["once", undefined, "once: work, the second argument, must be a function, got undefined"],
  ])("%s(key, %o)", async (method, options, message) => {
    await expect((locks as Wrong)[method]("k", options)).rejects.toThrow(message);
  });

  it("an unknown option of a call suggests one that the call has", async () => {
    await expect(locks.acquire("k", { waitTime: 1 } as Wrong)).rejects.toThrow(
      /; did you mean waitMs, in milliseconds\?$/,
    );
    await expect(locks.run("k", key, { timeout: 1 } as Wrong)).rejects.toThrow(/; did you mean timeoutMs, in milli/);
  });

  it("createLockTable has its own", async () => {
    await expect(createLockTable(client, { table: "t" } as Wrong)).rejects.toThrow("unknown option 'table'");
  });
});

describe("what does the work of an option is taken for it, whatever its class", () => {
  const log = { debug() {}, warn() {}, error() {} };
  it.each<[string, object]>([
    ["console", { logger: console }],
    ["Powertools' Logger", { logger: new Logger() }],
    ["Powertools' Metrics", { metrics: new Metrics() }],
    ["a logger with more methods, as pino and winston have", { logger: { ...log, info() {}, child: () => log } }],
    ["a logger whose methods are inherited", { logger: Object.create(log) }],
    ["a proxy", { logger: new Proxy(log, {}), client: new Proxy(client, {}) }],
    ["the aggregated client", { client: new DynamoDB({ region: "eu-west-1" }) }],
    ["a client for documents", { client: DynamoDBDocumentClient.from(client) }],
    ["a mocked client", { client: mockClient(new DynamoDBClient({ region: "eu-west-1" })) }],
    ["a stand-in", { client: { send: async () => ({}) } }],
    ["options without a prototype", Object.assign(Object.create(null), { logger: log })],
  ])("%s", (_name, options) => {
    expect(() => new LockClient(options)).not.toThrow();
    expect(() => dynamoLock({ key, ...options })).not.toThrow();
  });
});

describe("an unknown option suggests the nearest name", () => {
  it.each([
    ["leaseMS", "leaseMs"],
    ["lease", "leaseMs, in milliseconds"],
    ["leaseSeconds", "leaseMs, in milliseconds"],
    ["remeberMs", "rememberMs"],
    ["TableName", "tableName"],
    ["table", "tableName"],
    ["onevent", "onEvent"],
    ["onSucess", "onSuccess"],
    ["finger_print", "fingerprint"],
    // Powertools' idempotency
    ["expiresAfterSeconds", "rememberMs, in milliseconds"],
    ["eventKeyJmesPath", "key"],
    ["payloadValidationJmesPath", "fingerprint"],
    ["persistenceStore", "tableName or client"],
    ["awsSdkV3Client", "client"],
    ["useLocalCache", "cacheSize"],
    ["maxLocalCacheSize", "cacheSize"],
    ["throwOnNoIdempotencyKey", "onMissingKey"],
    ["responseHook", "duplicateResponse"],
    ["keyPrefix", "namespace"],
    // the lock clients for Java, Go and Python
    ["leaseDuration", "leaseMs, in milliseconds"],
    ["lease_duration", "leaseMs, in milliseconds"],
    ["WithLeaseDuration", "leaseMs, in milliseconds"],
    ["heartbeatPeriod", "heartbeatMs, in milliseconds"],
    ["ownerName", "owner"],
    ["additionalTimeToWaitForLock", "waitMs, in milliseconds"],
    ["retry_timeout", "waitMs, in milliseconds"],
    ["ttl", "rememberMs, in milliseconds"],
    ["region", "clientConfig"],
  ])("%s: %s", (name, suggestion) => {
    const make = () => dynamoLock({ key, [name]: 1 } as Wrong);
    expect(make).toThrow(`dynamoLock: unknown option '${name}'; options are key, `);
    expect(make).toThrow(new RegExp(`; did you mean ${suggestion}\\?$`));
  });

  it.each([
    ["partitionKeyName", "keyAttribute"],
    ["keyAttr", "keyAttribute"],
    ["sortKeyName", "sortKey"],
    ["ttlAttributeName", "ttlAttribute"],
    ["expiry_period", "retentionMs, in milliseconds"],
  ])("of a LockClient, %s: %s", (name, suggestion) => {
    const make = () => new LockClient({ [name]: 1 } as Wrong);
    expect(make).toThrow(new RegExp(`unknown option '${name}'; options are .*; did you mean ${suggestion}\\?$`));
  });

  it.each(["lambdaContext", "hashFunction", "jmesPathOptions"])("%s is not needed", (name) => {
    expect(() => dynamoLock({ key, [name]: 1 } as Wrong)).toThrow(`; ${name} is not needed: `);
  });

  it.each(["x", "", "__proto__x", "constructor", "toString", "completelyElse"])("%o: nothing is near", (name) => {
    expect(() => dynamoLock({ key, [name]: 1 } as Wrong)).toThrow(/; options are [^;]*$/);
  });

  it("a semaphore has permits", () => {
    const make = () => dynamoSemaphore({ key, permits: 2, concurrency: 1 } as Wrong);
    expect(make).toThrow(/^dynamoSemaphore: unknown option 'concurrency'; .*; did you mean permits\?$/);
  });

  it("a batch has another list", () => {
    expect(() => dynamoLockBatch({ key, concurency: 1 } as Wrong)).toThrow(/; did you mean concurrency\?$/);
    expect(() => dynamoLockBatch({ key, duplicateResponse: 1 } as Wrong)).toThrow(/unknown option 'duplicateResponse'/);
  });
});

describe("an argument that is missing or misplaced is an error before anything is sent", () => {
  const refused = async (call: () => unknown, message: string, kind: Wrong = LockOptionsError) => {
    const mock = mockClient(client);
    const error = await (async () => call())().catch((e: unknown) => e);
    expect(mock.calls()).toHaveLength(0);
    mock.restore();
    expect(error).toBeInstanceOf(kind);
    expect(error).toMatchObject({ message: expect.stringContaining(message) });
  };
  const wrong = (value: unknown): Wrong => value;

  it.each<[string, () => unknown, string]>([
    [
      "breakLock(key)",
      () => breakLock(wrong("k"), wrong(undefined)),
      "breakLock: locks, the first argument, must be a LockClient, got 'k'",
    ],
    ["breakLock(key, locks)", () => breakLock(wrong("k"), wrong(locks)), "must be a LockClient"],
    [
      "breakLock(locks, key)",
      () => breakLock(locks, "k"),
      "breakLock: which acquisition? Give its record, or its fencingToken, or any: true",
    ],
    ["forgetLock(locks, key)", () => forgetLock(locks, "k"), "forgetLock: which acquisition?"],
    ["finishLock(locks, key)", () => finishLock(locks, "k"), "finishLock: which acquisition?"],
    [
      "breakLock with two guards",
      () => breakLock(locks, "k", { fencingToken: 5, any: true }),
      "breakLock: fencingToken and any: true contradict each other",
    ],
    ["finishLock of any", () => finishLock(locks, "k", wrong({ any: true })), "finishLock: unknown option 'any'"],
    [
      "breakLock with a long reason",
      () => breakLock(locks, "k", { fencingToken: 5, why: "x".repeat(501) }),
      "why must be a non-empty string of whole characters, of at most 500 bytes",
    ],
    [
      "finishLock with a result that JSON can't carry",
      () => finishLock(locks, "k", { fencingToken: 5, result: 1n }),
      "finishLock: result can't be stored: there is a BigInt in it",
    ],
    [
      "listLocks()",
      () => listLocks(wrong(undefined)),
      "listLocks: locks, the first argument, must be a LockClient, got undefined",
    ],
    ["listLocks(filter)", () => listLocks(wrong({ owner: "x" })), "must be a LockClient, got [Object]"],
    ["purgeLocks(client)", () => purgeLocks(wrong(client)), "must be a LockClient, got [DynamoDBClient]"],
    ["purgeLocks(options)", () => purgeLocks(wrong({ olderThanMs: 1 })), "purgeLocks: locks, the first argument,"],
    [
      "createLockTable(options)",
      () => createLockTable(wrong({ tableName: "t" })),
      "createLockTable: client, the first argument, must be a DynamoDBClient",
    ],
    ["createLockTable(locks)", () => createLockTable(wrong(locks)), "got LockClient {}"],
    ["createLockTable()", () => createLockTable(wrong(undefined)), "got undefined"],
    [
      "run(key)",
      () => locks.run("k", wrong(undefined)),
      "run: work, the second argument, must be a function, got undefined",
    ],
    ["once(key, value)", () => locks.once("k", wrong(5)), "once: work, the second argument, must be a function, got 5"],
    [
      "waitUntilFinished(key)",
      () => locks.waitUntilFinished(wrong("k")),
      "waitUntilFinished: keys, the first argument, must be an array of keys, got 'k'",
    ],
    ["waitUntilFinished()", () => locks.waitUntilFinished(wrong(undefined)), "must be an array of keys, got undefined"],
    [
      "describeLock(undefined)",
      () => describeLock(wrong(undefined)),
      "describeLock: record, the first argument, must be a LockRecord, as get and listLocks give it, got undefined",
    ],
    ["describeLock(promise)", () => describeLock(wrong(Promise.resolve())), "got [Promise]"],
    [
      "withLock(undefined, options)",
      () => withLock(wrong(undefined), { key }),
      "withLock: the handler, the first argument, must be a function, got undefined",
    ],
    [
      "withLock(options, handler)",
      () => withLock(wrong({ key }), wrong(key)),
      "withLock: the handler, the first argument, must be a function, got [Object]",
    ],
    ["withLock(handler)", () => withLock(key, wrong(undefined)), "withLock: options must be an object, got undefined"],
    [
      "withLockBatch(options, handler)",
      () => withLockBatch(wrong({ key }), wrong(key)),
      "withLockBatch: the handler, the first argument, must be",
    ],
    [
      "withLockBatch(handler)",
      () => withLockBatch(() => undefined, wrong(undefined)),
      "withLockBatch: options must be an object, got undefined",
    ],
    ["dynamoLock()", () => dynamoLock(wrong(undefined)), "dynamoLock: options must be an object, got undefined"],
    [
      "dynamoLockBatch({ key: 'x' })",
      () => dynamoLockBatch(wrong({ key: "x" })),
      "dynamoLockBatch: key must be a function, got 'x'",
    ],
  ])("%s", (_name, call, message) => refused(call, message));

  it.each<[string, () => unknown, string]>([
    ["get()", () => locks.get(undefined), "key is missing"],
    ["get of several keys", () => locks.get(wrong(["a", "b"])), "got [Array]"],
    ["count of several keys", () => locks.count(wrong(["a", "b"])), "got [Array]"],
    ["breakLock of what is no record", () => breakLock(locks, wrong({ key: "k" })), "or a bigint, got [Object]"],
    ["breakLock(locks)", () => breakLock(locks, undefined, { any: true }), "key is missing"],
    ["waitUntilFinished of lists", () => locks.waitUntilFinished(wrong([["a", "b"]])), "got [Array]"],
  ])("%s", (_name, call, message) => refused(call, message, LockKeyError));

  it("lock.extend()", async () => {
    const mock = mockClient(client);
    mock.onAnyCommand().resolves({});
    const lock = await locks.acquire("k");
    const sent = mock.calls().length;
    for (const ms of [undefined, "5000", {}, Object.create(null), Symbol("ms")]) {
      await expect(lock.extend(wrong(ms))).rejects.toThrow(
        /extend: ms must be a whole number of milliseconds .*, got /,
      );
    }
    expect(mock.calls()).toHaveLength(sent);
    mock.restore();
  });
});

describe("a time that looks like seconds", () => {
  afterEach(() => {
    vi.restoreAllMocks();
    vi.resetModules();
  });
  /** In a process that has not warned yet. */
  const fresh = async () => {
    vi.resetModules();
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    return { warn, ...(await import("../../src/index.ts")) };
  };

  it.each<[string, object]>([
    ["leaseMs", { leaseMs: 30 }],
    ["rememberMs", { rememberMs: 3_600 }],
    ["rememberMs", { rememberMs: 86_400 }],
    ["rememberMs", { rememberMs: 1_209_600 }],
    ["waitMs", { waitMs: 5 }],
  ])("%s: %o is doubted, once", async (name, options) => {
    const { warn, dynamoLock } = await fresh();
    const value = Object.values(options)[0] as number;
    for (let i = 0; i < 3; i++) dynamoLock({ key, client, ...options });
    expect(warn.mock.calls).toEqual([
      [
        `middy-dynamo-lock: dynamoLock: ${name} is ${value} milliseconds. If seconds were meant, it must be ${value * 1_000}`,
      ],
    ]);
  });

  it("also of a client and of a call", async () => {
    const { warn, LockClient } = await fresh();
    const doubting = new LockClient({ client, retentionMs: 172_800 });
    await doubting.waitUntilFinished([], { timeoutMs: 30, intervalMs: 1 });
    await doubting.waitUntilFinished([], { timeoutMs: 30, intervalMs: 1 });
    expect(warn.mock.calls.map(([line]) => /: (\w+) is/.exec(String(line))?.[1])).toEqual([
      "retentionMs",
      "timeoutMs",
      "intervalMs",
    ]);
  });

  it.each<object>([
    { leaseMs: 1_000, heartbeatMs: 300 },
    { rememberMs: 30_000 },
    { rememberMs: 60_000 },
    { rememberMs: 180_000 },
    { rememberMs: 3_600_000 },
    { rememberMs: 86_400_000 },
    { rememberMs: 1_296_000_000 },
    { waitMs: 0 },
    { waitMs: 100 },
    { clockSkewMs: 1 },
  ])("%o is not", async (options) => {
    const { warn, dynamoLock } = await fresh();
    dynamoLock({ key, client, ...options });
    expect(warn).not.toHaveBeenCalled();
  });
});
