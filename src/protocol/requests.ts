/**
 * The protocol: every condition under which the table may change, as pure functions of (record, now).
 *
 *   absent | RELEASED | over ──acquire──▶ IN_PROGRESS ──finish──▶ FINISHED ──(expires_at)──▶ over
 *                                          │  ▲   └──release──▶ RELEASED
 *                                          └renew
 *
 * Acquire needs the key to be free. Everything later needs the token of this acquisition AND IN_PROGRESS, never the
 * owner alone: a settled record keeps its token, so a late write can't revive it, and a write whose reply was lost
 * is recognised by the token it left behind.
 *
 * A semaphore is the same item with status SEMAPHORE, in which each holder has a map `slot_<n>` of its own.
 */
import type { AttributeValue, GetItemCommandInput, Update } from "@aws-sdk/client-dynamodb";
import type { LockRecord, StoredFailure } from "../common/record.ts";
import type { Item } from "./item.ts";
import { ATTRIBUTES, type EncodedResult, encodeResult, slotAttribute, slotFenceAttribute } from "./record.ts";

/** Where the records are, and how the table names them. */
export interface TableLayout {
  readonly tableName: string;
  readonly keyAttribute: string;
  readonly ttlAttribute: string;
  /** For tables that have a sort key: the one value under which all records stand. */
  readonly sortKey?: { readonly attribute: string; readonly value: string | number } | undefined;
  /** How long a record stays in the table after it is over, before DynamoDB's TTL deletes it, in ms. */
  readonly retentionMs: number;
}

/** One attempt to take a key. */
export interface Claim {
  readonly key: string;
  readonly owner: string;
  readonly token: string;
  readonly leaseMs: number;
  readonly clockSkewMs: number;
  /** JSON of the application's data; without it the data of the record before stays. */
  readonly data?: string | undefined;
  /** Hash of the payload, by which a repeat of the key with another one is known. */
  readonly fingerprint?: string | undefined;
  /** ARN of the durable execution that asks. */
  readonly execution?: string | undefined;
  /** Don't let a lease end by the clock, only by `watched`. */
  readonly observedOnly?: boolean | undefined;
  /** A lease that the claimant has watched unchanged for its length: it is over, if it is still the same. */
  readonly watched?: { readonly token: string; readonly expiresAt: number; readonly leaseMs: number } | undefined;
  /** How many keys are taken together. */
  readonly keyCount?: number | undefined;
  /** Hash of the list of keys that was asked for. */
  readonly keyList?: string | undefined;
  /** Set the fencing token to this, which the record's must be below: one token for several keys. */
  readonly fence?: number | undefined;
  /**
   * Take the key from this acquisition, if it is still the latest and in this state. So a request that comes late can't take
   * the key from a later one.
   */
  readonly seen?: Pick<LockRecord, "token" | "status" | "holders"> | undefined;
}

/** What a holder proves its later writes with. */
export interface Hold {
  readonly token: string;
  /** Of a semaphore. */
  readonly slot?: number | undefined;
}

/** How a held lock ends. */
export type Settlement = { readonly data?: string | undefined } & (
  | { readonly status: "RELEASED" }
  | {
      readonly status: "FINISHED";
      readonly rememberMs: number;
      /** The application's own. */
      readonly finalStatus?: string | undefined;
      readonly result?: EncodedResult;
      readonly failure?: StoredFailure;
    }
);

/** A conditional write that shows the item that refused it. */
export type ConditionalUpdate = Update & { readonly UpdateExpression: string };

