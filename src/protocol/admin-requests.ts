/** What an operator sends, as pure functions of what was seen: the other half of requests.ts. */
import type { BatchGetItemCommandInput, DeleteItemCommandInput, ScanCommandInput } from "@aws-sdk/client-dynamodb";
import type { LockRecord, LockStatus } from "../common/record.ts";
import type { Item } from "./item.ts";
import { slotAttribute, slotFenceAttribute } from "./record.ts";
import {
  type ConditionalUpdate,
  keyOf,
  names,
  number,
  STATES,
  string,
  type TableLayout,
  ttlAfter,
  update,
  values,
} from "./requests.ts";

/** Reads many records, strongly consistent: 100 keys at most, none twice. */
export const readManyRequest = (layout: TableLayout, keys: readonly string[]): BatchGetItemCommandInput => ({
  RequestItems: { [layout.tableName]: { Keys: keys.map((key) => keyOf(layout, key)), ConsistentRead: true } },
});

/** Which records a scan gives back. */
export interface ScanFilter {
  /** How the stored key begins. */
  readonly keyPrefix?: string | undefined;
  readonly status?: LockStatus | undefined;
  readonly owner?: string | undefined;
  /** `over`: records that ended before `by`, epoch ms, or those that did not. */
  readonly ended?: { readonly over: boolean; readonly by: number } | undefined;
}

export interface ScanPage {
  readonly startKey?: Item | undefined;
  /** How many items DynamoDB looks at, before it filters. */
  readonly limit?: number | undefined;
  readonly consistent?: boolean | undefined;
}

/**
 * Reads the table page by page. The filter saves the transfer of items, not their read units
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Scan.html#Scan.FilterExpression). A semaphore's owners
 * and ends are those of its holders, which an expression can't reach: the reader of the page filters them.
 */
export const scanRequest = (layout: TableLayout, filter: ScanFilter, page: ScanPage): ScanCommandInput => {
  const { keyPrefix, status, owner, ended } = filter;
  const { sortKey } = layout;
  const expression = [
    status === undefined ? "#status IN (:inProgress, :finished, :released, :semaphore)" : "#status = :status",
    sortKey && "#sortKey = :sortKey",
    keyPrefix !== undefined && "begins_with(#key, :keyPrefix)",
    owner !== undefined && "(#status = :semaphore OR #owner = :owner)",
    ended && `(#status = :semaphore OR #expiresAt ${ended.over ? "<=" : ">"} :by)`,
  ]
    .filter(Boolean)
    .join(" AND ");
  return {
    TableName: layout.tableName,
    FilterExpression: expression,
    ExpressionAttributeNames: { ...names(layout, expression), ...(sortKey && { "#sortKey": sortKey.attribute }) },
    ExpressionAttributeValues: values(expression, {
      ...STATES,
      ":status": status && string(status),
      ":sortKey": sortKey && keyOf(layout, "")[sortKey.attribute],
      ":keyPrefix": keyPrefix === undefined ? undefined : string(keyPrefix),
      ":owner": owner === undefined ? undefined : string(owner),
      ":by": ended && number(ended.by),
    }),
    ...(page.startKey && { ExclusiveStartKey: page.startKey }),
    ...(page.limit !== undefined && { Limit: page.limit }),
    ...(page.consistent && { ConsistentRead: true }),
  };
};

/**
 * Deletes a record if it is still as it was seen. The next acquisition of the key takes its fencing token from the clock, so
 * the deleted one has to be behind the clock by then.
 */
export const removeRequest = (layout: TableLayout, seen: LockRecord): DeleteItemCommandInput => {
  const condition =
    "#token = :token AND #status = :status AND #expiresAt = :expiresAt AND #updatedAt = :updatedAt AND #fence = :fence";
  return {
    TableName: layout.tableName,
    Key: keyOf(layout, seen.key),
    ConditionExpression: condition,
    ExpressionAttributeNames: names(layout, condition),
    ExpressionAttributeValues: {
      ":token": string(seen.token),
      ":status": string(seen.status),
      ":expiresAt": number(seen.expiresAt),
      ":updatedAt": number(seen.updatedAt),
      ":fence": number(seen.fencingToken),
    },
    ReturnValuesOnConditionCheckFailure: "ALL_OLD",
  };
};

/**
 * Frees a key whoever holds it, if it is the acquisition that was seen; renewed since or not. The token is a new one: a
 * late write of the holder must not take the record for one that it settled itself. A semaphore loses all its holders.
 */
export const forceReleaseRequest = (
  layout: TableLayout,
  seen: LockRecord,
  token: string,
  now: number,
): ConditionalUpdate => {
  const slots = (seen.holders ?? []).flatMap(({ slot }) => [`#${slotAttribute(slot)}`, `#${slotFenceAttribute(slot)}`]);
  return update(
    layout,
    seen.key,
    "#token = :seenToken AND #status = :seenStatus",
    "SET #status = :released, #token = :token, #expiresAt = :zero, #updatedAt = :now, #ttl = :ttl " +
      `REMOVE ${["#result", "#failure", "#permits", ...slots].join(", ")}`,
    {
      ...STATES,
      ":seenToken": string(seen.token),
      ":seenStatus": string(seen.status),
      ":token": string(token),
      ":zero": number(0),
      ":now": number(now),
      ":ttl": ttlAfter(layout, now),
    },
  );
};
