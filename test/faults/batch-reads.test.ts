/** Keys that a batch leaves unread: throttling, which no engine can be made to do. */
import { BatchGetItemCommand, DynamoDBClient, DynamoDBServiceException } from "@aws-sdk/client-dynamodb";
import { mockClient } from "aws-sdk-client-mock";
import { describe, expect, it } from "vitest";
import { readMany } from "../../src/dynamodb/read-many.ts";
import { LockClient } from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { locksOf } from "../support/locks.ts";

const keys = ["a", "b", "c"];
const item = (key: string) => ({
  lock_id: { S: key },
  status: { S: "IN_PROGRESS" },
  owner_id: { S: "o" },
  token: { S: `token of ${key}` },
  fence: { N: "1" },
  lease_ms: { N: "1" },
  expires_at: { N: "1" },
  acquired_at: { N: "1" },
  updated_at: { N: "1" },
});
const reply = (read: string[], unread: string[]) => ({
  Responses: { t: read.map(item) },
  UnprocessedKeys: { t: { Keys: unread.map((key) => ({ lock_id: { S: key } })), ConsistentRead: true } },
});

const setUp = () => {
  const client = new DynamoDBClient({ region: "eu-west-1" });
  const clock = manualClock();
  const delays: number[] = [];
  const { sleep } = clock;
  clock.sleep = (ms, signal) => {
    delays.push(ms);
    return sleep(ms, signal);
  };
  const locks = locksOf(new LockClient({ client, tableName: "t", clock }));
  const mock = mockClient(client);
  const asked = () =>
    mock
      .commandCalls(BatchGetItemCommand)
      .map(({ args }) => args[0].input.RequestItems?.t?.Keys?.map((key) => key.lock_id?.S));
  const read = (wanted: string[], signal?: AbortSignal) => readMany(locks, wanted, signal);
  return { read, mock, delays, asked };
};

const throttled = new DynamoDBServiceException({
  name: "ProvisionedThroughputExceededException",
  message: "too much",
  $fault: "client",
  $metadata: { httpStatusCode: 400 },
});

describe("a batch that is refused", () => {
  it("for a reason that passes is asked for again, and given up with that error when it doesn't", async () => {
    const { read, mock, delays } = setUp();
    mock.on(BatchGetItemCommand).rejectsOnce(throttled).resolves(reply(keys, []));
    expect(await read(keys)).toHaveLength(3);
    expect(delays).toHaveLength(1);
    mock.on(BatchGetItemCommand).rejects(throttled);
    await expect(read(keys)).rejects.toMatchObject({ code: "LOCK_REQUEST", cause: throttled });
    expect(delays).toHaveLength(1 + 8);
  });

  it("for a reason that doesn't is an error at once", async () => {
    const { read, mock, delays } = setUp();
    mock.on(BatchGetItemCommand).rejects(Object.assign(new Error("no"), { name: "AccessDeniedException" }));
    await expect(read(keys)).rejects.toThrow("Allow dynamodb:BatchGetItem on table t");
    expect(delays).toEqual([]);
  });
});

describe("keys that a batch leaves unread", () => {
  it("are asked for again, after a pause", async () => {
    const { read, mock, delays, asked } = setUp();
    mock
      .on(BatchGetItemCommand)
      .resolvesOnce(reply(["b"], ["a", "c"]))
      .resolvesOnce(reply(["a"], ["c"]))
      .resolves(reply(["c"], []));
    expect((await read(keys)).map(({ key }) => key)).toEqual(["b", "a", "c"]);
    expect(asked()).toEqual([["a", "b", "c"], ["a", "c"], ["c"]]);
    expect(delays).toHaveLength(2);
  });

  it("go into the next batch, when there is one", async () => {
    const { read, mock, asked } = setUp();
    const many = Array.from({ length: 150 }, (_, i) => `k${i}`);
    mock
      .on(BatchGetItemCommand)
      .resolvesOnce(reply(many.slice(0, 99), ["k99"]))
      .resolves(reply(many.slice(99), []));
    expect(await read(many)).toHaveLength(150);
    expect(asked()[1]).toEqual(many.slice(99));
  });

  it("are given up, with an error, when none is ever read", async () => {
    const { read, mock, delays } = setUp();
    mock.on(BatchGetItemCommand).resolves(reply([], keys));
    await expect(read(keys)).rejects.toMatchObject({
      code: "LOCK_REQUEST",
      message: "BatchGetItem read none of 3 keys, 9 times",
    });
    expect(delays).toHaveLength(8);
    expect(Math.max(...delays)).toBeLessThanOrEqual(2_000);
  });

  it("are no reason to outstay the signal", async () => {
    const { read, mock } = setUp();
    const controller = new AbortController();
    mock.on(BatchGetItemCommand).callsFake(async () => {
      controller.abort(new Error("enough"));
      return reply([], keys);
    });
    await expect(read(keys, controller.signal)).rejects.toThrow("enough");
  });
});
