/** Commits of runs that hold nothing, and what their replies mean. */
import { randomUUID } from "node:crypto";
import { LockError, textOf } from "../common/errors.ts";
import type { LockRecord } from "../common/record.ts";
import type { TransactWriteItem } from "../protocol/item.ts";
import type { Write } from "../protocol/writes.ts";
import { isConflict, isNamed, isPassing, isRefusal, isTransient, mayPass, reasonsOf } from "./aws-errors.ts";
import type { Bounds } from "./persist.ts";
import type { Table } from "./table.ts";
import { explained } from "./translate.ts";

/**
 * The application's items, and the end of a key that is free: all or none. It has a token of its
 * own, so that a record tells which commit has written it, also of one run's.
 */
export interface FreeCommit {
  readonly key: string;
  readonly token: string;
  readonly items: readonly TransactWriteItem[];
  /** The writes of this package, as they are at that time (epoch ms). The key's is the last. */
  readonly writesAt: (now: number) => readonly Write[];
  /** Whether a record keeps others from its key. */
  readonly isInTheWay: (record: LockRecord) => boolean;
  /** A semaphore of which no permit is held any more: the key may be taken from it. */
  over?: LockRecord | undefined;
  request?: FreeRequest | undefined;
  /** An attempt may have applied, or still be on its way. */
  inDoubt: boolean;
}

/** A commit as it was last sent. */
interface FreeRequest {
  readonly operation: string;
  readonly input: object;
  readonly parts: readonly object[];
  /** Epoch ms. */
  readonly at: number;
}

/** What became of one attempt. */
export type FreeReply =
  | { readonly end: "written" }
  /** Nothing is written: another run has the key, or has finished it. */
  | { readonly end: "refused"; readonly record: LockRecord }
  | {
      readonly end: "failed";
      readonly error: unknown;
      /** Whether the same may succeed a moment later, and why not now. */
      readonly again: "conflict" | "throttled" | "fault" | undefined;
      /** The key was in the way, and is not any more. */
      readonly over?: LockRecord | undefined;
    };

const requestOf = (table: Table, { items, writesAt }: FreeCommit, now: number): FreeRequest => {
  const own = table.isFree
    ? []
    : writesAt(now).map((write) => ({ ...table.toRequest(write), ReturnValuesOnConditionCheckFailure: "ALL_OLD" }));
  const parts = [...items, ...own.map((Update) => ({ Update }))];
  const [first] = own;
  if (items.length === 0 && own.length === 1) {
    return { operation: "UpdateItem", input: first as object, parts, at: now };
  }
  const input = { TransactItems: parts, ClientRequestToken: randomUUID() };
  return { operation: "TransactWriteItems", input, parts, at: now };
};

/**
 * Sends a commit, once. While nothing is in doubt each is a new request, so that the time a key is
 * remembered begins with the one that applies. In doubt it is the same again: DynamoDB takes a
 * repeat with its ClientRequestToken for the first for 10 minutes
 * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html),
 * and beyond that the record tells by its token.
 *
 * The package's writes come last, so that in a cancellation the application's reasons stand where
 * its items do.
 */
export const sendFreeCommit = async (
  table: Table,
  commit: FreeCommit,
  now: number,
  bounds: Bounds,
): Promise<FreeReply> => {
  if (!commit.inDoubt) commit.request = undefined;
  commit.request ??= requestOf(table, commit, now);
  const { operation, input, parts } = commit.request;
  const onFailure = (error: unknown) => {
    if (!isRefusal(error)) commit.inDoubt = true;
  };
  try {
    if (parts.length > 0) await table.persist(operation, input, { ...bounds, onFailure, retries: "none" });
    return { end: "written" };
  } catch (error) {
    onFailure(error); // a stand-in for a client doesn't tell of its attempts
    return judge(table, commit, error, bounds);
  }
};

/**
 * The key's refusal comes before the application's own: a repeat of a run that has committed makes
 * both fail, and DynamoDB doesn't promise to tell of both. So the key is read before a failure
 * becomes the application's.
 */
const judge = async (table: Table, commit: FreeCommit, error: unknown, bounds: Bounds): Promise<FreeReply> => {
  const reasons = isNamed(error, "ConditionalCheckFailedException")
    ? [{ Code: "ConditionalCheckFailed", Item: error.Item }]
    : reasonsOf(error);
  const { Code, Item } = reasons.slice(commit.items.length).at(-1) ?? {};
  const isAtKey = Code === "TransactionConflict";
  const isCancelled = reasons.some((reason) => reason.Code === "ConditionalCheckFailed");
  const isUnexplained = isNamed(error, "TransactionCanceledException") && reasons.length === 0;
  if (!table.isFree && !isAtKey && (isCancelled || isUnexplained)) {
    try {
      const item = Item ?? (await table.readItem(commit.key, bounds));
      const record = item && table.record(item, commit.key);
      if (record?.token === commit.token && record.status === "FINISHED") return { end: "written" };
      if (record && commit.isInTheWay(record)) return { end: "refused", record };
      commit.over = record?.status === "SEMAPHORE" ? record : undefined;
      if (Code === "ConditionalCheckFailed") {
        // A new request, with the present time, does no harm beside one in doubt: of two with one
        // token at most one applies.
        commit.request = undefined;
        return { end: "failed", error: changedHands(error), again: "conflict", over: record };
      }
    } catch (failure) {
      return { end: "failed", error: failure, again: isTransient(failure) ? "fault" : undefined };
    }
  }
  if (isAtKey || isConflict(error)) return { end: "failed", error, again: "conflict" };
  return { end: "failed", error, again: isPassing(error) ? "throttled" : mayPass(error) ? "fault" : undefined };
};

const changedHands = (cause: unknown) =>
  new LockError(
    "LOCK_REQUEST",
    "The key was in other hands at each attempt, and free right after: nothing was written",
    {
      cause,
    },
  );

/**
 * The error of a commit whose last attempt failed so. What DynamoDB doesn't accept may be about the
 * table of keys as well as about the application's items, and it doesn't always say: then the key is
 * read, which fails in the same way if it is.
 */
export const errorOf = async (table: Table, commit: FreeCommit, failure: unknown): Promise<unknown> => {
  const { key, items, inDoubt, request } = commit;
  const { operation = "", parts = [] } = request ?? {};
  if (inDoubt) {
    const message = `It is not known whether the commit applied: ${textOf(failure)}`;
    return new LockError("LOCK_REQUEST", message, { cause: failure });
  }
  const ofTable = reasonsOf(failure).slice(items.length);
  if (items.length === 0 || ofTable.some(({ Code }) => Code === "ValidationError")) {
    return table.translate(operation, failure);
  }
  if (isNamed(failure, "ValidationException")) {
    const own = await table.readItem(key, { retries: "none" }).then(
      () => undefined,
      (error: LockError) => error,
    );
    if (isNamed(own?.cause, failure.name)) return own;
  }
  return explained(failure, parts);
};
