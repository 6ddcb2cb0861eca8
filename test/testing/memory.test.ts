/** DynamoDB in memory as a test of a handler uses it. */
import { DynamoDBClient, GetItemCommand, PutItemCommand, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient, GetCommand, PutCommand } from "@aws-sdk/lib-dynamodb";
import middy from "@middy/core";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { dynamoLock, LockClient, LockHeldError, semaphore, withLock } from "../../src/index.ts";
import { lambdaContext, memoryDynamoDB, setUpMemory, sharedMemory } from "../../src/testing.ts";
import { manualClock } from "../support/clock.ts";

const memory = memoryDynamoDB({ tables: { orders: "id" } });
beforeEach(() => memory.reset());
afterEach(() => void vi.unstubAllEnvs());

const namespace = "orders";
const place = { functionName: namespace };
const handler = middy<{ id: string }>()
  .use(dynamoLock({ key: (event) => event.id, client: memory, fingerprint: (event) => event, settleMs: 0 }))
  .handler(async ({ id }, { lock }) => {
    const response = { id, previous: lock.previous?.owner };
    await lock.commit([{ Put: { TableName: "orders", Item: { id: { S: id } } } }], { result: response });
    return response;
  });

describe("a handler", () => {
  it("runs once per key, in two requests, and its repeats get the response", async () => {
    expect(await handler({ id: "42" }, lambdaContext(place))).toEqual({ id: "42" });
    expect(memory.sent).toEqual(["UpdateItem", "TransactWriteItems"]);
    expect(await handler({ id: "42" }, lambdaContext(place))).toEqual({ id: "42" });
    expect(memory.sent).toHaveLength(3);
    expect(memory.items("orders")).toEqual([{ id: { S: "42" } }]);
    expect(memory.items("dynamo-locks")).toMatchObject([{ lock_id: { S: "orders#42" }, status: { S: "FINISHED" } }]);
  });

  it("finds its key held, and after the holder's release free", async () => {
    const lock = await memory.holdLock("42", { namespace, owner: "another run" });
    expect(memory.sent).toEqual([]);
    const failure = await handler({ id: "42" }, lambdaContext(place)).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(LockHeldError);
    expect(failure).toMatchObject({ record: { owner: "another run" } });
    await lock.release();
    expect(await handler({ id: "42" }, lambdaContext(place))).toEqual({ id: "42" });
  });

  it("finds its key finished: repeats get the result, and another payload an error", async () => {
    const payload = { id: "42" };
    await memory.finishLock("42", { namespace, result: { statusCode: 201 }, fingerprint: payload });
    expect(await handler(payload, lambdaContext(place))).toEqual({ statusCode: 201 });
    await expect(handler({ ...payload, amount: 7 } as typeof payload, lambdaContext(place))).rejects.toMatchObject({
      statusCode: 422,
    });
    expect(memory.items("orders")).toEqual([]);
  });

  it("takes over from a run that crashed", async () => {
    await memory.crashLock("42", { namespace });
    expect(await handler({ id: "42" }, lambdaContext(place))).toEqual({ id: "42", previous: "somebody else" });
  });

  it("waits for a permit", async () => {
    const held = await memory.holdPermits("imports", { permits: 2 });
    expect(held).toHaveLength(2);
    const permits = semaphore(new LockClient({ client: memory }), "imports", { permits: 2 });
    expect(await permits.tryAcquire()).toBeUndefined();
    await held[0]?.release();
    expect(await permits.tryAcquire()).toMatchObject({ status: "held" });
  });

  it("has the time that its context says", async () => {
    const clock = manualClock();
    const context = lambdaContext({ remainingMs: 2_000, clock, memoryLimitInMB: "512" });
    clock.advance(500);
    expect(context.getRemainingTimeInMillis()).toBe(1_500);
    expect(context).toMatchObject({ functionName: "test-function", memoryLimitInMB: "512" });
    expect(context.awsRequestId).not.toBe(lambdaContext().awsRequestId);
  });
});

