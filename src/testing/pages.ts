/** Scan and Query: items in pages, in the order of their keys. */
import type { AttributeValue, Item } from "../protocol/item.ts";
import { invalid } from "./errors.ts";
import { type ExpressionInput, parseExpressions } from "./expressions.ts";
import { checkKeyTests } from "./key-condition.ts";
import { project } from "./paths.ts";
import type { MemoryTable, Store } from "./tables.ts";
import { compare, itemSize } from "./values.ts";

/** https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html */
const MAX_PAGE_BYTES = 1024 * 1024;

interface PageInput extends ExpressionInput {
  readonly TableName?: unknown;
  readonly Limit?: number;
  readonly ExclusiveStartKey?: unknown;
  readonly Select?: string;
  readonly ConsistentRead?: boolean;
  readonly ScanIndexForward?: boolean;
}

type PageExpressions = ReturnType<typeof parseExpressions<"FilterExpression" | "ProjectionExpression">>;
type Entry = readonly [id: string, item: Item];

export const scan = (store: Store, input: PageInput) => {
  const parsed = parseExpressions(input, "FilterExpression", "ProjectionExpression");
  const table = store.table(input.TableName);
  return page(table, table.items(), input, parsed, (start, [id]) => id > table.idOfKey(start));
};

export const query = (store: Store, input: PageInput) => {
  const { KeyConditionExpression: tests, ...parsed } = parseExpressions(
    input,
    "KeyConditionExpression",
    "FilterExpression",
    "ProjectionExpression",
  );
  if (!tests) {
    throw invalid("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.");
  }
  const table = store.table(input.TableName);
  checkKeyTests(tests, table.keys);
  const sort = table.keys[1]?.name ?? "";
  const direction = input.ScanIndexForward === false ? -1 : 1;
  const order = (one: Item, other: Item) =>
    direction * (compare(one[sort] as AttributeValue, other[sort] as AttributeValue) ?? 0);
  const found = table.items().filter(([, item]) => tests.every(({ name, holds }) => holds(item[name])));
  const sorted = table.keys.length > 1 ? found.sort(([, one], [, other]) => order(one, other)) : found;
  return page(table, sorted, input, parsed, (start, [, item]) => order(item, start) > 0);
};

const page = (
  table: MemoryTable,
  entries: readonly Entry[],
  { Limit = Number.POSITIVE_INFINITY, ExclusiveStartKey, Select, ConsistentRead }: PageInput,
  { FilterExpression: keeps = () => true, ProjectionExpression: paths }: PageExpressions,
  isAfter: (start: Item, entry: Entry) => boolean,
) => {
  if (Limit < 1) {
    throw invalid(
      `1 validation error detected: Value '${Limit}' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1`,
    );
  }
  if (ExclusiveStartKey !== undefined) checkStart(table, ExclusiveStartKey);
  const rest = ExclusiveStartKey ? entries.filter((entry) => isAfter(ExclusiveStartKey as Item, entry)) : entries;
  const read: Item[] = [];
  let bytes = 0;
  for (const [, item] of rest) {
    if (read.length >= Limit || bytes > MAX_PAGE_BYTES) break;
    read.push(item);
    bytes += itemSize(item);
  }
  table.meter.read(table.name, bytes, ConsistentRead);
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

const checkStart = (table: MemoryTable, start: unknown): void => {
  try {
    table.idOfKey(start);
  } catch (error) {
    throw invalid(`The provided starting key is invalid: ${(error as Error).message}`);
  }
};
