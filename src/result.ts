import { promisify } from "node:util";
import { LockOptionsError } from "./errors.ts";
import type { StoredFailure } from "./record.ts";

/** Largest response of a Lambda function, in bytes (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html). */
const MAX_JSON_BYTES = 6 * 1024 * 1024;

/**
 * Largest response that is stored, in bytes after compression: DynamoDB's 400 kB for an item
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html) less room for its key.
 */
export const MAX_RESULT_BYTES = 390_000;

/** The JSON text of a response, or `undefined` itself. */
export interface StorableResult {
  readonly json: string | undefined;
}

/**
 * A response as it is stored, or the reason why it can't be. Only what a repeat would get back exactly is stored: JSON
 * values and `undefined`. As in JSON, a property that is `undefined` is no property, and -0 is 0.
 *
 * The reason names no property: in a map those are payload.
 */
export const toStorable = (value: unknown): StorableResult | { readonly reason: string } => {
  if (value === undefined) return { json: undefined };
  try {
    const found = findNonJson(value);
    if (found !== undefined) return { reason: `there is ${found} in it` };
    const json = JSON.stringify(value);
    const bytes = Buffer.byteLength(json);
    return bytes > MAX_JSON_BYTES ? { reason: `it has ${bytes} bytes of JSON, more than ${MAX_JSON_BYTES}` } : { json };
  } catch (error) {
    // A throwing getter, or nested past the stack.
    return { reason: `reading it throws ${error instanceof Error ? error.name : typeof error}` };
  }
};

/** Loaded when they are needed: few responses are large. */
const zlib = () => import("node:zlib");

/** Throws a `RangeError` for what is too large even so. */
export const compress = async (json: string): Promise<Uint8Array> => {
  const { gzip } = await zlib();
  const compressed = await promisify(gzip)(json);
  if (compressed.length <= MAX_RESULT_BYTES) return compressed;
  throw new RangeError(
    `it has ${compressed.length} bytes after compression, more than the ${MAX_RESULT_BYTES} that fit in an item`,
  );
};

export const decompress = async (compressed: Uint8Array): Promise<string> => {
  const { gunzip } = await zlib();
  return String(await promisify(gunzip)(compressed));
};

/** The application's data as it is stored. Unlike a response it is asked to be stored, so what can't be is an error. */
export const encodeData = (data: unknown): string | undefined => {
  if (data === undefined) return undefined;
  const found = findNonJson(data);
  if (found !== undefined) throw new LockOptionsError(`data must be a JSON value, but there is ${found} in it`);
  return JSON.stringify(data);
};

/** What of a value JSON can't carry, if anything. */
export const findNonJson = (value: unknown, parents: Set<object> = new Set()): string | undefined => {
  if (value === null || typeof value === "string" || typeof value === "boolean") return undefined;
  if (typeof value === "number") return Number.isFinite(value) ? undefined : `${value}`;
  if (typeof value !== "object") return value === undefined ? "undefined in an array" : `a ${typeof value}`;
  if (parents.has(value)) return "a circular reference";
  if (!isPlain(value)) return `a ${value.constructor?.name ?? "class instance"}`;
  if (typeof (value as { toJSON?: unknown }).toJSON === "function") return "a toJSON method";

  parents.add(value);
  const children: unknown[] = Array.isArray(value)
    ? Array.from(value) // unlike the array itself, visits holes
    : Object.values(value).filter((child) => child !== undefined);
  for (const child of children) {
    const found = findNonJson(child, parents);
    if (found !== undefined) return found;
  }
  parents.delete(value);
  return undefined;
};

/** Of no class, and as an array without other properties, in any realm: only `Object.prototype` has no prototype itself. */
const isPlain = (value: object): boolean => {
  const parent: unknown = Object.getPrototypeOf(value);
  if (!Array.isArray(value)) return parent === null || Object.getPrototypeOf(parent) === null;
  const grandparent: unknown = Object.getPrototypeOf(parent);
  return (
    grandparent !== null && Object.getPrototypeOf(grandparent) === null && Object.keys(value).length <= value.length
  );
};

/** Enough of an error message for its reader, in a record that has to stay small. */
const MAX_MESSAGE_LENGTH = 500;

/** What is remembered of a run that failed for good, whatever it threw. */
export const toFailure = (error: unknown): StoredFailure => {
  try {
    const { name, message, statusCode } = Object(error) as Record<string, unknown>;
    return {
      name: typeof name === "string" ? name.slice(0, MAX_MESSAGE_LENGTH) : "Error",
      message: (typeof message === "string" ? message : String(error)).slice(0, MAX_MESSAGE_LENGTH),
      ...(typeof statusCode === "number" && { statusCode }),
    };
  } catch {
    return { name: "Error", message: "an object without a message" }; // no prototype, or a getter that throws
  }
};
