import { LockKeyError } from "./errors.ts";

/** Keys as they are stored, without duplicates. */
export type Keys = readonly [string, ...string[]];

/** What a key function may return. Nothing (`undefined`, `null` or `''`) is a missing key. */
export type LockKey = string | number | null | undefined;

/** Limits of a partition key (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html). */
export const MAX_KEY_BYTES = 2048;

/** Between namespace and key. A namespace can't contain it, so two namespaces never meet in one stored key. */
export const NAMESPACE_SEPARATOR = "#";

export const isMissing = (key: unknown): key is null | undefined | "" =>
  key === undefined || key === null || key === "";

/** The key as it is stored: `<namespace>#<key>`, or the key alone. Throws `LockKeyError` for what can't be a key. */
export const toStoredKey = (key: unknown, namespace?: string | false): string => {
  if (isMissing(key)) {
    throw new LockKeyError(`key is missing: expected a non-empty string or a number, got ${describe(key)}`);
  }
  if (typeof key !== "string" && !(typeof key === "number" && Number.isFinite(key))) {
    throw new LockKeyError(`key must be a string or a finite number, got ${describe(key)}`);
  }
  const stored = namespace ? `${namespace}${NAMESPACE_SEPARATOR}${key}` : String(key);
  const bytes = Buffer.byteLength(stored);
  if (bytes > MAX_KEY_BYTES) {
    throw new LockKeyError(`key must have at most ${MAX_KEY_BYTES} bytes with its namespace, got ${bytes}`);
  }
  return stored;
};

/** Several keys are written in one transaction, which takes at most 100 items. */
const MAX_KEYS = 100;

/** One key, or a list without duplicates. */
export const toStoredKeys = (keys: unknown, namespace?: string | false): Keys => {
  if (!Array.isArray(keys)) return [toStoredKey(keys, namespace)];
  const stored = [...new Set(keys.map((key) => toStoredKey(key, namespace)))];
  if (stored.length < 1 || stored.length > MAX_KEYS) {
    throw new LockKeyError(`a list of keys must have 1 to ${MAX_KEYS} different ones, got ${stored.length}`);
  }
  return stored as unknown as Keys;
};

const describe = (value: unknown): string => {
  if (value === "") return "an empty string";
  if (value instanceof Promise) return "a Promise (the key function must not be async)";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" && value !== null ? "an object" : String(value);
};
