/** Every example of the README is a module in `readme/`, to the letter, and does here what the README says it does. */
import { CreateTableCommand, DescribeTableCommand, DynamoDBClient, ScanCommand } from "@aws-sdk/client-dynamodb";
import type { Context } from "aws-lambda";
import { describe, expect, it, vi } from "vitest";
import { failures, sqsRecord } from "./support/batches.ts";
import { localConfig } from "./support/dynamodb.ts";
import { expectExamples, runExamples } from "./support/examples.ts";
import { lambdaContext } from "./support/lambda.ts";

const domain = {
  makeReport: vi.fn(async () => ({ lines: 3 })),
  syncTenant: vi.fn(async () => {}),
  charge: vi.fn(async (..._of: unknown[]) => ({ paymentId: `payment-${domain.charge.mock.calls.length}` })),
  ship: vi.fn(async () => {}),
  save: vi.fn(async () => {}),
  recount: vi.fn(async () => {}),
  makeInvoice: vi.fn(async () => "invoice"),
  transfer: vi.fn(async () => {}),
  sendMail: vi.fn(async () => {}),
  exportOrder: vi.fn(async () => {}),
};

runExamples(domain);

// biome-ignore lint/suspicious/noExplicitAny: every example has its own event
type Handler = (event: any, context: Context) => Promise<any>;
const load = async (name: string): Promise<Handler> => (await import(`./readme/${name}.ts`)).handler;

it("has each example, and no other", () => expectExamples("README.md", "readme"));

const paid = (headers: Record<string, string>, body = "{}") => ({
  rawPath: "/payments",
  headers,
  requestContext: { http: { method: "POST" }, authorizer: { jwt: { claims: { sub: "ann" } } } },
  body,
});

