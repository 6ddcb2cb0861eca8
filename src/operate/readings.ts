/** Which stored keys an operator may mean, and the one that is there. */
import { LockKeyError } from "../common/errors.ts";
import { type LockKey, NAMESPACE_SEPARATOR, toStoredKey } from "../common/key.ts";
import { holdersOf, type LockRecord } from "../common/record.ts";
import type { Locks } from "../lock/locks.ts";

/**
 * A key as an operator has it before them. An object with `key` and `fencingToken` is what
 * `listLocks`, `get`, events and errors show: a record, or an event. A text is a key of the client's
 * namespace, or the key as it is stored, which begins with that namespace.
 */
export type OperatorKey = LockKey | Pick<LockRecord, "key" | "fencingToken">;

/** Whether it is a record, or what has its key and its fencing token. */
export const isRecord = (target: OperatorKey): target is Pick<LockRecord, "key" | "fencingToken"> => {
  const { key, fencingToken } = Object(target);
  return typeof key === "string" && Number.isFinite(fencingToken);
};

/** The keys in the table that are meant: two, if a text can be read both ways. */
export const readingsOf = (target: OperatorKey, namespace: string | undefined): string[] => {
  const prefix = namespace ? `${namespace}${NAMESPACE_SEPARATOR}` : "";
  if (isRecord(target)) {
    const { key } = target;
    if (key.startsWith(prefix)) return [toStoredKey(key)];
    throw new LockKeyError(
      `key ${JSON.stringify(key)} of the record is not in the namespace ${JSON.stringify(namespace)} of this LockClient. ` +
        "Open one with the namespace of the record, or with none. Nothing was written",
    );
  }
  const stored = toStoredKey(target, namespace);
  return prefix && typeof target === "string" && target.startsWith(prefix) ? [target, stored] : [stored];
};

/** A record for the text of an error. */
const inWords = (record: LockRecord): string => {
  const holders = holdersOf(record).map(({ status, owner, fencingToken }) => `${status} by ${owner}, ${fencingToken}`);
  return `${JSON.stringify(record.key)} (${holders.join("; ")})`;
};

/**
 * Of the readings of one key, the one that is there.
 *
 * @throws LockKeyError if two are.
 */
export const oneOf = (records: readonly LockRecord[]): LockRecord | undefined => {
  if (records.length < 2) return records[0];
  throw new LockKeyError(
    `The key can be read in two ways, and both are there: ${records.map(inWords).join(" and ")}. ` +
      "Give the record itself, or use a LockClient without a namespace and the key as it is stored. Nothing was written",
  );
};

/** Reads the record that an operator means. `key`: where it is, or would be. */
export const readMeant = async (
  { table }: Locks,
  readings: readonly string[],
): Promise<{ readonly key: string; readonly record: LockRecord | undefined }> => {
  const records = await Promise.all(readings.map((key) => table.read(key)));
  const record = oneOf(records.filter((each) => each !== undefined));
  return { key: record?.key ?? (readings.at(-1) as string), record };
};
