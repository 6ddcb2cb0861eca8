/** Sends requests over HTTP, and brings replies into a form in which equal ones are equal. */
import type { Request } from "./requests.ts";

/** What an engine answers: an output, or the name of an error with what it shows. */
export interface Answer {
  readonly error?: string;
  readonly message?: string;
  readonly content: unknown;
}

const headers = {
  "content-type": "application/x-amz-json-1.0",
  authorization:
    "AWS4-HMAC-SHA256 Credential=local/20000101/eu-west-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
  "x-amz-date": "20000101T000000Z",
};

export const ask = async (endpoint: string, { operation, input }: Request): Promise<Answer> => {
  const response = await fetch(endpoint, {
    method: "POST",
    headers: { ...headers, "x-amz-target": `DynamoDB_20120810.${operation}` },
    body: JSON.stringify(input),
  });
  const { __type, message, Message, ...content } = (await response.json()) as Record<string, unknown>;
  if (response.ok) return { content: normal(content) };
  return {
    error: String(__type).replace(/.*#/, ""),
    message: String(message ?? Message ?? ""),
    content: normal(content),
  };
};

/** Without order where there is none, and without texts, which each engine has of its own. */
const normal = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(normal);
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value)
    .filter(([name]) => !["Message", "ConsumedCapacity", "ScannedCount"].includes(name))
    .map(([name, member]): [string, unknown] => {
      const own = normal(member);
      const isSet = /^[SNB]S$/.test(name) && Array.isArray(own);
      return [name, isSet || isItems(own) ? [...(own as unknown[])].sort(byText) : own];
    })
    .sort(([one], [other]) => (one < other ? -1 : 1));
  return Object.fromEntries(members);
};

const isItems = (value: unknown): boolean =>
  Array.isArray(value) && value.length > 1 && value.every((each) => Object(each).id);
const byText = (one: unknown, other: unknown): number => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1);

export const isSame = (one: Answer, other: Answer): boolean =>
  one.error === other.error && JSON.stringify(one.content) === JSON.stringify(other.content);
