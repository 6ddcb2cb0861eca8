import { LockOptionsError } from "./errors.ts";
import { whyNoJson } from "./result.ts";

/**
 * Whether a number may stand for its neighbours too. Two ids that were rounded to one must not pass
 * for the same.
 */
export const isRounded = (value: unknown): boolean => Number.isInteger(value) && !Number.isSafeInteger(value);
export const ROUNDED = "an integer beyond 2^53 - 1 (JSON.parse rounds it: take it as text, or as a bigint)";

/**
 * The application's data as it is stored. Unlike a response it is asked to be stored, so what can't
 * be is an error.
 */
export const encodeData = (data: unknown): string | undefined =>
  data === undefined ? undefined : exactJson("data", data, false);

/**
 * The JSON text of a value that JSON carries exactly.
 *
 * @param isCanonical whether values with the same content have the same text, in whatever order
 * their properties come (RFC 8785). A bigint counts as the number that it is.
 * @throws LockOptionsError for any other value
 */
export const exactJson = (name: string, value: unknown, isCanonical: boolean): string => {
  const refuse = (why: string) => new LockOptionsError(`${name} must be a JSON value, but ${why}`);
  const parents = new Set<unknown>();
  const write = (part: unknown): string => {
    const found = parents.has(part) ? "a circular structure" : unfitIn(part, isCanonical);
    if (found) throw refuse(`there is ${found} in it`);
    if (typeof part === "bigint") return `${part}`;
    if (typeof part !== "object" || part === null) return JSON.stringify(part);
    parents.add(part);
    // Unlike the array itself, `from` visits holes.
    const text = Array.isArray(part) ? `[${Array.from(part, write)}]` : `{${membersOf(part as Members)}}`;
    parents.delete(part);
    return text;
  };
  const membersOf = (part: Members): string[] => {
    const names = Object.keys(part).filter((name) => part[name] !== undefined);
    if (isCanonical) names.sort(); // by UTF-16 code units, as the RFC has it
    return names.map((name) => `${JSON.stringify(name)}:${write(part[name])}`);
  };
  try {
    return write(value);
  } catch (error) {
    throw error instanceof LockOptionsError ? error : refuse(whyNoJson(error));
  }
};

type Members = Readonly<Record<string, unknown>>;

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

/**
 * Whether a value is of no class, and an array has no other properties, in whatever realm it was
 * made.
 */
export const isPlain = (value: object): boolean =>
  Array.isArray(value) ? depthOf(value) === 2 && Object.keys(value).length <= value.length : depthOf(value) < 2;

/**
 * How many prototypes an object has, one behind the other: only `Object.prototype` has none itself.
 */
export const depthOf = (value: object | null): number => (value ? depthOf(Object.getPrototypeOf(value)) + 1 : -1);
