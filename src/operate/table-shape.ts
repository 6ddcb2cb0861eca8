/** The table that is asked for: checked, as a request, and compared with one that exists. */
import { type Contradictions, checkOptions, type Rules, refuse } from "../common/rules.ts";
import { newTable } from "../dynamodb/new-table.ts";
import { NAME_CONTRADICTIONS, namesOf } from "../lock/layout.ts";
import { type CreateLockTableOptions, isProvisioned, TABLE_OPTIONS } from "./table-options.ts";

/** The options, with what is always needed filled in. */
export type TableSpec = CreateLockTableOptions & {
  readonly tableName: string;
  readonly keyAttribute: string;
  readonly ttlAttribute: string;
};

const CALLER = "createLockTable";

const CONTRADICTIONS: Contradictions<CreateLockTableOptions> = [
  [
    (options) => isProvisioned(options) && !(options.readCapacityUnits && options.writeCapacityUnits),
    "billingMode 'PROVISIONED' needs both readCapacityUnits and writeCapacityUnits",
  ],
];

/** Options that go with a value of another one only. */
const dependents = (): Contradictions<CreateLockTableOptions> =>
  Object.entries(TABLE_OPTIONS).flatMap(([name, [, , { only } = {}]]) =>
    only
      ? [
          [
            (options) => options[name as keyof CreateLockTableOptions] !== undefined && !only[1](options),
            `${name} goes with ${only[0]} only`,
          ],
        ]
      : [],
  );

export const createLockTableRules = (): Rules<CreateLockTableOptions> =>
  Object.fromEntries(
    Object.entries(TABLE_OPTIONS).map(([name, [rule]]) => [name, rule]),
  ) as Rules<CreateLockTableOptions>;

/** Checks the options, one by one and against each other. Throws `LockOptionsError`. */
export const toTableSpec = (options: CreateLockTableOptions): TableSpec => {
  checkOptions(CALLER, options, createLockTableRules(), dependents(), CONTRADICTIONS);
  const spec: TableSpec = { ...options, ...namesOf(options) };
  refuse(CALLER, spec, NAME_CONTRADICTIONS);
  return spec;
};

/** The options that are set, with their values. */
const given = (options: CreateLockTableOptions) =>
  Object.entries(TABLE_OPTIONS)
    .map(([name, option]) => [name, options[name as keyof CreateLockTableOptions] as unknown, option] as const)
    .filter(([, value]) => value !== undefined);

/** The request that creates the table. */
export const createTableRequest = (spec: TableSpec): object => {
  const request: Record<string, unknown> = newTable(spec);
  for (const [, value, [, path, { write = (same: unknown) => same } = {}]] of given(spec)) {
    const [outer, inner] = (path?.split(".") ?? []) as [string?, string?];
    const written = write(value);
    if (outer === undefined || written === undefined) continue;
    request[outer] = inner === undefined ? written : { ...(request[outer] as object), [inner]: written };
  }
  return request;
};

/**
 * Says what a table has that is not as asked for. The keys always count. An option that was not
 * given doesn't.
 */
export const differences = (spec: TableSpec, table: object, tags: ReadonlyMap<string, string>): string[] => {
  const asked = newTable(spec);
  const found: (readonly [words: string, actual: unknown, asked: unknown])[] = [
    ["partition key", keyOf("HASH", table), keyOf("HASH", asked)],
    ["sort key", keyOf("RANGE", table), keyOf("RANGE", asked)],
  ];
  for (const [name, value, [, path, { described = path, absent, fits } = {}]] of given(spec)) {
    const actual = described?.split(".").reduce<unknown>((part, inner) => Object(part)[inner], table) ?? absent;
    if (path && !fits?.(value, actual)) found.push([name, actual, value]);
  }
  for (const [key, value] of Object.entries(spec.tags ?? {}))
    found.push([`tag ${key}`, tags.get(key) ?? "none", value]);
  return found.flatMap(([words, actual, wanted]) => (actual === wanted ? [] : `${words} is ${actual}, not ${wanted}`));
};

/** A key of a table, by its description or by the request that creates it. */
const keyOf = (keyType: "HASH" | "RANGE", table: Partial<ReturnType<typeof newTable>>): string => {
  const name = table.KeySchema?.find(({ KeyType }) => KeyType === keyType)?.AttributeName;
  const type = table.AttributeDefinitions?.find(({ AttributeName }) => AttributeName === name)?.AttributeType;
  return name === undefined ? "none" : `${name} (${type})`;
};
