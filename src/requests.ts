/**
 * The protocol: every condition under which the table may change, as pure functions of (record, now).
 *
 *   absent | RELEASED | over ──acquire──▶ IN_PROGRESS ──finish──▶ FINISHED ──(expires_at)──▶ over
 *                                              └──────release──▶ RELEASED
 *
 * Acquire needs the key to be free. Everything later needs the token of this acquisition AND IN_PROGRESS, never the
 * owner alone: a settled record keeps its token, so a late write can't revive it, and a write whose reply was lost
 * is recognised by the token it left behind.
 */
import type { GetItemCommandInput, UpdateItemCommandInput } from "@aws-sdk/client-dynamodb";
import { ATTRIBUTES, type EncodedResult, encodeResult, type Item, type StoredFailure } from "./record.ts";

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
  /** Take the key over from the same owner too: for a durable execution, which runs again from the top. */
  readonly reenter?: boolean;
}

/** How a held lock ends. */
export type Settlement =
  | { readonly status: "RELEASED" }
  | {
      readonly status: "FINISHED";
      readonly rememberMs: number;
      readonly result?: EncodedResult;
      readonly failure?: StoredFailure;
    };

/** Names of all attributes that a request mentions, and no others: DynamoDB refuses unused ones. */
const names = (layout: TableLayout, expressions: string): Record<string, string> => {
  const all: Record<string, string> = { ...ATTRIBUTES, key: layout.keyAttribute, ttl: layout.ttlAttribute };
  const mentioned = expressions.match(/#\w+/g) ?? [];
  return Object.fromEntries(mentioned.map((name) => [name, all[name.slice(1)] as string]));
};

const keyOf = (layout: TableLayout, key: string): Item => {
  const item: Item = { [layout.keyAttribute]: { S: key } };
  if (layout.sortKey) {
    const { attribute, value } = layout.sortKey;
    item[attribute] = typeof value === "number" ? { N: String(value) } : { S: value };
  }
  return item;
};

/** TTL is in seconds (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html); ms would never expire. */
const ttlAfter = (layout: TableLayout, epochMs: number) => ({
  N: String(Math.ceil((epochMs + layout.retentionMs) / 1000)),
});

const number = (value: number) => ({ N: String(value) });

/**
 * Takes the key if it is absent or over. The type checks keep an item that something else wrote from being overwritten.
 *
 * The fence starts at the clock: DynamoDB takes at most 1,000 writes per second on one key
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html), so a counter that adds
 * one per acquisition can't outrun the milliseconds, and a record that TTL deleted comes back with a higher fence.
 *
 * `ALL_OLD` brings the record that was taken over on success, and the holder on refusal, in the same round trip.
 */
export const acquireRequest = (layout: TableLayout, claim: Claim, now: number): UpdateItemCommandInput => {
  const ours =
    "#status IN (:inProgress, :finished, :released) AND attribute_type(#token, :string) " +
    "AND attribute_type(#fence, :number) AND attribute_type(#expiresAt, :number)";
  const over = "#expiresAt <= :expired";
  const free = claim.reenter ? `(${over} OR (#status = :inProgress AND #owner = :owner))` : over;
  const condition = `attribute_not_exists(#key) OR (${ours} AND ${free})`;
  const update =
    "SET #status = :inProgress, #owner = :owner, #token = :token, #fence = if_not_exists(#fence, :now) + :one, " +
    "#leaseMs = :leaseMs, #expiresAt = :expiresAt, #acquiredAt = :now, #updatedAt = :now, #ttl = :ttl " +
    "REMOVE #result, #failure";
  return {
    TableName: layout.tableName,
    Key: keyOf(layout, claim.key),
    ConditionExpression: condition,
    UpdateExpression: update,
    ExpressionAttributeNames: names(layout, condition + update),
    ExpressionAttributeValues: {
      ":string": { S: "S" },
      ":number": { S: "N" },
      ":inProgress": { S: "IN_PROGRESS" },
      ":finished": { S: "FINISHED" },
      ":released": { S: "RELEASED" },
      ":expired": number(now - claim.clockSkewMs),
      ":owner": { S: claim.owner },
      ":token": { S: claim.token },
      ":one": number(1),
      ":leaseMs": number(claim.leaseMs),
      ":expiresAt": number(now + claim.leaseMs),
      ":now": number(now),
      ":ttl": ttlAfter(layout, now + claim.leaseMs),
    },
    ReturnValues: "ALL_OLD",
    ReturnValuesOnConditionCheckFailure: "ALL_OLD",
  };
};

/** Finishes or releases: only for the token that holds the key, and only once. Release keeps the item, for its fence. */
export const settleRequest = (
  layout: TableLayout,
  held: { readonly key: string; readonly token: string },
  settlement: Settlement,
  now: number,
): UpdateItemCommandInput => {
  const finished = settlement.status === "FINISHED" ? settlement : undefined;
  const overAt = now + (finished?.rememberMs ?? 0);
  const condition = "#token = :token AND #status = :inProgress";
  const update =
    "SET #status = :status, #expiresAt = :expiresAt, #updatedAt = :now, #ttl = :ttl" +
    (finished?.result ? ", #result = :result" : "") +
    (finished?.failure ? ", #failure = :failure" : "");
  return {
    TableName: layout.tableName,
    Key: keyOf(layout, held.key),
    ConditionExpression: condition,
    UpdateExpression: update,
    ExpressionAttributeNames: names(layout, condition + update),
    ExpressionAttributeValues: {
      ":token": { S: held.token },
      ":inProgress": { S: "IN_PROGRESS" },
      ":status": { S: settlement.status },
      ":expiresAt": number(finished ? overAt : 0),
      ":now": number(now),
      ":ttl": ttlAfter(layout, overAt),
      ...(finished?.result && { ":result": encodeResult(finished.result) }),
      ...(finished?.failure && { ":failure": { S: JSON.stringify(finished.failure) } }),
    },
    ReturnValuesOnConditionCheckFailure: "ALL_OLD",
  };
};

/** Reads one record, strongly consistent. */
export const readRequest = (layout: TableLayout, key: string): GetItemCommandInput => ({
  TableName: layout.tableName,
  Key: keyOf(layout, key),
  ConsistentRead: true,
});
