import type { LockRecord } from "../common/record.ts";
import { asSeen } from "../protocol/operate.ts";
import { isNamed } from "./aws-errors.ts";
import type { Table } from "./table.ts";

/** Deletes a record, and says whether it is gone: not if it has changed since it was seen. */
export const removeAsSeen = async (table: Table, seen: LockRecord): Promise<boolean> => {
  const input = { ...table.toRequest(asSeen(seen)), ReturnValuesOnConditionCheckFailure: "ALL_OLD" };
  try {
    await table.persist("DeleteItem", input);
    return true;
  } catch (error) {
    if (!isNamed(error, "ConditionalCheckFailedException")) throw await table.translate("DeleteItem", error);
    // Refused though there is no item: TTL was faster, or our own delete, whose reply was lost.
    const [refusal] = await table.refusals([seen], [{ Code: "ConditionalCheckFailed", Item: error.Item }]);
    return refusal?.item === undefined;
  }
};
