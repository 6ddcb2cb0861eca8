/** Every example of docs/middy.md is a module in `examples/`, to the letter, and does here what the page says it does. */
import { setTimeout } from "node:timers/promises";
import type { Context } from "aws-lambda";
import { describe, expect, it, vi } from "vitest";
import { expectExamples, runExamples } from "../support/examples.ts";
import { lambdaContext } from "../support/lambda.ts";

const domain = {
  charge: vi.fn(async () => ({ paymentId: "payment-1" })),
  makeReport: vi.fn(async () => ({ lines: 3 })),
  syncTenant: vi.fn(async () => {}),
};
runExamples(domain);
vi.spyOn(console, "error").mockImplementation(() => {}); // of httpErrorHandler

type Handler = (event: unknown, context: Context) => Promise<{ headers: Record<string, string> }>;
const load = async (name: string): Promise<Handler> => (await import(`./examples/${name}.ts`)).handler;

it("has each example, and no other", () => expectExamples("docs/middy.md", "invocation/examples"));

describe("around-middy", () => {
  const request = (key: string | undefined, body = "{}") => ({
    headers: { ...(key !== undefined && { "idempotency-key": key }), origin: "https://shop.example" },
    requestContext: { http: { method: "POST" } },
    body,
  });

  it("a repeat has what the other middlewares added, and says that it is one", async () => {
    const handler = await load("around-middy");
    const first = await handler(request("k1"), lambdaContext());
    expect(first).toMatchObject({ statusCode: 201, headers: { "Access-Control-Allow-Origin": expect.anything() } });
    const replayed = { ...first, headers: { ...first.headers, "Idempotent-Replayed": "true" } };
    expect(await handler(request("k1"), lambdaContext())).toEqual(replayed);
    expect(domain.charge.mock.calls).toEqual([["{}", { idempotencyKey: "payments#k1" }]]);
  });

  it("a concurrent repeat gets 409, another body 422, a missing header 400, all of them with CORS headers", async () => {
    const handler = await load("around-middy");
    const started = Promise.withResolvers<void>();
    const finish = Promise.withResolvers<void>();
    domain.charge.mockImplementationOnce(async () => {
      started.resolve();
      await finish.promise;
      return { paymentId: "payment-2" };
    });
    const first = handler(request("k2"), lambdaContext());
    await started.promise;
    const headers = { "Access-Control-Allow-Origin": "https://shop.example" };
    expect(await handler(request("k2"), lambdaContext())).toMatchObject({ statusCode: 409, headers });
    expect(await handler(request("k2", "{1}"), lambdaContext())).toMatchObject({ statusCode: 422, headers });
    expect(await handler(request(undefined), lambdaContext())).toMatchObject({ statusCode: 400, headers });
    finish.resolve();
    expect(await first).toMatchObject({ statusCode: 201, headers });
  });

  it("a handler that runs into the timeout keeps its key", async () => {
    const handler = await load("around-middy");
    const finish = Promise.withResolvers<{ paymentId: string }>();
    domain.charge.mockImplementationOnce(() => finish.promise);
    expect(await handler(request("k3"), lambdaContext({ timeoutMs: 300 }))).toMatchObject({ statusCode: 500 });
    await setTimeout(50); // in which an early timeout of the inner one would have freed it
    expect(await handler(request("k3"), lambdaContext())).toMatchObject({ statusCode: 409 });
    finish.resolve({ paymentId: "payment-3" });
  });
});

it("handler-type: once per day, as a handler that wants no lock in its context", async () => {
  const handler = await load("handler-type");
  for (const hour of ["06", "07"]) await handler({ time: `2026-11-21T${hour}:00:00Z` }, lambdaContext());
  expect(domain.makeReport.mock.calls).toEqual([["2026-11-21T06:00:00Z", expect.any(Number)]]);
});

it("two-locks: once for each event, one at a time of a tenant, and either lock stops the work", async () => {
  const handler = await load("two-locks");
  const due = (id: string) => ({ id, detail: { tenant: "acme" } });
  const started = Promise.withResolvers<void>();
  const finish = Promise.withResolvers<void>();
  domain.syncTenant.mockImplementationOnce(async () => {
    started.resolve();
    await finish.promise;
  });
  const first = handler(due("e1"), lambdaContext());
  await started.promise;
  await expect(handler(due("e2"), lambdaContext())).rejects.toMatchObject({ statusCode: 409 });
  finish.resolve();
  await first;
  await handler(due("e2"), lambdaContext());
  await handler(due("e1"), lambdaContext());
  expect(domain.syncTenant.mock.calls).toEqual(Array(2).fill(["acme", { signal: expect.any(AbortSignal) }]));
});
