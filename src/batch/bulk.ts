import { BulkTable } from "../dynamodb/bulk-table.ts";
import type { Locks } from "../lock/locks.ts";

/** One for each client, which remembers what it has learned. */
const tables = new WeakMap<Locks, BulkTable>();

const DENIED =
  "is not allowed, so that each key of a batch has requests of its own: allow dynamodb:PartiQLInsert, dynamodb:PartiQLUpdate and dynamodb:BatchGetItem on the table, or leave bulk out";

/** The way to the table of `locks` for many keys at once. */
export const bulkTableOf = (locks: Locks): BulkTable => {
  const { transport, clock, random, report } = locks;
  const { layout } = locks.table;
  const onDenied = (operation: string, error: unknown) =>
    report({ type: "bulk-denied", operation, error }, `Table ${layout.tableName}: ${operation} ${DENIED}`);
  const table = tables.get(locks) ?? new BulkTable(transport, layout, clock, random, onDenied);
  tables.set(locks, table);
  return table;
};