describe("faults", () => {
  const locks = () => new LockClient({ client: memory, settleMs: 0 });

  it("a lost reply: the write was applied, and the lock finds out", async () => {
    const fault = memory.fault("lost-reply", { operation: "UpdateItem" });
    expect(await handler({ id: "42" }, lambdaContext(place))).toEqual({ id: "42" });
    expect(fault.met).toBe(1);
    expect(memory.items("orders")).toHaveLength(1);
  });

  it("a lost request: nothing was applied", async () => {
    memory.fault("lost-request", { times: Number.POSITIVE_INFINITY });
    const once = memory.send(new PutItemCommand({ TableName: "orders", Item: { id: { S: "1" } } }));
    await expect(once).rejects.toMatchObject({ name: "TimeoutError", code: "ECONNRESET" });
    expect(memory.items("orders")).toEqual([]);
  });

  it("throttling, of the requests that are meant, and until it is stopped", async () => {
    const fault = memory.fault("throttle", { operation: ["PutItem", "UpdateItem"], skip: 1, times: 5 });
    const put = () => memory.send(new PutItemCommand({ TableName: "orders", Item: { id: { S: "1" } } }));
    await put();
    await memory.send(new GetItemCommand({ TableName: "orders", Key: { id: { S: "1" } } }));
    await expect(put()).rejects.toMatchObject({ name: "ProvisionedThroughputExceededException" });
    await expect(put()).rejects.toThrow();
    fault.stop();
    await put();
    expect(fault.met).toBe(2);
  });

  it("a delay: the request arrives, also when nobody waits for it any more", async () => {
    vi.useFakeTimers();
    try {
      memory.fault("delay", { delayMs: 1_000 });
      const stop = new AbortController();
      const command = new PutItemCommand({ TableName: "orders", Item: { id: { S: "1" } } });
      const put = memory.send(command, { abortSignal: stop.signal });
      stop.abort();
      await expect(put).rejects.toMatchObject({ name: "AbortError" });
      expect(memory.items("orders")).toEqual([]);
      await vi.advanceTimersByTimeAsync(1_000);
      expect(memory.items("orders")).toHaveLength(1);
    } finally {
      vi.useRealTimers();
    }
  });

  it("are gone after a reset", async () => {
    memory.fault("throttle", { times: Number.POSITIVE_INFINITY });
    memory.reset();
    expect(await locks().tryAcquire("42")).toBeDefined();
  });

  it("what onRequest throws is what the request fails with", async () => {
    const denied = Object.assign(new Error("not authorized"), {
      name: "AccessDeniedException",
      $metadata: { httpStatusCode: 400 },
    });
    const seen: string[] = [];
    const client = memoryDynamoDB({
      onRequest: ({ operation }) => {
        seen.push(operation);
        throw denied;
      },
    });
    await expect(new LockClient({ client }).acquire("42")).rejects.toMatchObject({ code: "LOCK_TABLE", cause: denied });
    expect(seen).toEqual(["UpdateItem"]);
  });
});

it("TTL deletes by the clock, when it is asked to", async () => {
  const clock = manualClock();
  const client = memoryDynamoDB({ clock });
  const locks = new LockClient({ client, clock, retentionMs: 100_000, heartbeatMs: false });
  await (await locks.acquire("42", { leaseMs: 10_000 })).release();
  clock.advance(90_000);
  expect(client.expireItems()).toBe(0);
  clock.advance(20_000);
  expect(client.expireItems()).toBe(1);
  expect(await locks.get("42")).toBeUndefined();
});