/** Names of all attributes that a request mentions, and no others: DynamoDB refuses unused ones. */
export const names = (layout: TableLayout, expressions: string, slot?: number): Record<string, string> => {
  const all: Record<string, string> = { ...ATTRIBUTES, key: layout.keyAttribute, ttl: layout.ttlAttribute };
  if (slot !== undefined) Object.assign(all, { slot: slotAttribute(slot), slotFence: slotFenceAttribute(slot) });
  const mentioned = expressions.match(/#\w+/g) ?? [];
  return Object.fromEntries(mentioned.map((name) => [name, all[name.slice(1)] ?? name.slice(1)]));
};

/** Values likewise. */
export const values = (expressions: string, all: Record<string, AttributeValue | undefined>) => {
  const mentioned = new Set(expressions.match(/:\w+/g));
  return Object.fromEntries(Object.entries(all).filter(([name, value]) => value && mentioned.has(name))) as Item;
};

export const update = (
  layout: TableLayout,
  key: string,
  condition: string,
  updateExpression: string,
  all: Record<string, AttributeValue | undefined>,
  slot?: number,
): ConditionalUpdate => {
  const expressions = `${condition} ${updateExpression}`;
  return {
    TableName: layout.tableName,
    Key: keyOf(layout, key),
    ConditionExpression: condition,
    UpdateExpression: updateExpression,
    ExpressionAttributeNames: names(layout, expressions, slot),
    ExpressionAttributeValues: values(expressions, all),
    ReturnValuesOnConditionCheckFailure: "ALL_OLD",
  };
};

export const keyOf = (layout: TableLayout, key: string): Item => {
  const item: Item = { [layout.keyAttribute]: { S: key } };
  if (layout.sortKey) {
    const { attribute, value } = layout.sortKey;
    item[attribute] = typeof value === "number" ? { N: String(value) } : { S: value };
  }
  return item;
};

/** TTL is in seconds (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html); ms would never expire. */
export const ttlAfter = (
  layout: TableLayout,
  epochMs: number,
  { slot }: { readonly slot?: number | undefined } = {},
) => {
  const retentionMs = slot === undefined ? layout.retentionMs : Math.max(layout.retentionMs, MAX_SEMAPHORE_LEASE_MS);
  return { N: String(Math.ceil((epochMs + retentionMs) / 1000)) };
};

/** A semaphore's item must outlive all its holders, whoever wrote to it last. */
export const MAX_SEMAPHORE_LEASE_MS = 30 * 24 * 3_600_000;

export const number = (value: number) => ({ N: String(value) });
export const string = (value: string) => ({ S: value });

export const STATES = {
  ":inProgress": string("IN_PROGRESS"),
  ":finished": string("FINISHED"),
  ":released": string("RELEASED"),
  ":semaphore": string("SEMAPHORE"),
  ":string": string("S"),
  ":number": string("N"),
};

/**
 * An item that we wrote: the type checks keep what something else wrote from being overwritten. Reading demands the same, in
 * `itemToRecord`.
 */
export const OURS =
  // A request that comes late must not take the key for an acquisition that has ended: its token is there already.
  "#token <> :token AND attribute_type(#token, :string) AND attribute_type(#fence, :number) AND attribute_type(#expiresAt, :number)";

export const claimValues = (layout: TableLayout, claim: Claim, now: number) => ({
  ...STATES,
  ":owner": string(claim.owner),
  ":token": string(claim.token),
  ":one": number(1),
  ":leaseMs": number(claim.leaseMs),
  ":expiresAt": number(now + claim.leaseMs),
  ":expired": number(now - claim.clockSkewMs),
  ":now": number(now),
  ":ttl": ttlAfter(layout, now + claim.leaseMs),
  ":data": claim.data === undefined ? undefined : string(claim.data),
});

export const CLAIMED =
  "#owner = :owner, #token = :token, #leaseMs = :leaseMs, #expiresAt = :expiresAt, #acquiredAt = :now, " +
  "#updatedAt = :now, #ttl = :ttl";

/**
 * Adds one to the fencing token, which starts at the clock: DynamoDB takes at most 1,000 writes per second on one key
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html), so a counter that adds
 * one per acquisition can't outrun the milliseconds, and a record that TTL deleted comes back with a higher one.
 */
export const NEXT_FENCE = "if_not_exists(#fence, :now) + :one";

/** Takes the key if it is absent or free, or from the acquisition that was `seen`. */
export const acquireRequest = (layout: TableLayout, claim: Claim, now: number): ConditionalUpdate => {
  const { watched, seen } = claim;
  const free = [
    claim.observedOnly
      ? "#status = :released OR (#status = :finished AND #expiresAt <= :expired)"
      : "#status IN (:inProgress, :finished, :released) AND #expiresAt <= :expired",
    watched &&
      "(#status = :inProgress AND #token = :watchedToken AND #expiresAt = :watchedExpiresAt AND #leaseMs = :watchedLeaseMs)",
    seen && "(#status = :seenStatus AND #token = :seenToken)",
  ].filter(Boolean);
  const below = claim.fence === undefined ? "" : " AND #fence < :fence";
  const condition = `attribute_not_exists(#key) OR (${OURS} AND (${free.join(" OR ")})${below})`;
  const slots = seen?.holders?.flatMap(({ slot }) => [`#${slotAttribute(slot)}`, `#${slotFenceAttribute(slot)}`]) ?? [];
  const set =
    `SET #status = :inProgress, ${CLAIMED}, #fence = ${claim.fence === undefined ? NEXT_FENCE : ":fence"}` +
    (claim.execution === undefined ? "" : ", #execution = :execution") +
    (claim.keyCount === undefined ? "" : ", #keyCount = :keyCount") +
    (claim.keyList === undefined ? "" : ", #keyList = :keyList") +
    (claim.fingerprint === undefined ? "" : ", #fingerprint = :fingerprint") +
    (claim.data === undefined ? "" : ", #data = :data");
  const stale = ["#result", "#failure", "#finalStatus", "#permits", ...slots];
  if (claim.execution === undefined) stale.push("#execution");
  if (claim.keyCount === undefined) stale.push("#keyCount");
  if (claim.keyList === undefined) stale.push("#keyList");
  if (claim.fingerprint === undefined) stale.push("#fingerprint");
  return update(layout, claim.key, condition, `${set} REMOVE ${stale.join(", ")}`, {
    ...claimValues(layout, claim, now),
    ":fence": claim.fence === undefined ? undefined : number(claim.fence),
    ":keyCount": claim.keyCount === undefined ? undefined : number(claim.keyCount),
    ":keyList": claim.keyList === undefined ? undefined : string(claim.keyList),
    ":execution": claim.execution === undefined ? undefined : string(claim.execution),
    ":fingerprint": claim.fingerprint === undefined ? undefined : string(claim.fingerprint),
    ":watchedToken": watched && string(watched.token),
    ":watchedExpiresAt": watched && number(watched.expiresAt),
    ":watchedLeaseMs": watched && number(watched.leaseMs),
    ":seenStatus": seen && string(seen.status),
    ":seenToken": seen && string(seen.token),
  });
};

/** Proof of ownership, for the record or for a slot of it. */
export const holdCondition = ({ slot }: Hold) => {
  const at = slot === undefined ? "" : "#slot.";
  return `${at}#token = :token AND ${at}#status = :inProgress`;
};

/**
 * Prolongs the lease: only for the token that holds the key, and only to a later end, so that an older renewal that arrives
 * late can't undo a newer one.
 */
export const renewRequest = (
  layout: TableLayout,
  key: string,
  hold: Hold,
  lease: { readonly leaseMs: number; readonly expiresAt: number },
  now: number,
) => {
  const at = hold.slot === undefined ? "" : "#slot.";
  const condition = `${holdCondition(hold)} AND ${at}#expiresAt < :expiresAt`;
  const set = `SET ${at}#leaseMs = :leaseMs, ${at}#expiresAt = :expiresAt, #updatedAt = :now, #ttl = :ttl`;
  const all = {
    ...STATES,
    ":token": string(hold.token),
    ":leaseMs": number(lease.leaseMs),
    ":expiresAt": number(lease.expiresAt),
    ":now": number(now),
    ":ttl": ttlAfter(layout, lease.expiresAt, hold),
  };
  return update(layout, key, condition, set, all, hold.slot);
};

/**
 * Finishes or releases every key of a hold. One copy of the response is enough for a repeat, which reads all keys.
 */
export const settleRequests = (
  layout: TableLayout,
  keys: readonly string[],
  hold: Hold,
  settlement: Settlement,
  now: number,
) => {
  const { result: _result, ...rest } = settlement as Settlement & { result?: unknown };
  return keys.map((key, index) =>
    settleRequest(layout, key, hold, index === 0 ? settlement : (rest as Settlement), now),
  );
};

/** Finishes or releases: only for the token that holds the key, and only once. Release keeps the item, for its fence. */
export const settleRequest = (layout: TableLayout, key: string, hold: Hold, settlement: Settlement, now: number) => {
  const finished = settlement.status === "FINISHED" ? settlement : undefined;
  const at = hold.slot === undefined ? "" : "#slot.";
  const overAt = now + (finished?.rememberMs ?? 0);
  const set =
    `SET ${at}#status = :status, ${at}#expiresAt = :expiresAt, #updatedAt = :now, #ttl = :ttl` +
    (finished?.result ? ", #result = :result" : "") +
    (finished?.failure ? ", #failure = :failure" : "") +
    (finished?.finalStatus ? ", #finalStatus = :finalStatus" : "") +
    (settlement.data === undefined ? "" : ", #data = :data");
  const all = {
    ...STATES,
    ":token": string(hold.token),
    ":status": string(settlement.status),
    ":expiresAt": number(finished ? overAt : 0),
    ":now": number(now),
    ":ttl": ttlAfter(layout, overAt, hold),
    ":result": finished?.result && encodeResult(finished.result),
    ":failure": finished?.failure && string(JSON.stringify(finished.failure)),
    ":finalStatus": finished?.finalStatus ? string(finished.finalStatus) : undefined,
    ":data": settlement.data === undefined ? undefined : string(settlement.data),
  };
  return update(layout, key, holdCondition(hold), set, all, hold.slot);
};

/** A response too large for the record, compressed, in an item of its own that only a replay reads. */
export const storeResultRequest = (
  layout: TableLayout,
  companion: string,
  body: Uint8Array,
  { rememberMs }: { readonly rememberMs: number },
  now: number,
) => ({
  TableName: layout.tableName,
  Key: keyOf(layout, companion),
  // An update, so that no other permission is needed than for the record.
  UpdateExpression: "SET #result = :result, #ttl = :ttl",
  ExpressionAttributeNames: names(layout, "#result #ttl"),
  // It is written first, and must not go first.
  ExpressionAttributeValues: { ":result": { B: body }, ":ttl": ttlAfter(layout, now + rememberMs + HOUR_MS) },
});

const HOUR_MS = 3_600_000;

/** Reads one record: strongly consistent, or for half the price as it was a moment ago. */
export const readRequest = (layout: TableLayout, key: string, consistent = true): GetItemCommandInput => ({
  TableName: layout.tableName,
  Key: keyOf(layout, key),
  ConsistentRead: consistent,
});
