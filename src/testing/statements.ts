/** What the statements of PartiQL do that write: INSERT, UPDATE and DELETE. */
import type { AttributeValue, Item } from "../protocol/item.ts";
import { CALLS, COMPARISONS, type Comparison, type Condition, type Operand } from "./condition.ts";
import type { DocumentPath } from "./cursor.ts";
import { invalid, unsupported } from "./errors.ts";
import { addNumbers } from "./numbers.ts";
import { valueAt } from "./paths.ts";
import { StatementCursor } from "./statement-cursor.ts";
import type { AttributeChange } from "./update.ts";

/** A statement, as data. */
export interface ParsedStatement {
  readonly action: "insert" | "update" | "delete";
  readonly tableName: string;
  /** The item of an INSERT; otherwise what WHERE says that attributes are equal to. */
  readonly item: Item;
  readonly holds: Condition;
  readonly changes: readonly AttributeChange[];
}

export const parseStatement = (text: string, parameters?: readonly unknown[]): ParsedStatement => {
  const cursor = new StatementCursor(text, parameters);
  const statement = parseAny(cursor);
  cursor.end();
  return statement;
};

const parseAny = (cursor: StatementCursor): ParsedStatement => {
  if (cursor.take("SELECT")) throw unsupported("SELECT statements of PartiQL: use GetItem, BatchGetItem or Scan");
  if (cursor.take("INSERT", "INTO")) {
    const tableName = cursor.name();
    cursor.need("VALUE", "{");
    const item: Item = Object.fromEntries(cursor.members((name) => [name, needValue(cursor)]));
    return { action: "insert", tableName, item, holds: () => true, changes: [] };
  }
  const action = cursor.take("UPDATE") ? "update" : "delete";
  if (action === "delete") cursor.need("DELETE", "FROM");
  const tableName = cursor.name();
  const changes = action === "update" ? parseChanges(cursor) : [];
  cursor.need("WHERE");
  const item: Item = {};
  const holds = parseOr(cursor, item);
  if (cursor.take("RETURNING")) throw unsupported("RETURNING in statements of PartiQL");
  return { action, tableName, item, holds, changes };
};

const needValue = (cursor: StatementCursor): AttributeValue => {
  const value = cursor.value();
  if (value) return value;
  throw cursor.error();
};

const parseChanges = (cursor: StatementCursor): AttributeChange[] => {
  const changes: AttributeChange[] = [];
  for (;;) {
    const section = (["SET", "REMOVE"] as const).find((word) => cursor.take(word));
    if (!section) break;
    do {
      const path = cursor.path();
      if (section === "SET") cursor.need("=");
      changes.push({ path, section, read: section === "SET" ? parseSum(cursor) : () => undefined });
    } while (cursor.take(","));
  }
  if (changes.length === 0) throw cursor.error();
  return changes;
};

const parseSum = (cursor: StatementCursor): ((item: Item) => AttributeValue) => {
  const left = parseOperand(cursor);
  const operator = (["+", "-"] as const).find((sign) => cursor.take(sign));
  const right = operator && parseOperand(cursor);
  return (item) => {
    const [a, b] = [left.read(item), right?.read(item)];
    if (!a || (right && !b)) {
      throw invalid("The provided expression refers to an attribute that does not exist in the item");
    }
    if (!operator) return a;
    if (a.N === undefined || b?.N === undefined) {
      throw invalid("An operand in the update expression has an incorrect data type");
    }
    return { N: addNumbers(a.N, b.N, operator === "+" ? 1 : -1) };
  };
};

const parseOperand = (cursor: StatementCursor): Operand => {
  const value = cursor.value();
  if (value) return { value, read: () => value };
  if (cursor.peek(1) === "(") throw unsupported(`the function ${cursor.peek()} there, in statements of PartiQL`);
  const path: DocumentPath = cursor.path();
  return { path, read: (item) => valueAt(item, path) };
};

/** `equal` collects what must be equal for the whole to hold; below OR and NOT nothing must. */
const parseOr = (cursor: StatementCursor, equal: Item): Condition => {
  const own: Item = {};
  const parts = [parseAnd(cursor, own)];
  while (cursor.take("OR")) parts.push(parseAnd(cursor, {}));
  if (parts.length === 1) Object.assign(equal, own);
  return (item) => parts.some((part) => part(item));
};

const parseAnd = (cursor: StatementCursor, equal: Item): Condition => {
  const parts = [parseNot(cursor, equal)];
  while (cursor.take("AND")) parts.push(parseNot(cursor, equal));
  return (item) => parts.every((part) => part(item));
};

const parseNot = (cursor: StatementCursor, equal: Item): Condition => {
  if (cursor.take("NOT")) {
    const negated = parseNot(cursor, {});
    return (item) => !negated(item);
  }
  if (!cursor.take("(")) return parseTest(cursor, equal);
  const inner = parseOr(cursor, equal);
  cursor.need(")");
  return inner;
};

const parseTest = (cursor: StatementCursor, equal: Item): Condition => {
  if (cursor.peek(1) === "(") return parseCall(cursor);
  const first = parseOperand(cursor);
  if (cursor.take("IS")) return parseIs(cursor, first);
  if (cursor.take("BETWEEN")) {
    const low = parseOperand(cursor);
    cursor.need("AND");
    const high = parseOperand(cursor);
    const [notBelow, notAbove] = [COMPARISONS[">="] as Comparison, COMPARISONS["<="] as Comparison];
    return (item) => notBelow(first.read(item), low.read(item)) && notAbove(first.read(item), high.read(item));
  }
  const isSame = COMPARISONS["="] as Comparison;
  if (cursor.take("IN")) {
    const end = cursor.take("(") ? ")" : "]";
    if (end === "]") cursor.need("[");
    const others = cursor.list(end, () => parseOperand(cursor));
    return (item) => others.some((other) => isSame(first.read(item), other.read(item)));
  }
  const operator = Object.keys(COMPARISONS).find((sign) => cursor.take(sign)) ?? (cursor.take("!", "=") ? "<>" : "");
  const holds = COMPARISONS[operator];
  if (!holds) throw cursor.error();
  const second = parseOperand(cursor);
  const [name, ...deeper] = first.path ?? [];
  if (holds === isSame && second.value && name !== undefined && deeper.length === 0) equal[name] = second.value;
  return (item) => holds(first.read(item), second.read(item));
};

const parseIs = (cursor: StatementCursor, { read }: Operand): Condition => {
  const isNegated = cursor.take("NOT");
  const isMissing = cursor.take("MISSING");
  if (!isMissing) cursor.need("NULL");
  return (item) => {
    const value = read(item);
    return (isMissing ? value === undefined : value?.NULL === true) !== isNegated;
  };
};

/** The functions that AWS's reference of PartiQL has in common with expressions. */
const FUNCTIONS = ["attribute_type", "begins_with", "contains"];

const parseCall = (cursor: StatementCursor): Condition => {
  const name = cursor.name().toLowerCase();
  const call = FUNCTIONS.includes(name) ? CALLS[name] : undefined;
  if (!call) throw unsupported(`the function ${name} in statements of PartiQL`);
  const [count, holds] = call;
  cursor.need("(");
  const [first, second, ...more] = cursor.list(")", () => parseOperand(cursor));
  if (!first || !second || more.length > 0 || count !== 2) throw cursor.error();
  return (item) => holds(first.read(item), second.read(item));
};
