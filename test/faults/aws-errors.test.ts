/** What an engine can't be made to do: refuse permission, throttle, hang. */

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import {
  ConditionalCheckFailedException,
  DynamoDBClient,
  DynamoDBServiceException,
  GetItemCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { mockClient } from "aws-sdk-client-mock";
import { afterEach, describe, expect, it } from "vitest";
import { LockClient, LockError, type LockEvent, LockTableError } from "../../src/index.ts";

const awsError = (name: string, message = name) =>
  new DynamoDBServiceException({ name, message, $fault: "client", $metadata: { httpStatusCode: 400 } });

const setUp = () => {
  const client = new DynamoDBClient({ region: "eu-west-1" });
  const events: LockEvent[] = [];
  const locks = new LockClient({ client, tableName: "t", onEvent: (event) => events.push(event) });
  return { locks, mock: mockClient(client), types: () => events.map(({ type }) => type) };
};

describe("errors of AWS become ours", () => {
  it("no permission: says which action to allow on which table", async () => {
    const { locks, mock } = setUp();
    mock.on(UpdateItemCommand).rejects(awsError("AccessDeniedException"));
    mock.on(GetItemCommand).rejects(awsError("AccessDeniedException"));
    const error = await locks.acquire("a").catch((e: unknown) => e);
    expect(error).toBeInstanceOf(LockTableError);
    expect(error).toMatchObject({ message: "No permission: allow dynamodb:UpdateItem on table t in the role" });
    await expect(locks.get("a")).rejects.toThrow("allow dynamodb:GetItem on table t");
  });

  it.each(["ProvisionedThroughputExceededException", "InternalServerError", "UnrecognizedClientException"])(
    "%s is a LockError with the AWS error as its cause, and nothing is held",
    async (name) => {
      const { locks, mock, types } = setUp();
      const cause = awsError(name, "details");
      mock.on(UpdateItemCommand).rejects(cause);
      const error = (await locks.acquire("a").catch((e: unknown) => e)) as LockError;
      expect(error).toBeInstanceOf(LockError);
      expect(error).toMatchObject({
        code: "LOCK_REQUEST",
        cause,
        message: `UpdateItem on table t failed: ${name}: details`,
      });
      expect(types()).toEqual([]);
    },
  );

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

describe("a listener or a logger that throws", () => {
  it("doesn't break the run", async () => {
    const client = new DynamoDBClient({ region: "eu-west-1" });
    mockClient(client).on(UpdateItemCommand).resolves({});
    const warnings: Error[] = [];
    const listen = (warning: Error) => warnings.push(warning);
    process.on("warning", listen);
    const locks = new LockClient({
      client,
      onEvent: () => {
        throw new Error("listener broke");
      },
    });
    expect(await locks.once("a", () => 1)).toBe(1);
    await new Promise(setImmediate); // warnings are emitted on the next tick
    process.off("warning", listen);
    expect(warnings.map(({ message }) => message)).toEqual(["listener broke", "listener broke"]);
  });
});

describe("a connection that hangs", () => {
  let server: Server | undefined;
  afterEach(() => server?.closeAllConnections());

  it("can't eat the invocation: three attempts of a second, and one to give back what they may have taken", async () => {
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
    expect(requests).toBe(4);
    await locks.close();
    server.close();
  });
});
