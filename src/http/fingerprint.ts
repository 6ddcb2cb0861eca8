/** The fingerprint of a request: what a repeat must have in common with the first. */
import { toFingerprint } from "../common/fingerprint.ts";
import { readRequest } from "./request.ts";

/**
 * A function of the event for `fingerprint`: of the query and the body. JSON is compared by its
 * content: neither spaces nor the order of names matter, nor whether API Gateway has sent the
 * body in base64. Numbers are compared as they were written, because two long ones may be
 * the same to JavaScript. Every other body is compared byte by byte. Headers have no part in it.
 *
 * @example
 * dynamoLock({ key: idempotencyKey({ scope }), fingerprint: httpFingerprint })
 */
export const httpFingerprint = (event: unknown): string | undefined => {
  const request = readRequest(event);
  if (!request) return undefined;
  const { query, body } = request;
  try {
    return toFingerprint([query, "json", JSON.parse(UTF8.decode(body), exactly)]);
  } catch {
    return toFingerprint([query, "bytes", body.toString("base64")]); // it is no JSON, or nested too deeply
  }
};

/** Bytes that are no text must not all become the same character. */
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Texts and numbers stay apart. The source is given by Node.js 22 and later (ECMAScript 2027, "JSON.parse source text access"). */
const exactly = (_name: string, value: unknown, about?: { readonly source?: string }): unknown => {
  if (typeof value === "number") return `number ${about?.source ?? value}`;
  return typeof value === "string" ? `text ${value}` : value;
};
