import type { AttributeValue } from "@aws-sdk/client-dynamodb";

/** An item as DynamoDB sends it. */
export type Item = Record<string, AttributeValue>;

/**
 * `IN_PROGRESS`: held until `expiresAt`. `FINISHED`: remembered until `expiresAt`. `RELEASED`: free. `SEMAPHORE`:
 * `holders` says who holds it.
 */
export type LockStatus = "IN_PROGRESS" | "FINISHED" | "RELEASED" | "SEMAPHORE";

/** One holder of a semaphore. */
export interface SemaphoreHolder {
  readonly slot: number;
  readonly status: "IN_PROGRESS" | "RELEASED";
  readonly owner: string;
  readonly token: string;
  readonly fencingToken: number;
  readonly leaseMs: number;
  /** Epoch ms. */
  readonly expiresAt: number;
  /** Epoch ms. */
  readonly acquiredAt: number;
}

/** What is remembered of a run that failed for good. */
export interface StoredFailure {
  readonly name: string;
  readonly message: string;
  readonly statusCode?: number;
}

/** The state of one key, as read from the table. */
export interface LockRecord {
  /** The key with its namespace, as stored. */
  readonly key: string;
  readonly status: LockStatus;
  /** Who took it: in a Lambda, the request id. */
  readonly owner: string;
  /** Random id of one acquisition: the only proof of ownership. */
  readonly token: string;
  /** Strictly increasing per key. */
  readonly fencingToken: number;
  /** Length of the lease, in ms. */
  readonly leaseMs: number;
  /** Epoch ms: end of the lease, or of the time a finished key is remembered; 0 when released. */
  readonly expiresAt: number;
  /** Epoch ms. */
  readonly acquiredAt: number;
  /** Epoch ms. */
  readonly updatedAt: number;
  /** The stored response, in a box because `undefined` is a response too; absent when none was stored. */
  readonly result?: { readonly value: unknown };
  /** Key of the item that has the stored response, where that is too large for the record. */
  readonly resultKey?: string;
  /** Hash of the payload that the key was taken with. */
  readonly fingerprint?: string;
  /** Set when the run failed for good. */
  readonly failure?: StoredFailure;
  /** The status that the application gave `finish`. */
  readonly finalStatus?: string;
  /** The application's own data. */
  readonly data?: unknown;
  /** ARN of the durable execution that took it. */
  readonly execution?: string;
  /** How many keys were taken together, if more than one. */
  readonly keyCount?: number;
  /**
   * Hash of the list of keys that was asked for, in its order and with its repeats, if it had more
   * than one.
   */
  readonly keyList?: string;
  /** Of a semaphore: how many may hold it. The fields above are those of the latest to take it. */
  readonly permits?: number;
  /** Of a semaphore: every slot that was ever taken, by number. */
  readonly holders?: readonly SemaphoreHolder[];
}

/**
 * Attribute names, fixed but for the key and the TTL attribute, which `TableLayout` names.
 * Several are DynamoDB reserved words, so requests only use them through `ExpressionAttributeNames`
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html).
 */
export const ATTRIBUTES = {
  status: "status",
  owner: "owner_id",
  token: "token",
  fence: "fence",
  leaseMs: "lease_ms",
  expiresAt: "expires_at",
  acquiredAt: "acquired_at",
  updatedAt: "updated_at",
  result: "result",
  fingerprint: "fingerprint",
  failure: "failure",
  data: "data",
  permits: "permits",
  execution: "execution",
  keyCount: "key_count",
  keyList: "key_list",
  finalStatus: "final_status",
} as const;

/** Where a semaphore keeps the holder of a slot, and its fencing token, which only a top-level attribute can be given. */
export const slotAttribute = (slot: number): string => `slot_${slot}`;
export const slotFenceAttribute = (slot: number): string => `${slotAttribute(slot)}_fence`;

/**
 * The record in an item, or `undefined` when something else wrote the item: every attribute that the protocol
 * relies on must be there with its type, so that a foreign item can't become a NaN and a take-over.
 */
