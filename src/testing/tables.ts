/** The tables of one engine, and their items by key. */
import type { AttributeValue, Item } from "../protocol/item.ts";
import { CapacityMeter } from "./capacity.ts";
import { invalid, noSuchTable } from "./errors.ts";
import { areEqual, contentOf, copyOf, itemSize, MAX_ITEM_BYTES, memberKey, toValue, typeOf } from "./values.ts";

/** An attribute of a table's primary key. */
export interface KeyPart {
  readonly name: string;
  readonly type: "S" | "N" | "B";
}

/** https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html */
const MAX_KEY_BYTES = [2048, 1024];
/**
 * Items that have been over for longer are not deleted
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html).
 */
const TTL_LIMIT_S = 5 * 365 * 24 * 3_600;

/** Of tables of locks that nobody created. */
const LOCK_TTL = "ttl";

/** What is only shown. */
interface TableDetails {
  readonly description?: Readonly<Record<string, unknown>>;
  readonly tags?: readonly object[] | undefined;
}

export class MemoryTable {
  readonly name: string;
  readonly keys: readonly KeyPart[];
  /** As DescribeTable shows it, without what changes. */
  readonly description: Readonly<Record<string, unknown>>;
  readonly tags: readonly object[];
  ttlAttribute: string | undefined;
  readonly meter: CapacityMeter;
  readonly #items = new Map<string, Item>();

  constructor(
    name: string,
    keys: readonly KeyPart[],
    meter: CapacityMeter,
    { description = {}, tags = [] }: TableDetails = {},
  ) {
    this.name = name;
    this.keys = keys;
    this.meter = meter;
    this.description = description;
    this.tags = tags;
  }

  /** In an order that depends on the keys alone. */
  items(): [id: string, item: Item][] {
    return [...this.#items].sort(([one], [other]) => (one < other ? -1 : 1));
  }

  /** Deletes what TTL has ended by this time, in epoch ms. Gives how many items that were. */
  expire(now: number): number {
    const over = this.items().filter(([, item]) => {
      const overForSeconds = now / 1000 - Number(item[this.ttlAttribute ?? ""]?.N ?? Number.NaN);
      return overForSeconds > 0 && overForSeconds < TTL_LIMIT_S;
    });
    for (const [id] of over) this.#items.delete(id);
    return over.length;
  }

  get(id: string): Item | undefined {
    return this.#items.get(id);
  }

  put(id: string, item: Item): void {
    this.#items.set(id, item);
  }

  delete(id: string): void {
    this.#items.delete(id);
  }

  /** The id of a key that a request gives, which must be the whole key and no more. */
  idOfKey(given: unknown): string {
    const entries = Object.entries(Object(given)).filter(([, value]) => value !== undefined);
    const fits =
      entries.length === this.keys.length && this.keys.every(({ name }) => Object(given)[name] !== undefined);
    if (!fits) throw invalid("The provided key element does not match the schema");
    return this.#idOf(given as Item, () => invalid("The provided key element does not match the schema"));
  }

  /** The id of an item that a request writes. */
  idOfItem(item: Item): string {
    const absent = this.keys.find(({ name }) => item[name] === undefined);
    if (absent) throw invalid(`One or more parameter values were invalid: Missing the key ${absent.name} in the item`);
    return this.#idOf(item, ({ name, type }, actual) =>
      invalid(
        `One or more parameter values were invalid: Type mismatch for key ${name} expected: ${type} actual: ${actual}`,
      ),
    );
  }

  #idOf(item: Item, mismatch: (key: KeyPart, actual: string) => Error): string {
    const parts = this.keys.map((key, index) => {
      const value = toValue(item[key.name]);
      if (typeOf(value) !== key.type) throw mismatch(key, typeOf(value));
      const content: string | Uint8Array = contentOf(value);
      const kind = typeof content === "string" ? "string" : "binary";
      if (content.length === 0) {
        throw invalid(
          `One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty ${kind} value. Key: ${key.name}`,
        );
      }
      const max = MAX_KEY_BYTES[index] as number;
      if (key.type !== "N" && Buffer.byteLength(content) > max) {
        throw invalid(
          `One or more parameter values were invalid: ${index === 0 ? "Size of hashkey has exceeded the maximum size limit of2048 bytes" : "Aggregated size of all range keys has exceeded the size limit of 1024 bytes"}`,
        );
      }
      return memberKey(content);
    });
    return JSON.stringify(parts);
  }

  keyOf(item: Item): Item {
    return copyOf(Object.fromEntries(this.keys.map(({ name }) => [name, item[name] as AttributeValue])));
  }

  /** Refuses an item that is too large, or whose key is another one than before. */
  check(item: Item, old?: Item): void {
    const changed =
      old && this.keys.find(({ name }) => !item[name] || !areEqual(item[name], old[name] as AttributeValue));
    if (changed) throw cannotUpdateKey(changed.name);
    if (itemSize(item) <= MAX_ITEM_BYTES) return;
    throw invalid(`Item size ${old ? "to update " : ""}has exceeded the maximum allowed size`);
  }

  get size(): { readonly ItemCount: number; readonly TableSizeBytes: number } {
    const items = this.items();
    return { ItemCount: items.length, TableSizeBytes: items.reduce((sum, [, item]) => sum + itemSize(item), 0) };
  }
}

export const cannotUpdateKey = (name: string) =>
  invalid(
    `One or more parameter values were invalid: Cannot update attribute ${name}. This attribute is part of the key`,
  );

/** What an engine keeps. */
export class Store {
  readonly tables = new Map<string, MemoryTable>();
  readonly now: () => number;
  readonly meter = new CapacityMeter();
  /** The attribute by which tables of locks are recognised, and made when they are first used. */
  readonly #lockKey: string | undefined;

  constructor(now: () => number, lockKey?: string) {
    this.now = now;
    this.#lockKey = lockKey;
  }

  /**
   * A table by its name or ARN. `key`: a key or an item of the request, by which a table of locks
   * is known.
   */
  table(nameOrArn: unknown, key?: unknown): MemoryTable {
    const name = tableNameOf(nameOrArn);
    const table = this.tables.get(name);
    if (table) return table;
    if (this.#lockKey === undefined || Object(key)[this.#lockKey] === undefined) throw noSuchTable();
    return this.addLockTable(name, this.#lockKey);
  }

  addLockTable(name: string, keyAttribute: string): MemoryTable {
    const table = this.add(new MemoryTable(name, [{ name: keyAttribute, type: "S" }], this.meter));
    table.ttlAttribute = LOCK_TTL;
    return table;
  }

  add(table: MemoryTable): MemoryTable {
    this.tables.set(table.name, table);
    return table;
  }
}

const NULL_NAME =
  "1 validation error detected: Value null at 'tableName' failed to satisfy constraint: Member must not be null";

/** The name in a name or an ARN (`arn:aws:dynamodb:eu-west-1:123456789012:table/orders`). */
export const tableNameOf = (nameOrArn: unknown): string => {
  if (typeof nameOrArn !== "string" || nameOrArn === "") throw invalid(NULL_NAME);
  return nameOrArn.replace(/^arn:[^/]*:table\//, "");
};
