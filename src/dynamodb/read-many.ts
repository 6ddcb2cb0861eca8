import type { Backoff } from "../common/backoff.ts";
import { delayMs } from "../common/backoff.ts";
import type { Clock } from "../common/clock.ts";
import { LockError } from "../common/errors.ts";
import type { LockRecord } from "../common/record.ts";
import { keyOf } from "../protocol/expression.ts";
import type { Item } from "../protocol/item.ts";
import { isTransient } from "./aws-errors.ts";
import { LARGE_REPLY } from "./persist.ts";
import type { Table } from "./table.ts";

/**
 * Most keys of one BatchGetItem
 * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html).
 */
const MAX_KEYS = 100;
/** How often a batch is tried again when none of it was read. */
const MAX_RETRIES = 8;
const BACKOFF: Backoff = { minMs: 50, maxMs: 2_000 };

/**
 * The records of any number of keys, of those that have one, in no order, strongly consistent.
 * DynamoDB may leave keys unread, when it is throttled or when they are more than 16 MB, and asks
 * for exponential backoff before the next try.
 */
export const readMany = async (
  { table, clock, random }: { readonly table: Table; readonly clock: Clock; readonly random: () => number },
  keys: readonly string[],
  signal?: AbortSignal,
): Promise<LockRecord[]> => {
  const { layout } = table;
  const keyIn = (item: Item) => item[layout.keyAttribute]?.S as string;
  const found: LockRecord[] = [];
  let pending = [...new Set(keys)];
  for (let failures = 0; pending.length > 0; ) {
    const batch = pending.slice(0, MAX_KEYS);
    const Keys = batch.map((key) => keyOf(layout, key));
    const input = { RequestItems: { [layout.tableName]: { Keys, ConsistentRead: true } } };
    const reply = await table
      .send("BatchGetItem", input, { signal, retries: "none", tries: LARGE_REPLY })
      .catch((error: unknown) => {
        signal?.throwIfAborted();
        if (!isTransient(error) || failures === MAX_RETRIES) throw error;
        return { UnprocessedKeys: { [layout.tableName]: { Keys } } };
      });
    const items = Object.values(reply.Responses ?? {}).flat() as Item[];
    found.push(...items.map((item) => table.record(item, keyIn(item))));
    const left = Object.values(reply.UnprocessedKeys ?? {}) as { Keys?: Item[] }[];
    const unread = left.flatMap(({ Keys = [] }) => Keys.map(keyIn));
    pending = [...unread, ...pending.slice(MAX_KEYS)];
    if (unread.length === 0) continue;
    failures = unread.length < batch.length ? 0 : failures + 1;
    if (failures > MAX_RETRIES) {
      throw new LockError("LOCK_REQUEST", `BatchGetItem read none of ${unread.length} keys, ${failures} times`);
    }
    await clock.sleep(delayMs(failures, BACKOFF, random), signal);
  }
  return found;
};
