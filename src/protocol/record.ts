import type { LockRecord, LockStatus, SemaphoreHolder, StoredFailure } from "../common/record.ts";
import type { AttributeValue, Item } from "./item.ts";

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
