/**
 * Makes a table: the part that `createLockTable` and a client with `ensureTable` have in common.
 */
import { delayMs } from "../common/backoff.ts";
import type { Clock } from "../common/clock.ts";
import { textOf } from "../common/errors.ts";
import type { TableLayout } from "../protocol/expression.ts";
import { failureOf } from "./translate.ts";
import type { Send } from "./transport.ts";

/** The attributes by which the table finds an item. */
export interface KeyAttributes {
  readonly tableName: string;
  readonly keyAttribute: string;
  readonly sortKey?: { readonly attribute: string; readonly type: "S" | "N" } | undefined;
}

/** An on-demand table. TTL is not part of it: DynamoDB has a request of its own for that. */
export const newTable = ({ tableName, keyAttribute, sortKey }: KeyAttributes) => {
  const keys = [{ attribute: keyAttribute, type: "S" }, ...(sortKey ? [sortKey] : [])];
  return {
    TableName: tableName,
    KeySchema: keys.map(({ attribute }, i) => ({ AttributeName: attribute, KeyType: i === 0 ? "HASH" : "RANGE" })),
    AttributeDefinitions: keys.map(({ attribute, type }) => ({ AttributeName: attribute, AttributeType: type })),
    BillingMode: "PAY_PER_REQUEST",
  };
};

/**
 * Sends requests about one table. Gives the output, or as `refusal` an error whose text is
 * `expected`. Throws every other error as ours.
 */
export const tableRequests =
  (send: Send, tableName: string) =>
  async (operation: string, input: object, expected?: RegExp): ReturnType<Send> => {
    try {
      return (await send(operation, input)) ?? {};
    } catch (error) {
      if (expected?.test(textOf(error))) return { refusal: error };
      throw failureOf(operation, tableName, error);
    }
  };

/** Refused because the table exists, or is being created or deleted. */
export const TABLE_IN_USE = /^ResourceInUseException/;

export const ttlRequest = (tableName: string, ttlAttribute: string) => ({
  TableName: tableName,
  TimeToLiveSpecification: { Enabled: true, AttributeName: ttlAttribute },
});

/** Without jitter: nobody contends for a table. */
const BACKOFF = { minMs: 20, maxMs: 2_000 };

/** The result of one look. */
export type Look<T, TPending> = { readonly done: T } | { readonly pending: TPending };

/**
 * Looks until it is done, a little later each time. Throws what `late` makes of the last look when
 * the next would be too late.
 */
export const poll = async <T, TPending>(
  clock: Clock,
  deadline: number,
  look: () => Promise<Look<T, TPending>>,
  late: (pending: TPending) => unknown,
): Promise<T> => {
  for (let attempt = 0; ; attempt++) {
    const found = await look();
    if ("done" in found) return found.done;
    const ms = delayMs(attempt, BACKOFF, () => 1);
    if (clock.monotonic() + ms > deadline) throw late(found.pending);
    await clock.sleep(ms);
  }
};

/** How long a new table may take until it can be used. */
const WAIT_MS = 60_000;

/**
 * Makes the missing table with `createLockTable`'s defaults, without its options and checks, which
 * would be in every bundle. Then repeats `request` until the table takes it. Two that do this at
 * once make one table.
 */
export const withNewTable = async <T>(
  send: Send,
  clock: Clock,
  { tableName, keyAttribute, ttlAttribute, sortKey }: TableLayout,
  request: () => Promise<T>,
  isMissing: (error: unknown) => boolean,
): Promise<T> => {
  const type = typeof sortKey?.value === "number" ? "N" : "S";
  const table = newTable({ tableName, keyAttribute, sortKey: sortKey && { attribute: sortKey.attribute, type } });
  await tableRequests(send, tableName)("CreateTable", table, TABLE_IN_USE);
  const look = async () => {
    try {
      return { done: await request() };
    } catch (error) {
      if (!isMissing(error)) throw error;
      return { pending: error };
    }
  };
  const reply = await poll(clock, clock.monotonic() + WAIT_MS, look, (missing) => missing);
  // It may be on already, and no lock needs it to be.
  await send("UpdateTimeToLive", ttlRequest(tableName, ttlAttribute)).catch(() => {});
  return reply;
};
