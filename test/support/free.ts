import {
  breakLock,
  forgetLock,
  type LockClient,
  type LockRecord,
  listLocks,
  type OperatorKey,
} from "../../src/index.ts";

/** Frees a key whoever holds it or has finished it, and gives the record as it was, or `undefined` if it was free. */
export const freeKey = async (locks: LockClient, key: OperatorKey): Promise<LockRecord | undefined> => {
  const broken = await breakLock(locks, key, { any: true });
  const { outcome, record } = broken.outcome === "changed" ? await forgetLock(locks, key, { any: true }) : broken;
  return outcome === "done" ? record : undefined;
};

/** Breaks every lock of the namespace that is held, as it was seen, and gives their records. */
export const breakAll = async (locks: LockClient): Promise<LockRecord[]> => {
  const broken: LockRecord[] = [];
  for await (const seen of listLocks(locks, { status: "IN_PROGRESS", consistentRead: true })) {
    const { outcome, record } = await breakLock(locks, seen);
    if (outcome === "done") broken.push(record);
  }
  return broken;
};