export const itemToRecord = (item: Item, keyAttribute: string): LockRecord | undefined => {
  const key = item[keyAttribute]?.S;
  const status = toStatus(item[ATTRIBUTES.status]?.S);
  const fencingToken = toNumber(item[ATTRIBUTES.fence]);
  const updatedAt = toNumber(item[ATTRIBUTES.updatedAt]);
  const lease = toLease(item);
  if (key === undefined || !status || fencingToken === undefined || updatedAt === undefined || !lease) return undefined;
  try {
    const result = decodeResult(item[ATTRIBUTES.result]);
    const failure = item[ATTRIBUTES.failure]?.S;
    const data = item[ATTRIBUTES.data]?.S;
    const execution = item[ATTRIBUTES.execution]?.S;
    const finalStatus = item[ATTRIBUTES.finalStatus]?.S;
    const keyCount = toNumber(item[ATTRIBUTES.keyCount]);
    const keyList = item[ATTRIBUTES.keyList]?.S;
    const fingerprint = item[ATTRIBUTES.fingerprint]?.S;
    const companion = toNumber(item[ATTRIBUTES.result]);
    return {
      key,
      status,
      ...lease,
      fencingToken,
      updatedAt,
      ...(result && { result }),
      ...(companion !== undefined && { resultKey: companionKey(key, lease.token, companion) }),
      ...(fingerprint !== undefined && { fingerprint }),
      ...(failure !== undefined && { failure: JSON.parse(failure) as StoredFailure }),
      ...(execution !== undefined && { execution }),
      ...(finalStatus !== undefined && { finalStatus }),
      ...(keyCount !== undefined && { keyCount }),
      ...(keyList !== undefined && { keyList }),
      ...(data !== undefined && { data: JSON.parse(data) as unknown }),
      ...(status === "SEMAPHORE" && { permits: toNumber(item[ATTRIBUTES.permits]) ?? 1, holders: toHolders(item) }),
    };
  } catch {
    return undefined; // not JSON: not written by us
  }
};

const toLease = (attributes: Item) => {
  const owner = attributes[ATTRIBUTES.owner]?.S;
  const token = attributes[ATTRIBUTES.token]?.S;
  const leaseMs = toNumber(attributes[ATTRIBUTES.leaseMs]);
  const expiresAt = toNumber(attributes[ATTRIBUTES.expiresAt]);
  const acquiredAt = toNumber(attributes[ATTRIBUTES.acquiredAt]);
  if (owner === undefined || token === undefined) return undefined;
  if (!leaseMs || leaseMs < 0 || expiresAt === undefined || acquiredAt === undefined) return undefined;
  return { owner, token, leaseMs, expiresAt, acquiredAt };
};

const toHolders = (item: Item): SemaphoreHolder[] =>
  Object.entries(item)
    .flatMap(([name, attribute]) => {
      const slot = Number(/^slot_(\d+)$/.exec(name)?.[1]);
      const lease = attribute.M && toLease(attribute.M);
      const fencingToken = toNumber(item[slotFenceAttribute(slot)]);
      if (!lease || fencingToken === undefined) return [];
      const status =
        attribute.M?.[ATTRIBUTES.status]?.S === "RELEASED" ? ("RELEASED" as const) : ("IN_PROGRESS" as const);
      return [{ slot, status, fencingToken, ...lease }];
    })
    .sort((a, b) => a.slot - b.slot);

/** A response ready to be stored: its JSON text, or `undefined` itself, or which companion has it. */
export type EncodedResult = { readonly json: string | undefined } | { readonly companion: number };

/** Names, numbers and status of an item. */
const FIXED_BYTES = 200;

/**
 * At most how many bytes an item takes whose other texts are these, as DynamoDB counts them
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html).
 */
export const itemBytes = (texts: readonly (string | undefined)[]): number =>
  texts.reduce((sum, text = "") => sum + Buffer.byteLength(text), FIXED_BYTES);

/** JSON text as a string, `undefined` as DynamoDB's NULL, a companion by its number; no stored response is no attribute. */
export const encodeResult = (result: EncodedResult): AttributeValue => {
  if ("companion" in result) return { N: String(result.companion) };
  return result.json === undefined ? { NULL: true } : { S: result.json };
};

/** Key of the item that has a large response: by token and number no two finishes share one. */
export const companionKey = (key: string, token: string, companion: number): string => {
  const suffix = `#result#${token}${companion === 1 ? "" : `#${companion}`}`;
  return Buffer.byteLength(key + suffix) <= 2048 ? key + suffix : suffix; // a partition key has at most 2,048 bytes
};

const decodeResult = (attribute: AttributeValue | undefined): { value: unknown } | undefined => {
  if (attribute?.S !== undefined) return { value: JSON.parse(attribute.S) };
  return attribute?.NULL ? { value: undefined } : undefined;
};

const toStatus = (text: string | undefined): LockStatus | undefined =>
  text === "IN_PROGRESS" || text === "FINISHED" || text === "RELEASED" || text === "SEMAPHORE" ? text : undefined;

const toNumber = (attribute: AttributeValue | undefined): number | undefined => {
  const value = Number(attribute?.N);
  return Number.isFinite(value) ? value : undefined;
};

/** Who holds a key, or was the last to. */
export type Holding = Pick<LockRecord, "status" | "owner" | "token" | "fencingToken" | "expiresAt" | "acquiredAt">;

/** The record itself; of a semaphore, each of its holders. */
export const holdingsOf = (record: LockRecord): readonly Holding[] => record.holders ?? [record];

/** Whether nobody holds or remembers the key any more: every lease and window ended before `overBy`, epoch ms. */
export const isOver = (record: LockRecord, overBy: number): boolean =>
  holdingsOf(record).every(({ expiresAt }) => expiresAt <= overBy);
