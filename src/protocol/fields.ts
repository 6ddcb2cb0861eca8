/** The table of fields: what a record consists of, and how each part of it is stored. */
import type { Intervention, LockRecord, LockStatus, SemaphoreHolder } from "../common/record.ts";
import type { AttributeValue, Item } from "./item.ts";

/**
 * `json`, `note` and `response`: JSON text, read as its value. `response` may be a number, too: which
 * companion has it. A `note` that can't be read is left out, and nobody is told.
 */
type FieldKind = "text" | "number" | "json" | "note" | "response";
type Field = readonly [
  attribute: string,
  kind: FieldKind,
  /** In requests, for one of DynamoDB's reserved words. */
  alias?: string | undefined,
  ifAbsent?: string | number | undefined,
  ifUnreadable?: string | number,
];

/**
 * Field of a record -> its attribute, and so on. Names that are reserved words, or might become
 * some, need an alias
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html). The key
 * and `ttl` are not here, because a table may name them otherwise.
 *
 * A fingerprint or a list of keys that can't be read is read as one that equals no other: neither
 * another payload nor another list of keys gets the response.
 */
export const FIELDS: Readonly<Record<string, Field>> = {
  status: ["status", "text", "#s"],
  token: ["token", "text", "#t"],
  fencingToken: ["fence", "number"],
  expiresAt: ["expires_at", "number"],
  owner: ["owner_id", "text", undefined, "", ""],
  leaseMs: ["lease_ms", "number", undefined, 0, 0],
  acquiredAt: ["acquired_at", "number", undefined, 0, 0],
  updatedAt: ["updated_at", "number", undefined, 0, 0],
  result: ["result", "response", "#r"],
  failure: ["failure", "json"],
  finalStatus: ["final_status", "text"],
  fingerprint: ["fingerprint", "text", undefined, undefined, ""],
  execution: ["execution", "text"],
  keyCount: ["key_count", "number", undefined, undefined, 0],
  keyList: ["key_list", "text", undefined, undefined, ""],
  data: ["data", "json", "#d"],
  permits: ["permits", "number"],
  intervention: ["intervention", "note"],
};

/** The fields without which an item is not ours. */
const REQUIRED = ["status", "token", "fencingToken", "expiresAt"];

export const attributeOf = (field: string): string => FIELDS[field]?.[0] ?? field;

/** Attribute in which a semaphore keeps the holder of a slot. */
export const slotAttribute = (slot: number): string => `slot_${slot}`;
/** Attribute of that holder's fencing token, which only a top-level attribute can be given. */
export const slotFenceAttribute = (slot: number): string => `${slotAttribute(slot)}_fence`;
/** Attribute of what an operator last did to the slot. It outlives the holder. */
export const slotInterventionAttribute = (slot: number): string => `${slotAttribute(slot)}_note`;

/**
 * A value as DynamoDB takes it: text, a number, bytes, a map of fields, or `null` for the response
 * `undefined`.
 */
export const toAttribute = (value: unknown): AttributeValue => {
  if (typeof value === "string") return { S: value };
  if (typeof value === "number") return { N: String(value) };
  if (value === null) return { NULL: true };
  if (value instanceof Uint8Array) return { B: value };
  const members = Object.entries(value as object).map(([field, member]) => [attributeOf(field), toAttribute(member)]);
  return { M: Object.fromEntries(members) };
};

/**
 * The record in an item, or `undefined` when the item is not one of ours. To be ours it must have
 * what the condition of an acquisition demands, and no more: whatever an acquisition may overwrite
 * can be read, and the other way round. So whatever else is missing, or of a kind that only a newer
 * version knows, is left out.
 */
export const toRecord = (item: Item, keyAttribute: string): LockRecord | undefined => {
  const { record, unreadable } = readFields(item);
  const { status, token, fencingToken, result } = record as unknown as LockRecord & { result: unknown };
  const key = item[keyAttribute]?.S;
  const isOurs = isStatus(status) && fencingToken > 0 && REQUIRED.every((field) => record[field] !== undefined);
  if (key === undefined || !isOurs) return undefined;
  if (typeof result === "number") {
    record.resultKey = companionKey(key, token, result);
    delete record.result;
  } else if (result instanceof Uint8Array) {
    record.resultBytes = result;
    delete record.result;
  }
  if (unreadable.length > 0) record.unreadable = unreadable;
  if (status !== "SEMAPHORE") delete record.permits;
  else Object.assign(record, { permits: record.permits ?? 1, holders: toHolders(item) });
  return { key, ...record } as LockRecord;
};

const readFields = (item: Item) => {
  const record: Record<string, unknown> = {};
  const unreadable: string[] = [];
  for (const [field, [attribute, kind, , ifAbsent, ifUnreadable]] of Object.entries(FIELDS)) {
    const stored = item[attribute];
    let value = stored ? read(kind, stored) : ifAbsent;
    if (field === "failure" && typeof Object(value).message !== "string") value = undefined;
    if (stored && value === undefined) {
      value = ifUnreadable;
      if (kind === "json" || kind === "response") unreadable.push(field);
    }
    if (value !== undefined) record[field] = value;
  }
  return { record, unreadable };
};

/** `undefined` for what this version never writes. */
const read = (kind: FieldKind, { S, N, B, NULL }: AttributeValue): unknown => {
  if (kind === "text") return S;
  if (kind !== "json" && Number.isFinite(Number(N))) return Number(N);
  if (kind === "number") return undefined;
  if (kind === "response" && NULL) return { value: undefined };
  if (kind === "response" && B) return B;
  try {
    const value: unknown = JSON.parse(S as string);
    return kind === "response" ? { value } : value;
  } catch {
    return undefined;
  }
};

/** A slot whose end can't be read is held for ever: no write would take it either. */
const toHolders = (item: Item): SemaphoreHolder[] =>
  Object.entries(item)
    .flatMap(([attribute, { M }]) => {
      const [, slot] = /^slot_(\d+)$/.exec(attribute) ?? [];
      if (slot === undefined) return [];
      const {
        status,
        token = "",
        expiresAt = Number.POSITIVE_INFINITY,
        owner,
        leaseMs,
        acquiredAt,
      } = readFields(M ?? {}).record as unknown as SemaphoreHolder;
      const note = item[slotInterventionAttribute(Number(slot))];
      return {
        slot: Number(slot),
        status: status === "RELEASED" && expiresAt < Number.POSITIVE_INFINITY ? status : ("IN_PROGRESS" as const),
        token,
        owner,
        leaseMs,
        acquiredAt,
        expiresAt,
        fencingToken: Number(item[`${attribute}_fence`]?.N ?? 0),
        ...(note && { intervention: read("note", note) as Intervention }),
      };
    })
    .sort((a, b) => a.slot - b.slot);

export const isStatus = (text: unknown): text is LockStatus =>
  ["IN_PROGRESS", "FINISHED", "RELEASED", "SEMAPHORE"].includes(text as string);

/** Key of the item that has a large response: by token and number no two finishes share one. */
export const companionKey = (key: string, token: string, companion: number): string => {
  const suffix = `#result#${token}${companion === 1 ? "" : `#${companion}`}`;
  return Buffer.byteLength(key + suffix) <= 2048 ? key + suffix : suffix; // a partition key has at most 2,048 bytes
};
