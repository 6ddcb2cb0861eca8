/** BatchExecuteStatement, for statements that write: each succeeds or fails on its own. */
import { invalid, MemoryFailure } from "./errors.ts";
import { count, updated, type WritePlan, write } from "./item-operations.ts";
import { type ParsedStatement, parseStatement } from "./statements.ts";
import type { Store } from "./tables.ts";
import { copyOf } from "./values.ts";

/** https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchExecuteStatement.html */
const MAX_STATEMENTS = 25;

interface StatementInput {
  readonly Statement?: string;
  readonly Parameters?: readonly unknown[];
  readonly ReturnValuesOnConditionCheckFailure?: string;
}

/**
 * Codes of errors
 * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchStatementError.html).
 */
const CODES: Readonly<Record<string, string>> = {
  ConditionalCheckFailedException: "ConditionalCheckFailed",
  DuplicateItemException: "DuplicateItem",
  ResourceNotFoundException: "ResourceNotFound",
  ValidationException: "ValidationError",
};

/** What comes of a statement: a plan, or why there is none. */
type Prepared = { readonly plan: WritePlan & { readonly run: () => unknown } } | { readonly error: MemoryFailure };

const MUST = "failed to satisfy constraint: Member must have length";

export const batchExecuteStatement = (
  store: Store,
  { Statements = [] }: { readonly Statements?: readonly StatementInput[] },
) => {
  if (Statements.length === 0) {
    throw invalid(`1 validation error detected: Value '[]' at 'statements' ${MUST} greater than or equal to 1`);
  }
  if (Statements.length > MAX_STATEMENTS) {
    throw invalid(`1 validation error detected: Value at 'statements' ${MUST} less than or equal to ${MAX_STATEMENTS}`);
  }
  const prepared = Statements.map((input) => prepare(store, input));
  const items = prepared.flatMap((each) => ("plan" in each ? `${each.plan.table.name} ${each.plan.id()}` : []));
  if (new Set(items).size < items.length) throw invalid("Provided list of item keys contains duplicates");
  return { Responses: prepared.map(execute) };
};

const execute = (prepared: Prepared): object => {
  if ("error" in prepared) return { Error: toBatchError(prepared.error) };
  const TableName = prepared.plan.table.name;
  try {
    prepared.plan.run();
    return { TableName };
  } catch (error) {
    return { Error: toBatchError(error as MemoryFailure), TableName };
  }
};

const toBatchError = (error: MemoryFailure): object => {
  const Code = CODES[error.name];
  if (!Code) throw error;
  const { Item } = error as { Item?: object };
  return { Code, Message: error.message, ...(Item && { Item }) };
};

const prepare = (
  store: Store,
  { Statement = "", Parameters, ReturnValuesOnConditionCheckFailure }: StatementInput,
): Prepared => {
  try {
    const plan = toPlan(
      store,
      parseStatement(Statement, Parameters),
      ReturnValuesOnConditionCheckFailure === "ALL_OLD",
    );
    plan.id();
    return { plan };
  } catch (error) {
    if (!(error instanceof MemoryFailure)) throw error;
    return { error };
  }
};

const toPlan = (
  store: Store,
  statement: ParsedStatement,
  showsItem: boolean,
): WritePlan & { readonly run: () => unknown } => {
  const { action, tableName, item, holds, changes } = statement;
  const table = store.table(tableName, item);
  const missing = table.keys.find(({ name }) => item[name] === undefined);
  if (missing && action !== "insert") {
    throw invalid("Where clause does not contain a mandatory equality on all key attributes");
  }
  const plan: WritePlan = {
    table,
    id: () => table.idOfItem(item),
    holds: (old) => old !== undefined && holds(old),
    outcome: (old) => (old && action === "update" ? updated(table, old, changes) : undefined),
    paths: [],
    showsItem,
  };
  return { ...plan, run: () => (action === "insert" ? insert(plan, statement) : write(plan)) };
};

const insert = ({ table, id }: WritePlan, { item }: ParsedStatement): void => {
  if (table.get(id())) throw new MemoryFailure("DuplicateItemException", "Duplicate primary key exists in table");
  table.check(item);
  count(table, undefined, item);
  table.put(id(), copyOf(item));
};
