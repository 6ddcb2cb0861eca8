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
  /** Who took it: in a Lambda, the request id. Empty if the record doesn't say. */
  readonly owner: string;
  /** Random id of one acquisition: the only proof of ownership. It can be read, but not enumerated, so that no log shows it. */
  readonly token: string;
  /** Strictly increasing per key. */
  readonly fencingToken: number;
  /** Length of the lease, in ms; 0 if the record doesn't say. */
  readonly leaseMs: number;
  /** Epoch ms: end of the lease, or of the time a finished key is remembered; 0 when released. */
  readonly expiresAt: number;
  /** Epoch ms; 0 if the record doesn't say. */
  readonly acquiredAt: number;
  /** Epoch ms; 0 if the record doesn't say. */
  readonly updatedAt: number;
  /** The stored response, in a box because `undefined` is a response too; absent when none was stored. */
  readonly result?: { readonly value: unknown };
  /** Key of the item that has the stored response, where that is too large for the record. Not enumerable: the token is in it. */
  readonly resultKey?: string;
  /** Hash of the payload that the key was taken with. */
  readonly fingerprint?: string;
  /** Set when the run failed for good. */
  readonly failure?: StoredFailure;
  /** The status that the application gave `finish`. */
  readonly finalStatus?: string;
  /** The application's own data. */
  readonly data?: unknown;
  /** Which of them are stored, and left out here because this version can't read them. A newer one may. */
  readonly unreadable?: readonly ("result" | "failure" | "data")[];
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
 * The record in an item, or `undefined` when the item is not one of ours. What it takes to be ours is what `OURS` in
 * requests.ts demands, and no more: whatever an acquisition may overwrite can be read, and the other way round. So whatever
 * else is missing, or of a kind that only a newer version knows, is left out here. Unknown attributes are not looked at.
 */
export const itemToRecord = (item: Item, keyAttribute: string): LockRecord | undefined => {
  const key = item[keyAttribute]?.S;
  const status = item[ATTRIBUTES.status]?.S;
  const token = item[ATTRIBUTES.token]?.S;
  const fencingToken = toNumber(item[ATTRIBUTES.fence]);
  const expiresAt = toNumber(item[ATTRIBUTES.expiresAt]);
  if (
    key === undefined ||
    !isStatus(status) ||
    token === undefined ||
    fencingToken === undefined ||
    expiresAt === undefined
  ) {
    return undefined;
  }
  const companion = toNumber(item[ATTRIBUTES.result]);
  const result = companion === undefined ? decodeResult(item[ATTRIBUTES.result]) : undefined;
  const failure = decodeFailure(item[ATTRIBUTES.failure]);
  const data = decodeJson(item[ATTRIBUTES.data]);
  const unreadable = [
    ...(item[ATTRIBUTES.result] && !result && companion === undefined ? (["result"] as const) : []),
    ...(item[ATTRIBUTES.failure] && !failure ? (["failure"] as const) : []),
    ...(item[ATTRIBUTES.data] && !data ? (["data"] as const) : []),
  ];
  const fingerprint = item[ATTRIBUTES.fingerprint];
  const execution = item[ATTRIBUTES.execution]?.S;
  const finalStatus = item[ATTRIBUTES.finalStatus]?.S;
  const keyCount = item[ATTRIBUTES.keyCount];
  const keyList = item[ATTRIBUTES.keyList];
  return {
    key,
    status,
    token,
    ...toLease(item),
    expiresAt,
    fencingToken,
    updatedAt: toNumber(item[ATTRIBUTES.updatedAt]) ?? 0,
    ...(result && { result }),
    ...(companion !== undefined && { resultKey: companionKey(key, token, companion) }),
    // One that can't be compared is never equal: neither another payload nor another list of keys gets this response.
    ...(fingerprint && { fingerprint: fingerprint.S ?? "" }),
    ...(keyCount && { keyCount: toNumber(keyCount) ?? 0 }),
    ...(keyList && { keyList: keyList.S ?? "" }),
    ...(failure && { failure }),
    ...(execution !== undefined && { execution }),
    ...(finalStatus !== undefined && { finalStatus }),
    ...(data && { data: data.value }),
    ...(unreadable.length > 0 && { unreadable }),
    ...(status === "SEMAPHORE" && { permits: toNumber(item[ATTRIBUTES.permits]) ?? 1, holders: toHolders(item) }),
  };
};

