/** BatchGetItem and BatchWriteItem. */
import type { Item } from "../protocol/item.ts";
import { invalid } from "./errors.ts";
import { type ExpressionInput, parseExpressions } from "./expressions.ts";
import { planWrite, type WriteInput, write } from "./item-operations.ts";
import { project } from "./paths.ts";
import type { Store } from "./tables.ts";
import { itemSize } from "./values.ts";

/** https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html */
const MAX_KEYS = 100;
const MAX_BATCH_BYTES = 16 * 1024 * 1024;
/** https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html */
const MAX_WRITES = 25;

interface KeysOfTable extends ExpressionInput {
  readonly Keys?: readonly unknown[];
  readonly ConsistentRead?: boolean;
}

const checkCount = (operation: string, lists: readonly (readonly unknown[])[], max: number): void => {
  const count = lists.reduce((sum, { length }) => sum + length, 0);
  if (lists.length === 0 || lists.some(({ length }) => length === 0)) {
    throw invalid(
      "1 validation error detected: Value at 'requestItems' failed to satisfy constraint: Member must have length greater than or equal to 1",
    );
  }
  if (count > max) throw invalid(`Too many items requested for the ${operation} call`);
};

const checkDistinct = (ids: readonly string[]): void => {
  if (new Set(ids).size < ids.length) throw invalid("Provided list of item keys contains duplicates");
};

export const batchGetItem = (
  store: Store,
  { RequestItems = {} }: { readonly RequestItems?: Readonly<Record<string, KeysOfTable>> },
) => {
  const asked = Object.entries(RequestItems);
  checkCount(
    "BatchGetItem",
    asked.map(([, { Keys = [] }]) => Keys),
    MAX_KEYS,
  );
  const Responses: Record<string, Item[]> = {};
  const UnprocessedKeys: Record<string, KeysOfTable> = {};
  let bytes = 0;
  for (const [name, input] of asked) {
    const { Keys = [] } = input;
    const { ProjectionExpression: paths } = parseExpressions(input, "ProjectionExpression");
    const table = store.table(name, Keys[0]);
    const ids = Keys.map((key) => table.idOfKey(key));
    checkDistinct(ids);
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

interface WriteOfTable {
  readonly PutRequest?: WriteInput;
  readonly DeleteRequest?: WriteInput;
}

export const batchWriteItem = (
  store: Store,
  { RequestItems = {} }: { readonly RequestItems?: Readonly<Record<string, readonly WriteOfTable[]>> },
) => {
  checkCount("BatchWriteItem", Object.values(RequestItems), MAX_WRITES);
  const plans = Object.entries(RequestItems).flatMap(([TableName, writes]) =>
    writes.map(({ PutRequest, DeleteRequest }) => {
      if (PutRequest && !DeleteRequest) return planWrite(store, "Put", { TableName, ...PutRequest });
      if (DeleteRequest && !PutRequest) return planWrite(store, "Delete", { TableName, ...DeleteRequest });
      throw invalid(
        "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
      );
    }),
  );
  checkDistinct(plans.map((plan) => `${plan.table.name} ${plan.id()}`));
  for (const plan of plans) write(plan);
  return { UnprocessedItems: {} };
};
