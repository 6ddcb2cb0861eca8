/**
 * Checks the items of a commit, because the AWS SDK does not: it drops what it doesn't know, and
 * writes `{ S: 5 }` as an empty text, without an error.
 */
import { isDeepStrictEqual, types } from "node:util";
import { LockOptionsError } from "../common/errors.ts";
import type { ConditionCheck, TransactWriteItem } from "../protocol/item.ts";

type ItemMembers = Readonly<Record<string, unknown>>;
type Test = (value: unknown) => boolean;
/** A rule for a member: what it must be, in words and as a test. */
type MemberRule = readonly [mustBe: string, test: Test];

const isMap = (value: unknown): value is ItemMembers => Object.prototype.toString.call(value) === "[object Object]";
const isText: Test = (value) => typeof value === "string";
const listOf =
  (test: Test): Test =>
  (value) =>
    Array.isArray(value) && Array.from(value).every(test); // unlike the array itself, visits holes

/** The entries of a map. The SDK leaves out those that are undefined. */
const entriesOf = (value: unknown): [string, unknown][] =>
  isMap(value) ? Object.entries(value).filter(([, member]) => member !== undefined) : [];

const lookUp = <T>(table: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined;

/** Whether a value has the form of `@aws-sdk/client-dynamodb`. */
const isAttributeValue: Test = (value) => {
  const [[type = "", content] = [], ...more] = entriesOf(value);
  return more.length === 0 && lookUp(TYPES, type)?.(content) === true;
};
const TYPES: Readonly<Record<string, Test>> = {
  S: isText,
  N: isText,
  B: types.isUint8Array,
  BOOL: (value) => typeof value === "boolean",
  NULL: (value) => value === true,
  SS: listOf(isText),
  NS: listOf(isText),
  BS: listOf(types.isUint8Array),
  L: listOf(isAttributeValue),
  M: (value) => isMap(value) && Object.values(value).every(isAttributeValue),
};

const TEXT: MemberRule = ["a non-empty string", (value) => isText(value) && value !== ""];
const MAP: MemberRule = ["an object", isMap];
/** The members that each action must have beside `TableName`. */
const ACTIONS: Readonly<Record<string, Readonly<Record<string, MemberRule>>>> = {
  Put: { Item: MAP },
  Update: { Key: MAP, UpdateExpression: TEXT },
  Delete: { Key: MAP },
  ConditionCheck: { Key: MAP, ConditionExpression: TEXT },
};
const OPTIONAL: Readonly<Record<string, MemberRule>> = {
  ConditionExpression: TEXT,
  ExpressionAttributeNames: ["an object of strings", (value) => isMap(value) && Object.values(value).every(isText)],
  ExpressionAttributeValues: MAP,
  ReturnValuesOnConditionCheckFailure: TEXT,
};

const ATTRIBUTE_VALUE: MemberRule = [
  'an attribute value such as { S: "x" } or { N: "1" }, and so must all that is in it',
  isAttributeValue,
];
const MARSHALL = "make it with marshall of @aws-sdk/util-dynamodb";

/**
 * DynamoDB allows no more
 * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html).
 */
const MAX_TRANSACTION_ITEMS = 100;

const refuse: (what: string) => never = (what) => {
  throw new LockOptionsError(`commit: ${what}`);
};

/**
 * Checks and copies the items, so that nothing the caller does to them meanwhile is sent. `own`:
 * the keys of the lock's records.
 *
 * @throws LockOptionsError for the first element that is no item, or would be written as another
 */
export const checkedItems = (
  items: readonly TransactWriteItem[],
  own: readonly ConditionCheck[],
): readonly TransactWriteItem[] => {
  const most = MAX_TRANSACTION_ITEMS - own.length;
  if (!Array.isArray(items) || items.length > most) {
    const got = Array.isArray(items) ? items.length : (misfit(items) ?? describe(items));
    refuse(`items must be an array of at most ${most} TransactWriteItems, got ${got}`);
  }
  // Unlike `map`, `from` visits holes.
  return Array.from(items, (item, index) => {
    const name = `items[${index}]`;
    const found = misfit(item);
    if (found) refuse(`${name} is ${found}`);
    try {
      const copy = structuredClone(item);
      checkItem(name, copy, own);
      return copy;
    } catch (error) {
      if (error instanceof LockOptionsError) throw error;
      return refuse(`${name} must be plain data: ${error}`);
    }
  });
};

/** Two things that are easily taken for an item, with what to do about them. */
const misfit = (item: unknown): string | undefined => {
  const { then, middlewareStack } = Object(item) as ItemMembers;
  if (typeof then === "function") return "a Promise: await it";
  if (middlewareStack === undefined) return undefined;
  return (
    "a command of the AWS SDK: pass its input, such as { Put: command.input }, or the " +
    `elements of command.input.TransactItems. Values of @aws-sdk/lib-dynamodb are of another form: ${MARSHALL}`
  );
};

const checkItem = (name: string, item: unknown, own: readonly ConditionCheck[]): void => {
  const given = entriesOf(item);
  const [[action = "", body] = []] = given;
  const more = lookUp(ACTIONS, action);
  if (given.length !== 1 || !more) {
    refuse(
      `${name} must have exactly one of ${Object.keys(ACTIONS).join(", ")}, got ` +
        `${given.map(([member]) => member).join(", ") || describe(item)}. A document such as { id: "x" } goes into ` +
        `{ Put: { TableName, Item } }: ${MARSHALL}`,
    );
  }
  const path = `${name}.${action}`;
  check(path, body, MAP);
  const members = body as ItemMembers;
  const required = { TableName: TEXT, ...more };
  const known = { ...required, ...OPTIONAL };
  for (const [member, rule] of Object.entries(known)) {
    const value = members[member];
    if (value === undefined && !Object.hasOwn(required, member)) continue;
    check(`${path}.${member}`, value, rule);
    if (rule !== MAP) continue;
    for (const [attribute, content] of Object.entries(value as ItemMembers)) {
      check(`${path}.${member}[${JSON.stringify(attribute)}]`, content, ATTRIBUTE_VALUE, `: ${MARSHALL}`);
    }
  }
  const unknown = Object.keys(members).find((member) => !Object.hasOwn(known, member));
  if (unknown) refuse(`${path} takes ${Object.keys(known).join(", ")}, got ${unknown}`);
  const at = (members.Key ?? members.Item) as ItemMembers;
  const isOwn = ({ TableName, Key = {} }: ConditionCheck) =>
    tableOf(members.TableName) === tableOf(TableName) &&
    Object.entries(Key).every(([attribute, value]) => isDeepStrictEqual(at[attribute], value));
  if (own.some(isOwn)) {
    refuse(`${name} is about the lock's own item, which commit checks and finishes by itself: leave it out`);
  }
};

const check = (path: string, value: unknown, [mustBe, test]: MemberRule, advice = ""): void => {
  if (!test(value)) refuse(`${path} must be ${mustBe}, got ${describe(value)}${advice}`);
};

/** The name of a table, also where it is given by its ARN. */
const tableOf = (name: unknown): string => String(name).replace(/^.*\//, "");

/** Tells the kind of a value, because errors are logged and its content may be secret. */
const describe = (value: unknown): string => {
  if (value === "") return '""';
  if (value === undefined || value === null) return `${value}`;
  if (!isMap(value)) return typeof value === "object" ? `${value.constructor?.name}` : `a ${typeof value}`;
  const [[type, content] = [], ...more] = entriesOf(value);
  if (type === undefined) return "an object without a value";
  return more.length === 0 && lookUp(TYPES, type) ? `{ ${type}: ${describe(content)} }` : "an object";
};