describe("the README's examples", () => {
  it("report: once per day, and a repeat gets the first response", async () => {
    const handler = await load("report");
    const event = { time: "2026-11-21T06:00:00Z" };
    expect(await handler(event, lambdaContext())).toEqual({ lines: 3 });
    expect(await handler(event, lambdaContext())).toEqual({ lines: 3 });
    expect(await handler({ time: "2026-11-22T06:00:00Z" }, lambdaContext())).toEqual({ lines: 3 });
    expect(domain.makeReport).toHaveBeenCalledTimes(2);
  });

  it("once-at-a-time: a concurrent one waits, and then runs", async () => {
    const handler = await load("once-at-a-time");
    let running = 0;
    domain.syncTenant.mockImplementation(async () => {
      expect(++running).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, 50));
      running--;
    });
    await Promise.all([1, 2, 3].map(() => handler({ tenant: "a" }, lambdaContext())));
    expect(domain.syncTenant).toHaveBeenCalledTimes(3);
  });

  it("semaphore: as many as it permits at once, and the others wait", async () => {
    const handler = await load("semaphore");
    let running = 0;
    let most = 0;
    domain.exportOrder.mockImplementation(async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 300));
      running--;
    });
    await Promise.all(Array.from({ length: 7 }, (_, n) => handler({ orderId: `o${n}` }, lambdaContext())));
    expect(domain.exportOrder).toHaveBeenCalledTimes(7);
    expect(most).toBe(5);
  });

  it("payment: a repeat gets the first response, a concurrent one 409, another body 422, a missing header 400", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const handler = await load("payment");
    const pay = (headers: Record<string, string>, body = "{}") => handler(paid(headers, body), lambdaContext());
    const started = Promise.withResolvers<void>();
    const finish = Promise.withResolvers<void>();
    domain.charge.mockImplementationOnce(async () => {
      started.resolve();
      await finish.promise;
      return { paymentId: "payment-1" };
    });
    const first = pay({ "idempotency-key": "k1" });
    await started.promise;
    expect(await pay({ "idempotency-key": "k1" })).toMatchObject({ statusCode: 409 });
    finish.resolve();
    const response = { statusCode: 201, body: '{"paymentId":"payment-1"}' };
    expect(await first).toEqual(response);
    const replayed = { ...response, headers: { "Idempotent-Replayed": "true" } };
    expect(await pay({ "idempotency-key": "k1" })).toEqual(replayed);
    expect(await pay({ "idempotency-key": "k1" }, '{"cents":1}')).toMatchObject({ statusCode: 422 });
    expect(await pay({})).toMatchObject({ statusCode: 400 });
    expect(domain.charge.mock.calls).toEqual([["{}", { idempotencyKey: expect.stringMatching(/^[\w-]{43}$/) }]]);
  });

  it("payment: a run after a crash gives the provider the same idempotency key", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const handler = await load("payment");
    const pay = () => handler(paid({ "idempotency-key": "k2" }), lambdaContext());
    domain.charge.mockRejectedValueOnce(new Error("charged, and then: no connection"));
    expect(await pay()).toMatchObject({ statusCode: 500 });
    expect(await pay()).toMatchObject({ statusCode: 201 });
    const [one, other] = domain.charge.mock.calls;
    expect(one).toEqual(other);
  });

  it("order: each order of a batch once; what fails comes back, and only that runs again", async () => {
    const handler = await load("order");
    const event = {
      Records: ["o1", "o2"].map((orderId) => ({ ...sqsRecord(orderId, ""), body: `{"orderId":"${orderId}"}` })),
    };
    domain.ship.mockRejectedValueOnce(new Error("busy"));
    expect(await handler(event, lambdaContext())).toEqual(failures("o1"));
    expect(await handler(event, lambdaContext())).toEqual(failures());
    expect(domain.ship).toHaveBeenCalledTimes(3);
  });

  it("exactly-once: a repeat moves no money, another amount under the same id is refused", async () => {
    const client = new DynamoDBClient(localConfig());
    const accounts = { TableName: "accounts", BillingMode: "PAY_PER_REQUEST" } as const;
    await client.send(
      new CreateTableCommand({
        ...accounts,
        AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
        KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
      }),
    );
    const handler = await load("exactly-once");
    const detail = { id: "t1", from: "a", to: "b", cents: 500 };
    for (let n = 0; n < 2; n++) expect(await handler({ detail }, lambdaContext())).toEqual({ transferred: 500 });
    const other = handler({ detail: { ...detail, cents: 5 } }, lambdaContext());
    await expect(other).rejects.toMatchObject({ name: "PayloadMismatchError", statusCode: 422 });
    const { Items = [] } = await client.send(new ScanCommand({ TableName: "accounts" }));
    expect(Items.map(({ id, cents }) => [id?.S, cents?.N]).sort()).toEqual([
      ["a", "-500"],
      ["b", "500"],
    ]);
  });

  it("with-lock: the same around a plain handler", async () => {
    const handler = await load("with-lock");
    const event = { id: "e1", detail: { orderId: "o1" } };
    await handler(event, lambdaContext());
    await handler(event, lambdaContext());
    expect(domain.save.mock.calls).toEqual([["o1", { fence: expect.any(Number) }]]);
  });

  it("table: makes it", async () => {
    await import("./readme/table.ts");
    const { Table } = await new DynamoDBClient(localConfig()).send(
      new DescribeTableCommand({ TableName: "dynamo-locks" }),
    );
    expect(Table?.TableStatus).toBe("ACTIVE");
  });

  it("operate: breaks what one function holds, and tells its holder by whom and why", async () => {
    const { LockClient } = await import("../src/index.ts");
    const report = await new LockClient({ namespace: "report" }).acquire("k");
    const other = await new LockClient({ namespace: "other" }).acquire("k");
    await import("./readme/operate.ts");
    await expect(report.release()).rejects.toMatchObject({ reason: "broken", by: "ann", why: "the deployment hangs" });
    await other.release();
  });

  it("client: runs each part once, and leaves nothing held", async () => {
    await import("./readme/client.ts");
    for (const work of [domain.recount, domain.makeInvoice, domain.transfer, domain.sendMail]) {
      expect(work).toHaveBeenCalledTimes(1);
    }
    expect(domain.sendMail).toHaveBeenCalledWith("invoice");
  });
});