const toLease = (attributes: Item) => ({
  owner: attributes[ATTRIBUTES.owner]?.S ?? "",
  leaseMs: toNumber(attributes[ATTRIBUTES.leaseMs]) ?? 0,
  acquiredAt: toNumber(attributes[ATTRIBUTES.acquiredAt]) ?? 0,
});

/** A slot whose end can't be read is held for ever: no write would take it either. */
const toHolders = (item: Item): SemaphoreHolder[] =>
  Object.entries(item)
    .flatMap(([name, attribute]) => {
      const slot = /^slot_(\d+)$/.exec(name)?.[1];
      if (slot === undefined) return [];
      const held = attribute.M ?? {};
      const expiresAt = toNumber(held[ATTRIBUTES.expiresAt]);
      const isReleased = held[ATTRIBUTES.status]?.S === "RELEASED" && expiresAt !== undefined;
      const holder: SemaphoreHolder = {
        slot: Number(slot),
        status: isReleased ? "RELEASED" : "IN_PROGRESS",
        token: held[ATTRIBUTES.token]?.S ?? "",
        ...toLease(held),
        expiresAt: expiresAt ?? Number.POSITIVE_INFINITY,
        fencingToken: toNumber(item[slotFenceAttribute(Number(slot))]) ?? 0,
      };
      return [holder];
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

const decodeResult = (attribute: AttributeValue | undefined): { readonly value: unknown } | undefined =>
  attribute?.NULL ? { value: undefined } : decodeJson(attribute);

/** The value in a box, or `undefined` for what this version never writes. */
const decodeJson = (attribute: AttributeValue | undefined): { readonly value: unknown } | undefined => {
  try {
    return attribute?.S === undefined ? undefined : { value: JSON.parse(attribute.S) as unknown };
  } catch {
    return undefined;
  }
};

const decodeFailure = (attribute: AttributeValue | undefined): StoredFailure | undefined => {
  const failure = decodeJson(attribute)?.value as StoredFailure | undefined;
  return typeof Object(failure).message === "string" ? failure : undefined;
};

export const isStatus = (text: string | undefined): text is LockStatus =>
  text === "IN_PROGRESS" || text === "FINISHED" || text === "RELEASED" || text === "SEMAPHORE";

const toNumber = (attribute: AttributeValue | undefined): number | undefined => {
  const value = Number(attribute?.N);
  return Number.isFinite(value) ? value : undefined;
};

/** Keeps properties readable, and out of what JSON, logs and `console.log` show. */
export const conceal = <T extends object>(shown: T, ...names: readonly (keyof T)[]): T => {
  for (const name of names) if (Object.hasOwn(shown, name)) Object.defineProperty(shown, name, { enumerable: false });
  return shown;
};

/** The record for the application, which may print it or answer with it: tokens are not shown, for they prove ownership. */
export const withoutTokens = (record: LockRecord): LockRecord => {
  const holders = record.holders?.map((holder) => conceal({ ...holder }, "token"));
  return conceal({ ...record, ...(holders && { holders }) }, "token", "resultKey");
};

/** Who holds a key, or was the last to. */
export type Holding = Pick<LockRecord, "status" | "owner" | "token" | "fencingToken" | "expiresAt" | "acquiredAt">;

/** The record itself; of a semaphore, each of its holders. */
export const holdingsOf = (record: LockRecord): readonly Holding[] => record.holders ?? [record];

/** Whether nobody holds or remembers the key any more: every lease and window ended before `overBy`, epoch ms. */
export const isOver = (record: LockRecord, overBy: number): boolean =>
  holdingsOf(record).every(({ expiresAt }) => expiresAt <= overBy);
