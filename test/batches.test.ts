/** Every example of docs/batches.md is a module in `batches/`, to the letter, and does here what the page says it does. */
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import type { Context } from "aws-lambda";
import { describe, expect, it, vi } from "vitest";
import { createLockTable, LockClient } from "../src/index.ts";
import { failures, kinesisRecord, sqsRecord } from "./support/batches.ts";
import { localConfig } from "./support/dynamodb.ts";
import { expectExamples, runExamples } from "./support/examples.ts";
import { lambdaContext } from "./support/lambda.ts";

const domain = {
  shipOrder: vi.fn(async (_body: string) => {}),
  isRejected: vi.fn((error: Error) => error.message === "rejected"),
  book: vi.fn(async (_body: string) => {}),
  storeReading: vi.fn(async (_data: Buffer) => {}),
  notify: vi.fn(async () => {}),
  indexObject: vi.fn(async () => {}),
};
runExamples(domain);

type Handler = (event: unknown, context: Context) => Promise<unknown>;
const load = async (name: string): Promise<(event: unknown) => Promise<unknown>> => {
  const { handler } = (await import(`./batches/${name}.ts`)) as { handler: Handler };
  return (event) => handler(event, lambdaContext({ functionName: name, timeoutMs: 60_000 }));
};
const message = (id: string, body: object, group?: string) => ({
  ...sqsRecord(id, "", { group }),
  body: JSON.stringify(body),
});
const recordOf = (name: string, key: string) => new LockClient({ namespace: name }).get(key);

it("has each example, and no other", () => expectExamples("docs/batches.md", "batches"));

