/** Every example of docs/http.md is a module in `examples/`, to the letter, and does here what the page says it does. */
import type { Context } from "aws-lambda";
import { describe, expect, it, vi } from "vitest";
import { expectExamples, runExamples } from "../support/examples.ts";
import { lambdaContext } from "../support/lambda.ts";

const domain = { charge: vi.fn(async (..._of: unknown[]) => ({ paymentId: "payment-1" })) };
runExamples(domain);
vi.spyOn(console, "error").mockImplementation(() => {}); // of httpErrorHandler

type Handler = (
  event: unknown,
  context: Context,
) => Promise<{ statusCode: number; headers: Record<string, string>; body: string }>;
const load = async (name: string): Promise<Handler> => (await import(`./examples/${name}.ts`)).handler;

it("has each example, and no other", () => expectExamples("docs/http.md", "http/examples"));

/** One event for all three: the caller is in each place where they look for it. */
const request = (key?: string, { body = "{}", user = "ann", method = "POST" } = {}) => ({
  rawPath: "/payments",
  rawQueryString: "",
  path: "/payments",
  httpMethod: method,
  headers: { origin: "https://shop.example", ...(key !== undefined && { "idempotency-key": key }) },
  requestContext: {
    http: { method, path: "/payments" },
    authorizer: { principalId: user, jwt: { claims: { sub: user } }, iam: { userId: user } },
  },
  body,
});

describe.each(["payment", "all-around", "plain"])("%s", (name) => {
  it("does what the table says", async () => {
    const handler = await load(name);
    const send = (...of: Parameters<typeof request>) => handler(request(...of), lambdaContext());
    const key = `"${name}-1"`;
    const started = Promise.withResolvers<void>();
    const finish = Promise.withResolvers<void>();
    domain.charge.mockImplementationOnce(async () => {
      started.resolve();
      await finish.promise;
      return { paymentId: "payment-1" };
    });
    const first = send(key);
    await started.promise;
    const problem = { "Content-Type": "application/problem+json" };
    expect(await send(key)).toMatchObject({
      statusCode: 409,
      headers: { ...problem, "Retry-After": expect.any(String) },
    });
    finish.resolve();
    const response = await first;
    expect(response).toMatchObject({ statusCode: 201, body: '{"paymentId":"payment-1"}' });
    const replayed = { ...response, headers: { ...response.headers, "Idempotent-Replayed": "true" } };
    expect(await send(key)).toEqual(replayed);
    expect(await send(`${name}-1`), "without quotes").toEqual(replayed);
    expect(await send(key, { body: '{"amount":1}' })).toMatchObject({ statusCode: 422, headers: problem });
    expect(await send()).toMatchObject({ statusCode: 400, headers: problem });
    expect(domain.charge).toHaveBeenCalledTimes(1);
    expect(await send(key, { user: "bob" })).toMatchObject({ statusCode: 201 });
    expect(domain.charge).toHaveBeenCalledTimes(2);
    const keys = domain.charge.mock.calls.map(([, options]) => (options as { idempotencyKey: string }).idempotencyKey);
    expect(new Set(keys).size).toBe(2);
    for (const each of keys) expect(each).toMatch(/^[\w-]{43}$/);
  });

  it("a run after a crash gives the provider the same key", async () => {
    const handler = await load(name);
    const send = () => handler(request(`"${name}-2"`), lambdaContext());
    domain.charge.mockRejectedValueOnce(new Error("charged, and then: no connection"));
    await send().catch(() => {});
    expect(await send()).toMatchObject({ statusCode: 201 });
    const [one, other] = domain.charge.mock.calls;
    expect(one).toEqual(other);
  });

  it("a safe method has no lock", async () => {
    const handler = await load(name);
    await handler(request(undefined, { method: "GET" }), lambdaContext());
    expect(domain.charge.mock.calls).toEqual([["{}", { idempotencyKey: undefined }]]);
  });
});
