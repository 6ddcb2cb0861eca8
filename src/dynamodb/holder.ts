/**
 * A holder's later writes, to one key or to several in one transaction, and what their replies
 * mean.
 */

import { randomUUID } from "node:crypto";
import { LockError, LockLostError, textOf } from "../common/errors.ts";
import type { OperatorNote } from "../common/record.ts";
import type { ConditionCheck, TransactWriteItem } from "../protocol/item.ts";
import { type Ending, holding, type Proof, renew, settle, settleAll, type Write } from "../protocol/writes.ts";
import { isRefusal, reasonsOf } from "./aws-errors.ts";
import type { Bounds } from "./persist.ts";
import type { Refusal, Table } from "./table.ts";
import { explained } from "./translate.ts";

/**
 * `done`: the record is as asked for, with our token. Otherwise it is not ours any more, and
 * nothing was written.
 */
export type HolderReply =
  | {
      readonly done: true;
      readonly status: "IN_PROGRESS" | Ending["status"];
      /** Found so: by this write, or by one before it. */
      readonly recognised?: boolean;
    }
  | {
      readonly done: false;
      readonly key: string;
      readonly reason: "stolen" | "deleted" | "broken";
      /** What an operator did to it, with `broken`. */
      readonly note?: OperatorNote;
      /** An earlier attempt may have applied, and been overwritten since. */
      readonly inDoubt?: boolean;
      /** It was sent more than once, and an earlier attempt may have applied. */
      readonly retried: boolean;
    };

/**
 * The one who writes: the keys that it took together, its proof, the present in epoch ms, and how
 * long the write is tried.
 */
export interface Holder {
  readonly bounds: Bounds;
  readonly table: Table;
  readonly keys: readonly string[];
  readonly proof: Proof;
  readonly now: number;
}

/** A lease as a renewal asks for it. `expiresAt`: epoch ms. */
export interface Renewal {
  readonly leaseMs: number;
  readonly expiresAt: number;
}

export const sendRenewal = (holder: Holder, renewal: Renewal): Promise<HolderReply> => {
  const { keys, proof, now } = holder;
  return send(
    holder,
    keys.map((key) => renew(key, proof, renewal, now)),
    "IN_PROGRESS",
    renewal.expiresAt,
  );
};

export const sendEnding = async (holder: Holder, ending: Ending): Promise<HolderReply> => {
  const { keys, proof, now } = holder;
  const reply = await send(holder, settleAll(keys, proof, ending, now), ending.status);
  if (!reply.done && ending.status === "RELEASED" && keys.length > 1) {
    // One of several keys is lost: the others are still ours to free.
    await Promise.all(keys.map((key) => send(holder, [settle(key, proof, ending, now)], ending.status)));
  }
  return reply;
};

const send = async (
  { table, proof, bounds }: Holder,
  writes: readonly Write[],
  status: "IN_PROGRESS" | Ending["status"],
  end?: number,
): Promise<HolderReply> => {
  const reply = await table.write(writes, bounds);
  return reply.applied ? { done: true, status } : (judge(table, proof, reply, end) as HolderReply);
};

/**
 * The worst of what the keys that refused say; nothing, if none did. `end`: of the lease that was
 * asked for.
 */
const judge = (
  table: Table,
  { token, slot, fencingToken }: Proof,
  { refusals, retried }: { readonly refusals: readonly Refusal[]; readonly retried: boolean },
  end?: number,
): HolderReply | undefined => {
  const replies = refusals.map(({ key, item }): HolderReply => {
    const record = table.recordIn(item);
    const own = slot === undefined ? record : record?.holders?.find((holder) => holder.slot === slot);
    const { status, intervention } = own ?? {};
    // Our own token, settled or with the end that was asked for: this write, or one before it,
    // applied and its reply was lost.
    const isAsked =
      end === undefined
        ? status === "FINISHED" || status === "RELEASED"
        : status === "IN_PROGRESS" && own?.expiresAt === end;
    if (own?.token === token && isAsked) return { done: true, status: status as Ending["status"], recognised: true };
    if (intervention && intervention.fencingToken === fencingToken) {
      const { by, why } = intervention;
      return { done: false, key, reason: "broken", note: { by, why }, retried };
    }
    return { done: false, key, reason: item ? "stolen" : "deleted", retried };
  });
  return replies.find(({ done }) => !done) ?? replies[0];
};

/** A commit on its way: the application's items and the end of the lock, all or none. */
export interface Commit {
  readonly items: readonly TransactWriteItem[];
  readonly ending: Ending;
  /** As it was last sent. */
  input?: object | undefined;
  /** An attempt may have applied, or still be on its way. */
  inDoubt: boolean;
}

/**
 * Sends a commit, once. While nothing is in doubt each is a new request, so that the time a key is
 * remembered begins with the one that applies. In doubt it is the same again: DynamoDB takes a
 * repeat with its ClientRequestToken for the first for 10 minutes
 * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html).
 *
 * The lock's own writes come last, so that in a cancellation the application's reasons stand where
 * its items do.
 *
 * @throws What is certain as it came: the application's own conditions, a conflict. While an
 * attempt is in doubt, a `LockError` LOCK_REQUEST.
 */
export const sendCommit = async ({ table, keys, proof, now, bounds }: Holder, commit: Commit): Promise<HolderReply> => {
  const { items, ending } = commit;
  const own = table.isFree ? [] : settleAll(keys, proof, ending, now);
  if (!commit.inDoubt) commit.input = undefined;
  commit.input ??= {
    TransactItems: [
      ...items,
      ...own.map((write) => ({
        Update: { ...table.toRequest(write), ReturnValuesOnConditionCheckFailure: "ALL_OLD" },
      })),
    ],
    ClientRequestToken: randomUUID(),
  };
  try {
    if (items.length + own.length > 0) {
      const onFailure = (error: unknown) => {
        if (!isRefusal(error)) commit.inDoubt = true;
      };
      await table.persist("TransactWriteItems", commit.input, { ...bounds, onFailure, retries: "none" });
    }
    return { done: true, status: "FINISHED" };
  } catch (error) {
    const { inDoubt } = commit;
    const reasons = reasonsOf(error);
    const refusals = await table.refusals(own, reasons.slice(items.length), false, bounds);
    const reply = judge(table, proof, { refusals, retried: inDoubt });
    if (reply && !reply.done) return { ...reply, inDoubt };
    // FINISHED, but not by this commit.
    if (reply && !inDoubt && reply.status === "FINISHED") throw new LockLostError(keys[0] as string, "released");
    if (reply) return reply;
    if (!inDoubt) throw explained(error, items);
    // An earlier attempt may have applied, and made the application's own conditions fail.
    const [key] = table.isFree ? [] : keys;
    if (key !== undefined && reasons.some(({ Code }) => Code === "ConditionalCheckFailed")) {
      const item = await table.readItem(key, bounds).catch(() => undefined);
      const found = judge(table, proof, { refusals: [{ key, item }], retried: true });
      if (found?.done) return found;
    }
    throw new LockError("LOCK_REQUEST", `It is not known whether the commit applied: ${textOf(error)}`, {
      cause: error,
    });
  }
};

/** The condition that a key is still held, for a transaction of the application's own. */
export const toConditionCheck = (table: Table, key: string, proof: Proof): ConditionCheck => {
  const { UpdateExpression: _, ...check } = table.toRequest(
    table.isFree ? { key, condition: "attribute_exists(#key) OR attribute_not_exists(#key)" } : holding(key, proof),
  );
  return check as ConditionCheck;
};
