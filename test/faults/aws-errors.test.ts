/** What an engine can't be made to do: refuse permission, throttle, hang. */

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import {
  ConditionalCheckFailedException,
  CreateTableCommand,
  DynamoDBClient,
  DynamoDBServiceException,
  GetItemCommand,
  TransactionCanceledException,
  TransactWriteItemsCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { mockClient } from "aws-sdk-client-mock";
import { afterEach, describe, expect, it, vi } from "vitest";
import { LockClient, LockError, type LockEvent, LockTableError } from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";

const awsError = (name: string, message = name) =>
  new DynamoDBServiceException({ name, message, $fault: "client", $metadata: { httpStatusCode: 400 } });

/** Its clock passes as fast as it waits. */
const setUp = () => {
  const client = new DynamoDBClient({ region: "eu-west-1" });
  const events: LockEvent[] = [];
  const locks = new LockClient({
    client,
    tableName: "t",
    clock: manualClock(),
    settleMs: 0,
    onEvent: (event) => events.push(event),
  });
  return { locks, mock: mockClient(client), types: () => events.map(({ type }) => type) };
};

/** As AWS words it (https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html). */
const TABLE_ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/t";
const KEY_ARN = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd";
const refusedFor = (action: string, resource: string, why: string) =>
  `User: arn:aws:sts::123456789012:assumed-role/f/f is not authorized to perform: ${action} on resource: ${resource} ${why}`;
const implicitly = (policy: string, action = "dynamodb:UpdateItem", resource = TABLE_ARN) =>
  refusedFor(action, resource, `because no ${policy} allows the ${action} action`);
const explicitly = (policy: string, action = "dynamodb:UpdateItem", resource = TABLE_ARN) =>
  refusedFor(action, resource, `with an explicit deny in a ${policy}`);

const POLICY = "Change that policy (an identity-based one is the role's): against a Deny no Allow elsewhere helps.";
const KMS = "Enable the table's KMS key, and allow kms:Decrypt on it in the role and in the key's own policy.";

describe("a refused permission shows AWS's own message, and advises only what that supports", () => {
  it.each<[string, string, string]>([
    ["identity-based policy", implicitly("identity-based policy"), POLICY],
    ["VPC endpoint policy", implicitly("VPC endpoint policy"), POLICY],
    ["resource-based policy", implicitly("resource-based policy"), POLICY],
    ["permissions boundary", implicitly("permissions boundary"), POLICY],
    ["session policy", implicitly("session policy"), POLICY],
    ["service control policy", implicitly("service control policy"), POLICY],
    ["SCP that denies", explicitly("service control policy"), POLICY],
    [
      "SCP that denies, by its ARN",
      explicitly("service control policy: arn:aws:organizations::1:policy/o-1/scp/p-1"),
      POLICY,
    ],
    ["RCP that denies", explicitly("resource control policy"), POLICY],
    ["endpoint that denies", explicitly("VPC endpoint policy"), POLICY],
    ["boundary that denies", explicitly("permissions boundary"), POLICY],
    ["policy that denies", refusedFor("dynamodb:UpdateItem", TABLE_ARN, "with an explicit deny"), POLICY],
    [
      "role that denies",
      refusedFor("dynamodb:UpdateItem", TABLE_ARN, "with an explicit deny in an identity-based policy"),
      POLICY,
    ],
    ["key", implicitly("identity-based policy", "kms:Decrypt", KEY_ARN), POLICY],
    ["key's own policy", explicitly("resource-based policy", "kms:Decrypt", KEY_ARN), POLICY],
    [
      "key, in DynamoDB's words",
      "KMS key access denied error: com.amazonaws.services.kms.model.AWSKMSException: The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access. (Service: AWSKMS; Status Code: 400)",
      KMS,
    ],
  ])("%s", async (_name, message, advice) => {
    const { locks, mock } = setUp();
    const cause = awsError("AccessDeniedException", message);
    mock.on(UpdateItemCommand).rejects(cause);
    const error = (await locks.acquire("a").catch((e: unknown) => e)) as LockTableError;
    expect(error).toBeInstanceOf(LockTableError);
    expect(error).toMatchObject({
      statusCode: 500,
      cause,
      message: `UpdateItem on table t failed: AccessDeniedException: ${message.replace(/\.$/, "")}. Nothing was written. ${advice}`,
    });
  });

  it("a message that names no policy: the role first, and where else to look", async () => {
    const { locks, mock } = setUp();
    mock.on(UpdateItemCommand).rejects(awsError("AccessDeniedException"));
    mock.on(GetItemCommand).rejects(awsError("AccessDeniedException", "not allowed"));
    await expect(locks.acquire("a")).rejects.toThrow(
      "Nothing was written. Allow dynamodb:UpdateItem on table t in the role. If that is so already, look at the policies of the table",
    );
    await expect(locks.get("a")).rejects.toThrow(
      /AccessDeniedException: not allowed\. Nothing was read\. Allow dynamodb:GetItem on table t/,
    );
  });

  it("several keys, whose transaction is no action of its own", async () => {
    const { locks, mock } = setUp();
    mock.on(TransactWriteItemsCommand).rejects(awsError("AccessDeniedException", "no"));
    await expect(locks.acquire(["a", "b"])).rejects.toThrow("Allow dynamodb:UpdateItem on table t");
  });

  it("the table that ensureTable is to make", async () => {
    const client = new DynamoDBClient({ region: "eu-west-1" });
    const cause = awsError("AccessDeniedException", explicitly("service control policy", "dynamodb:CreateTable"));
    mockClient(client)
      .on(UpdateItemCommand)
      .rejects(awsError("ResourceNotFoundException"))
      .on(CreateTableCommand)
      .rejects(cause);
    const error = await new LockClient({ client, tableName: "t", ensureTable: true })
      .acquire("a")
      .catch((e: unknown) => e);
    expect(error).toBeInstanceOf(LockTableError);
    expect(error).toMatchObject({ cause, message: expect.stringContaining(POLICY) });
  });
});

describe("errors of AWS become ours", () => {
  it.each<[string, string, number, RegExp]>([
    ["ProvisionedThroughputExceededException", "slow down", 503, /Nothing was written\. .* needs more capacity\.$/],
    ["ThrottlingException", "Rate exceeded", 503, /Nothing was written\. Repeat it later\./],
    ["RequestLimitExceeded", "too much", 503, /Repeat it later\./],
    ["TransactionConflictException", "conflict", 503, /Nothing was written\./],
    ["InternalServerError", "details", 503, /It is not known whether it was applied: a repeat will show\./],
    ["ServiceUnavailable", "away", 503, /It is not known whether it was applied/],
    [
      "UnrecognizedClientException",
      "The security token included in the request is invalid.",
      500,
      /Nothing was written\. Check the region and the credentials .*, when they expire/,
    ],
    [
      "ExpiredTokenException",
      "The security token included in the request is expired",
      500,
      /the credentials .*, when they expire/,
    ],
    [
      "InvalidSignatureException",
      "Signature expired: 20261125T000000Z is now earlier than",
      500,
      /the credentials .*, and this machine's clock\./,
    ],
    [
      "MissingAuthenticationTokenException",
      "Missing Authentication Token",
      500,
      /the credentials \(those of the role, /,
    ],
    ["ResourceInUseException", "being changed", 500, /Repeat it when the table is ACTIVE/],
    ["ItemCollectionSizeLimitExceededException", "too large", 500, /give locks a table of their own/],
    [
      "ValidationException",
      "Item size to update has exceeded the maximum allowed size",
      500,
      /Store less with the lock/,
    ],
    [
      "SomethingNewException",
      "unheard of",
      500,
      /^UpdateItem on table t failed: SomethingNewException: unheard of\. Nothing was written\.$/,
    ],
  ])("%s: %s (%i)", async (name, message, statusCode, advice) => {
    const { locks, mock, types } = setUp();
    const status = /^(Internal|ServiceUn)/.test(name) ? 500 : 400;
    const cause = new DynamoDBServiceException({
      name,
      message,
      $fault: "client",
      $metadata: { httpStatusCode: status },
    });
    mock.on(UpdateItemCommand).rejects(cause);
    const error = (await locks.acquire("a").catch((e: unknown) => e)) as LockError;
    expect(error).toBeInstanceOf(LockError);
    expect(error).toMatchObject({ code: "LOCK_REQUEST", statusCode, cause });
    expect(error.message).toContain(`UpdateItem on table t failed: ${name}: ${message.replace(/\.$/, "")}. `);
    expect(error.message).toMatch(advice);
    expect(new Set(types())).toEqual(new Set(statusCode === 503 ? ["retrying"] : []));
  });

  it.each<[string, object, number, RegExp]>([
    [
      "no region",
      { region: undefined },
      500,
      /^UpdateItem on table t failed: Error: Region is missing\. Nothing was written\. Check the region and/,
    ],
    [
      "no credentials",
      {
        credentials: () =>
          Promise.reject(
            Object.assign(new Error("Could not load credentials from any providers"), {
              name: "CredentialsProviderError",
            }),
          ),
      },
      500,
      /Could not load credentials.*Nothing was written\. Check .* the credentials \(those of the role, /,
    ],
    [
      "credentials that are none",
      { credentials: {} },
      500,
      /Resolved credential object is not valid\. Nothing was written\. Check .* the credentials \(those of the role, /,
    ],
    [
      "an endpoint that is no address",
      { endpoint: "nonsense" },
      500,
      /Invalid URL\. Nothing was written\. Check the region, the endpoint/,
    ],
    [
      "an endpoint where nobody listens",
      { endpoint: "http://127.0.0.1:1" },
      503,
      /ECONNREFUSED.*Check the region, the endpoint and the network/,
    ],
  ])("%s", async (_name, config, statusCode, message) => {
    vi.spyOn(console, "error").mockImplementation(() => {}); // the SDK's own
    vi.stubEnv("AWS_REGION", undefined);
    vi.stubEnv("AWS_CONFIG_FILE", "/dev/null");
    const credentials = { accessKeyId: "local", secretAccessKey: "local" };
    const clientConfig = { region: "eu-west-1", credentials, maxAttempts: 1, ...config };
    const attempt = async () => new LockClient({ tableName: "t", clientConfig }).acquire("a");
    const error = (await attempt().catch((e: unknown) => e)) as LockError;
    expect(error).toMatchObject({ statusCode, cause: expect.any(Error) });
    expect(error.message).toMatch(message);
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
  });

  it("a stand-in for a client, that knows no region and throws what is no error", async () => {
    const stub = (thrown: unknown) => ({ send: async () => Promise.reject(thrown) }) as unknown as DynamoDBClient;
    const acquire = (thrown: unknown) => new LockClient({ client: stub(thrown), tableName: "t" }).acquire("a");
    await expect(acquire(awsError("ResourceNotFoundException"))).rejects.toThrow(
      /^Table t does not exist in the client's region, .* AWS says: ResourceNotFoundException: /,
    );
    for (const thrown of [undefined, null, "no", Object.create(null), { toString: null }]) {
      await expect(acquire(thrown)).rejects.toThrow(/^UpdateItem on table t failed: /);
    }
  });

  it("a key in KMS that is disabled", async () => {
    const { locks, mock } = setUp();
    const cause = awsError("KMSDisabledException", "arn:aws:kms:eu-west-1:1:key/2 is disabled.");
    mock.on(UpdateItemCommand).rejects(cause);
    const error = await locks.acquire("a").catch((e: unknown) => e);
    expect(error).toBeInstanceOf(LockTableError);
    expect(error).toMatchObject({
      message: `UpdateItem on table t failed: KMSDisabledException: ${cause.message} Nothing was written. ${KMS}`,
      cause,
    });
  });

  it("a cancelled transaction shows the reasons, and is 503 if they pass", async () => {
    const { locks, mock } = setUp();
    const cause = new TransactionCanceledException({
      message: "Transaction cancelled",
      $metadata: { httpStatusCode: 400 },
      CancellationReasons: [
        { Code: "None" },
        { Code: "ThrottlingError", Message: "Throughput exceeds the current capacity" },
      ],
    });
    mock.on(TransactWriteItemsCommand).rejects(cause);
    const error = await locks.acquire(["a", "b"]).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: "LOCK_REQUEST", statusCode: 503, cause });
    expect(error).toMatchObject({
      message: expect.stringContaining("Throughput exceeds the current capacity. Nothing"),
    });
  });

  it("a refusal without the item, as engines too old give it, is an error and not a lock", async () => {
    const { locks, mock } = setUp();
    mock.on(UpdateItemCommand).rejects(new ConditionalCheckFailedException({ message: "no", $metadata: {} }));
    await expect(locks.acquire("a")).rejects.toThrow(LockTableError);
  });

  it("a failing finish is reported, and the result of the work still returned", async () => {
    const { locks, mock, types } = setUp();
    mock.on(UpdateItemCommand).resolvesOnce({}).rejects(awsError("InternalServerError"));
    expect(await locks.once("a", () => "paid")).toBe("paid");
    expect(types()).toEqual(["acquired", "failed"]);
  });
});

describe("a connection that hangs", () => {
  let server: Server | undefined;
  afterEach(() => server?.closeAllConnections());

  it("can't eat the invocation: it is tried for five seconds, and what that may have taken is given back", async () => {
    let requests = 0;
    server = createServer(() => requests++).listen(0, "127.0.0.1");
    await new Promise((resolve) => server?.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    const locks = new LockClient({
      clientConfig: {
        endpoint: `http://127.0.0.1:${port}`,
        region: "eu-west-1",
        credentials: { accessKeyId: "local", secretAccessKey: "local" },
      },
    });
    const started = performance.now();
    await expect(locks.acquire("a")).rejects.toMatchObject({ code: "LOCK_REQUEST" });
    expect(performance.now() - started).toBeLessThan(6_000);
    expect(requests).toBeGreaterThan(3);
    expect(requests).toBeLessThan(9);
    await locks.close();
    server.close();
  });
});
