/**
 * Checks the items of a commit, because the AWS SDK does not: it drops what it doesn't know, and writes `{ S: 5 }` as an empty
 * text, without an error.
 */
import { isDeepStrictEqual, types } from "node:util";
import { LockOptionsError } from "../common/errors.ts";
import type { ConditionCheck, TransactWriteItem } from "../protocol/item.ts";

type Members = Readonly<Record<string, unknown>>;
type Test = (value: unknown) => boolean;

/** The members that each action must have. */
const ACTIONS: Readonly<Record<string, readonly string[]>> = {
  Put: ["TableName", "Item"],
  Update: ["TableName", "Key", "UpdateExpression"],
  Delete: ["TableName", "Key"],
  ConditionCheck: ["TableName", "Key", "ConditionExpression"],
};
const OPTIONAL = [
  "ConditionExpression",
  "ExpressionAttributeNames",
  "ExpressionAttributeValues",
  "ReturnValuesOnConditionCheckFailure",
];

const isMap = (value: unknown): value is Members => Object.prototype.toString.call(value) === "[object Object]";
const isText: Test = (value) => typeof value === "string";
const listOf =
  (test: Test): Test =>
  (value) =>
    Array.isArray(value) && Array.from(value).every(test); // unlike the array itself, visits holes

/** Whether a value has the form of `@aws-sdk/client-dynamodb`. */
const isAttributeValue: Test = (value) => {
  if (!isMap(value)) return false;
  const [[type = "", content] = [], ...more] = definedEntries(value);
  return more.length === 0 && Object.hasOwn(TYPES, type) && TYPES[type]?.(content) === true;
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

const definedEntries = (value: Members) => Object.entries(value).filter(([, member]) => member !== undefined);

const MARSHALL = "make it with marshall of @aws-sdk/util-dynamodb";

/** DynamoDB allows no more (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html). */
const MAX_TRANSACTION_ITEMS = 100;

/**
 * Copies of the items as they are to be sent, whatever the caller does to them meanwhile. `own`: where the lock's records are.
 *
 * @throws LockOptionsError for the first that is no item, or would not be written as it stands there
 */
export const checkedItems = (
  items: readonly TransactWriteItem[],
  own: readonly ConditionCheck[],
): readonly TransactWriteItem[] => {
  const most = MAX_TRANSACTION_ITEMS - own.length;
  if (!Array.isArray(items) || items.length > most) {
    const got = Array.isArray(items) ? items.length : (findMisfit(items) ?? describe(items)).replace(/^is /, "");
    throw new LockOptionsError(`commit: items must be an array of at most ${most} TransactWriteItems, got ${got}`);
  }
  // Unlike `map`, `from` visits holes.
  return Array.from(items as readonly TransactWriteItem[], (item, index) => {
    const name = `items[${index}]`;
    const complaint = findMisfit(item);
    if (complaint) throw new LockOptionsError(`commit: ${name} ${complaint}`);
    let copy: TransactWriteItem;
    try {
      copy = structuredClone(item);
      checkItem(name, copy as Members, own);
    } catch (error) {
      if (error instanceof LockOptionsError) throw error;
      throw new LockOptionsError(`commit: ${name} must be plain data: ${error}`);
    }
    return copy;
  });
};

/** Says what to do with two things that are easily taken for an item. */
const findMisfit = (item: unknown): string | undefined => {
  const { then, middlewareStack } = Object(item) as Members;
  if (typeof then === "function") return "is a Promise: await it";
  if (middlewareStack === undefined) return undefined;
  return (
    "is a command of the AWS SDK: pass its input, such as { Put: command.input }, and for TransactWriteItemsCommand the " +
    `elements of command.input.TransactItems. Values of @aws-sdk/lib-dynamodb are of another form: ${MARSHALL}`
  );
};

const checkItem = (name: string, item: unknown, own: readonly ConditionCheck[]): void => {
  const given = isMap(item) ? definedEntries(item) : [];
  const [[action = "", body] = []] = given;
  const required = Object.hasOwn(ACTIONS, action) ? ACTIONS[action] : undefined;
  if (given.length !== 1 || !required) {
    const got = given.map(([member]) => member).join(", ") || describe(item);
    throw new LockOptionsError(
      `commit: ${name} must have exactly one of ${Object.keys(ACTIONS).join(", ")}, got ${got}. A document such as ` +
        `{ id: "x" } goes into { Put: { TableName, Item } }: ${MARSHALL}`,
    );
  }
  if (!isMap(body)) throw new LockOptionsError(`commit: ${name}.${action} must be an object, got ${describe(body)}`);
  const known = [...new Set([...required, ...OPTIONAL])];
  for (const member of new Set([...required, ...Object.keys(body)])) {
    const value = body[member];
    if (!known.includes(member)) {
      throw new LockOptionsError(`commit: ${name}.${action} takes ${known.join(", ")}, got ${member}`);
    }
    if (value !== undefined || required.includes(member)) checkMember(`${name}.${action}.${member}`, member, value);
  }
  const at = (body.Key ?? body.Item) as ConditionCheck["Key"];
  const isOwn = ({ TableName, Key = {} }: ConditionCheck) =>
    tableOf(body.TableName) === tableOf(TableName) &&
    Object.entries(Key).every(([attribute, value]) => isDeepStrictEqual(at?.[attribute], value));
  if (own.some(isOwn)) {
    throw new LockOptionsError(
      `commit: ${name} is about the lock's own item, which commit checks and finishes by itself: leave it out`,
    );
  }
};

const checkMember = (path: string, member: string, value: unknown): void => {
  if (member === "Item" || member === "Key" || member === "ExpressionAttributeValues") {
    if (!isMap(value)) throw new LockOptionsError(`commit: ${path} must be an object, got ${describe(value)}`);
    for (const [attribute, content] of Object.entries(value)) {
      if (isAttributeValue(content)) continue;
      throw new LockOptionsError(
        `commit: ${path}[${JSON.stringify(attribute)}] must be an attribute value such as { S: "x" } or { N: "1" }, and so ` +
          `must all that is in it, got ${describe(content)}: ${MARSHALL}`,
      );
    }
  } else if (member === "ExpressionAttributeNames") {
    if (isMap(value) && Object.values(value).every(isText)) return;
    throw new LockOptionsError(`commit: ${path} must be an object of strings, got ${describe(value)}`);
  } else if (!isText(value) || value === "") {
    throw new LockOptionsError(`commit: ${path} must be a non-empty string, got ${describe(value)}`);
  }
};

/** The name of a table, also where it is given by its ARN. */
const tableOf = (name: unknown): string => String(name).replace(/^.*\//, "");

/** Tells the kind of a value, because errors are logged and its content may be secret. */
const describe = (value: unknown): string => {
  if (value === "") return '""';
  if (value === undefined || value === null) return String(value);
  if (Array.isArray(value)) return "an array";
  if (!isMap(value)) return typeof value === "object" ? String(value.constructor?.name) : `a ${typeof value}`;
  const [[type = "", content] = [], ...more] = definedEntries(value);
  if (type === "") return Object.keys(value).length === 0 ? "an empty object" : "an object of undefined";
  return more.length === 0 && Object.hasOwn(TYPES, type) ? `{ ${type}: ${describe(content)} }` : "an object";
};
