import type { AttributeValue } from "@aws-sdk/client-dynamodb";

/** An item as DynamoDB sends it. */
export type Item = Record<string, AttributeValue>;

/** `IN_PROGRESS`: held until `expiresAt`. `FINISHED`: remembered until `expiresAt`. `RELEASED`: free. */
export type LockStatus = "IN_PROGRESS" | "FINISHED" | "RELEASED";

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
  /** Set when the run failed for good. */
  readonly failure?: StoredFailure;
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
  failure: "failure",
} as const;

/**
 * The record in an item, or `undefined` when something else wrote the item: every attribute that the protocol
 * relies on must be there with its type, so that a foreign item can't become a NaN and a take-over.
 */
export const itemToRecord = (item: Item, keyAttribute: string): LockRecord | undefined => {
  const key = item[keyAttribute]?.S;
  const status = toStatus(item[ATTRIBUTES.status]?.S);
  const owner = item[ATTRIBUTES.owner]?.S;
  const token = item[ATTRIBUTES.token]?.S;
  const fencingToken = toNumber(item[ATTRIBUTES.fence]);
  const leaseMs = toNumber(item[ATTRIBUTES.leaseMs]);
  const expiresAt = toNumber(item[ATTRIBUTES.expiresAt]);
  const acquiredAt = toNumber(item[ATTRIBUTES.acquiredAt]);
  const updatedAt = toNumber(item[ATTRIBUTES.updatedAt]);
  if (
    key === undefined ||
    status === undefined ||
    owner === undefined ||
    token === undefined ||
    fencingToken === undefined ||
    leaseMs === undefined ||
    expiresAt === undefined ||
    acquiredAt === undefined ||
    updatedAt === undefined
  ) {
    return undefined;
  }
  try {
    const result = decodeResult(item[ATTRIBUTES.result]);
    const failure = item[ATTRIBUTES.failure]?.S;
    return {
      key,
      status,
      owner,
      token,
      fencingToken,
      leaseMs,
      expiresAt,
      acquiredAt,
      updatedAt,
      ...(result && { result }),
      ...(failure !== undefined && { failure: JSON.parse(failure) as StoredFailure }),
    };
  } catch {
    return undefined; // not JSON: not written by us
  }
};

/** A response ready to be stored: its JSON text, or `undefined` itself. */
export interface EncodedResult {
  readonly json: string | undefined;
}

/** JSON text as a string, `undefined` as DynamoDB's NULL; no stored response is no attribute. */
export const encodeResult = ({ json }: EncodedResult): AttributeValue =>
  json === undefined ? { NULL: true } : { S: json };

const decodeResult = (attribute: AttributeValue | undefined): { value: unknown } | undefined => {
  if (attribute?.S !== undefined) return { value: JSON.parse(attribute.S) };
  return attribute?.NULL ? { value: undefined } : undefined;
};

const toStatus = (text: string | undefined): LockStatus | undefined =>
  text === "IN_PROGRESS" || text === "FINISHED" || text === "RELEASED" ? text : undefined;

const toNumber = (attribute: AttributeValue | undefined): number | undefined => {
  const value = Number(attribute?.N);
  return Number.isFinite(value) ? value : undefined;
};
