/**
 * Updates
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html).
 */
import type { AttributeValue, Item } from "../protocol/item.ts";
import { misused, wrongType } from "./condition.ts";
import type { Cursor, DocumentPath } from "./cursor.ts";
import { invalid } from "./errors.ts";
import { addNumbers } from "./numbers.ts";
import { byIndexDescending, checkDistinct, valueAt, writeAt } from "./paths.ts";
import { contentOf, copyOf, memberKey, typeOf } from "./values.ts";

type ValueReader = (item: Item) => AttributeValue;

/** One change. The new value is read from the item as it was before. */
export interface AttributeChange {
  readonly path: DocumentPath;
  readonly section: Section;
  /** `undefined`: the attribute is removed. */
  readonly read: (item: Item) => AttributeValue | undefined;
}

type Section = (typeof SECTIONS)[number];
const SECTIONS = ["SET", "REMOVE", "ADD", "DELETE"] as const;

export const parseUpdate = (cursor: Cursor): AttributeChange[] => {
  const changes: AttributeChange[] = [];
  const seen = new Set<Section>();
  while (!cursor.isAtEnd || changes.length === 0) {
    const section = SECTIONS.find((name) => cursor.take(name));
    if (!section) throw cursor.syntaxError();
    if (seen.has(section))
      throw cursor.error(`The "${section}" section can only be used once in an update expression;`);
    seen.add(section);
    do changes.push(parseChange(cursor, section));
    while (cursor.take(","));
  }
  checkDistinct(
    cursor,
    changes.map(({ path }) => path),
  );
  return changes;
};

const parseChange = (cursor: Cursor, section: Section): AttributeChange => {
  const path = cursor.path();
  if (section === "REMOVE") return { path, section, read: () => undefined };
  if (section === "SET") {
    cursor.need("=");
    return { path, section, read: parseValue(cursor) };
  }
  const value = cursor.value();
  if (!value) throw cursor.syntaxError();
  const type = typeOf(value);
  if (!["SS", "NS", "BS", ...(section === "ADD" ? ["N"] : [])].includes(type)) {
    const word =
      { S: "STRING", N: "NUMBER", B: "BINARY", BOOL: "BOOLEAN", L: "LIST", M: "MAP" }[type as string] ?? type;
    throw cursor.error(
      `Incorrect operand type for operator or function; operator: ${section}, operand type: ${word}, typeSet: ALLOWED_FOR_${section}_OPERAND`,
    );
  }
  const change = section === "ADD" ? added : deleted;
  return { path, section, read: (item) => change(valueAt(item, path), value) };
};

const wrongOperand = () => invalid("An operand in the update expression has an incorrect data type");

const added = (old: AttributeValue | undefined, value: AttributeValue): AttributeValue => {
  if (!old) return value;
  const type = typeOf(value);
  if (typeOf(old) !== type) throw wrongOperand();
  if (type === "N") return { N: addNumbers(contentOf(old), contentOf(value)) };
  const there = new Set(contentOf(old).map(memberKey));
  const more = contentOf(value).filter((member: string | Uint8Array) => !there.has(memberKey(member)));
  return { [type]: [...contentOf(old), ...more] } as unknown as AttributeValue;
};

const deleted = (old: AttributeValue | undefined, value: AttributeValue): AttributeValue | undefined => {
  if (!old) return undefined;
  const type = typeOf(value);
  if (typeOf(old) !== type) throw wrongOperand();
  const gone = new Set(contentOf(value).map(memberKey));
  const left = contentOf(old).filter((member: string | Uint8Array) => !gone.has(memberKey(member)));
  return left.length > 0 ? ({ [type]: left } as unknown as AttributeValue) : undefined; // there is no empty set
};

const parseValue = (cursor: Cursor): ValueReader => {
  const left = parseTerm(cursor);
  const operator = (["+", "-"] as const).find((sign) => cursor.take(sign));
  if (!operator) return left.read;
  const right = parseTerm(cursor);
  if (left.isList || right.isList) throw misused(cursor, "list_append");
  for (const { value } of [left, right]) if (value && !value.N) throw wrongType(cursor, operator, typeOf(value));
  return (item) => {
    const [a, b] = [left.read(item), right.read(item)];
    if (a.N === undefined || b.N === undefined) throw wrongOperand();
    return { N: addNumbers(a.N, b.N, operator === "+" ? 1 : -1) };
  };
};

interface Term {
  /** Known before there is an item. */
  readonly value?: AttributeValue;
  /** What `list_append` gives is no number. */
  readonly isList?: boolean;
  readonly read: ValueReader;
}

const parseTerm = (cursor: Cursor): Term => {
  if (cursor.take("(")) {
    const read = parseValue(cursor);
    cursor.need(")");
    return { read };
  }
  const called = cursor.peekCall();
  if (called === "if_not_exists" || called === "list_append") return parseFunction(cursor, called);
  if (called !== undefined) throw cursor.error(`Invalid function name; function: ${called}`);
  const value = cursor.value();
  if (value) return { value, read: () => value };
  const path = cursor.path();
  return {
    read: (item) => {
      const found = valueAt(item, path);
      if (found) return found;
      throw invalid("The provided expression refers to an attribute that does not exist in the item");
    },
  };
};

const parseFunction = (cursor: Cursor, name: "if_not_exists" | "list_append"): Term => {
  cursor.next();
  cursor.need("(");
  if (name === "if_not_exists") {
    const path = cursor.path();
    cursor.need(",");
    const otherwise = parseTerm(cursor);
    cursor.need(")");
    return { read: (item) => valueAt(item, path) ?? otherwise.read(item) };
  }
  const first = parseTerm(cursor);
  cursor.need(",");
  const second = parseTerm(cursor);
  cursor.need(")");
  for (const { value } of [first, second]) if (value && !value.L) throw wrongType(cursor, name, typeOf(value));
  return {
    isList: true,
    read: (item) => {
      const [a, b] = [first.read(item).L, second.read(item).L];
      if (!a || !b) throw wrongOperand();
      return { L: [...a, ...b] };
    },
  };
};

/** The item as it is after the changes. The one that is given stays as it is. */
export const applyChanges = (old: Item, changes: readonly AttributeChange[]): Item => {
  const item = copyOf(old);
  const values = changes.map(({ path, section, read }) => ({ path, section, value: copyOf(read(old)) }));
  const [removed, written] = [values.filter(({ value }) => !value), values.filter(({ value }) => value)];
  for (const { path, value } of [...written].sort((a, b) => byIndexDescending(b.path, a.path)))
    writeAt(item, path, value);
  for (const { path } of [...removed].sort((a, b) => byIndexDescending(a.path, b.path))) writeAt(item, path, undefined);
  return item;
};
