/**
 * Attribute values: what may be stored, which are equal, which comes first, and how large they are.
 */
import type { AttributeValue, Item } from "../protocol/item.ts";
import { invalid, MemoryFailure } from "./errors.ts";
import { compareNumbers, normalNumber, numberSize } from "./numbers.ts";

/**
 * Most that an item may have
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html).
 */
export const MAX_ITEM_BYTES = 400 * 1024;
const MAX_DEPTH = 32;

export const TYPES = ["S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M"] as const;
/** DynamoDB's name of a kind of value. */
export type ValueType = (typeof TYPES)[number];

// biome-ignore lint/suspicious/noExplicitAny: what a value contains depends on its type
type Content = any;

export const typeOf = (value: AttributeValue): ValueType => Object.keys(value)[0] as ValueType;
export const contentOf = (value: AttributeValue): Content => Object.values(value)[0];

const text = (value: unknown): string => {
  if (typeof value === "string") return value;
  throw new MemoryFailure(
    "SerializationException",
    `${(typeof value).toUpperCase()}_VALUE cannot be converted to String`,
  );
};
const bytes = (value: unknown): Uint8Array => {
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  throw new MemoryFailure(
    "SerializationException",
    `${(typeof value).toUpperCase()}_VALUE cannot be converted to Blob`,
  );
};
const list = (value: unknown): unknown[] => {
  if (Array.isArray(value)) return Array.from(value);
  throw new MemoryFailure("SerializationException", "Unexpected value type in payload: expected a list");
};
const setOf =
  <T>(kind: string, member: (value: unknown) => T) =>
  (value: unknown): T[] => {
    const members = list(value).map(member);
    if (members.length === 0)
      throw invalid(`One or more parameter values were invalid: An ${kind} set  may not be empty`);
    const keys = members.map((each) => (each instanceof Uint8Array ? Buffer.from(each).toString("hex") : each));
    if (new Set(keys).size === members.length) return members;
    throw invalid(
      `One or more parameter values were invalid: Input collection [${keys.join(", ")}] contains duplicates.`,
    );
  };

const READERS: Readonly<Record<ValueType, (value: unknown, depth: number) => Content>> = {
  S: text,
  N: (value) => normalNumber(text(value)),
  B: bytes,
  BOOL: (value) => value === true,
  NULL: (value) => {
    if (value === true) return true;
    throw invalid("One or more parameter values were invalid: Null attribute value types must have the value of true");
  },
  SS: setOf("string", text),
  NS: setOf("number", (value) => normalNumber(text(value))),
  BS: setOf("binary", bytes),
  L: (value, depth) => list(value).map((each) => toValue(each, depth + 1)),
  M: (value, depth) => toItem(value, depth + 1),
};

/** A checked copy of a value: nothing that the caller does to its own changes what is stored. */
export const toValue = (value: unknown, depth = 0): AttributeValue => {
  const members = Object.entries(Object(value)).filter(([, content]) => content !== undefined);
  const known = members.filter(([type]) => (TYPES as readonly string[]).includes(type)) as [ValueType, unknown][];
  if (known.length === 0 || known.length < members.length) {
    throw invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes");
  }
  if (known.length > 1) {
    throw invalid(
      "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
    );
  }
  if (depth > MAX_DEPTH) throw invalid("Nesting Levels have exceeded supported limits");
  const [[type, content]] = known as [[ValueType, unknown]];
  return { [type]: READERS[type](content, depth) } as unknown as AttributeValue;
};

/** A checked copy of an item, or of the members of a map. */
export const toItem = (item: unknown, depth = 0): Item => {
  const entries = Object.entries(Object(item)).filter(([, value]) => value !== undefined);
  if (entries.some(([name]) => name === ""))
    throw invalid("One or more parameter values were invalid: Empty attribute name");
  return Object.fromEntries(entries.map(([name, value]) => [name, toValue(value, depth)]));
};

/** A copy to give away. What is stored is checked already. */
export const copyOf = <T extends AttributeValue | Item | undefined>(stored: T): T => structuredClone(stored);

/** Tells members of sets apart. */
export const memberKey = (member: string | Uint8Array): string =>
  typeof member === "string" ? member : Buffer.from(member).toString("base64");

/** The order of two values of one type; `undefined` for those that have none. */
export const compare = (one: AttributeValue, other: AttributeValue): number | undefined => {
  const type = typeOf(one);
  if (type !== typeOf(other)) return undefined;
  const [a, b] = [contentOf(one), contentOf(other)];
  if (type === "N") return compareNumbers(a, b);
  return type === "S" || type === "B" ? Buffer.compare(Buffer.from(a), Buffer.from(b)) : undefined;
};

export const areEqual = (one: AttributeValue, other: AttributeValue): boolean => {
  const type = typeOf(one);
  if (type !== typeOf(other)) return false;
  const [a, b] = [contentOf(one), contentOf(other)];
  if (type === "L") return a.length === b.length && a.every((each: AttributeValue, i: number) => areEqual(each, b[i]));
  if (type === "M") {
    const names = Object.keys(a);
    return names.length === Object.keys(b).length && names.every((name) => b[name] && areEqual(a[name], b[name]));
  }
  if (type.length === 2) {
    const members = new Set(b.map(memberKey));
    return a.length === b.length && a.every((each: string | Uint8Array) => members.has(memberKey(each)));
  }
  return type === "B" ? Buffer.compare(a, b) === 0 : a === b;
};

/**
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
 */
export const sizeOf = (value: AttributeValue): number => {
  const [type, content] = [typeOf(value), contentOf(value)];
  if (type === "S") return Buffer.byteLength(content);
  if (type === "N") return numberSize(content);
  if (type === "B") return content.length;
  if (type === "L") return content.reduce((sum: number, each: AttributeValue) => sum + 1 + sizeOf(each), 3);
  if (type === "M") return itemSize(content) + 3 + Object.keys(content).length;
  if (type === "BOOL" || type === "NULL") return 1;
  return content.reduce((sum: number, each: string) => sum + sizeOf({ [type[0] as "S"]: each }), 0);
};

/** In bytes: names and values. */
export const itemSize = (item: Item): number =>
  Object.entries(item).reduce((sum, [name, value]) => sum + Buffer.byteLength(name) + sizeOf(value), 0);
