import { randomUUID } from "node:crypto";
import type { APIGatewayProxyEventV2, SQSEvent } from "aws-lambda";
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

describe("order", () => {
  const withBody = (body: unknown, messageId: string = randomUUID()): SQSEvent => ({
    Records: eventFile("OrderFunction").Records.map((record) => ({ ...record, messageId, body: JSON.stringify(body) })),
  });
  const order = { orderId: "order-1", item: "coffee grinder", quantity: 1 };

  it("is shipped from the sample event, and not again from its redelivery", async () => {
    await app.invoke("OrderFunction", eventFile("OrderFunction"));
    expect(app.wire.actions).toHaveLength(2);
    await app.invoke("OrderFunction", eventFile("OrderFunction"));
    expect(app.wire.actions).toHaveLength(2 + 1);
    expect(await app.table.item("OrderFunction#order-1042")).toMatchObject({ status: { S: "FINISHED" } });
  });

  it("that the producer sent twice, as two messages, is shipped once", async () => {
    await app.invoke("OrderFunction", withBody(order));
    const shipped = await app.table.item("OrderFunction#order-1");
    await app.invoke("OrderFunction", withBody(order));
    expect(await app.table.item("OrderFunction#order-1")).toEqual(shipped);
  });

  it("whose shipment is under way goes back to the queue", async () => {
    const event = withBody({ ...order, orderId: "order-2" });
    app.wire.meet();
    const outcomes = await Promise.allSettled([app.invoke("OrderFunction", event), app.invoke("OrderFunction", event)]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  it.each([
    ["two records", { Records: [...withBody(order).Records, ...withBody(order).Records] }, /BatchSize/],
    ["a body without an order id", withBody({ item: "coffee grinder" }), /key is missing/],
  ])("with %s is refused, and nothing is written", async (_, event, message) => {
    await expect(app.invoke("OrderFunction", event)).rejects.toThrow(message);
    expect(app.wire.actions).toEqual([]);
  });
});

describe("payment", () => {
  const sample = eventFile("PaymentFunction");
  const withKey = (key: string, body = sample.body): APIGatewayProxyEventV2 => ({
    ...sample,
    headers: { ...sample.headers, "idempotency-key": key },
    ...(body !== undefined && { body }),
  });

  it("is made once: a repeat of the sample event gets the first response", async () => {
    const response = await app.invoke("PaymentFunction", sample);
    expect(response).toMatchObject({ statusCode: 200, headers: { "content-type": "application/json" } });
    expect(JSON.parse(response.body ?? "")).toEqual({ paymentId: expect.any(String), amount: 1250, currency: "EUR" });
    expect(await app.invoke("PaymentFunction", sample)).toEqual(response);
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
      body: expect.stringContaining("key is missing"),
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
