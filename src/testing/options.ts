/** The options of `memoryDynamoDB`. */
import { LockOptionsError } from "../lean.ts";
import { type KeyPart, MemoryTable, type Store } from "./tables.ts";

/** A request that reached the engine. */
export interface MemoryRequest {
  /** `'UpdateItem'`, `'GetItem'` and so on. */
  readonly operation: string;
  readonly input: object;
}

/** The keys of a table: names alone for strings. */
export interface MemoryTableKeys {
  /** The partition key. */
  readonly key: string | KeyPart;
  readonly sortKey?: string | KeyPart | undefined;
  /** The attribute of its TTL, in epoch seconds. */
  readonly ttl?: string | undefined;
}

/** Options of `memoryDynamoDB`. */
export interface MemoryOptions {
  /**
   * The application's own tables, each with its partition key or with all its keys.
   *
   * @example
   * { orders: "id", readings: { key: "sensor", sortKey: { name: "at", type: "N" } } }
   */
  readonly tables?: Readonly<Record<string, string | MemoryTableKeys>> | undefined;
  /**
   * Whether tables of locks exist by themselves: the default one from the start, any other when a
   * request first names an item of it by `lock_id`. One with another key, or with a sort key, is
   * named in `tables`. `false`: a table has to be created.
   * @default `true`
   */
  readonly lockTables?: boolean | undefined;
  /**
   * Called before each request is applied, and awaited. What it throws is what the request fails
   * with.
   */
  readonly onRequest?: ((request: MemoryRequest) => unknown) | undefined;
  /**
   * The time, in epoch ms, by which `expireItems` deletes items. A `Clock` of this package fits.
   * @default `Date`
   */
  readonly clock?: { now(): number } | undefined;
}

/** Of locks, unless they are told otherwise. */
export const LOCK_KEY = "lock_id";

const RULES: Readonly<Record<keyof MemoryOptions, readonly [mustBe: string, is: (value: unknown) => boolean]>> = {
  tables: [
    "an object that gives the keys of each table, such as { orders: 'id' }",
    (value) => typeof value === "object" && value !== null && Object.values(value).every((keys) => keysOf(keys)),
  ],
  lockTables: ["a boolean", (value) => typeof value === "boolean"],
  onRequest: ["a function", (value) => typeof value === "function"],
  clock: ["a clock with the method now", (value) => typeof Object(value).now === "function"],
};

/** @throws LockOptionsError */
export const checkMemoryOptions = (options: MemoryOptions): void => {
  for (const [name, value] of Object.entries(options)) {
    const rule = Object.hasOwn(RULES, name) ? RULES[name as keyof MemoryOptions] : undefined;
    if (!rule) {
      throw new LockOptionsError(
        `memoryDynamoDB: unknown option '${name}'; options are ${Object.keys(RULES).join(", ")}`,
      );
    }
    if (value !== undefined && !rule[1](value))
      throw new LockOptionsError(`memoryDynamoDB: ${name} must be ${rule[0]}`);
  }
};

const toKeyPart = (key: unknown): KeyPart | undefined => {
  if (typeof key === "string" && key !== "") return { name: key, type: "S" };
  const { name, type } = Object(key) as Partial<KeyPart>;
  return typeof name === "string" && /^[SNB]$/.test(String(type)) ? (key as KeyPart) : undefined;
};

const keysOf = (keys: unknown): KeyPart[] | undefined => {
  const { key, sortKey } = (typeof keys === "string" ? { key: keys } : Object(keys)) as MemoryTableKeys;
  const parts = sortKey === undefined ? [toKeyPart(key)] : [toKeyPart(key), toKeyPart(sortKey)];
  return parts.every((part) => part !== undefined) ? parts : undefined;
};

/** Adds the tables that exist from the start. */
export const addTables = (store: Store, { tables = {}, lockTables = true }: MemoryOptions): void => {
  for (const [name, keys] of Object.entries(tables)) {
    const table = store.add(new MemoryTable(name, keysOf(keys) as KeyPart[], store.meter));
    table.ttlAttribute = typeof keys === "string" ? undefined : keys.ttl;
  }
  const locks = process.env.DYNAMO_LOCK_TABLE || "dynamo-locks";
  if (lockTables && !store.tables.has(locks)) store.addLockTable(locks, LOCK_KEY);
};
