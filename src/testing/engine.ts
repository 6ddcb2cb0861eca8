/**
 * The engine: operations on tables in memory, one at a time. It knows no network, no faults and no
 * AWS SDK.
 */
import { batchExecuteStatement } from "./batch-statements.ts";
import { batchGetItem, batchWriteItem } from "./batches.ts";
import { MemoryFailure, unsupported } from "./errors.ts";
import { deleteItem, getItem, putItem, updateItem } from "./item-operations.ts";
import { query, scan } from "./pages.ts";
import { checkParameters } from "./parameters.ts";
import {
  createTable,
  deleteTable,
  describeTable,
  describeTimeToLive,
  listTables,
  listTagsOfResource,
  updateTimeToLive,
} from "./table-operations.ts";
import type { Store } from "./tables.ts";
import { transactWriteItems } from "./transactions.ts";

type EngineOperation = (store: Store, input: object) => object;

const OPERATIONS: Readonly<Record<string, EngineOperation>> = {
  BatchExecuteStatement: batchExecuteStatement,
  BatchGetItem: batchGetItem,
  BatchWriteItem: batchWriteItem,
  CreateTable: createTable,
  DeleteItem: deleteItem,
  DeleteTable: deleteTable,
  DescribeTable: describeTable,
  DescribeTimeToLive: describeTimeToLive,
  GetItem: getItem,
  ListTables: listTables,
  ListTagsOfResource: listTagsOfResource,
  PutItem: putItem,
  Query: query,
  Scan: scan,
  TransactWriteItems: transactWriteItems,
  UpdateItem: updateItem,
  UpdateTimeToLive: updateTimeToLive,
};

/**
 * Does what a request asks for. The output shares nothing with what is stored. Throws
 * `MemoryFailure`.
 */
export const execute = (store: Store, operation: string, input: object): object => {
  const run = Object.hasOwn(OPERATIONS, operation) ? OPERATIONS[operation] : undefined;
  if (!run) {
    if (/^\w+$/.test(operation)) throw unsupported(`${operation}. It has ${Object.keys(OPERATIONS).join(", ")}`);
    throw new MemoryFailure("UnknownOperationException", "");
  }
  checkParameters(operation, input);
  store.meter.take();
  const output = run(store, input);
  const { ReturnConsumedCapacity = "NONE" } = input as { ReturnConsumedCapacity?: string };
  if (ReturnConsumedCapacity === "NONE") return output;
  const consumed = store.meter.take();
  const isOfMany = /^(Batch|Transact)/.test(operation);
  return { ...output, ConsumedCapacity: isOfMany ? consumed : consumed[0] };
};
