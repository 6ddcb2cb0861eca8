import { LockOptionsError } from "./errors.ts";
import { whyNoJson } from "./result.ts";

/** Whether a number may stand for its neighbours too: two ids that were rounded to one must not pass for the same. */
export const isRounded = (value: unknown): boolean => Number.isInteger(value) && !Number.isSafeInteger(value);
export const ROUNDED = "an integer beyond 2^53 - 1 (JSON.parse rounds it: take it as text, or as a bigint)";

/** The application's data as it is stored. Unlike a response it is asked to be stored, so what can't be is an error. */
export const encodeData = (data: unknown): string | undefined =>
  data === undefined ? undefined : exactJson("data", data, false);

/**
 * The JSON text of a value that JSON carries exactly.
 *
 * @param isCanonical whether values with the same content have the same text, in whatever order
 * their properties come. A bigint counts as the number that it is.
 * @throws LockOptionsError for any other value
 */
export const exactJson = (name: string, value: unknown, isCanonical: boolean): string => {
  const refuse = (why: string) => new LockOptionsError(`${name} must be a JSON value, but ${why}`);
  function replace(this: Record<string, unknown>, key: string, read: unknown): unknown {
    const part = this[key]; // what a toJSON method gives is `read`
    const found = part === undefined && !Array.isArray(this) ? undefined : unfitIn(part, isCanonical);
    if (found) throw refuse(`there is ${found} in it`);
    return isCanonical ? inOrder(read) : read;
  }
  try {
    return JSON.stringify(value, replace);
  } catch (error) {
    throw error instanceof LockOptionsError ? error : refuse(whyNoJson(error));
  }
};

/** Sorts the properties, and lets JSON carry bigints. */
const inOrder = (value: unknown): unknown => {
  if (typeof value === "bigint") return (JSON as unknown as { rawJSON(json: string): unknown }).rawJSON(`${value}`);
  if (Object(value) !== value || Array.isArray(value)) return value;
  const object = value as Record<string, unknown>;
  return Object.fromEntries(
    Object.keys(object)
      .sort()
      .map((name) => [name, object[name]]),
  );
};

/** Why JSON can't carry a value exactly, its members aside. */
const unfitIn = (value: unknown, isCanonical: boolean): string | undefined => {
  if (value === null || typeof value === "string" || typeof value === "boolean") return undefined;
  if (typeof value === "bigint" && isCanonical) return undefined;
  if (typeof value === "number") {
    if (!Number.isFinite(value)) return `${value}`;
    return isCanonical && isRounded(value) ? ROUNDED : undefined;
  }
  if (value === undefined) return "undefined in an array";
  if (typeof value !== "object") return `a ${typeof value}`;
  if (!isPlain(value)) return `a ${value.constructor?.name ?? "class instance"}`;
  if (typeof (value as { toJSON?: unknown }).toJSON === "function") return "a toJSON method";
  return Object.getOwnPropertySymbols({ ...value }).length > 0 ? "a symbol as a name" : undefined;
};

/** Whether a value is of no class, and an array has no other properties, in whatever realm it was made. */
export const isPlain = (value: object): boolean =>
  Array.isArray(value) ? depthOf(value) === 2 && Object.keys(value).length <= value.length : depthOf(value) < 2;

/** How many prototypes an object has, one behind the other: only `Object.prototype` has none itself. */
export const depthOf = (value: object | null): number => (value ? depthOf(Object.getPrototypeOf(value)) + 1 : -1);
