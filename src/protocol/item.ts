import type { AttributeValue } from "@aws-sdk/client-dynamodb";

export type { AttributeValue, ConditionCheck, TransactWriteItem } from "@aws-sdk/client-dynamodb";

/** An item as DynamoDB sends it. */
export type Item = Record<string, AttributeValue>;
