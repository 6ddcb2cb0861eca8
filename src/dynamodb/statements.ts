/** Writes as PartiQL statements, for requests that carry several of them. */
import { keyOf, type TableLayout, ttlOf } from "../protocol/expression.ts";
import { attributeOf, toAttribute } from "../protocol/fields.ts";
import type { AttributeValue } from "../protocol/item.ts";
import { NEXT_FENCE, type Write } from "../protocol/writes.ts";

/** A statement, as BatchExecuteStatement takes it. */
export interface Statement {
  readonly Statement: string;
  readonly Parameters: readonly AttributeValue[];
}

/** The same write in PartiQL. An `insert` is its part for a key without an item. */
export interface Translated {
  readonly kind: "insert" | "update";
  readonly key: string;
  readonly statement: Statement;
}

/**
 * The longest statement that DynamoDB takes
 * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchStatementRequest.html).
 */
const MAX_CHARACTERS = 8_192;
/** Names that mean the same within quotes and without. An ARN is none of them. */
const TABLE = /^[\w.-]+$/;
const ATTRIBUTE = /^[\w-]+$/;

/** How the condition of a write begins that also holds where there is no item. */
const IF_ABSENT = "attribute_not_exists(#key) OR ";
/** Equalities of attributes, which every engine understands alike. */
const EQUALITIES = /^#\w+ = :\w+( AND #\w+ = :\w+)*$/;

/**
 * Gives a function that translates the writes to a table. It gives `undefined` for what has to be an
 * UpdateItem: arithmetic, REMOVE and other conditions than equality differ between engines, and not
 * every name can be quoted.
 */
export const createStatements = (layout: TableLayout): ((write: Write) => Translated | undefined) => {
  const { tableName, keyAttribute, ttlAttribute, sortKey } = layout;
  const names = [keyAttribute, ttlAttribute, sortKey?.attribute ?? keyAttribute];
  const isQuotable = TABLE.test(tableName) && names.every((name) => ATTRIBUTE.test(name));
  const nameOf = (field: string) => (field === "ttl" ? ttlAttribute : attributeOf(field));

  const translate = (write: Write): Omit<Translated, "key"> | undefined => {
    const { condition = "", remove, neededUntil } = write;
    const ttl = neededUntil === undefined ? undefined : ttlOf(layout, neededUntil);
    const fields = Object.entries({ ...write.set, ttl }).filter(([, value]) => value !== undefined);
    const key = Object.entries(keyOf(layout, write.key));
    const values: Readonly<Record<string, unknown>> = { ...write.set, ...write.values };
    if (condition.startsWith(IF_ABSENT)) {
      // What is to be taken from a record that was seen is not absent.
      if (values.seenToken !== undefined || values.watchedToken !== undefined) return undefined;
      const item = [
        ...key,
        ...fields.map(([field, value]) => [nameOf(field), toAttribute(ofAbsent(value, values))] as const),
      ];
      const text = `INSERT INTO "${tableName}" VALUE {${item.map(([name]) => `'${name}':?`)}}`;
      return { kind: "insert", statement: toStatement(text, item) };
    }
    const isPlain = fields.length > 0 && fields.every(([field, value]) => isField(field) && typeof value !== "symbol");
    if (!isPlain || remove || !EQUALITIES.test(condition)) return undefined;
    const set = fields.map(([field, value]) => [nameOf(field), toAttribute(value)] as const);
    const where = condition.split(" AND ").map((equality) => {
      const [field, value] = equality.split(" = ") as [string, string];
      return [nameOf(field.slice(1)), toAttribute(values[value.slice(1)])] as const;
    });
    const conditions = [...key, ...where];
    const text = `UPDATE "${tableName}" SET ${equal(set)} WHERE ${equal(conditions).join(" AND ")}`;
    return { kind: "update", statement: toStatement(text, [...set, ...conditions]) };
  };

  return (write) => {
    const translated = isQuotable ? translate(write) : undefined;
    const isShort = translated && translated.statement.Statement.length <= MAX_CHARACTERS;
    return isShort ? { key: write.key, ...translated } : undefined;
  };
};

type Named = readonly (readonly [name: string, value: AttributeValue])[];

const equal = (named: Named): string[] => named.map(([name]) => `"${name}"=?`);
const toStatement = (text: string, parameters: Named): Statement => ({
  Statement: text,
  Parameters: parameters.map(([, value]) => value),
});

/** Not a path, such as `slot_3.status`. */
const isField = (field: string): boolean => !field.includes(".");

/** What a write sets a field to where there is no item: the value of the expression in a symbol. */
const ofAbsent = (value: unknown, values: Readonly<Record<string, unknown>>): unknown => {
  if (value === NEXT_FENCE) return Number(values.acquiredAt) + Number(values.one);
  return typeof value === "symbol" ? values[String(value.description).slice(1)] : value;
};