describe("clients of the AWS SDK", () => {
  it("in the same process: for documents, with retries, errors of the SDK's own classes, and bytes", async () => {
    const client = new DynamoDBClient(memory.clientConfig());
    const documents = DynamoDBDocumentClient.from(client);
    memory.fault("throttle");
    memory.fault("lost-reply");
    await documents.send(
      new PutCommand({ TableName: "orders", Item: { id: "1", list: [1, "a"], bytes: Uint8Array.of(1) } }),
    );
    expect(memory.sent).toEqual(["PutItem", "PutItem", "PutItem"]);
    const { Item } = await documents.send(new GetCommand({ TableName: "orders", Key: { id: "1" } }));
    expect(Item).toEqual({ id: "1", list: [1, "a"], bytes: Uint8Array.of(1) });
    const { ConditionalCheckFailedException } = await import("@aws-sdk/client-dynamodb");
    const refused = { TableName: "orders", Key: { id: { S: "1" } }, ConditionExpression: "attribute_not_exists(id)" };
    await expect(client.send(new UpdateItemCommand(refused))).rejects.toBeInstanceOf(ConditionalCheckFailedException);
    await expect(memory.send(new UpdateItemCommand(refused))).rejects.toBeInstanceOf(ConditionalCheckFailedException);
  });

  it("over HTTP, where a lost reply breaks the connection", async () => {
    const server = await memory.listen();
    try {
      const { region, credentials } = memory.clientConfig();
      const client = new DynamoDBClient({ endpoint: server.endpoint, region, credentials, maxAttempts: 1 });
      memory.fault("lost-reply", { operation: "PutItem" });
      const Item = { id: { S: "1" }, b: { B: Uint8Array.of(255, 0) }, B: { BS: [Uint8Array.of(1)] } };
      await expect(client.send(new PutItemCommand({ TableName: "orders", Item }))).rejects.toMatchObject({
        code: "ECONNRESET",
      });
      const Key = { id: { S: "1" } };
      expect((await client.send(new GetItemCommand({ TableName: "orders", Key }))).Item).toEqual(Item);
      client.destroy();
    } finally {
      await server.close();
    }
    await expect(fetch(server.endpoint)).rejects.toThrow();
  });

  it("commands for documents are refused by send, which says what to do", async () => {
    const command = new GetCommand({ TableName: "orders", Key: { id: "1" } });
    await expect(memory.send(command as never)).rejects.toThrow(
      "got GetCommand. For those of @aws-sdk/lib-dynamodb use DynamoDBDocumentClient.from(new DynamoDBClient(memory.clientConfig()))",
    );
  });
});

describe("tables", () => {
  it("of locks are there when they are first used; others are an error", async () => {
    vi.stubEnv("DYNAMO_LOCK_TABLE", "env-locks");
    const client = memoryDynamoDB();
    await new LockClient({ client, tableName: "my-locks" }).acquire("42");
    expect([client.items("my-locks").length, client.items("env-locks").length]).toEqual([1, 0]);
    expect(() => client.items("orders")).toThrow("Requested resource not found");
    const strict = memoryDynamoDB({ lockTables: false });
    await expect(new LockClient({ client: strict }).acquire("42")).rejects.toThrow("create it with createLockTable");
  });
});

describe("memoryDynamoDB", () => {
  it.each<[options: object, message: string]>([
    [{ table: {} }, "unknown option 'table'; options are tables, lockTables, onRequest, clock"],
    [{ tables: { orders: "" } }, "tables must be an object that gives the keys of each table"],
    [{ tables: { orders: { key: "id", sortKey: { name: "at", type: "X" } } } }, "tables must be an object"],
    [{ onRequest: 1 }, "onRequest must be a function"],
    [{ clock: {} }, "clock must be a clock with the method now"],
  ])("%j is refused: %s", (options, message) => {
    expect(() => memoryDynamoDB(options)).toThrow(message);
  });

  it("refuses to run inside a Lambda, but not in one that SAM runs here, or by a function's name", () => {
    vi.stubEnv("AWS_LAMBDA_FUNCTION_NAME", "orders");
    memoryDynamoDB();
    vi.stubEnv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001");
    expect(() => memoryDynamoDB()).toThrow(
      "this is a Lambda function, whose instances would each have locks of their own",
    );
    vi.stubEnv("AWS_SAM_LOCAL", "true");
    memoryDynamoDB();
  });
});

it("the setup serves clients that nobody hands in", async () => {
  vi.stubEnv("AWS_REGION", "eu-west-1");
  for (const name of ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
    vi.stubEnv(name, undefined);
  expect(() => sharedMemory()).toThrow("add 'middy-dynamo-lock/testing/setup' to setupFiles");
  await setUpMemory();
  const plain = withLock(async (event: { id: string }) => event.id, { key: (event) => event.id });
  expect(await plain({ id: "42" }, lambdaContext(place))).toBe("42");
  expect(sharedMemory().sent).toEqual(["UpdateItem", "UpdateItem"]);
  const endpoint = process.env.AWS_ENDPOINT_URL_DYNAMODB;
  await setUpMemory(); // for the next test file in the same process
  expect([sharedMemory().sent, process.env.AWS_ENDPOINT_URL_DYNAMODB]).toEqual([[], endpoint]);
});
