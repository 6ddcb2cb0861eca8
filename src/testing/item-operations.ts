/**
 * GetItem, PutItem, UpdateItem and DeleteItem, and the plans of writes that transactions share with
 * them.
 */
import type { Item } from "../protocol/item.ts";
import type { DocumentPath } from "./cursor.ts";
import { conditionFailed, invalid } from "./errors.ts";
import { type ExpressionInput, parseExpressions } from "./expressions.ts";
import { project } from "./paths.ts";
import { cannotUpdateKey, type MemoryTable, type Store } from "./tables.ts";
import { type AttributeChange, applyChanges } from "./update.ts";
import { copyOf, itemSize, toItem } from "./values.ts";

/** The parameters of a write, or of a part of a transaction. */
export interface WriteInput extends ExpressionInput {
  readonly TableName?: unknown;
  readonly Key?: unknown;
  readonly Item?: unknown;
  readonly ReturnValues?: string;
  readonly ConsistentRead?: boolean;
  readonly ReturnValuesOnConditionCheckFailure?: string;
}

export type WriteAction = "Put" | "Update" | "Delete" | "ConditionCheck";

/** A write whose expressions are parsed. Its condition and its outcome depend on the item alone. */
export interface WritePlan {
  readonly table: MemoryTable;
  /** Throws for a key that is not the table's. */
  readonly id: () => string;
  readonly holds: (old: Item | undefined) => boolean;
  /** The item as it is to be afterwards. */
  readonly outcome: (old: Item | undefined, id: string) => Item | undefined;
  readonly paths: readonly DocumentPath[];
  readonly showsItem: boolean;
}

const oneOf = (parameter: string, value: string | undefined, allowed: readonly string[]): void => {
  if (value === undefined || allowed.includes(value)) return;
  throw invalid(
    `1 validation error detected: Value '${value}' at '${parameter}' failed to satisfy constraint: Member must satisfy enum value set: [${allowed.join(", ")}]`,
  );
};

const required = (parameter: string, value: unknown): void => {
  if (value !== undefined && value !== null) return;
  throw invalid(
    `1 validation error detected: Value null at '${parameter}' failed to satisfy constraint: Member must not be null`,
  );
};

/** Parses a write. Throws for what is wrong with it whatever the item is. */
export const planWrite = (store: Store, action: WriteAction, input: WriteInput): WritePlan => {
  oneOf("returnValuesOnConditionCheckFailure", input.ReturnValuesOnConditionCheckFailure, ["ALL_OLD", "NONE"]);
  required(action === "Put" ? "item" : "key", action === "Put" ? input.Item : input.Key);
  const { ConditionExpression: condition = () => true, UpdateExpression: changes = [] } =
    action === "Update"
      ? parseExpressions(input, "UpdateExpression", "ConditionExpression")
      : { ...parseExpressions(input, "ConditionExpression"), UpdateExpression: [] };
  const item = action === "Put" ? toItem(input.Item) : undefined;
  const table = store.table(input.TableName, input.Key ?? item);
  if (item) table.check(item);
  return {
    table,
    id: () => (item ? table.idOfItem(item) : table.idOfKey(input.Key)),
    holds: (old) => condition(old ?? {}),
    outcome: (old) => {
      if (item) return copyOf(item);
      return action === "Update" ? updated(table, old ?? toItem(input.Key), changes) : undefined;
    },
    // A list of which an element has changed is shown as a whole.
    paths: changes.map(({ path }) => (path.some((part) => typeof part === "number") ? path.slice(0, 1) : path)),
    showsItem: input.ReturnValuesOnConditionCheckFailure === "ALL_OLD",
  };
};

export const updated = (table: MemoryTable, old: Item, changes: readonly AttributeChange[]): Item => {
  const ofKey = table.keys.find(({ name }) => changes.some(({ path }) => path[0] === name));
  if (ofKey) throw cannotUpdateKey(ofKey.name);
  const item = applyChanges(old, changes);
  table.check(item, old);
  return item;
};

/** Counts a write. One of a transaction counts twice. */
export const count = ({ meter, name }: MemoryTable, old?: Item, item?: Item, factor = 1): void =>
  meter.write(name, Math.max(itemSize(old ?? {}), itemSize(item ?? {})), factor);

/** Writes unless the condition fails, and gives the item before and after. */
export const write = (plan: WritePlan): { readonly old: Item | undefined; readonly item: Item | undefined } => {
  const id = plan.id();
  const old = plan.table.get(id);
  if (!plan.holds(old)) throw conditionFailed(plan.showsItem ? copyOf(old) : undefined);
  const item = plan.outcome(old, id);
  count(plan.table, old, item);
  if (item) plan.table.put(id, item);
  else plan.table.delete(id);
  return { old, item };
};

const attributes = (item: Item | undefined, paths?: readonly DocumentPath[]) => {
  const Attributes = item && project(item, paths);
  return Attributes && Object.keys(Attributes).length > 0 ? { Attributes } : {};
};

export const putItem = (store: Store, input: WriteInput) => {
  oneOf("returnValues", input.ReturnValues, ["ALL_OLD", "NONE"]);
  const { old } = write(planWrite(store, "Put", input));
  return input.ReturnValues === "ALL_OLD" ? attributes(old) : {};
};

export const deleteItem = (store: Store, input: WriteInput) => {
  oneOf("returnValues", input.ReturnValues, ["ALL_OLD", "NONE"]);
  const { old } = write(planWrite(store, "Delete", input));
  return input.ReturnValues === "ALL_OLD" ? attributes(old) : {};
};

export const updateItem = (store: Store, input: WriteInput) => {
  const { ReturnValues = "NONE" } = input;
  oneOf("returnValues", ReturnValues, ["ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"]);
  const plan = planWrite(store, "Update", input);
  const { old, item } = write(plan);
  if (ReturnValues === "NONE") return {};
  return attributes(ReturnValues.endsWith("OLD") ? old : item, ReturnValues.startsWith("ALL") ? undefined : plan.paths);
};

export const getItem = (store: Store, input: WriteInput) => {
  const { ProjectionExpression: paths } = parseExpressions(input, "ProjectionExpression");
  required("key", input.Key);
  const table = store.table(input.TableName, input.Key);
  const item = table.get(table.idOfKey(input.Key));
  table.meter.read(table.name, itemSize(item ?? {}), input.ConsistentRead);
  return item ? { Item: project(item, paths) } : {};
};