describe("the examples of batches", () => {
  it("final-failure: what is rejected is remembered, and acknowledged; what failed otherwise comes back", async () => {
    const handler = await load("final-failure");
    const event = { Records: ["o1", "o2", "o3"].map((orderId) => message(orderId, { orderId })) };
    domain.shipOrder.mockRejectedValueOnce(new Error("rejected")).mockRejectedValueOnce(new Error("busy"));
    expect(await handler(event)).toEqual(failures("o2"));
    expect(await recordOf("orders", "o1")).toMatchObject({
      status: "FINISHED",
      failure: { message: "rejected" },
    });
    expect(await handler(event)).toEqual(failures());
    expect(domain.shipOrder).toHaveBeenCalledTimes(4);
  });

  it("commit: each payment once, and none with another amount", async () => {
    const client = new DynamoDBClient(localConfig());
    await createLockTable(client, { tableName: "balances", keyAttribute: "id" }); // any table with a partition key `id`
    const handler = await load("commit");
    const payment = (id: string, cents: number) => message(id, { id, account: "savings", cents });
    expect(await handler({ Records: [payment("p1", 100), payment("p2", 50)] })).toEqual(failures());
    expect(await handler({ Records: [payment("p1", 100), payment("p2", 51), payment("p3", 7)] })).toEqual(
      failures("p2"),
    );
    const { GetItemCommand } = await import("@aws-sdk/client-dynamodb");
    const { Item } = await client.send(new GetItemCommand({ TableName: "balances", Key: { id: { S: "savings" } } }));
    expect(Item?.cents).toEqual({ N: "157" });
  });

  it("with-lock-batch: the same around a plain handler", async () => {
    const handler = await load("with-lock-batch");
    const event = { Records: ["o1", "o2"].map((orderId) => message(orderId, { orderId })) };
    domain.shipOrder.mockClear();
    domain.shipOrder.mockRejectedValueOnce(new Error("busy"));
    expect(await handler(event)).toEqual(failures("o1"));
    expect(await handler(event)).toEqual(failures());
    expect(domain.shipOrder).toHaveBeenCalledTimes(3);
  });

  it("fifo: a group stops at its first failure, and goes on from there", async () => {
    const handler = await load("fifo");
    const movements = ["r1", "r2", "r3"].map((movementId) => message(movementId, { movementId }, "red"));
    const event = { Records: [...movements, message("b1", { movementId: "b1" }, "blue")] };
    domain.book.mockResolvedValueOnce().mockRejectedValueOnce(new Error("no stock"));
    expect(await handler(event)).toEqual(failures("r2", "r3"));
    expect(await handler({ Records: movements.slice(1) })).toEqual(failures());
    const booked = domain.book.mock.calls.map(([body]) => JSON.parse(body).movementId);
    expect(booked).toEqual(["r1", "r2", "b1", "r2", "r3"]);
  });

  it("stream: waits for what is held, stops at its first failure, and goes on from there", async () => {
    const handler = await load("stream");
    const reading = (sequenceNumber: string, readingId: string) => {
      const record = kinesisRecord(sequenceNumber, "");
      const data = Buffer.from(JSON.stringify({ readingId })).toString("base64");
      return { ...record, kinesis: { ...record.kinesis, data } };
    };
    const Records = [reading("1", "r1"), reading("2", "r2"), reading("3", "r3")];
    const lock = await new LockClient({ namespace: "stream" }).acquire("r1");
    setTimeout(() => void lock.release(), 100);
    domain.storeReading.mockResolvedValueOnce().mockRejectedValueOnce(new Error("no connection"));
    expect(await handler({ Records })).toEqual(failures("2"));
    expect(await handler({ Records: Records.slice(1) })).toEqual(failures());
    const stored = domain.storeReading.mock.calls.map(([data]) => JSON.parse(data.toString()).readingId);
    expect(stored).toEqual(["r1", "r2", "r2", "r3"]);
  });

  it.each(["sqs-partial-batch-failure", "powertools-batch"])(
    "%s: what fails comes back, and only that runs again",
    async (name) => {
      vi.spyOn(console, "error").mockImplementation(() => {});
      const handler = await load(name);
      const event = { Records: ["o1", "o2"].map((orderId) => message(orderId, { orderId })) };
      domain.shipOrder.mockRejectedValueOnce(new Error("busy"));
      expect(await handler(event)).toEqual(failures("o1"));
      expect(await handler(event)).toEqual(failures());
      expect(domain.shipOrder).toHaveBeenCalledTimes(3);
    },
  );

  it("eventbridge: once for each event", async () => {
    const handler = await load("eventbridge");
    const event = (id: string) => ({ id, "detail-type": "OrderPlaced", detail: { orderId: "o1" } });
    for (const id of ["e1", "e1", "e2"]) await handler(event(id));
    expect(domain.notify.mock.calls).toEqual([[{ orderId: "o1" }], [{ orderId: "o1" }]]);
  });

  it("sns: once for each message", async () => {
    const handler = await load("sns");
    const event = (MessageId: string) => ({
      Records: [{ EventSource: "aws:sns", Sns: { MessageId, Message: '{"orderId":"o1"}' } }],
    });
    for (const id of ["n1", "n1", "n2"]) await handler(event(id));
    expect(domain.notify.mock.calls).toEqual([[{ orderId: "o1" }], [{ orderId: "o1" }]]);
  });

  it("s3: once for each change of an object, however long its key", async () => {
    const handler = await load("s3");
    const event = (sequencer: string, key = "reports/caf%C3%A9+2026.pdf") => ({
      Records: [{ eventSource: "aws:s3", s3: { bucket: { name: "archive" }, object: { key, sequencer } } }],
    });
    for (const sequencer of ["0055AED6DCD90281E5", "0055AED6DCD90281E5", "0055AED6DCD90281E6"]) {
      await handler(event(sequencer));
    }
    expect(domain.indexObject.mock.calls).toEqual(Array(2).fill(["archive", "reports/café 2026.pdf"]));
    await handler(event("0055AED6DCD90281E7", "%E6%97%A5".repeat(341)));
    expect(domain.indexObject).toHaveBeenCalledTimes(3);
  });

  it("s3-through-sqs: once for each change of an object, however it came, and nothing for the test of S3", async () => {
    const handler = await load("s3-through-sqs");
    domain.indexObject.mockClear();
    const s3 = (sequencer: string) => ({
      Records: [{ eventSource: "aws:s3", s3: { bucket: { name: "archive" }, object: { key: "a+b.pdf", sequencer } } }],
    });
    const test = { Service: "Amazon S3", Event: "s3:TestEvent", Bucket: "archive" };
    const envelope = (sent: object) => ({ Type: "Notification", MessageId: "n1", Message: JSON.stringify(sent) });
    const bodies = [s3("01"), envelope(s3("01")), envelope(s3("02")), test, envelope(test), s3("02"), { Records: [] }];
    const event = { Records: bodies.map((body, index) => message(`q${index}`, body)) };
    expect(await handler(event)).toEqual(failures());
    expect(domain.indexObject.mock.calls).toEqual(Array(2).fill(["archive", "a b.pdf"]));
    domain.indexObject.mockRejectedValueOnce(new Error("busy"));
    expect(await handler({ Records: [message("q8", s3("03")), message("q9", envelope(s3("03")))] })).toEqual(
      failures("q8", "q9"),
    );
  });
});
