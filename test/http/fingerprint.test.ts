import { describe, expect, it } from "vitest";
import { httpFingerprint } from "../../src/http.ts";
import { type Sent, services } from "./events.ts";

const base64 = (text: string | Buffer) => ({ body: Buffer.from(text).toString("base64"), isBase64Encoded: true });

describe.each(services)("the fingerprint of a request through $service", ({ eventOf }) => {
  const of = (sent: Sent) => httpFingerprint(eventOf(sent));

  it.each([
    ['{"a":1,"b":[true,null,"x"]}', '{ "b": [true, null, "\\u0078"],\n "a": 1 }'],
    ['{"a":{"c":1,"b":2}}', '{"a":{"b":2,"c":1}}'],
    ['"x"', ' "x" '],
  ])("is that of the JSON, not of its text: %s", (one, other) => {
    expect(of({ body: one })).toBe(of({ body: other }));
    expect(of({ body: one })).toBe(of(base64(other)));
  });

  it.each([
    ['{"a":1}', '{"a":2}'],
    ['{"a":1}', '{"a":"1"}'],
    ['{"a":1}', '{"a":"number 1"}'],
    ['{"a":9007199254740993}', '{"a":9007199254740992}'],
    ['{"a":0.1}', '{"a":0.10000000000000000001}'],
    ['{"a":null}', "{}"],
    ["[1,2]", "[2,1]"],
    ['"\\ud800"', '"\\ud801"'],
    ["a=1&b=2", "b=2&a=1"],
    ["text", "text "],
    ["null", ""],
  ])("differs: %s and %s", (one, other) => {
    expect(of({ body: one })).not.toBe(of({ body: other }));
    expect(of(base64(one))).not.toBe(of(base64(other)));
  });

  it("of what is no text is that of its bytes", () => {
    const bytes = (last: number) => of(base64(Buffer.from([0xff, 0x22, last])));
    expect(bytes(1)).toBe(bytes(1));
    expect(bytes(1)).not.toBe(bytes(2));
    // JSON but for one byte, which no text has: both would be the same character.
    const broken = (byte: number) =>
      of(base64(Buffer.concat([Buffer.from('"'), Buffer.from([byte]), Buffer.from('"')])));
    expect(broken(0xff)).not.toBe(broken(0xfe));
  });

  it("of JSON that is nested too deeply is that of its bytes", () => {
    const deep = (inner: string) => of({ body: "[".repeat(200_000) + inner + "]".repeat(200_000) });
    expect(deep("1")).toBe(deep("1"));
    expect(deep("1")).not.toBe(deep("2"));
  });

  it("has the query in it, whatever the order of its names", () => {
    const with_ = (...query: [string, string][]) => of({ query, body: "{}" });
    expect(with_(["a", "1"], ["b", "2"])).toBe(with_(["b", "2"], ["a", "1"]));
    expect(with_(["a", "1"])).not.toBe(with_(["a", "2"]));
    expect(with_(["a", "1"])).not.toBe(with_());
  });

  it("has no header in it", () => {
    expect(of({ headers: { Authorization: "Bearer old" } })).toBe(of({ headers: { Authorization: "Bearer new" } }));
  });
});

describe("a body that a middleware in front has parsed", () => {
  const of = (body: unknown) => httpFingerprint({ rawPath: "/", requestContext: { http: { method: "POST" } }, body });

  it("has the fingerprint of its JSON", () => {
    expect(of({ b: [1], a: "x" })).toBe(of('{"a":"x","b":[1]}'));
    expect(of(null)).toBe(of(undefined));
  });

  it.each([
    [
      [1, 2],
      [257, 258],
    ], // the same bytes
    [{ a: 1 }, { a: 2 }],
    [{ a: 1 }, { a: "1" }],
  ])("differs: %j and %j", (one, other) => {
    expect(of(one)).not.toBe(of(other));
  });
});

it("of what is no request is none", () => {
  expect(httpFingerprint({ Records: [] })).toBeUndefined();
});
