/**
 * Items and the parts of a transaction in the form of `@aws-sdk/client-dynamodb`. Its own types can
 * be assigned to these, and these to its own, so that no declaration of ours needs the SDK.
 */

interface ValueByType {
  S: string;
  N: string;
  B: Uint8Array;
  BOOL: boolean;
  NULL: boolean;
  SS: string[];
  NS: string[];
  BS: Uint8Array[];
  M: Record<string, AttributeValue>;
  L: AttributeValue[];
  // biome-ignore lint/suspicious/noExplicitAny: as the SDK has it, for types that it doesn't know yet.
  $unknown: [string, any];
}

/** A value with its type, as DynamoDB sends it: `{ S: "text" }`, `{ N: "42" }`. */
export type AttributeValue = {
  [T in keyof ValueByType]: Pick<ValueByType, T> & { [Other in Exclude<keyof ValueByType, T>]?: never };
}[keyof ValueByType];

/** An item as DynamoDB sends it. */
export type Item = Record<string, AttributeValue>;

interface Conditional {
  TableName: string | undefined;
  ConditionExpression?: string | undefined;
  ExpressionAttributeNames?: Record<string, string> | undefined;
  ExpressionAttributeValues?: Item | undefined;
  ReturnValuesOnConditionCheckFailure?: "ALL_OLD" | "NONE" | undefined;
}

/**
 * A part of a transaction that writes nothing: unless its condition holds, nothing else is written
 * either.
 */
export interface ConditionCheck extends Conditional {
  Key: Item | undefined;
  ConditionExpression: string | undefined;
}

/** One part of `TransactWriteItems`: one of the four. */
export interface TransactWriteItem {
  ConditionCheck?: ConditionCheck | undefined;
  Put?: (Conditional & { Item: Item | undefined }) | undefined;
  Delete?: (Conditional & { Key: Item | undefined }) | undefined;
  Update?: (Conditional & { Key: Item | undefined; UpdateExpression: string | undefined }) | undefined;
}
