/** Makes the request of a write, in the short form: an alias for reserved words alone, and values numbered. */
import { attributeOf, FIELDS, toAttribute } from "./fields.ts";
import type { AttributeValue, Item } from "./item.ts";
import { NEXT_FENCE, type Write } from "./writes.ts";

/** Where the records are, and how the table names them. */
export interface TableLayout {
  readonly tableName: string;
  readonly keyAttribute: string;
  readonly ttlAttribute: string;
  /** For tables that have a sort key: the one value under which all records stand. */
  readonly sortKey?: { readonly attribute: string; readonly value: string | number } | undefined;
  /** How long a record stays in the table after it is over, before DynamoDB's TTL deletes it, in ms. */
  readonly retentionMs: number;
}

/** The input of an UpdateItem, and of an `Update` in a transaction. Without `set` and `remove`: of a `ConditionCheck`. */
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
  readonly condition: string | undefined;
  readonly update: string | undefined;
  readonly names: Record<string, string>;
  /** Name of a value, here -> in the request. */
  readonly values: Readonly<Record<string, string>>;
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
  const values: Record<string, string> = {};
  const name = (field: string): string => {
    const [attribute = field, alias] = named[field] ?? [attributeOf(field), FIELDS[field]?.[2]];
    if (!alias || attribute === "lock_id") return attribute;
    names[alias] = attribute;
    return alias;
  };
  const value = (of: string): string => {
    values[of] ??= `:${Object.keys(values).length.toString(36)}`;
    return values[of];
  };
  const short = (expression: string): string =>
    expression.replace(/#(\w+)/g, (_, field: string) => name(field)).replace(/:(\w+)/g, (_, of: string) => value(of));
  const sets = Object.entries(set).map(([path, content]) => {
    const [field, parent] = path.split(".").reverse() as [string, string?];
    const at = parent ? `${parent}.${name(field)}` : name(field);
    return `${at}=${content === NEXT_FENCE ? short(NEXT_FENCE.description as string) : value(field)}`;
  });
  const removes = remove.map(name);
  return {
    condition: condition && short(condition),
    update: [sets.length > 0 && `SET ${sets}`, removes.length > 0 && `REMOVE ${removes}`].filter(Boolean).join(" "),
    names,
    values,
  };
};

/** Gives a function that makes the requests of writes to a table. */
export const createRequests = (layout: TableLayout): ((write: Write) => WriteRequest) => {
  const templates = new Map<string, Template>();
  return (write) => {
    const { key, condition, values, neededUntil, remove } = write;
    // TTL is in seconds (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html): ms would never expire.
    const ttl = neededUntil === undefined ? undefined : Math.ceil((neededUntil + layout.retentionMs) / 1000);
    const set = Object.fromEntries(
      Object.entries({ ...write.set, ttl }).filter(([, content]) => content !== undefined),
    );
    const shape = `${condition} ${Object.keys(set)} ${remove}`;
    const template = templates.get(shape) ?? toTemplate({ ...write, set }, layout);
    templates.set(shape, template);
    const all: Record<string, unknown> = { ...values };
    for (const [path, content] of Object.entries(set)) all[path.replace(/.*\./, "")] = content;
    const mentioned: [string, AttributeValue][] = Object.entries(template.values).map(([of, as]) => [
      as,
      toAttribute(all[of]),
    ]);
    return {
      TableName: layout.tableName,
      Key: keyOf(layout, key),
      ...(template.condition && { ConditionExpression: template.condition }),
      ...(template.update && { UpdateExpression: template.update }),
      ...(Object.keys(template.names).length > 0 && { ExpressionAttributeNames: { ...template.names } }),
      ...(mentioned.length > 0 && { ExpressionAttributeValues: Object.fromEntries(mentioned) }),
    };
  };
};
