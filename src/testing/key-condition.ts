/**
 * The condition of a Query: one partition, and possibly a range of its sort key
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.KeyConditionExpressions.html).
 */
import type { AttributeValue } from "../protocol/item.ts";
import { CALLS, COMPARISONS, type Comparison } from "./condition.ts";
import type { Cursor } from "./cursor.ts";
import { invalid } from "./errors.ts";
import type { KeyPart } from "./tables.ts";
import { typeOf } from "./values.ts";

/** What must hold for one attribute of the key. */
export interface KeyTest {
  readonly name: string;
  readonly operator: string;
  readonly values: readonly AttributeValue[];
  readonly holds: (value: AttributeValue | undefined) => boolean;
}

export const parseKeyCondition = (cursor: Cursor): KeyTest[] => {
  const tests = [parseTest(cursor)];
  if (cursor.take("AND")) tests.push(parseTest(cursor));
  cursor.end();
  return tests;
};

const parseTest = (cursor: Cursor): KeyTest => {
  if (cursor.take("(")) {
    const test = parseTest(cursor);
    cursor.need(")");
    return test;
  }
  if (cursor.peekCall() === "begins_with") {
    cursor.next();
    cursor.need("(");
    const name = readName(cursor);
    cursor.need(",");
    const start = readValue(cursor);
    cursor.need(")");
    const [, begins] = CALLS.begins_with as (typeof CALLS)[string];
    return { name, operator: "begins_with", values: [start], holds: (value) => begins(value, start) };
  }
  const name = readName(cursor);
  if (cursor.take("BETWEEN")) {
    const low = readValue(cursor);
    cursor.need("AND");
    const high = readValue(cursor);
    const [notBelow, notAbove] = [COMPARISONS[">="] as Comparison, COMPARISONS["<="] as Comparison];
    return {
      name,
      operator: "BETWEEN",
      values: [low, high],
      holds: (value) => notBelow(value, low) && notAbove(value, high),
    };
  }
  const operator = cursor.peek() ?? "";
  const holds = COMPARISONS[operator];
  if (!holds || operator === "<>") throw cursor.syntaxError();
  cursor.next();
  const bound = readValue(cursor);
  return { name, operator, values: [bound], holds: (value) => holds(value, bound) };
};

const readName = (cursor: Cursor): string => {
  const [name, ...deeper] = cursor.path();
  if (deeper.length === 0) return name as string;
  throw cursor.error("KeyConditionExpressions cannot have conditions on nested attributes");
};

const readValue = (cursor: Cursor): AttributeValue => {
  const value = cursor.value();
  if (value) return value;
  throw cursor.syntaxError();
};

/**
 * Throws unless the tests are about the table's keys: equality for the first, and at most one for
 * the second.
 */
export const checkKeyTests = (tests: readonly KeyTest[], keys: readonly KeyPart[]): void => {
  const [partition, sort] = keys;
  const first = tests.find(({ name }) => name === partition?.name);
  const second = tests.find((test) => test !== first);
  if (!first) throw invalid(`Query condition missed key schema element: ${partition?.name}`);
  if (second && second.name !== sort?.name) {
    throw invalid(`Query condition missed key schema element: ${sort?.name ?? partition?.name}`);
  }
  if (first.operator !== "=") throw invalid("Query key condition not supported");
  for (const { name, values } of tests) {
    const type = keys.find((key) => key.name === name)?.type;
    if (values.some((value) => typeOf(value) !== type)) {
      throw invalid("One or more parameter values were invalid: Condition parameter type does not match schema type");
    }
  }
};
