/** Sends writes and reads to one table, and says what their replies mean. */

import type { Clock } from "../common/clock.ts";
import { type LockError, LockTableError } from "../common/errors.ts";
import type { LockRecord } from "../common/record.ts";
import { createRequests, keyOf, type TableLayout, type WriteRequest } from "../protocol/expression.ts";
import { attributeOf, FIELDS, isStatus, toRecord } from "../protocol/fields.ts";
import type { Item } from "../protocol/item.ts";
import type { Write } from "../protocol/writes.ts";
import { type CancellationReason, isNamed, isTransient, mayHaveApplied, reasonsOf } from "./aws-errors.ts";
import { decompress } from "./compress.ts";
import { type Bounds, persist } from "./persist.ts";
import { translate } from "./translate.ts";
import type { Output, SendOptions, Transport } from "./transport.ts";

/** The fate of writes that are applied together or not at all. */
export type Reply =
  | {
      readonly applied: true;
      /** The item as it was before; of several writes it is not known. */
      readonly before?: Item | undefined;
    }
  | {
      readonly applied: false;
      readonly refusals: readonly Refusal[];
      /** They were sent more than once, and an earlier attempt may have applied. */
      readonly retried: boolean;
    };

/** A write whose condition failed. */
export interface Refusal {
  readonly key: string;
  /** The item that refused it, if there is one. */
  readonly item: Item | undefined;
}

export interface WriteOptions extends Bounds {
  /** Bring the item as it was before. */
  readonly returnsBefore?: boolean;
  /** The condition holds where there is no item. */
  readonly allowsAbsent?: boolean;
}

export interface ReadOptions extends Bounds {
  readonly consistent?: boolean | undefined;
}

/** How often a write is sent that is refused though no item is there, by the engine's own word. */
const MAX_WITHOUT_ITEM = 3;

export class Table {
  readonly layout: TableLayout;
  readonly transport: Transport;
  readonly toRequest: (write: Write) => WriteRequest;
  readonly #clock: Clock;
  readonly #random: () => number;

  /**
   * Whether every key is free, and nothing is written or read: for local work without a table of
   * locks.
   */
  readonly isFree: boolean;

  constructor(transport: Transport, layout: TableLayout, clock: Clock, random: () => number, isFree = false) {
    this.transport = transport;
    this.layout = layout;
    this.isFree = isFree;
    this.toRequest = createRequests(layout);
    this.#clock = clock;
    this.#random = random;
  }

  /** Sends a request within bounds. Rejects with the error of DynamoDB or of the network. */
  persist(operation: string, input: object, bounds?: Bounds & Pick<SendOptions, "onFailure">): Promise<Output> {
    return persist(this.transport, this.#clock, this.#random, [operation, input], bounds);
  }

  /** @throws LockTableError, LockError that says what to do. */
  async send(operation: string, input: object, bounds?: Bounds): Promise<Output> {
    try {
      return await this.persist(operation, input, bounds);
    } catch (error) {
      throw await this.translate(operation, error);
    }
  }

  translate(operation: string, error: unknown): Promise<LockError> {
    return translate(this.layout, async () => this.transport.region(), operation, error);
  }

  /** Sends conditional writes: one, or several in a transaction. */
  async write(writes: readonly Write[], options: WriteOptions = {}): Promise<Reply> {
    if (this.isFree) return { applied: true };
    const { allowsAbsent = false } = options;
    for (let attempt = 1; ; attempt++) {
      const reply = await this.#writeOnce(writes, options);
      if (reply.applied) return reply;
      const found = reply.refusals.filter(({ item }) => item);
      if (!allowsAbsent || found.length > 0) return { ...reply, refusals: allowsAbsent ? found : reply.refusals };
      if (attempt === MAX_WITHOUT_ITEM) throw this.#noItem(reply.refusals[0]?.key as string);
    }
  }

  /**
   * The SDK gives every attempt of one TransactWriteItems the same ClientRequestToken, so a retry
   * after a lost reply succeeds
   * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html).
   */
  async #writeOnce(writes: readonly Write[], options: WriteOptions): Promise<Reply> {
    const { returnsBefore, allowsAbsent = false, ...bounds } = options;
    const requests = writes.map((write) => ({
      ...this.toRequest(write),
      ReturnValuesOnConditionCheckFailure: "ALL_OLD",
    }));
    const [operation, input]: [string, object] =
      requests.length === 1
        ? ["UpdateItem", { ...requests[0], ...(returnsBefore && { ReturnValues: "ALL_OLD" }) }]
        : ["TransactWriteItems", { TransactItems: requests.map((Update) => ({ Update })) }];
    try {
      const reply = await this.persist(operation, input, bounds);
      return { applied: true, before: reply?.Attributes };
    } catch (error) {
      const refused: readonly CancellationReason[] = isNamed(error, "ConditionalCheckFailedException")
        ? [{ Code: "ConditionalCheckFailed", Item: error.Item }]
        : reasonsOf(error);
      const refusals = await this.refusals(writes, refused, allowsAbsent, bounds);
      if (refusals.length === 0) throw await this.translate(operation, error);
      return { applied: false, refusals, retried: mayHaveApplied(error) };
    }
  }

