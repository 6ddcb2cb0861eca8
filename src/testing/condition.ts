/**
 * Conditions, filters and key conditions
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html).
 */
import type { AttributeValue, Item } from "../protocol/item.ts";
import type { Cursor, DocumentPath } from "./cursor.ts";
import { valueAt } from "./paths.ts";
import { areEqual, compare, contentOf, memberKey, TYPES, typeOf, type ValueType } from "./values.ts";

export type Condition = (item: Item) => boolean;

/** A side of a comparison, or an argument of a function. */
export interface Operand {
  readonly path?: DocumentPath | undefined;
  /** Known before there is an item. */
  readonly value?: AttributeValue | undefined;
  /** Of what a function gives. */
  readonly type?: ValueType | undefined;
  readonly read: (item: Item) => AttributeValue | undefined;
}

const show = (value: AttributeValue): string => `AttributeValue: {${typeOf(value)}:${contentOf(value)}}`;

/** Whether it holds for two values, of which each may be missing. */
export type Comparison = (one: AttributeValue | undefined, other: AttributeValue | undefined) => boolean;
const ordered =
  (test: (order: number) => boolean): Comparison =>
  (one, other) => {
    const order = one && other && compare(one, other);
    return order !== undefined && test(order);
  };
const isSame: Comparison = (one, other) => one !== undefined && other !== undefined && areEqual(one, other);
export const COMPARISONS: Readonly<Record<string, Comparison>> = {
  "=": isSame,
  "<>": (one, other) => !isSame(one, other),
  "<": ordered((order) => order < 0),
  "<=": ordered((order) => order <= 0),
  ">": ordered((order) => order > 0),
  ">=": ordered((order) => order >= 0),
};

export const parseCondition = (cursor: Cursor): Condition => {
  const condition = parseOr(cursor);
  cursor.end();
  return condition;
};

export const parseOr = (cursor: Cursor): Condition => {
  const parts = [parseAnd(cursor)];
  while (cursor.take("OR")) parts.push(parseAnd(cursor));
  return (item) => parts.some((part) => part(item));
};

const parseAnd = (cursor: Cursor): Condition => {
  const parts = [parseNot(cursor)];
  while (cursor.take("AND")) parts.push(parseNot(cursor));
  return (item) => parts.every((part) => part(item));
};

const parseNot = (cursor: Cursor): Condition => {
  if (cursor.take("NOT")) {
    const negated = parseNot(cursor);
    return (item) => !negated(item);
  }
  const start = cursor.position;
  if (!cursor.take("(")) return parseTest(cursor);
  const inner = parseOr(cursor);
  const [innerStart, innerEnd] = cursor.lastGroup;
  cursor.need(")");
  if (innerStart === start + 1 && innerEnd === cursor.position - 1) {
    throw cursor.error("The expression has redundant parentheses;");
  }
  cursor.lastGroup = [start, cursor.position];
  return inner;
};

const parseTest = (cursor: Cursor): Condition => {
  const called = cursor.peekCall();
  if (called !== undefined && called !== "size") return parseCall(cursor, called);
  const first = parseOperand(cursor);
  if (called && (cursor.isAtEnd || /^(and|or|\))$/i.test(cursor.peek() ?? ""))) throw misused(cursor, called);
  if (cursor.take("BETWEEN")) return parseBetween(cursor, first);
  if (cursor.take("IN")) return parseIn(cursor, first);
  const operator = cursor.peek() ?? "";
  const holds = COMPARISONS[operator];
  if (!holds) throw cursor.syntaxError();
  cursor.next();
  const second = parseOperand(cursor);
  checkOperands(cursor, operator, [first, second], operator !== "=" && operator !== "<>" ? ["S", "N", "B"] : TYPES);
  return (item) => holds(first.read(item), second.read(item));
};

const parseBetween = (cursor: Cursor, first: Operand): Condition => {
  const low = parseOperand(cursor);
  cursor.need("AND");
  const high = parseOperand(cursor);
  checkOperands(cursor, "BETWEEN", [first, low, high], ["S", "N", "B"]);
  if (low.value && high.value) {
    const [order, bounds] = [
      compare(low.value, high.value),
      `${show(low.value)}, upper bound operand: ${show(high.value)}`,
    ];
    const needs =
      order === undefined
        ? "same data type for lower and upper bounds"
        : "upper bound to be greater than or equal to lower bound";
    if (order === undefined || order > 0)
      throw cursor.error(`The BETWEEN operator requires ${needs}; lower bound operand: ${bounds}`);
  }
  const [notBelow, notAbove] = [COMPARISONS[">="] as Comparison, COMPARISONS["<="] as Comparison];
  return (item) => notBelow(first.read(item), low.read(item)) && notAbove(first.read(item), high.read(item));
};

const parseIn = (cursor: Cursor, first: Operand): Condition => {
  cursor.need("(");
  const others = [parseOperand(cursor)];
  while (cursor.take(",")) others.push(parseOperand(cursor));
  cursor.need(")");
  checkOperands(cursor, "IN", [first, ...others], TYPES);
  return (item) => others.some((other) => isSame(first.read(item), other.read(item)));
};

