/**
 * Makes the request of a write, in the short form: an alias for reserved words alone, and values
 * numbered.
 */
import { attributeOf, FIELDS, toAttribute } from "./fields.ts";
import type { Item } from "./item.ts";
import type { Write } from "./writes.ts";

/** Where the records are, and how the table names them. */
export interface TableLayout {
  readonly tableName: string;
  readonly keyAttribute: string;
  readonly ttlAttribute: string;
  /** For tables that have a sort key: the one value under which all records stand. */
  readonly sortKey?: { readonly attribute: string; readonly value: string | number } | undefined;
  /**
   * How long a record stays in the table after it is over, before DynamoDB's TTL deletes it, in ms.
   */
  readonly retentionMs: number;
}

/**
 * The input of an UpdateItem, and of an `Update` in a transaction. Without `set` and `remove`: of a
 * `ConditionCheck`.
 */
export interface WriteRequest {
  readonly TableName: string;
  readonly Key: Item;
  readonly ConditionExpression?: string | undefined;
  readonly UpdateExpression?: string | undefined;
  readonly ExpressionAttributeNames?: Record<string, string> | undefined;
  readonly ExpressionAttributeValues?: Item | undefined;
}

export const keyOf = ({ keyAttribute, sortKey }: TableLayout, key: string): Item => ({
  [keyAttribute]: { S: key },
  ...(sortKey && { [sortKey.attribute]: toAttribute(sortKey.value) }),
});

/** Expressions of one shape of write. They don't depend on its values, and so are made once. */
interface Template {
  readonly expressions: Pick<WriteRequest, "ConditionExpression" | "UpdateExpression">;
  readonly names: Record<string, string>;
  /** By its name in the request, where a value is found: in `values` of the write, or in `set`. */
  readonly values: ReadonlyMap<string, readonly [place: "values" | "set", name: string]>;
}

/** DynamoDB rejects what an expression doesn't mention: only that is in the names and values. */
const toTemplate = (
  { condition, set = {}, remove = [] }: Write,
  { keyAttribute, ttlAttribute, sortKey }: TableLayout,
): Template => {
  const named: Readonly<Record<string, readonly [string | undefined, string]>> = {
    key: [keyAttribute, "#k"],
    ttl: [ttlAttribute, "#x"],
    sortKey: [sortKey?.attribute, "#y"],
  };
  const names: Record<string, string> = {};
  const values: Template["values"] & Map<string, readonly ["values" | "set", string]> = new Map();
  const aliases: Record<string, string> = {};
  const paths = Object.keys(set);
  const name = (field: string): string => {
    const [attribute = field, alias] = named[field] ?? [attributeOf(field), FIELDS[field]?.[2]];
    if (!alias || attribute === "lock_id") return attribute;
    names[alias] = attribute;
    return alias;
  };
  const value = (of: string): string => {
    const alias = `:${values.size.toString(36)}`;
    if (aliases[of]) return aliases[of];
    const path = paths.find((each) => each === of || each.endsWith(`.${of}`));
    values.set(alias, path && typeof set[path] !== "symbol" ? ["set", path] : ["values", of]);
    aliases[of] = alias;
    return alias;
  };
  const short = (expression: string): string =>
    expression
      .replace(/ ?([<>=]+) ?/g, "$1")
      .replace(/#(\w+)/g, (_, field: string) => name(field))
      .replace(/:(\w+)/g, (_, of: string) => value(of));
  const sets = paths.map((path) => {
    const [field, parent] = path.split(".").reverse() as [string, string?];
    const content = set[path];
    return `${parent ? `${parent}.` : ""}${name(field)}=${typeof content === "symbol" ? short(content.description as string) : value(field)}`;
  });
  const update = [sets.length > 0 && `SET ${sets}`, remove.length > 0 && `REMOVE ${remove.map(name)}`];
  const expressions = {
    ...(condition && { ConditionExpression: short(condition) }),
    ...(sets.length + remove.length > 0 && { UpdateExpression: update.filter(Boolean).join(" ") }),
  };
  return { expressions, names, values };
};

/**
 * TTL is in seconds (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html): ms
 * would never expire.
 */
export const ttlOf = ({ retentionMs }: TableLayout, neededUntil: number): number =>
  Math.ceil((neededUntil + retentionMs) / 1000);

/** Gives a function that makes the requests of writes to a table. */
export const createRequests = (layout: TableLayout): ((write: Write) => WriteRequest) => {
  const templates = new Map<string, Template>();
  return ({ key, condition = "", values = {}, neededUntil, remove, ...write }) => {
    const set: Record<string, unknown> = {};
    let shape = `${condition} ${remove}`;
    for (const field in write.set) {
      if (write.set[field] === undefined) continue;
      set[field] = write.set[field];
      shape += ` ${field}`;
    }
    if (neededUntil !== undefined) {
      set.ttl = ttlOf(layout, neededUntil);
      shape += " ttl";
    }
    let template = templates.get(shape);
    if (!template) {
      template = toTemplate({ key, condition, set, ...(remove && { remove }) }, layout);
      templates.set(shape, template);
    }
    const places = { values, set };
    const ExpressionAttributeValues: Item = {};
    for (const [alias, [place, name]] of template.values) {
      ExpressionAttributeValues[alias] = toAttribute(places[place][name]);
    }
    return {
      TableName: layout.tableName,
      Key: keyOf(layout, key),
      ...template.expressions,
      ...(Object.keys(template.names).length > 0 && { ExpressionAttributeNames: { ...template.names } }),
      ...(template.values.size > 0 && { ExpressionAttributeValues }),
    };
  };
};
