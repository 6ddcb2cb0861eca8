import { describe, expect, it } from "vitest";
import { idempotencyKey } from "../../src/http.ts";
import { LockKeyError, LockOptionsError } from "../../src/index.ts";
import { context, type Sent, services, userOf } from "./events.ts";

const header = "Idempotency-Key";
const uuid = "8e03978e-40d5-43e8-bc93-6894a57f9324";

describe.each(services)("the key of a request through $service", ({ eventOf }) => {
  const keyOf = (sent: Sent, options: object = {}) =>
    idempotencyKey({ scope: userOf, ...options })(eventOf(sent), context);
  const keyWith = (value: string | string[], options?: object) => keyOf({ headers: { [header]: value } }, options);

  it("is a hash of fixed length: nothing of the caller or its key stands in the table", () => {
    expect(keyWith(uuid)).toMatch(/^[\w-]{43}$/);
    expect(keyWith("k".repeat(255))).toMatch(/^[\w-]{43}$/);
    expect(keyWith(uuid)).toBe(keyWith(uuid));
  });

  it("is another one for another caller, method, path or key", () => {
    const headers = { [header]: uuid };
    const keys = [
      keyOf({ headers }),
      keyOf({ headers, user: "bob" }),
      keyOf({ headers, method: "PATCH" }),
      keyOf({ headers, path: "/payments/7" }),
      keyOf({ headers: { [header]: "another" } }),
    ];
    expect(new Set(keys).size).toBe(5);
  });

  it.each(["idempotency-key", "IDEMPOTENCY-KEY", "Idempotency-key"])("is read from %s", (name) => {
    expect(keyOf({ headers: { [name]: uuid } })).toBe(keyWith(uuid));
  });

  it("is read from a header of your choice", () => {
    expect(keyOf({ headers: { "X-Request-Id": uuid } }, { header: "x-request-id" })).toBe(keyWith(uuid));
  });

  it.each([
    ["a String of Structured Fields", `"${uuid}"`],
    ["with spaces around it", ` "${uuid}"  `],
    ["with parameters", `"${uuid}"; version=1`],
  ])("is the same as the bare one as %s", (_how, value) => {
    expect(keyWith(value)).toBe(keyWith(uuid));
  });

  it("has its escapes undone", () => {
    expect(keyWith(String.raw`"a\"b\\c"`)).not.toBe(keyWith(String.raw`"a\\b\\c"`));
    expect(keyWith('"k 1"')).toMatch(/^[\w-]{43}$/);
  });

  it.each([
    ["empty", ""],
    ["an empty String", '""'],
    ["a String without its end", '"k'],
    ["a quote within", 'k"1'],
    ["an escape that there is not", String.raw`"a\nb"`],
    ["text behind the String", '"k" 1'],
    ["a list", "k1, k2"],
    ["a list of Strings", '"k1", "k2"'],
    ["a space within a bare one", "k 1"],
    ["a control character", "k\u00011"],
    ["a control character in a String", '"k\u007f1"'],
    ["a line break", "k1\r\nX-Other: 1"],
    ["beyond ASCII", "schlüssel"],
  ])("is refused: %s", (_what, value) => {
    expect(() => keyWith(value)).toThrow(LockKeyError);
    expect(() => keyWith(value)).toThrow(/The header Idempotency-Key is not valid/);
  });

  it("has maxLength characters at most", () => {
    expect(() => keyWith("k".repeat(256))).toThrow(
      "The header Idempotency-Key is too long: 256 characters, of 255 at most",
    );
    expect(() => keyWith(`"${"k".repeat(65)}"`, { maxLength: 64 })).toThrow(/65 characters, of 64/);
    expect(keyWith(`"${"k".repeat(64)}"`, { maxLength: 64 })).toMatch(/^[\w-]{43}$/);
  });

  it.each(["GET", "HEAD", "OPTIONS", "TRACE", "get"])(
    "%s changes nothing: it has no key, also with the header",
    (method) => {
      expect(keyOf({ method, headers: { [header]: "no, key" } })).toBeUndefined();
      expect(keyOf({ method })).toBeUndefined();
    },
  );

  it.each(["PUT", "DELETE"])("%s has one if it brings the header", (method) => {
    expect(keyOf({ method })).toBeUndefined();
    expect(keyOf({ method, headers: { [header]: uuid } })).toMatch(/^[\w-]{43}$/);
  });

  it.each(["POST", "PATCH", "PURGE"])("%s needs the header", (method) => {
    expect(() => keyOf({ method })).toThrow(LockKeyError);
    expect(() => keyOf({ method }, { header: "X-Key" })).toThrow(
      `The header X-Key is missing. ${method} /payments needs it`,
    );
    expect(keyOf({ method }, { required: false })).toBeUndefined();
  });

  it.each([undefined, "", 7, null, Promise.resolve("ann")])("is refused where the scope gives %s", (user) => {
    const options = { scope: () => user as string };
    expect(() => keyWith(uuid, options)).toThrow(LockOptionsError);
    expect(() => keyWith(uuid, options)).toThrow(/scope must return the caller's identity/);
  });

  it("is the same for all callers with scope false", () => {
    const headers = { [header]: uuid };
    const options = { scope: false };
    expect(keyOf({ headers, user: "ann" }, options)).toBe(keyOf({ headers, user: "bob" }, options));
    expect(keyOf({ headers }, options)).not.toBe(keyOf({ headers }));
  });
});

it("several headers are refused, where the service tells of them", () => {
  const sent = { headers: { [header]: ["k1", "k2"] } };
  const messages = services.map(({ eventOf }) => {
    try {
      return idempotencyKey({ scope: false })(eventOf(sent), context) && "taken";
    } catch (error) {
      return (error as Error).message.replace(/:.*/, "");
    }
  });
  expect(messages).toEqual([
    "The header Idempotency-Key is there more than once",
    "The header Idempotency-Key is not valid", // an HTTP API joins them by a comma
    "taken", // a load balancer hands on the last one
    "The header Idempotency-Key is there more than once",
  ]);
});

describe("options", () => {
  it("without a scope are refused, with the reason", () => {
    expect(() => idempotencyKey({} as never)).toThrow(LockOptionsError);
    expect(() => idempotencyKey({} as never)).toThrow(
      /scope is missing: .* one caller's key gets another caller's response/,
    );
    expect(() => idempotencyKey(undefined as never)).toThrow(/scope is missing/);
  });

  it.each([
    [{ scope: "ann" }, "scope must be a function or false, got 'ann'"],
    [{ scope: true }, "scope must be a function or false, got true"],
    [{ scope: false, header: "Idempotency Key" }, "header must be the name of a header, got 'Idempotency Key'"],
    [{ scope: false, maxLength: 0 }, "maxLength must be a whole number from 1 to 1024, got 0"],
    [{ scope: false, required: 1 }, "required must be a boolean, got 1"],
    [{ scope: false, headers: "x" }, "unknown option 'headers'"],
  ])("%o: %s", (options, message) => {
    expect(() => idempotencyKey(options as never)).toThrow(`idempotencyKey: ${message}`);
  });
});

it.each([{}, undefined, { Records: [] }, { source: "aws.events" }])(
  "an event that is no request has no key: %o",
  (event) => {
    expect(() => idempotencyKey({ scope: false })(event, context)).toThrow(/The event is no request of API Gateway/);
  },
);

it("does not depend on the body, which a middleware in front may have parsed", () => {
  const event = { rawPath: "/", headers: { "idempotency-key": "k" }, requestContext: { http: { method: "POST" } } };
  const keyOf = (body: unknown) => idempotencyKey({ scope: false })({ ...event, body }, context);
  expect(keyOf({ amount: 1 })).toBe(keyOf('{"amount":1}'));
});
