import {
  BatchGetItemCommand,
  type CancellationReason,
  DeleteItemCommand,
  type DynamoDBClient,
  GetItemCommand,
  ScanCommand,
  TransactWriteItemsCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import {
  forceReleaseRequest,
  readManyRequest,
  removeRequest,
  type ScanFilter,
  type ScanPage,
  scanRequest,
} from "./admin-requests.ts";
import type { Clock } from "./clock.ts";
import { LockError, LockTableError } from "./errors.ts";
import type { Keys } from "./key.ts";
import { ATTRIBUTES, type Item, itemToRecord, type LockRecord } from "./record.ts";
import {
  acquireRequest,
  acquireSlotRequest,
  type Claim,
  type ConditionalUpdate,
  type Hold,
  readRequest,
  renewRequest,
  type Settlement,
  type SlotClaim,
  settleRequest,
  type TableLayout,
} from "./requests.ts";

export interface Acquired {
  readonly acquired: true;
  readonly fencingToken: number;
  /** Epoch ms, from before the write. */
  readonly acquiredAt: number;
  /** Epoch ms. */
  readonly expiresAt: number;
  readonly slot?: number;
  /** The record as it was before, where the request could bring it. */
  readonly before?: LockRecord | undefined;
}

export interface Refused {
  readonly acquired: false;
  readonly record: LockRecord;
}

export type AcquireReply = Acquired | Refused;

/** `done`: the record is as asked for, with our token. Otherwise it is not ours any more, and nothing was written. */
export type HoldReply =
  | { readonly done: true; readonly status: "IN_PROGRESS" | "FINISHED" | "RELEASED" }
  | { readonly done: false; readonly key: string; readonly reason: "stolen" | "expired" };

export interface Store {
  acquire(claim: Claim): Promise<AcquireReply>;
  acquireAll(
    claims: readonly Claim[],
  ): Promise<Acquired | { readonly acquired: false; readonly records: LockRecord[] }>;
  acquireSlot(claim: Claim, slotClaim: SlotClaim): Promise<AcquireReply>;
  renew(keys: Keys, hold: Hold, leaseMs: number): Promise<HoldReply>;
  settle(keys: Keys, hold: Hold, settlement: Settlement): Promise<HoldReply>;
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

/** The only place that sends. Recognises its own writes after a lost reply, and turns AWS errors into ours. */
export class DynamoStore implements Store {
  readonly #client: DynamoDBClient;
  readonly #layout: TableLayout;
  readonly #clock: Clock;

  constructor(client: DynamoDBClient, layout: TableLayout, clock: Clock) {
    this.#client = client;
    this.#layout = layout;
    this.#clock = clock;
  }

  async acquire(claim: Claim): Promise<AcquireReply> {
    const now = this.#clock.now();
    const reply = await this.#update(acquireRequest(this.#layout, claim, now));
    return this.#acquireReply(reply, claim, now);
  }

  async acquireSlot(claim: Claim, slotClaim: SlotClaim): Promise<AcquireReply> {
    const now = this.#clock.now();
    const reply = await this.#update(acquireSlotRequest(this.#layout, claim, slotClaim, now));
    const acquired = this.#acquireReply(reply, claim, now);
    return acquired.acquired ? { slot: slotClaim.slot, ...acquired } : acquired;
  }

  /** `claims` carry one token and one fencing token. Refused: the records that stood in the way. */
  async acquireAll(claims: readonly Claim[]) {
    const now = this.#clock.now();
    const reply = await this.#transact(claims.map((claim) => acquireRequest(this.#layout, claim, now)));
    const { fence: fencingToken, token, leaseMs } = claims[0] as Claim & { fence: number };
    if (reply.applied) return { acquired: true, fencingToken, acquiredAt: now, expiresAt: now + leaseMs } as const;
    const records = claims.flatMap(({ key }, index) => {
      const { refused, item } = reply.reasons[index] ?? {};
      return refused ? [this.#parse(item, key)] : [];
    });
    const [first] = records;
    // Our own token everywhere: an earlier transaction of this acquisition applied, and its reply was lost.
    return first && records.length === claims.length && records.every((record) => record.token === token)
      ? ({ ...first, acquired: true } as const)
      : ({ acquired: false, records } as const);
  }

  renew(keys: Keys, hold: Hold, leaseMs: number): Promise<HoldReply> {
    const now = this.#clock.now();
    return this.#write(keys, hold, "IN_PROGRESS", (key) => renewRequest(this.#layout, key, hold, leaseMs, now));
  }

  async settle(keys: Keys, hold: Hold, settlement: Settlement): Promise<HoldReply> {
    const now = this.#clock.now();
    // One copy of the response is enough for a repeat, which reads all keys.
    const { result: _result, ...rest } = settlement as Settlement & { result?: unknown };
    const request = (key: string) =>
      settleRequest(this.#layout, key, hold, key === keys[0] ? settlement : (rest as Settlement), now);
    const reply = await this.#write(keys, hold, settlement.status, request);
    if (!reply.done && settlement.status === "RELEASED" && keys.length > 1) {
      // One of several keys is lost: the others are still ours to free.
      await Promise.all(keys.map((key) => this.#write([key], hold, settlement.status, request)));
    }
    return reply;
  }

  async read(key: string, { consistent = true } = {}): Promise<LockRecord | undefined> {
    try {
      const { Item: item } = await this.#client.send(new GetItemCommand(readRequest(this.#layout, key, consistent)));
      return item && this.#parse(item, key);
    } catch (error) {
      throw await this.#translate("GetItem", error);
    }
  }

  async readBatch(keys: readonly string[], signal?: AbortSignal): Promise<{ records: LockRecord[]; unread: string[] }> {
    const { keyAttribute } = this.#layout;
    const keyIn = (item: Item) => item[keyAttribute]?.S as string;
    try {
      const command = new BatchGetItemCommand(readManyRequest(this.#layout, keys));
      const { Responses = {}, UnprocessedKeys = {} } = await this.#client.send(
        command,
        signal && { abortSignal: signal },
      );
      const items = Object.values(Responses).flat();
      const unread = Object.values(UnprocessedKeys).flatMap(({ Keys = [] }) => Keys.map(keyIn));
      return { records: items.map((item) => this.#parse(item, keyIn(item))), unread };
    } catch (error) {
      throw await this.#translate("BatchGetItem", error);
    }
  }

  async scan(filter: ScanFilter, page: ScanPage): Promise<{ records: LockRecord[]; next?: Item | undefined }> {
    try {
      const { Items = [], LastEvaluatedKey } = await this.#client.send(
        new ScanCommand(scanRequest(this.#layout, filter, page)),
      );
      const records = Items.flatMap((item) => itemToRecord(item, this.#layout.keyAttribute) ?? []);
      return { records, next: LastEvaluatedKey };
    } catch (error) {
      throw await this.#translate("Scan", error);
    }
  }

  async remove(seen: LockRecord): Promise<boolean> {
    try {
      await this.#client.send(new DeleteItemCommand(removeRequest(this.#layout, seen)));
      return true;
    } catch (error) {
      // Refused though there is no item: TTL was faster, or our own delete, whose reply was lost.
      if (isNamed(error, "ConditionalCheckFailedException")) return error.Item === undefined;
      throw await this.#translate("DeleteItem", error);
    }
  }

  async forceRelease(seen: LockRecord, token: string): Promise<ForceReleaseReply> {
    const reply = await this.#update(forceReleaseRequest(this.#layout, seen, token, this.#clock.now()));
    // Our own token: the write applied and its reply was lost.
    if (reply.applied || reply.item?.[ATTRIBUTES.token]?.S === token) return { released: true };
    return { released: false, record: reply.item && this.#parse(reply.item, seen.key) };
  }

  #acquireReply(reply: UpdateReply, claim: Claim, now: number): AcquireReply {
    const { item } = reply;
    if (reply.applied) {
      return {
        acquired: true,
        fencingToken: Number(item?.[ATTRIBUTES.fence]?.N ?? now) + 1,
        acquiredAt: now,
        expiresAt: now + claim.leaseMs,
        before: item && itemToRecord(item, this.#layout.keyAttribute),
      };
    }
    const record = this.#parse(item, claim.key);
    // Our own token: the write applied, its reply was lost, and the SDK's retry was refused by it.
    const ours = [record, ...(record.holders ?? [])].find(({ token }) => token === claim.token);
    if (!ours) return { acquired: false, record };
    const slot = record.holders?.find(({ token }) => token === claim.token);
    const { fencingToken, acquiredAt, expiresAt } = slot ?? record;
    return { acquired: true, fencingToken, acquiredAt, expiresAt, ...(slot && { slot: slot.slot }) };
  }

  /** A later write of a holder, to one key or in one transaction to several. */
  async #write(
    keys: Keys,
    hold: Hold,
    status: "IN_PROGRESS" | "FINISHED" | "RELEASED",
    request: (key: string) => ConditionalUpdate,
  ): Promise<HoldReply> {
    if (keys.length === 1) {
      const reply = await this.#update(request(keys[0]));
      return reply.applied ? { done: true, status } : this.#holdReply(keys[0], hold, reply.item);
    }
    const reply = await this.#transact(keys.map(request));
    if (reply.applied) return { done: true, status };
    const replies = keys.flatMap((key, index) => {
      const { refused, item } = reply.reasons[index] ?? {};
      return refused ? [this.#holdReply(key, hold, item)] : [];
    });
    return replies.find(({ done }) => !done) ?? (replies[0] as HoldReply);
  }

  /** Our own token in a settled state: this write, or one before it, applied and its reply was lost. */
  #holdReply(key: string, hold: Hold, item: Item | undefined): HoldReply {
    const at = hold.slot === undefined ? item : item?.[`slot_${hold.slot}`]?.M;
    const status = at?.[ATTRIBUTES.status]?.S;
    const ours = at?.[ATTRIBUTES.token]?.S === hold.token;
    if (ours && (status === "FINISHED" || status === "RELEASED")) return { done: true, status };
    return { done: false, key, reason: item ? "stolen" : "expired" };
  }

  /** A conditional write: applied, with the item as it was before, or refused, with the item as it is. */
  async #update(request: ConditionalUpdate): Promise<UpdateReply> {
    try {
      const command = new UpdateItemCommand({ ...request, ReturnValues: "ALL_OLD" });
      const { Attributes: item } = await this.#client.send(command);
      return { applied: true, item };
    } catch (error) {
      if (isNamed(error, "ConditionalCheckFailedException")) return { applied: false, item: error.Item };
      throw await this.#translate("UpdateItem", error);
    }
  }

  /**
   * Several conditional writes, all or none. The SDK gives every attempt of one command the same ClientRequestToken, so a
   * retry after a lost reply succeeds (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html).
   */
  async #transact(requests: readonly ConditionalUpdate[]): Promise<TransactReply> {
    try {
      await this.#client.send(
        new TransactWriteItemsCommand({ TransactItems: requests.map((request) => ({ Update: request })) }),
      );
      return { applied: true };
    } catch (error) {
      const reasons = isNamed(error, "TransactionCanceledException") ? (error.CancellationReasons ?? []) : [];
      const refused = reasons.map(({ Code, Item }) => ({ refused: Code === "ConditionalCheckFailed", item: Item }));
      if (refused.some((reason) => reason.refused)) return { applied: false, reasons: refused };
      throw await this.#translate("TransactWriteItems", error, reasons);
    }
  }

  #parse(item: Item | undefined, key: string): LockRecord {
    const record = item && itemToRecord(item, this.#layout.keyAttribute);
    if (record) return record;
    throw new LockTableError(
      `Table ${this.#layout.tableName} has an item under key ${JSON.stringify(key)} that is no lock record: ` +
        "something else writes to this table. Use a table of their own for locks, or another namespace. Nothing was written",
    );
  }

  async #translate(action: string, error: unknown, reasons: CancellationReason[] = []): Promise<LockError> {
    if (error instanceof LockError) return error;
    const { tableName, keyAttribute, sortKey } = this.#layout;
    const cause = { cause: error };
    const schema = `partition key ${keyAttribute} (S)${sortKey ? ` and sort key ${sortKey.attribute}` : " and no sort key"}`;
    if (isNamed(error, "ResourceNotFoundException")) {
      const region = await this.#client.config.region();
      return new LockTableError(
        `Table ${tableName} does not exist in ${region}: create it with createLockTable or in your template, ` +
          `with ${schema}, or set tableName or DYNAMO_LOCK_TABLE to the right name`,
        cause,
      );
    }
    if (isNamed(error, "AccessDeniedException")) {
      return new LockTableError(`No permission: allow dynamodb:${action} on table ${tableName} in the role`, cause);
    }
    const details = [error, ...reasons].map((part) => Object(part).message ?? Object(part).Message).join(" ");
    const invalid = isNamed(error, "ValidationException") || reasons.some(({ Code }) => Code === "ValidationError");
    if (invalid && KEY_SCHEMA.test(details)) {
      return new LockTableError(
        `Table ${tableName} has another key schema: expected ${schema}. Set keyAttribute and sortKey as the table has them`,
        cause,
      );
    }
    const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    return new LockError("LOCK_REQUEST", `${action} on table ${tableName} failed: ${message}`, cause);
  }
}

interface UpdateReply {
  readonly applied: boolean;
  readonly item: Item | undefined;
}

type TransactReply =
  | { readonly applied: true }
  | { readonly applied: false; readonly reasons: { readonly refused: boolean; readonly item: Item | undefined }[] };

/** How DynamoDB, and after it DynamoDB Local, say that the key is not the table's. */
const KEY_SCHEMA = /key element|number of conditions on the keys|required keys was not given|type mismatch for key/i;

/** By name, as the AWS SDK advises where several copies of its classes may be loaded. */
const isNamed = (
  error: unknown,
  name: string,
): error is Error & { readonly Item?: Item; readonly CancellationReasons?: CancellationReason[] } =>
  error instanceof Error && error.name === name;

const TRANSIENT =
  /^(ProvisionedThroughputExceeded|Throttling|RequestLimitExceeded|Transaction(Conflict|InProgress|Canceled)|InternalServer|ServiceUnavailable|TimeoutError|RequestTimeout)/;

/** Whether the same request may succeed a moment later: throttling, a conflict with a transaction, a fault of the network or the server. */
export const isTransient = (error: unknown): boolean => {
  const cause = Object(error instanceof LockError && error.code === "LOCK_REQUEST" ? error.cause : undefined);
  const { name, code, $metadata } = cause as { name?: string; code?: string; $metadata?: { httpStatusCode?: number } };
  if (TRANSIENT.test(name ?? "")) return name !== "TransactionCanceledException" || isConflict(cause);
  return ($metadata?.httpStatusCode ?? 0) >= 500 || /^(E[A-Z]+|UND_ERR_\w+)$/.test(code ?? "");
};

const isConflict = ({ CancellationReasons = [] }: { CancellationReasons?: CancellationReason[] }) =>
  CancellationReasons.some(({ Code }) => /Conflict|ThrottlingError|ProvisionedThroughputExceeded/.test(Code ?? ""));

/** For local work without a table: every key is free, and nothing is sent. */
export const alwaysFree = (clock: Clock): Store => {
  const acquire = async ({ leaseMs }: Claim): Promise<Acquired> => {
    const now = clock.now();
    return { acquired: true, fencingToken: now, acquiredAt: now, expiresAt: now + leaseMs };
  };
  return {
    acquire,
    acquireAll: ([claim]) => acquire(claim as Claim),
    acquireSlot: acquire,
    renew: async () => ({ done: true, status: "IN_PROGRESS" }),
    settle: async (_keys, _hold, { status }) => ({ done: true, status }),
    read: async () => undefined,
    readBatch: async () => ({ records: [], unread: [] }),
    scan: async () => ({ records: [] }),
    remove: async () => true,
    forceRelease: async () => ({ released: true }),
  };
};