  /** The writes that were refused, with the items that refused them. */
  async refusals(
    writes: readonly Pick<Write, "key">[],
    reasons: readonly CancellationReason[],
    allowsAbsent = false,
    bounds?: Bounds,
  ): Promise<Refusal[]> {
    const refused = writes.flatMap(({ key }, index) => {
      const { Code, Item } = reasons[index] ?? {};
      return Code === "ConditionalCheckFailed" ? [{ key, item: Item }] : [];
    });
    return Promise.all(
      refused.map(async ({ key, item }) => ({ key, item: item ?? (await this.#find(key, allowsAbsent, bounds)) })),
    );
  }

  /**
   * The item that refused a write. DynamoDB shows it with the refusal; it is read where an older
   * engine or a mock does not. `undefined`: it is gone by then, or, for a write that needs an item,
   * it has been gone before.
   */
  async #find(key: string, allowsAbsent: boolean, bounds?: Bounds): Promise<Item | undefined> {
    try {
      return await this.readItem(key, bounds);
    } catch (error) {
      if (!allowsAbsent) return undefined;
      throw isTransient(error) ? error : this.#noItem(key, error);
    }
  }

  #noItem(key: string, error?: unknown) {
    const read = error === undefined ? "there was none when it was read" : `reading it failed: ${error}`;
    return new LockTableError(
      `A write to key ${JSON.stringify(key)} of table ${this.layout.tableName} was refused without the item that stands there, and ${read}. ` +
        "This engine or mock does not support ReturnValuesOnConditionCheckFailure: ALL_OLD. Nothing was written",
    );
  }

  /** Strongly consistent, or for half the price as it was a moment ago. */
  async readItem(key: string, { consistent = true, ...bounds }: ReadOptions = {}): Promise<Item | undefined> {
    if (this.isFree) return undefined;
    const input = { TableName: this.layout.tableName, Key: keyOf(this.layout, key), ConsistentRead: consistent };
    // A mock that was not told what to answer gives nothing at all.
    return (await this.send("GetItem", input, bounds))?.Item;
  }

  async read(key: string, options?: ReadOptions): Promise<LockRecord | undefined> {
    const item = await this.readItem(key, options);
    return item && this.record(item, key);
  }

  /** @throws LockTableError if something else wrote the item. */
  record(item: Item, key: string): LockRecord {
    const record = this.recordIn(item);
    if (record) return record;
    const { [FIELDS.status?.[0] as string]: status, [FIELDS.token?.[0] as string]: token } = item;
    const newer = token?.S !== undefined && status?.S !== undefined && !isStatus(status.S);
    throw new LockTableError(
      `Table ${this.layout.tableName} has an item under key ${JSON.stringify(key)} that is no lock record: ` +
        "something else writes to this table" +
        (newer
          ? `, or a newer version of this package, whose status ${JSON.stringify(status.S)} is unknown here`
          : "") +
        `. Use ${newer ? "that version" : "a table of their own for locks"}, or another namespace. Nothing was written`,
    );
  }

  recordIn(item: Item | undefined): LockRecord | undefined {
    return item && toRecord(item, this.layout.keyAttribute);
  }

  /** With the response that is compressed, or stands beside the record, unless that is gone. */
  async withResult(record: LockRecord): Promise<LockRecord> {
    const { resultBytes, ...rest } = record;
    const { result, resultKey } = record;
    if (result || !(resultBytes || resultKey)) return record;
    const item = resultBytes ? undefined : await this.readItem(resultKey as string);
    if (!resultBytes && !item) return record;
    try {
      const json = await decompress((resultBytes ?? item?.[attributeOf("result")]?.B) as Uint8Array);
      return { ...rest, result: { value: JSON.parse(json) as unknown } };
    } catch {
      return { ...rest, unreadable: [...(rest.unreadable ?? []), "result"] };
    }
  }
}
