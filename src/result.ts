import { LockOptionsError } from "./errors.ts";
import type { EncodedResult } from "./record.ts";

/**
 * Largest response that is stored, in bytes of JSON: DynamoDB's 400 kB for an item
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html) less room for the rest of the record.
 */
export const MAX_RESULT_BYTES = 390_000;

/**
 * A response as it is stored, or the reason why it can't be. Only what a repeat would get back exactly is stored: JSON
 * values and `undefined`. As in JSON, a property that is `undefined` is no property, and -0 is 0.
 */
export const toStorable = (value: unknown): EncodedResult | { readonly reason: string } => {
  if (value === undefined) return { json: undefined };
  try {
    const reason = whyNotJson(value, "the response", new Set());
    if (reason !== undefined) return { reason };
    const json = JSON.stringify(value);
    const bytes = Buffer.byteLength(json);
    return bytes > MAX_RESULT_BYTES
      ? { reason: `the response is ${bytes} bytes of JSON, more than the ${MAX_RESULT_BYTES} that fit in an item` }
      : { json };
  } catch (error) {
    return { reason: `the response can't be read: ${error}` }; // a throwing getter, or nested past the stack
  }
};

/** The application's data as it is stored. Unlike a response it is asked to be stored, so what can't be is an error. */
export const encodeData = (data: unknown): string | undefined => {
  if (data === undefined) return undefined;
  const reason = whyNotJson(data, "data", new Set());
  if (reason !== undefined) throw new LockOptionsError(`data must be a JSON value, but ${reason}`);
  return JSON.stringify(data);
};

const whyNotJson = (value: unknown, path: string, parents: Set<object>): string | undefined => {
  if (value === null || typeof value === "string" || typeof value === "boolean") return undefined;
  if (typeof value === "number") return Number.isFinite(value) ? undefined : `${path} is ${value}`;
  if (typeof value !== "object") return `${path} is a ${typeof value}`;
  if (parents.has(value)) return `${path} is circular`;
  if (!Array.isArray(value) && !isPlain(value)) return `${path} is a ${value.constructor?.name ?? "class instance"}`;
  if (typeof (value as { toJSON?: unknown }).toJSON === "function") return `${path} has a toJSON method`;

  parents.add(value);
  const children: [string, unknown][] = Array.isArray(value)
    ? Array.from(value, (child: unknown, index) => [`${path}[${index}]`, child]) // unlike map, visits holes
    : Object.entries(value)
        .filter(([, child]) => child !== undefined)
        .map(([name, child]) => [`${path}.${name}`, child]);
  for (const [childPath, child] of children) {
    const reason = whyNotJson(child, childPath, parents);
    if (reason !== undefined) return reason;
  }
  parents.delete(value);
  return undefined;
};

const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value);
  // Object.prototype of any realm is the one prototype that has none itself.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
};
