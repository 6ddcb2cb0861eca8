/** BatchGetItem and Scan. */
import type { Item } from "../protocol/item.ts";
import { invalid } from "./errors.ts";
import { type ExpressionInput, parseExpressions } from "./expressions.ts";
import { project } from "./paths.ts";
import { type Store, tableNameOf } from "./tables.ts";
import { itemSize } from "./values.ts";

/** https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html */
const MAX_KEYS = 100;
const MAX_BATCH_BYTES = 16 * 1024 * 1024;
/** https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html */
const MAX_PAGE_BYTES = 1024 * 1024;

interface KeysOfTable extends ExpressionInput {
  readonly Keys?: readonly unknown[];
  readonly ConsistentRead?: boolean;
}

export const batchGetItem = (
  store: Store,
  { RequestItems = {} }: { readonly RequestItems?: Readonly<Record<string, KeysOfTable>> },
) => {
  const asked = Object.entries(RequestItems);
  const count = asked.reduce((sum, [, { Keys = [] }]) => sum + Keys.length, 0);
  if (asked.length === 0 || asked.some(([, { Keys = [] }]) => Keys.length === 0)) {
    throw invalid(
      "1 validation error detected: Value at 'requestItems' failed to satisfy constraint: Member must have length greater than or equal to 1",
    );
  }
  if (count > MAX_KEYS) throw invalid("Too many items requested for the BatchGetItem call");
  const Responses: Record<string, Item[]> = {};
  const UnprocessedKeys: Record<string, KeysOfTable> = {};
  let bytes = 0;
  for (const [name, input] of asked) {
    const { Keys = [] } = input;
    const { ProjectionExpression: paths } = parseExpressions(input, "ProjectionExpression");
    const table = store.table(name, Keys[0]);
    const ids = Keys.map((key) => table.idOfKey(key));
    if (new Set(ids).size < ids.length) throw invalid("Provided list of item keys contains duplicates");
    const found: Item[] = [];
    Responses[name] = found;
    for (const [index, id] of ids.entries()) {
      const item = table.get(id);
      const size = itemSize(item ?? {});
      bytes += size;
      if (bytes > MAX_BATCH_BYTES) {
        UnprocessedKeys[name] = { ...input, Keys: Keys.slice(index) };
        break;
      }
      table.meter.read(table.name, size, input.ConsistentRead);
      if (item) found.push(project(item, paths));
    }
  }
  return { Responses, UnprocessedKeys };
};

interface ScanInput extends ExpressionInput {
  readonly TableName?: unknown;
  readonly Limit?: number;
  readonly ExclusiveStartKey?: unknown;
  readonly Select?: string;
  readonly ConsistentRead?: boolean;
}

export const scan = (store: Store, input: ScanInput) => {
  const { Limit = Number.POSITIVE_INFINITY, ExclusiveStartKey, Select } = input;
  if (Limit < 1) {
    throw invalid(
      `1 validation error detected: Value '${Limit}' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1`,
    );
  }
  const { FilterExpression: keeps = () => true, ProjectionExpression: paths } = parseExpressions(
    input,
    "FilterExpression",
    "ProjectionExpression",
  );
  const table = store.table(tableNameOf(input.TableName));
  const after = ExclusiveStartKey === undefined ? "" : startId(() => table.idOfKey(ExclusiveStartKey));
  const rest = table.items().filter(([id]) => id > after);
  const read: Item[] = [];
  let bytes = 0;
  for (const [, item] of rest) {
    if (read.length >= Limit || bytes > MAX_PAGE_BYTES) break;
    read.push(item);
    bytes += itemSize(item);
  }
  table.meter.read(table.name, bytes, input.ConsistentRead);
  const kept = read.filter(keeps);
  const last = read.at(-1);
  // A page that ends by its limit has a next one, though that may be empty.
  const isCut = last && (read.length < rest.length || read.length === Limit);
  return {
    ...(Select !== "COUNT" && { Items: kept.map((item) => project(item, paths)) }),
    Count: kept.length,
    ScannedCount: read.length,
    ...(isCut && { LastEvaluatedKey: table.keyOf(last) }),
  };
};

const startId = (read: () => string): string => {
  try {
    return read();
  } catch (error) {
    throw invalid(`The provided starting key is invalid: ${(error as Error).message}`);
  }
};
