/**
 * DynamoDB's protocol: JSON over HTTP, where binary values are base64 and instants are epoch
 * seconds
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html).
 */
import { randomUUID } from "node:crypto";
import { MemoryFailure } from "./errors.ts";

/** A request as it comes over HTTP. */
export interface WireRequest {
  /** Of the header `x-amz-target`: `DynamoDB_20120810.GetItem`. */
  readonly target: string;
  readonly body: string;
}

export interface WireReply {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** An attribute of the name B is an object, so a text under this name is always a value. */
const decode = (_name: string, value: unknown): unknown => {
  const { B, BS } = Object(value) as { B?: unknown; BS?: unknown };
  if (typeof B === "string" && Object.keys(Object(value)).length === 1) return { B: fromBase64(B) };
  if (Array.isArray(BS) && BS.every((member) => typeof member === "string")) return { BS: BS.map(fromBase64) };
  return value;
};
const fromBase64 = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "base64"));

const encode = (value: unknown): unknown => {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (value instanceof Date) return value.getTime() / 1000;
  if (Array.isArray(value)) return value.map(encode);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, encode(member)]));
};

export type Handle = (operation: string, input: object) => Promise<object>;

const toReply = (statusCode: number, content: object): WireReply => ({
  statusCode,
  headers: { "content-type": "application/x-amz-json-1.0", "x-amzn-requestid": randomUUID() },
  body: JSON.stringify(encode(content)),
});

const isValidation = (name: string) => name === "ValidationException" || name === "SerializationException";

/** Answers a request. Rejects where the connection is to break, as a lost request or reply does. */
export const answer = async ({ target, body }: WireRequest, handle: Handle): Promise<WireReply> => {
  const operation = /^DynamoDB_20120810\.(\w+)$/.exec(target)?.[1] ?? "";
  try {
    const input: unknown = JSON.parse(body || "{}", decode);
    return toReply(200, await handle(operation, Object(input)));
  } catch (error) {
    if (error instanceof SyntaxError)
      return toReply(400, { __type: "com.amazon.coral.service#SerializationException" });
    if (!(error instanceof MemoryFailure)) throw error;
    const { name, message, $metadata, $fault: _, ...details } = error;
    const namespace = isValidation(name) ? "com.amazon.coral.validate" : "com.amazonaws.dynamodb.v20120810";
    return toReply($metadata.httpStatusCode, { __type: `${namespace}#${name}`, message, ...details });
  }
};
