import type { Clock } from "../common/clock.ts";
import type { TableLayout } from "../protocol/expression.ts";
import { isNamed } from "./aws-errors.ts";
import { failureOf } from "./translate.ts";
import type { Send } from "./transport.ts";

const POLL_MS = 500;
const MAX_POLLS = 120;

/**
 * Makes the missing table with `createLockTable`'s defaults, without its options and checks, which would be in every
 * bundle; then repeats `request` until the table takes it. Two that do this at once make one table.
 */
export const withNewTable = async <T>(
  send: Send,
  clock: Clock,
  layout: TableLayout,
  request: () => Promise<T>,
  isMissing: (error: unknown) => boolean,
): Promise<T> => {
  const { tableName, keyAttribute, ttlAttribute, sortKey } = layout;
  const keys = [{ AttributeName: keyAttribute, AttributeType: "S", KeyType: "HASH" } as const];
  const sortType = typeof sortKey?.value === "number" ? "N" : "S";
  const all = sortKey
    ? [...keys, { AttributeName: sortKey.attribute, AttributeType: sortType, KeyType: "RANGE" } as const]
    : keys;
  const creation = {
    TableName: tableName,
    KeySchema: all.map(({ AttributeName, KeyType }) => ({ AttributeName, KeyType })),
    AttributeDefinitions: all.map(({ AttributeName, AttributeType }) => ({ AttributeName, AttributeType })),
    BillingMode: "PAY_PER_REQUEST",
  };
  await send("CreateTable", creation).catch((error: unknown) => {
    if (!isNamed(error, "ResourceInUseException")) throw failureOf("CreateTable", tableName, error);
    // Somebody else is making it.
  });
  for (let poll = 1; ; poll++) {
    try {
      const result = await request();
      const TimeToLiveSpecification = { Enabled: true, AttributeName: ttlAttribute };
      // It may be on already, and no lock needs it to be.
      await send("UpdateTimeToLive", { TableName: tableName, TimeToLiveSpecification }).catch(() => {});
      return result;
    } catch (error) {
      if (poll === MAX_POLLS || !isMissing(error)) throw error;
      await clock.sleep(POLL_MS);
    }
  }
};
