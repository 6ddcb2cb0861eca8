/** What nothing but a transaction can give: the application's writes and the end of the lock, all or none. */
import type { ConditionCheck, TransactWriteItem, TransactWriteItemsCommandInput } from "@aws-sdk/client-dynamodb";
import type { Clock } from "../common/clock.ts";
import { LockError } from "../common/errors.ts";
import {
  type ConditionalUpdate,
  type Hold,
  holdCondition,
  keyOf,
  names,
  STATES,
  string,
  type TableLayout,
  values,
} from "../protocol/requests.ts";
import { type Backoff, jitteredDelay } from "../protocol/wait.ts";
import { isPassing, isTransient } from "./aws-errors.ts";

/** That the key is still held, for a transaction of the application's own. */
export const conditionRequest = (layout: TableLayout, key: string, hold: Hold): ConditionCheck => {
  const condition = holdCondition(hold);
  return {
    TableName: layout.tableName,
    Key: keyOf(layout, key),
    ConditionExpression: condition,
    ExpressionAttributeNames: names(layout, condition, hold.slot),
    ExpressionAttributeValues: values(condition, { ...STATES, ":token": string(hold.token) }),
  };
};

/**
 * The application's items and the end of the lock, all or none. The lock's come last, so that in a cancellation the
 * application's reasons stand where its items do. Sent again, it is the same request: DynamoDB takes a repeat with this
 * ClientRequestToken for the first for 10 minutes
 * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html).
 */
export const commitRequest = (
  items: readonly TransactWriteItem[],
  settlements: readonly ConditionalUpdate[],
  requestToken: string,
): TransactWriteItemsCommandInput => ({
  TransactItems: [...items, ...settlements.map((request) => ({ Update: request }))],
  ClientRequestToken: requestToken,
});

/** A commit on its way. */
export interface Commit<TEnding = unknown> {
  readonly items: readonly TransactWriteItem[];
  readonly ending: TEnding;
  /** As it was last sent. */
  input?: TransactWriteItemsCommandInput | undefined;
  /** An attempt may have applied, or still be on its way. */
  inDoubt: boolean;
}

/** How often a commit in doubt is sent again, each in the SDK's several attempts. */
const MAX_IN_DOUBT = 2;
const BACKOFF: Backoff = { minMs: 10, maxMs: 500 };

/**
 * Sends a commit until its fate is known. What passes (conflicts with other transactions, throttling) is waited for as long as
 * the lease lasts; what is in doubt is asked again with the same request.
 */
export const sendCommit = async <T>(
  { clock, random }: { readonly clock: Clock; readonly random: () => number },
  send: () => Promise<T>,
  remainingMs: () => number,
): Promise<T> => {
  for (let attempt = 0, inDoubt = 0; ; attempt++) {
    try {
      return await send();
    } catch (error) {
      const delayMs = jitteredDelay(attempt, BACKOFF, random);
      const passing = isPassing(error instanceof LockError ? error.cause : error);
      const again = passing || (isTransient(error) && inDoubt++ < MAX_IN_DOUBT);
      if (!again || remainingMs() <= delayMs) throw error;
      await clock.sleep(delayMs);
    }
  }
};