/** A path, a value, or the size of one. */
const parseOperand = (cursor: Cursor): Operand => {
  const called = cursor.peekCall();
  if (called === undefined) return parsePlain(cursor);
  if (called !== "size")
    throw called in CALLS ? misused(cursor, called) : cursor.error(`Invalid function name; function: ${called}`);
  const [measured] = parseArguments(cursor, called, 1);
  checkOperands(cursor, called, [measured as Operand], ["S", "B", "SS", "NS", "BS", "L", "M"]);
  return { type: "N", read: (item) => measureOf(measured?.read(item)) };
};

const parsePlain = (cursor: Cursor): Operand => {
  const value = cursor.value();
  if (value) return { value, read: () => value };
  const path = cursor.path();
  return { path, read: (item) => valueAt(item, path) };
};

const parseArguments = (cursor: Cursor, name: string, count: number): Operand[] => {
  cursor.next();
  cursor.need("(");
  const operands = [parseOperand(cursor)];
  while (cursor.take(",")) operands.push(parseOperand(cursor));
  cursor.need(")");
  if (operands.length === count) return operands;
  throw cursor.error(
    `Incorrect number of operands for operator or function; operator or function: ${name}, number of operands: ${operands.length}`,
  );
};

const measureOf = (value: AttributeValue | undefined): AttributeValue | undefined => {
  if (!value || ["N", "BOOL", "NULL"].includes(typeOf(value))) return undefined;
  const content = contentOf(value);
  const size = value.S !== undefined ? value.S.length : value.M ? Object.keys(value.M).length : content.length;
  return { N: String(size) };
};

type ConditionFunction = readonly [
  operands: number,
  holds: (value: AttributeValue | undefined, other: AttributeValue | undefined) => boolean,
];

export const CALLS: Readonly<Record<string, ConditionFunction>> = {
  attribute_exists: [1, (value) => value !== undefined],
  attribute_not_exists: [1, (value) => value === undefined],
  attribute_type: [2, (value, type) => value !== undefined && typeOf(value) === type?.S],
  begins_with: [
    2,
    (value, start) => {
      if (!value || !start || typeOf(value) !== typeOf(start) || !/^[SB]$/.test(typeOf(value))) return false;
      const [whole, part] = [Buffer.from(contentOf(value)), Buffer.from(contentOf(start))];
      return whole.subarray(0, part.length).equals(part);
    },
  ],
  contains: [
    2,
    (value, part) => {
      if (!value || !part) return false;
      const type = typeOf(value);
      if (type === "L") return value.L?.some((element) => areEqual(element, part)) === true;
      if (type === typeOf(part))
        return (type === "S" || type === "B") && Buffer.from(contentOf(value)).includes(contentOf(part));
      return (
        type === `${typeOf(part)}S` &&
        contentOf(value)
          .map(memberKey)
          .includes(memberKey(contentOf(part)))
      );
    },
  ],
};

const parseCall = (cursor: Cursor, name: string): Condition => {
  const call = Object.hasOwn(CALLS, name) ? CALLS[name] : undefined;
  if (!call) throw cursor.error(`Invalid function name; function: ${name}`);
  const [count, holds] = call;
  const operands = parseArguments(cursor, name, count);
  const [first, second] = operands as [Operand, Operand?];
  if (count === 1 && !first.path) {
    throw cursor.error(`Operator or function requires a document path; operator or function: ${name}`);
  }
  if (name === "begins_with") checkOperands(cursor, name, operands, ["S", "B"]);
  else if (name === "attribute_type") checkTypeName(cursor, second as Operand);
  else checkOperands(cursor, name, operands, TYPES);
  if (COMPARISONS[cursor.peek() ?? ""]) throw misused(cursor, name);
  return (item) => holds(first.read(item), second?.read(item));
};

const checkTypeName = (cursor: Cursor, { value }: Operand): void => {
  if (value && !value.S) throw wrongType(cursor, "attribute_type", typeOf(value));
  if (value && !(TYPES as readonly (string | undefined)[]).includes(value.S)) {
    throw cursor.error(
      `Invalid attribute type name found; type: ${value.S}, valid types: {N,BS,L,B,NULL,M,S,SS,NS,BOOL}`,
    );
  }
};

/** Refuses values of types that the operator doesn't take, and two paths that are one. */
const checkOperands = (
  cursor: Cursor,
  operator: string,
  operands: readonly Operand[],
  types: readonly string[],
): void => {
  const [first, ...others] = operands;
  if (first?.path && others.some(({ path }) => path && JSON.stringify(path) === JSON.stringify(first.path))) {
    throw cursor.error(
      "The first operand must be distinct from the remaining operands for this operator or function; " +
        `operator: ${operator}, first operand: [${first.path.join(".")}]`,
    );
  }
  const known = operands.flatMap(({ value, type }) => (value ? typeOf(value) : (type ?? [])));
  const wrong = known.find((type) => !types.includes(type));
  if (wrong) throw wrongType(cursor, operator, wrong);
};

export const wrongType = (cursor: Cursor, operator: string, type: ValueType) =>
  cursor.error(
    `Incorrect operand type for operator or function; operator or function: ${operator}, operand type: ${type}`,
  );

export const misused = (cursor: Cursor, name: string) =>
  cursor.error(`The function is not allowed to be used this way in an expression; function: ${name}`);
