import {
  BatchGetItemCommand,
  type ConditionCheck,
  DeleteItemCommand,
  type DynamoDBClient,
  ScanCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import type { Clock } from "../common/clock.ts";
import { LockError, LockLostError, LockTableError, textOf } from "../common/errors.ts";
import type { Keys } from "../common/key.ts";
import type { LockRecord } from "../common/record.ts";
import {
  forceReleaseRequest,
  readManyRequest,
  removeRequest,
  type ScanFilter,
  type ScanPage,
  scanRequest,
} from "../protocol/admin-requests.ts";
import type { Item } from "../protocol/item.ts";
import { ATTRIBUTES, isStatus, itemToRecord, slotAttribute } from "../protocol/record.ts";
import {
  acquireRequest,
  type Claim,
  type ConditionalUpdate,
  type Hold,
  renewRequest,
  type Settlement,
  settleRequests,
  storeResultRequest,
  type TableLayout,
} from "../protocol/requests.ts";
import { acquireSlotRequest, type SlotClaim } from "../protocol/semaphore-requests.ts";
import { isNamed, isTransient } from "./aws-errors.ts";
import { type Commit, conditionRequest } from "./commit.ts";
import { compress, decompress } from "./compress.ts";
import { type Refusal, Sender, toRefusals } from "./sender.ts";
import { explained } from "./translate.ts";

export interface Acquired {
  readonly acquired: true;
  readonly fencingToken: number;
  /** Epoch ms, from before the write. */
  readonly acquiredAt: number;
  readonly leaseMs: number;
  /** Epoch ms. */
  readonly expiresAt: number;
  readonly slot?: number;
  /** Found in the record, by its token: the reply to the request that took it was lost. */
  readonly recognised?: boolean;
  /** The record as it was before, where the request could bring it. */
  readonly before?: LockRecord | undefined;
  /** The record that has the application's data which the holder before left. */
  readonly left?: LockRecord | undefined;
}

export interface Refused {
  readonly acquired: false;
  /** `undefined` if it is gone since it was last seen. */
  readonly record: LockRecord | undefined;
}

export type AcquireReply = Acquired | Refused;

/** `done`: the record is as asked for, with our token. Otherwise it is not ours any more, and nothing was written. */
export type HoldReply =
  | {
      readonly done: true;
      readonly status: "IN_PROGRESS" | "FINISHED" | "RELEASED";
      /** Found so: by this write, or by one before it. */
      readonly recognised?: boolean;
    }
  | {
      readonly done: false;
      readonly key: string;
      readonly reason: "stolen" | "deleted";
      /** An earlier attempt may have applied, and been overwritten since. */
      readonly inDoubt?: boolean;
      /** It was sent more than once, and an earlier attempt may have applied. */
      readonly retried: boolean;
    };

/** A lease as a renewal asks for it. `expiresAt`: epoch ms. */
export interface Prolonged {
  readonly leaseMs: number;
  readonly expiresAt: number;
}

export interface Store {
  acquire(claim: Claim): Promise<AcquireReply>;
  acquireAll(
    claims: readonly Claim[],
  ): Promise<Acquired | { readonly acquired: false; readonly records: LockRecord[] }>;
  acquireSlot(claim: Claim, slotClaim: SlotClaim): Promise<AcquireReply>;
  renew(keys: Keys, hold: Hold, lease: Prolonged): Promise<HoldReply>;
  settle(keys: Keys, hold: Hold, settlement: Settlement): Promise<HoldReply>;
  /**
   * Sends the application's items and the settlement in one transaction, once. What is certain is thrown as it came: the
   * application's own conditions, a conflict. While an attempt is in doubt, everything is a `LockError` LOCK_REQUEST.
   */
  commit(commit: Commit<{ readonly settlement: Settlement }>, keys: readonly string[], hold: Hold): Promise<HoldReply>;
  /** That the key is held, for a transaction of the application's own. */
  condition(key: string, hold: Hold): ConditionCheck;
  /** Puts a response that is too large for the record beside it, under this key. Throws a `RangeError` if it is larger than an item. */
  storeResult(companion: string, json: string, window: { readonly rememberMs: number }): Promise<void>;
  /** With the response that stands beside the record, unless that is gone. */
  withResult(record: LockRecord): Promise<LockRecord>;
  read(key: string, options?: { consistent?: boolean }): Promise<LockRecord | undefined>;
  /** Records, strongly consistent, and the keys that DynamoDB left unread. Of at most 100 keys, none twice. */
  readBatch(keys: readonly string[], signal?: AbortSignal): Promise<{ records: LockRecord[]; unread: string[] }>;
  /** A page of the table, without what something else wrote; without `next` it is the last. */
  scan(filter: ScanFilter, page: ScanPage): Promise<{ records: LockRecord[]; next?: Item | undefined }>;
  /** Deletes the record, and says whether it is gone: not if it has changed since it was seen. */
  remove(seen: LockRecord): Promise<boolean>;
  /** Frees the key, unless another acquisition or status than the seen one is there: then `record` says which. */
  forceRelease(seen: LockRecord, token: string): Promise<ForceReleaseReply>;
}

export type ForceReleaseReply =
  | { readonly released: true }
  | { readonly released: false; readonly record: LockRecord | undefined };

/** How often a write is sent that is refused though no item is there, by the engine's own word. */
const MAX_WITHOUT_ITEM = 3;

/** The protocol on a table: what is sent, and what a reply means. Recognises its own writes after a lost reply. */
export class DynamoStore implements Store {
  readonly #sender: Sender;
  readonly #layout: TableLayout;
  readonly #clock: Clock;

  constructor(client: DynamoDBClient, layout: TableLayout, clock: Clock, random: () => number) {
    this.#sender = new Sender(client, layout, clock, random);
    this.#layout = layout;
    this.#clock = clock;
  }

  acquire(claim: Claim): Promise<AcquireReply> {
    const now = this.#clock.now();
    return this.#acquire(acquireRequest(this.#layout, claim, now), claim, now);
  }

  async acquireSlot(claim: Claim, slotClaim: SlotClaim): Promise<AcquireReply> {
    const now = this.#clock.now();
    const request = acquireSlotRequest(this.#layout, claim, slotClaim, now);
    const reply = await this.#acquire(request, claim, now, { needsItem: slotClaim.seen !== undefined });
    return reply.acquired ? { slot: slotClaim.slot, ...reply } : reply;
  }

  /** `claims` carry one token and one fencing token. Refused: the records that stood in the way. */
  async acquireAll(claims: readonly Claim[]) {
    const now = this.#clock.now();
    const requests = claims.map((claim) => acquireRequest(this.#layout, claim, now));
    const { fence: fencingToken, token, leaseMs } = claims[0] as Claim & { fence: number };
    for (let attempt = 1; ; attempt++) {
      const reply = await this.#sender.transact(requests);
      if (reply.applied)
        return { acquired: true, fencingToken, acquiredAt: now, leaseMs, expiresAt: now + leaseMs } as const;
      const records: LockRecord[] = [];
      for (const [index, { key }] of claims.entries()) {
        const { refused, item } = reply.refusals[index] ?? {};
        const refusing = refused && (await this.#refusing(key, item, false));
        if (refusing) records.push(this.#parse(refusing, key));
      }
      const [first] = records;
      // Our own token everywhere: an earlier transaction of this acquisition applied, and its reply was lost.
      const ours = records.length === claims.length && records.every((record) => recognise(record, token));
      if (first) return (ours && recognise(first, token)) || ({ acquired: false, records } as const);
      if (attempt === MAX_WITHOUT_ITEM) throw this.#noItem(claims[0]?.key as string);
    }
  }

  renew(keys: Keys, hold: Hold, lease: Prolonged): Promise<HoldReply> {
    const now = this.#clock.now();
    const requests = keys.map((key) => renewRequest(this.#layout, key, hold, lease, now));
    return this.#write(keys, hold, "IN_PROGRESS", requests, lease.expiresAt);
  }

  async settle(keys: Keys, hold: Hold, settlement: Settlement): Promise<HoldReply> {
    const requests = settleRequests(this.#layout, keys, hold, settlement, this.#clock.now());
    const reply = await this.#write(keys, hold, settlement.status, requests);
    if (!reply.done && settlement.status === "RELEASED" && keys.length > 1) {
      // One of several keys is lost: the others are still ours to free.
      await Promise.all(
        keys.map((key, index) => this.#write([key], hold, settlement.status, [requests[index] as ConditionalUpdate])),
      );
    }
    return reply;
  }

  async commit(commit: Commit<{ readonly settlement: Settlement }>, keys: readonly string[], hold: Hold) {
    const { settlement } = commit.ending;
    const settlements = () => settleRequests(this.#layout, keys, hold, settlement, this.#clock.now());
    try {
      await this.#sender.commit(commit, settlements);
      return { done: true, status: "FINISHED" } as const;
    } catch (error) {
      const { inDoubt } = commit;
      const refusals = toRefusals(error);
      const ours = await this.#withItems(keys, refusals.slice(refusals.length - keys.length));
      const reply = this.#transactionReply(keys, hold, { refusals: ours, retried: inDoubt });
      if (reply && !reply.done) return { ...reply, inDoubt };
      // FINISHED, but not by this commit.
      if (reply && !inDoubt && reply.status === "FINISHED") throw new LockLostError(keys[0] as string, "released");
      if (reply) return reply;
      if (!inDoubt) throw explained(error, commit.items);
      // An earlier attempt may have applied, and made the application's own conditions fail.
      const [key] = keys;
      if (key !== undefined && refusals.some(({ refused }) => refused)) {
        const item = await this.#sender.read(key).catch(() => undefined);
        const found = this.#holdReply(key, hold, item, true, undefined);
        if (found.done) return found;
      }
      throw new LockError("LOCK_REQUEST", `It is not known whether the commit applied: ${textOf(error)}`, {
        cause: error,
      });
    }
  }

  condition(key: string, hold: Hold): ConditionCheck {
    return conditionRequest(this.#layout, key, hold);
  }

  async storeResult(companion: string, json: string, window: { readonly rememberMs: number }): Promise<void> {
    const body = await compress(json);
    const request = storeResultRequest(this.#layout, companion, body, window, this.#clock.now());
    await this.#sender.send("UpdateItem", (client) => client.send(new UpdateItemCommand(request)));
  }

  async withResult(record: LockRecord): Promise<LockRecord> {
    if (record.resultKey === undefined || record.result) return record;
    const item = await this.#sender.read(record.resultKey);
    if (!item) return record;
    try {
      const json = await decompress(item[ATTRIBUTES.result]?.B as Uint8Array);
      return { ...record, result: { value: JSON.parse(json) as unknown } };
    } catch {
      return { ...record, unreadable: [...(record.unreadable ?? []), "result"] };
    }
  }

  async read(key: string, { consistent = true } = {}): Promise<LockRecord | undefined> {
    const item = await this.#sender.read(key, consistent);
    return item && this.#parse(item, key);
  }

  async readBatch(keys: readonly string[], signal?: AbortSignal): Promise<{ records: LockRecord[]; unread: string[] }> {
    const keyIn = (item: Item) => item[this.#layout.keyAttribute]?.S as string;
    const command = new BatchGetItemCommand(readManyRequest(this.#layout, keys));
    const { Responses = {}, UnprocessedKeys = {} } = await this.#sender.send("BatchGetItem", (client) =>
      client.send(command, signal && { abortSignal: signal }),
    );
    const items = Object.values(Responses).flat();
    const unread = Object.values(UnprocessedKeys).flatMap(({ Keys = [] }) => Keys.map(keyIn));
    return { records: items.map((item) => this.#parse(item, keyIn(item))), unread };
  }

  async scan(filter: ScanFilter, page: ScanPage): Promise<{ records: LockRecord[]; next?: Item | undefined }> {
    const command = new ScanCommand(scanRequest(this.#layout, filter, page));
    const { Items = [], LastEvaluatedKey } = await this.#sender.send("Scan", (client) => client.send(command));
    const records = Items.flatMap((item) => itemToRecord(item, this.#layout.keyAttribute) ?? []);
    return { records, next: LastEvaluatedKey };
  }

  async remove(seen: LockRecord): Promise<boolean> {
    const command = new DeleteItemCommand(removeRequest(this.#layout, seen));
    return this.#sender.send("DeleteItem", (client) =>
      client.send(command).then(
        () => true,
        async (error) => {
          if (!isNamed(error, "ConditionalCheckFailedException")) throw error;
          // Refused though there is no item: TTL was faster, or our own delete, whose reply was lost.
          return (await this.#refusing(seen.key, error.Item, true)) === undefined;
        },
      ),
    );
  }

  async forceRelease(seen: LockRecord, token: string): Promise<ForceReleaseReply> {
    const reply = await this.#sender.update(forceReleaseRequest(this.#layout, seen, token, this.#clock.now()));
    if (reply.applied) return { released: true };
    const item = await this.#refusing(seen.key, reply.item, true);
    const record = item && this.#parse(item, seen.key);
    // Our own token: the write applied and its reply was lost.
    return record?.token === token ? { released: true } : { released: false, record };
  }

  /** `needsItem`: the request is refused, too, where there is no item. */
  async #acquire(
    request: ConditionalUpdate,
    claim: Claim,
    now: number,
    { needsItem = false } = {},
  ): Promise<AcquireReply> {
    for (let attempt = 1; ; attempt++) {
      const reply = await this.#sender.update(request);
      if (reply.applied) {
        const before = reply.item && itemToRecord(reply.item, this.#layout.keyAttribute);
        return {
          acquired: true,
          fencingToken: Number(reply.item?.[ATTRIBUTES.fence]?.N ?? now) + 1,
          acquiredAt: now,
          leaseMs: claim.leaseMs,
          expiresAt: now + claim.leaseMs,
          before,
          left: before,
        };
      }
      const item = await this.#refusing(claim.key, reply.item, needsItem);
      const record = item && this.#parse(item, claim.key);
      if (record) return recognise(record, claim.token) ?? { acquired: false, record };
      if (needsItem) return { acquired: false, record: undefined };
      if (attempt === MAX_WITHOUT_ITEM) throw this.#noItem(claim.key);
    }
  }

  /**
   * The item that refused a write. DynamoDB shows it with the refusal; it is read where an older engine or a mock does not.
   * `undefined`: it is gone by then, or, for a write that needs an item, it has been gone before.
   */
  async #refusing(key: string, shown: Item | undefined, needsItem: boolean): Promise<Item | undefined> {
    if (shown) return shown;
    try {
      return await this.#sender.read(key);
    } catch (error) {
      if (needsItem) return undefined;
      throw isTransient(error) ? error : this.#noItem(key, error);
    }
  }

  /** With the items that refused later writes of a holder. */
  #withItems(keys: readonly string[], refusals: readonly Refusal[]): Promise<Refusal[]> {
    return Promise.all(
      refusals.map(async ({ refused, item }, index) => ({
        refused,
        item: refused ? await this.#refusing(keys[index] as string, item, true) : undefined,
      })),
    );
  }

  #noItem(key: string, error?: unknown) {
    const read = error === undefined ? "there was none when it was read" : `reading it failed: ${error}`;
    return new LockTableError(
      `A write to key ${JSON.stringify(key)} of table ${this.#layout.tableName} was refused without the item that stands there, and ${read}. ` +
        "This engine or mock does not support ReturnValuesOnConditionCheckFailure: ALL_OLD. Nothing was written",
    );
  }

  /** A later write of a holder, to one key or in one transaction to several. `end`: of the lease that it asks for. */
  async #write(
    keys: Keys,
    hold: Hold,
    status: "IN_PROGRESS" | "FINISHED" | "RELEASED",
    requests: readonly ConditionalUpdate[],
    end?: number,
  ): Promise<HoldReply> {
    if (keys.length === 1) {
      const reply = await this.#sender.update(requests[0] as ConditionalUpdate);
      if (reply.applied) return { done: true, status };
      const item = await this.#refusing(keys[0], reply.item, true);
      return this.#holdReply(keys[0], hold, item, reply.retried, end);
    }
    const reply = await this.#sender.transact(requests);
    if (reply.applied) return { done: true, status };
    const refusals = await this.#withItems(keys, reply.refusals);
    return this.#transactionReply(keys, hold, { ...reply, refusals }, end) as HoldReply;
  }

  /** Nothing, if none of the keys refused. */
  #transactionReply(
    keys: readonly string[],
    hold: Hold,
    { refusals, retried }: { readonly refusals: readonly Refusal[]; readonly retried: boolean },
    end?: number,
  ): HoldReply | undefined {
    const replies = keys.flatMap((key, index) => {
      const { refused, item } = refusals[index] ?? {};
      return refused ? [this.#holdReply(key, hold, item, retried, end)] : [];
    });
    return replies.find(({ done }) => !done) ?? replies[0];
  }

  /** Our own token, settled or with the end that was asked for: this write, or one before it, applied and its reply was lost. */
  #holdReply(key: string, hold: Hold, item: Item | undefined, retried: boolean, end: number | undefined): HoldReply {
    const at = hold.slot === undefined ? item : item?.[slotAttribute(hold.slot)]?.M;
    const status = at?.[ATTRIBUTES.status]?.S;
    const ours = at?.[ATTRIBUTES.token]?.S === hold.token;
    if (ours && end === undefined && (status === "FINISHED" || status === "RELEASED"))
      return { done: true, status, recognised: true };
    if (ours && status === "IN_PROGRESS" && Number(at?.[ATTRIBUTES.expiresAt]?.N) === end)
      return { done: true, status, recognised: true };
    return { done: false, key, reason: item ? "stolen" : "deleted", retried };
  }

  #parse(item: Item, key: string): LockRecord {
    const record = itemToRecord(item, this.#layout.keyAttribute);
    if (record) return record;
    const status = item[ATTRIBUTES.status]?.S;
    const newer = item[ATTRIBUTES.token]?.S !== undefined && status !== undefined && !isStatus(status);
    throw new LockTableError(
      `Table ${this.#layout.tableName} has an item under key ${JSON.stringify(key)} that is no lock record: ` +
        "something else writes to this table" +
        (newer ? `, or a newer version of this package, whose status ${JSON.stringify(status)} is unknown here` : "") +
        `. Use ${newer ? "that version" : "a table of their own for locks"}, or another namespace. Nothing was written`,
    );
  }
}

/** The acquisition with this token, if the record is its: the write applied, and its reply was lost. */
export const recognise = (record: LockRecord, token: string): Acquired | undefined => {
  const slot = record.holders?.find((holder) => holder.token === token && holder.status === "IN_PROGRESS");
  if (!slot && (record.token !== token || record.status !== "IN_PROGRESS")) return undefined;
  const { fencingToken, acquiredAt, leaseMs, expiresAt } = slot ?? record;
  return {
    acquired: true,
    recognised: true,
    fencingToken,
    acquiredAt,
    leaseMs,
    expiresAt,
    left: record,
    ...(slot && { slot: slot.slot }),
  };
};
