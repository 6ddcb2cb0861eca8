import { describe, expect, it } from "vitest";
import { httpProblems, toProblem } from "../../src/http.ts";
import {
  LockError,
  LockHeldError,
  LockKeyError,
  LockLostError,
  LockOptionsError,
  type LockRecord,
  LockTableError,
  LockTimeoutError,
  PayloadMismatchError,
  ReplayedError,
} from "../../src/index.ts";
import { services } from "./events.ts";

const documentation = "https://api.example.com/docs/idempotency";
const record = (leftMs: number) =>
  ({ key: "payments#k", owner: "one", status: "IN_PROGRESS", expiresAt: Date.now() + leftMs }) as LockRecord;
const bodyOf = (response: ReturnType<typeof toProblem>) => JSON.parse(response?.body ?? "null");

// By section 2.7 of the draft. What it wants is a SHOULD each time, but for the conflict: a MUST.
describe("the problem", () => {
  it("of a missing key is 400, with a link to the documentation", () => {
    const response = toProblem(new LockKeyError("The header Idempotency-Key is missing"), { documentation });
    expect(response).toMatchObject({
      statusCode: 400,
      headers: {
        "Content-Type": "application/problem+json",
        "Content-Language": "en",
        Link: `<${documentation}>; rel="describedby"`,
      },
    });
    expect(response?.headers).not.toHaveProperty("Retry-After");
    expect(bodyOf(response)).toEqual({
      type: documentation,
      title: "Idempotency-Key is missing or not valid",
      status: 400,
      detail: "The header Idempotency-Key is missing",
    });
  });

  it("of another payload is 422, and no repeat helps", () => {
    const response = toProblem(new PayloadMismatchError(record(1_000)), { documentation });
    expect(response).toMatchObject({ statusCode: 422, headers: { Link: expect.any(String) } });
    expect(response?.headers).not.toHaveProperty("Retry-After");
    expect(bodyOf(response)).toMatchObject({ title: "Idempotency-Key is already used" });
  });

  it.each([
    [-5_000, "1"],
    [200, "1"],
    [1_500, "2"],
    [60_000, "5"],
  ])("of a request under way is 409: with %i ms left of its lease, it is worth a repeat in %s s", (leftMs, after) => {
    for (const error of [new LockHeldError(record(leftMs)), new LockTimeoutError("Waited in vain", record(leftMs))]) {
      const response = toProblem(error, { documentation });
      expect(response).toMatchObject({ statusCode: 409, headers: { "Retry-After": after } });
      expect(bodyOf(response)).toMatchObject({ title: "A request is outstanding for this Idempotency-Key" });
    }
  });

  it("of a lock that was lost is 409, too", () => {
    expect(toProblem(new LockLostError("payments#k", "expired"))).toMatchObject({
      statusCode: 409,
      headers: { "Retry-After": "1" },
    });
  });

  it("of a DynamoDB that is away is 503, and says nothing of our tables", () => {
    const error = new LockError("LOCK_REQUEST", "UpdateItem on table locks failed", { statusCode: 503 });
    const response = toProblem(error, { documentation });
    expect(response).toMatchObject({ statusCode: 503, headers: { "Retry-After": "1" } });
    expect(response?.body).not.toContain("locks");
    expect(bodyOf(response)).toMatchObject({ detail: expect.stringContaining("send the same request again") });
  });

  it.each([
    ["a misconfiguration", new LockOptionsError("scope must return")],
    ["a table that is missing", new LockTableError("Table locks is missing")],
    ["a request that DynamoDB refuses for good", new LockError("LOCK_REQUEST", "no", { statusCode: 500 })],
    ["a failure that is replayed: it is answered as the first one", new ReplayedError({ name: "E", message: "no" })],
    ["the application's own", Object.assign(new Error("amount is missing"), { statusCode: 400 })],
    ["anything", undefined],
  ])("is nobody's: %s", (_of, error) => {
    expect(toProblem(error, { documentation })).toBeUndefined();
  });

  it("without documentation has the type about:blank, and the title of its status (RFC 9457, 4.2.1)", () => {
    const response = toProblem(new PayloadMismatchError(record(1_000)), { header: "X-Key" });
    expect(response?.headers).not.toHaveProperty("Link");
    expect(bodyOf(response)).toEqual({
      type: "about:blank",
      title: "Unprocessable Content",
      status: 422,
      detail: "X-Key is already used. The key was used with another payload",
    });
  });

  it("names the header that you use", () => {
    expect(bodyOf(toProblem(new LockHeldError(record(1)), { documentation, header: "X-Request-Id" }))).toMatchObject({
      title: "A request is outstanding for this X-Request-Id",
    });
  });

  it("has its headers as the load balancer takes them", () => {
    const shapes = services.map(({ eventOf }) => {
      const response = toProblem(new LockHeldError(record(1)), {}, eventOf({ headers: { a: "1" } }));
      return [response?.headers?.["Retry-After"], response?.multiValueHeaders?.["Retry-After"]];
    });
    expect(shapes).toEqual([
      ["1", undefined],
      ["1", undefined],
      ["1", undefined],
      [undefined, ["1"]],
    ]);
  });
});

it("httpProblems leaves a response that is there", () => {
  const request = { event: {}, context: {} as never, response: "there", error: new LockKeyError("no"), internal: {} };
  httpProblems().onError(request);
  expect(request.response).toBe("there");
});

it.each([
  [{ documentation: "" }, "documentation must be a non-empty string"],
  [{ header: "a b" }, "header must be the name of a header"],
  [{ document: "x" }, "unknown option 'document'"],
])("options: %o", (options, message) => {
  expect(() => httpProblems(options as never)).toThrow(`httpProblems: ${message}`);
});
