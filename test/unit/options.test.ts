import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { describe, expect, it } from "vitest";
import { createLockTable, dynamoLock, LockClient, LockOptionsError, withLock } from "../../src/index.ts";

const key = () => "k";
const client = new DynamoDBClient({ region: "eu-west-1" });
const locks = new LockClient({ client });

/** Options that TypeScript would refuse, as JavaScript users write them. */
// biome-ignore lint/suspicious/noExplicitAny: see above
type Wrong = any;

describe.each<[string, (options: Wrong) => unknown]>([
  ["dynamoLock", (options) => dynamoLock(options)],
  ["withLock", (options) => withLock(() => 1, options)],
])("%s says what is wrong with its options", (caller, make) => {
  it.each<[Wrong, string]>([
    [undefined, "options must be an object, got undefined"],
    [{}, "key is required: a function of the event, got undefined"],
    [{ key: "date" }, 'key must be a function, got "date"'],
    [{ key, leasMs: 1 }, 'unknown option "leasMs"; options are key, tableName, client,'],
    [{ key, constructor: 1 }, 'unknown option "constructor"'],
    [{ key, leaseMs: 0 }, "leaseMs must be a whole number of milliseconds from 1 to 3153600000000, got 0"],
    [{ key, leaseMs: 1.5 }, "leaseMs must be a whole number of milliseconds"],
    [{ key, rememberMs: "1h" }, 'rememberMs must be a whole number of milliseconds from 1 to 3153600000000, got "1h"'],
    [{ key, rememberMs: Number.NaN }, "rememberMs must be a whole number of milliseconds"],
    [{ key, clockSkewMs: -1 }, "clockSkewMs must be a whole number of milliseconds from 0 to 3600000, got -1"],
    [{ key, tableName: "" }, 'tableName must be a non-empty string, got ""'],
    [{ key, namespace: "a#b" }, `namespace must not contain '#', got "a#b"`],
    [{ key, namespace: true }, "namespace must be a non-empty string, got true"],
    [{ key, owner: "me" }, 'owner must be a function, got "me"'],
    [{ key, onSuccess: "keep" }, 'onSuccess must be one of "finish", "release", got "keep"'],
    [
      { key, onError: "retry" },
      'onError must be one of "release", "finish", "keep", or must be a function, got "retry"',
    ],
    [{ key, onMissingKey: "skip" }, 'onMissingKey must be one of "throw", "run", got "skip"'],
    [{ key, storeResponse: "yes" }, 'storeResponse must be a boolean, got "yes"'],
    [{ key, disabled: "true" }, 'disabled must be a boolean, got "true"'],
    [{ key, client: null }, "client must be an object, got null"],
    [{ key, locks: {} }, "locks must be a LockClient, got an object"],
    [{ key, locks, tableName: "t" }, "locks and tableName contradict each other: set it on the LockClient"],
    [{ key, locks, onEvent: key }, "locks and onEvent contradict each other"],
    [{ key, locks, metrics: {} }, "locks and metrics contradict each other: set it on the LockClient"],
    [{ key, metrics: () => {} }, "metrics must be an object, got "],
    [
      { key, client, clientConfig: {} },
      "client and clientConfig contradict each other: a client has its configuration",
    ],
    [{ key, onSuccess: "release", storeResponse: true }, "storeResponse and onSuccess 'release' contradict each other"],
    [{ key, onSuccess: "release", rememberMs: 1 }, "rememberMs and onSuccess 'release' contradict each other"],
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
    [{ key }, 'LockClient: unknown option "key"'],
    [{ sortKey: "sk" }, "LockClient: sortKey must be { attribute, value } with a name and a string or a number"],
    [{ sortKey: { attribute: "sk" } }, "LockClient: sortKey must be"],
    [{ keyAttribute: "token" }, "LockClient: keyAttribute must not be an attribute of the lock record"],
    [{ ttlAttribute: "expires_at" }, "LockClient: ttlAttribute must not be an attribute of the lock record"],
    [{ keyAttribute: "ttl" }, "LockClient: keyAttribute, ttlAttribute and sortKey must have different names"],
    [{ sortKey: { attribute: "lock_id", value: "x" } }, "must have different names"],
    [{ retentionMs: -1 }, "LockClient: retentionMs must be a whole number of milliseconds"],
    [{ retentionMs: 1_999 }, "LockClient: retentionMs must be at least twice clockSkewMs"],
    [{ retentionMs: 9_999, clockSkewMs: 5_000 }, "when TTL has deleted the record: 10000, got 9999"],
    [{ client, clientConfig: {} }, "LockClient: client and clientConfig contradict each other"],
  ])("%o", (options, message) => {
    expect(() => new LockClient(options)).toThrow(message);
    expect(() => new LockClient(options)).toThrow(LockOptionsError);
  });

  it.each<[string, Wrong, string]>([
    ["acquire", { waitMss: 1 }, 'acquire: unknown option "waitMss"'],
    ["tryAcquire", { leaseMs: 0 }, "tryAcquire: leaseMs must be a whole number"],
    ["acquire", { owner: 5 }, "acquire: owner must be a non-empty string, got 5"],
  ])("%s(key, %o)", async (method, options, message) => {
    await expect((locks as Wrong)[method]("k", options)).rejects.toThrow(message);
  });

  it("createLockTable has its own", async () => {
    await expect(createLockTable(client, { table: "t" } as Wrong)).rejects.toThrow('unknown option "table"');
  });
});
