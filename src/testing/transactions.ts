/** TransactWriteItems: all or none, and once per token. */
import type { Item } from "../protocol/item.ts";
import { invalid, MemoryFailure } from "./errors.ts";
import { count, planWrite, type WriteAction, type WriteInput, type WritePlan } from "./item-operations.ts";
import type { Store } from "./tables.ts";
import { copyOf, itemSize } from "./values.ts";

/** https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html */
const MAX_PARTS = 100;
const MAX_BYTES = 4 * 1024 * 1024;
const TOKEN_MS = 10 * 60_000;
const ACTIONS: readonly WriteAction[] = ["ConditionCheck", "Put", "Update", "Delete"];

interface TransactionInput {
  readonly TransactItems?: readonly Readonly<Partial<Record<WriteAction, WriteInput>>>[];
  readonly ClientRequestToken?: string;
}

interface Seen {
  readonly parts: string;
  readonly at: number;
}
/** The transactions that an engine has applied, by their tokens. */
const tokensOf = new WeakMap<Store, Map<string, Seen>>();

export const transactWriteItems = (store: Store, { TransactItems = [], ClientRequestToken }: TransactionInput) => {
  if (TransactItems.length < 1 || TransactItems.length > MAX_PARTS) {
    const bound = TransactItems.length < 1 ? "greater than or equal to 1" : `less than or equal to ${MAX_PARTS}`;
    throw invalid(
      `1 validation error detected: Value at 'transactItems' failed to satisfy constraint: Member must have length ${bound}`,
    );
  }
  const tokens = tokensOf.get(store) ?? new Map<string, Seen>();
  tokensOf.set(store, tokens);
  const seen = tokens.get(ClientRequestToken ?? "");
  if (seen && store.now() - seen.at < TOKEN_MS) {
    if (seen.parts === JSON.stringify(TransactItems)) return {};
    throw new MemoryFailure(
      "IdempotentParameterMismatchException",
      "An error occurred (IdempotentParameterMismatchException)",
    );
  }
  applyAll(TransactItems.map((part) => toPlan(store, part)));
  if (ClientRequestToken) tokens.set(ClientRequestToken, { parts: JSON.stringify(TransactItems), at: store.now() });
  return {};
};

const toPlan = (
  store: Store,
  part: Readonly<Partial<Record<WriteAction, WriteInput>>>,
): WritePlan & { action: WriteAction } => {
  const given = ACTIONS.filter((action) => part[action] !== undefined);
  const [action] = given;
  if (!action || given.length > 1) throw invalid("TransactItems can only contain one of Check, Put, Update or Delete");
  const input = part[action] as WriteInput;
  const needed = { ConditionCheck: "ConditionExpression", Update: "UpdateExpression" }[action as string];
  if (needed && input[needed as "UpdateExpression"] === undefined) {
    throw invalid(
      `1 validation error detected: Value null at 'transactItems.1.member.${needed}' failed to satisfy constraint: Member must not be null`,
    );
  }
  return { ...planWrite(store, action, input), action };
};

/** Why a part is refused, or what it writes. */
interface Fate {
  readonly reason: { readonly Code: string; readonly Message?: string; readonly Item?: Item };
  readonly apply?: () => void;
  /** Of the item that is written. */
  readonly bytes?: number;
}

const applyAll = (plans: readonly (WritePlan & { readonly action: WriteAction })[]): void => {
  const ids = new Set<string>();
  const fates = plans.map((plan): Fate => {
    try {
      const id = plan.id();
      if (ids.has(`${plan.table.name} ${id}`)) {
        throw new MemoryFailure("Duplicate", "Transaction request cannot include multiple operations on one item");
      }
      ids.add(`${plan.table.name} ${id}`);
      return fateOf(plan, id);
    } catch (error) {
      const { name, message } = error as MemoryFailure;
      if (name === "Duplicate") throw invalid(message);
      if (name !== "ValidationException") throw error;
      return { reason: { Code: "ValidationError", Message: message } };
    }
  });
  if (fates.reduce((sum, { bytes = 0 }) => sum + bytes, 0) > MAX_BYTES) {
    throw invalid(
      "Collection size of items exceeded, which can also be caused by the aggregate size of the items in the transaction exceeding the 4MB limit",
    );
  }
  if (fates.every(({ apply }) => apply)) {
    for (const { apply } of fates) apply?.();
    return;
  }
  const codes = fates.map(({ reason }) => reason.Code).join(", ");
  throw new MemoryFailure(
    "TransactionCanceledException",
    `Transaction cancelled, please refer cancellation reasons for specific reasons [${codes}]`,
    { CancellationReasons: fates.map(({ reason }) => reason) },
  );
};

const fateOf = (plan: WritePlan & { readonly action: WriteAction }, id: string): Fate => {
  const { table, action } = plan;
  const old = table.get(id);
  if (!plan.holds(old)) {
    const Item = plan.showsItem && old ? { Item: copyOf(old) } : {};
    return { reason: { Code: "ConditionalCheckFailed", Message: "The conditional request failed", ...Item } };
  }
  const item = plan.outcome(old, id);
  const apply = () => {
    count(table, old, action === "ConditionCheck" ? undefined : item, 2);
    if (item) table.put(id, item);
    else if (action === "Delete") table.delete(id);
  };
  return { reason: { Code: "None" }, apply, bytes: itemSize(item ?? {}) };
};
