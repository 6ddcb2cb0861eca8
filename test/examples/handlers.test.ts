import { randomUUID } from "node:crypto";
import type { APIGatewayProxyEventV2, KinesisStreamEvent, KinesisStreamRecord, SQSEvent, SQSRecord } from "aws-lambda";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { deploy, eventFile } from "./deploy.ts";

let app: Awaited<ReturnType<typeof deploy>>;
beforeAll(async () => {
  app = await deploy();
});
beforeEach(() => {
  app.wire.actions.length = 0;
});
afterAll(() => app.close());

describe("report", () => {
  const event = eventFile("ReportFunction");

  it("is made once for a date: a repeat, an hour later too, gets the same one", async () => {
    const report = await app.invoke("ReportFunction", event);
    expect(report).toMatchObject({ date: "2026-11-21", reportId: expect.any(String) });
    expect(await app.invoke("ReportFunction", event)).toEqual(report);
    expect(await app.invoke("ReportFunction", { ...event, time: "2026-11-21T07:00:00Z" })).toEqual(report);
    expect(app.wire.actions).toHaveLength(2 + 1 + 1);
  });

  it("is made anew for another date", async () => {
    const report = await app.invoke("ReportFunction", event);
    const next = await app.invoke("ReportFunction", { ...event, time: "2026-11-22T06:00:00Z" });
    expect(next.date).toBe("2026-11-22");
    expect(next.reportId).not.toBe(report.reportId);
  });

  it("is made by one of two at the same time; the other is refused, to be tried again", async () => {
    const another = { ...event, time: "2026-11-23T06:00:00Z" };
    app.wire.meet();
    const outcomes = await Promise.allSettled([
      app.invoke("ReportFunction", another),
      app.invoke("ReportFunction", another),
    ]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(outcomes.find(({ status }) => status === "rejected")).toMatchObject({ reason: { code: "LOCK_HELD" } });
  });
});

/** Messages as the sample event has them, one for each body. */
const messages = (name: "OrderFunction" | "StockFunction", bodies: object[]): SQSEvent => ({
  Records: bodies.map((body, index) => {
    const [sample] = eventFile(name).Records as [SQSRecord];
    const attributes = { ...sample.attributes, SequenceNumber: `${18849496460467696128n + BigInt(index)}` };
    const { item } = body as { item?: string };
    return {
      ...sample,
      messageId: randomUUID(),
      body: JSON.stringify(body),
      attributes: name === "StockFunction" ? { ...attributes, MessageGroupId: `${item}` } : sample.attributes,
    };
  }),
});
const failures = (records: readonly SQSRecord[]) => ({
  batchItemFailures: records.map(({ messageId }) => ({ itemIdentifier: messageId })),
});
const none = { batchItemFailures: [] };

describe("order", () => {
  const order = (orderId: string) => ({ orderId, item: "coffee grinder", quantity: 1 });
  const messagesOf = (...orders: object[]) => messages("OrderFunction", orders);

  it("each is shipped from the sample event, and not again from its redelivery", async () => {
    expect(await app.invoke("OrderFunction", eventFile("OrderFunction"))).toEqual(none);
    expect(app.wire.actions).toEqual(["dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate"]);
    expect(await app.invoke("OrderFunction", eventFile("OrderFunction"))).toEqual(none);
    expect(app.wire.actions.slice(2)).toEqual(["dynamodb:PartiQLInsert", "dynamodb:BatchGetItem"]);
    expect(await app.table.item("orders#order-1042")).toMatchObject({ status: { S: "FINISHED" } });
    expect(await app.table.item("orders#order-1043")).toMatchObject({ status: { S: "FINISHED" } });
  });

  it("that the producer sent twice, as two messages, is shipped once", async () => {
    await app.invoke("OrderFunction", messagesOf(order("order-1")));
    const shipped = await app.table.item("orders#order-1");
    expect(await app.invoke("OrderFunction", messagesOf(order("order-1")))).toEqual(none);
    expect(await app.table.item("orders#order-1")).toEqual(shipped);
  });

  it("whose shipment is under way goes back to the queue; the others of its batch are shipped", async () => {
    await app.underWay("OrderFunction", "order-2");
    const event = messagesOf(order("order-2"), order("order-3"));
    expect(await app.invoke("OrderFunction", event)).toEqual(failures(event.Records.slice(0, 1)));
    expect(await app.table.item("orders#order-3")).toMatchObject({ status: { S: "FINISHED" } });
  });

  it("of two deliveries at the same time, one ships it", async () => {
    const [one, other] = [messagesOf(order("order-4")), messagesOf(order("order-4"))];
    app.wire.meet();
    const responses = await Promise.all([app.invoke("OrderFunction", one), app.invoke("OrderFunction", other)]);
    expect(responses.filter(({ batchItemFailures }) => batchItemFailures.length === 0)).toHaveLength(1);
  });
});

describe("stock", () => {
  let movements = 0;
  const movement = (item: string, quantity = 1) => ({ movementId: `movement-${++movements}-of-test`, item, quantity });
  const statuses = async (bodies: { movementId: string }[]) => {
    const items = bodies.map(({ movementId }) => app.table.item(`stock#${movementId}`));
    return (await Promise.all(items)).map((item) => item?.status?.S);
  };

  it("is moved once by the sample event, however often that comes", async () => {
    expect(await app.invoke("StockFunction", eventFile("StockFunction"))).toEqual(none);
    // The two of one item are finished one after the other.
    expect(app.wire.actions).toEqual(["dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate", "dynamodb:UpdateItem"]);
    expect(await app.invoke("StockFunction", eventFile("StockFunction"))).toEqual(none);
    expect(app.wire.actions.slice(3)).toEqual(["dynamodb:PartiQLInsert", "dynamodb:BatchGetItem"]);
  });

  it("of an item waits behind a movement that fails; that of others doesn't", async () => {
    const bodies = [
      movement("kettle"),
      movement("kettle", 0.5),
      movement("mill"),
      movement("kettle"),
      movement("mill"),
    ];
    const event = messages("StockFunction", bodies);
    const [, fails, , behind] = event.Records as [SQSRecord, SQSRecord, SQSRecord, SQSRecord];
    expect(await app.invoke("StockFunction", event)).toEqual(failures([fails, behind]));
    expect(await statuses(bodies)).toEqual(["FINISHED", "RELEASED", "FINISHED", "RELEASED", "FINISHED"]);
  });

  it("of an item waits behind a movement that another invocation is booking", async () => {
    const bodies = [movement("pot"), movement("jug"), movement("pot")];
    await app.underWay("StockFunction", bodies[0]?.movementId as string);
    const event = messages("StockFunction", bodies);
    const [held, , behind] = event.Records as [SQSRecord, SQSRecord, SQSRecord];
    expect(await app.invoke("StockFunction", event)).toEqual(failures([held, behind]));
    expect((await statuses(bodies))[1]).toBe("FINISHED");
    expect((await statuses(bodies))[2]).not.toBe("FINISHED");
  });
});

describe("readings", () => {
  const sample = eventFile("ReadingFunction");
  const readingsOf = (...readings: { readingId: string; kWh: number }[]): KinesisStreamEvent => ({
    Records: readings.map((reading, index) => {
      const [record] = sample.Records as [KinesisStreamRecord];
      const sequenceNumber = `${BigInt(record.kinesis.sequenceNumber) + BigInt(index)}`;
      const data = Buffer.from(JSON.stringify({ meter: "meter-17", ...reading })).toString("base64");
      return {
        ...record,
        eventID: `shardId-000000000006:${sequenceNumber}`,
        kinesis: { ...record.kinesis, sequenceNumber, data },
      };
    }),
  });

  it("are stored once from the sample event, and not again when the shard is read again", async () => {
    expect(await app.invoke("ReadingFunction", sample)).toEqual(none);
    expect(app.wire.actions).toEqual(["dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate", "dynamodb:UpdateItem"]);
    expect(await app.invoke("ReadingFunction", sample)).toEqual(none);
    expect(app.wire.actions.slice(3)).toEqual(["dynamodb:PartiQLInsert", "dynamodb:BatchGetItem"]);
  });

  it("stop at the first that fails, from where the shard is retried", async () => {
    const event = readingsOf(
      { readingId: "good", kWh: 1 },
      { readingId: "bad", kWh: -1 },
      { readingId: "behind", kWh: 1 },
    );
    expect(await app.invoke("ReadingFunction", event)).toEqual({
      batchItemFailures: [{ itemIdentifier: event.Records[1]?.kinesis.sequenceNumber }],
    });
    expect(await app.table.item("readings#good")).toMatchObject({ status: { S: "FINISHED" } });
    expect(await app.table.item("readings#behind")).toMatchObject({ status: { S: "RELEASED" } });
  });

  it("wait for one that another invocation is storing", async () => {
    const other = await app.underWay("ReadingFunction", "held");
    const event = readingsOf({ readingId: "held", kWh: 1 }, { readingId: "next", kWh: 1 });
    const response = app.invoke("ReadingFunction", event);
    await other.finish();
    expect(await response).toEqual(none);
  });

  it("ahead of one that another invocation goes on storing are stored, when half of the timeout is left", async () => {
    await app.underWay("ReadingFunction", "kept");
    const event = readingsOf({ readingId: "ahead", kWh: 1 }, { readingId: "kept", kWh: 1 });
    expect(await app.invoke("ReadingFunction", event, { timeoutMs: 30_800 })).toEqual({
      batchItemFailures: [{ itemIdentifier: event.Records[1]?.kinesis.sequenceNumber }],
    });
    expect(await app.table.item("readings#ahead")).toMatchObject({ status: { S: "FINISHED" } });
  });
});

describe("payment", () => {
  const sample = eventFile("PaymentFunction");
  const withKey = (key: string, body = sample.body): APIGatewayProxyEventV2 => ({
    ...sample,
    headers: { ...sample.headers, "idempotency-key": key },
    ...(body !== undefined && { body }),
  });

  it("is made once: a repeat of the sample event gets the first response, and another amount none", async () => {
    const response = await app.invoke("PaymentFunction", sample);
    expect(response).toMatchObject({ statusCode: 200, headers: { "content-type": "application/json" } });
    expect(JSON.parse(response.body ?? "")).toEqual({ paymentId: expect.any(String), amount: 1250, currency: "EUR" });
    const replayed = { ...response, headers: { ...response.headers, "Idempotent-Replayed": "true" } };
    expect(await app.invoke("PaymentFunction", sample)).toEqual(replayed);
    expect(await app.invoke("PaymentFunction", { ...sample, body: '{"amount":1,"currency":"EUR"}' })).toMatchObject({
      statusCode: 422,
    });
  });

  it("is refused with 409 while the same one is under way", async () => {
    app.wire.meet();
    const responses = await Promise.all([
      app.invoke("PaymentFunction", withKey("concurrent")),
      app.invoke("PaymentFunction", withKey("concurrent")),
    ]);
    expect(responses.map(({ statusCode }) => statusCode).sort()).toEqual([200, 409]);
  });

  it("without the header is refused with 400, and nothing is written", async () => {
    const { "idempotency-key": _, ...headers } = sample.headers;
    expect(await app.invoke("PaymentFunction", { ...sample, headers })).toMatchObject({
      statusCode: 400,
      body: expect.stringContaining("The header Idempotency-Key is missing"),
    });
    expect(app.wire.actions).toEqual([]);
  });

  it("that was wrong can be corrected under the same key", async () => {
    expect(await app.invoke("PaymentFunction", withKey("corrected", '{"amount":0}'))).toMatchObject({
      statusCode: 400,
    });
    expect(await app.invoke("PaymentFunction", withKey("corrected"))).toMatchObject({ statusCode: 200 });
  });
});
