import {
  type DynamoDBClient,
  GetItemCommand,
  UpdateItemCommand,
  type UpdateItemCommandInput,
} from "@aws-sdk/client-dynamodb";
import type { Clock } from "./clock.ts";
import { LockError, LockTableError } from "./errors.ts";
import { ATTRIBUTES, type Item, itemToRecord, type LockRecord } from "./record.ts";
import {
  acquireRequest,
  type Claim,
  readRequest,
  type Settlement,
  settleRequest,
  type TableLayout,
} from "./requests.ts";

export type AcquireReply =
  | {
      readonly acquired: true;
      readonly fencingToken: number;
      readonly acquiredAt: number;
      /** The record taken over, when its owner never finished. */
      readonly previous?: LockRecord | undefined;
    }
  | { readonly acquired: false; readonly record: LockRecord };

/** `settled`: the record is in that state with our token. Otherwise it is not ours any more, and nothing was written. */
export type SettleReply =
  | { readonly settled: true; readonly status: "FINISHED" | "RELEASED" }
  | { readonly settled: false; readonly reason: "stolen" | "expired" };

export interface Store {
  acquire(claim: Claim): Promise<AcquireReply>;
  settle(held: { readonly key: string; readonly token: string }, settlement: Settlement): Promise<SettleReply>;
  read(key: string): Promise<LockRecord | undefined>;
}

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
    if (reply.applied) {
      const old = reply.item;
      const previous = old && itemToRecord(old, this.#layout.keyAttribute);
      return {
        acquired: true,
        fencingToken: Number(old?.[ATTRIBUTES.fence]?.N ?? now) + 1,
        acquiredAt: now,
        previous: previous?.status === "IN_PROGRESS" ? previous : undefined,
      };
    }
    const record = this.#parse(reply.item, claim.key);
    // Our own token: the write applied, its reply was lost, and the SDK's retry was refused by it.
    return record.token === claim.token
      ? { acquired: true, fencingToken: record.fencingToken, acquiredAt: record.acquiredAt }
      : { acquired: false, record };
  }

  async settle(held: { readonly key: string; readonly token: string }, settlement: Settlement): Promise<SettleReply> {
    const reply = await this.#update(settleRequest(this.#layout, held, settlement, this.#clock.now()));
    if (reply.applied) return { settled: true, status: settlement.status };
    const token = reply.item?.[ATTRIBUTES.token]?.S;
    const status = reply.item?.[ATTRIBUTES.status]?.S;
    // Our own token in a settled state: this write, or one before it, applied and its reply was lost.
    if (token === held.token && (status === "FINISHED" || status === "RELEASED")) return { settled: true, status };
    return { settled: false, reason: reply.item ? "stolen" : "expired" };
  }

  async read(key: string): Promise<LockRecord | undefined> {
    try {
      const { Item: item } = await this.#client.send(new GetItemCommand(readRequest(this.#layout, key)));
      return item && this.#parse(item, key);
    } catch (error) {
      throw await this.#translate("GetItem", error);
    }
  }

  /** A conditional write: applied, with the item as it was before, or refused, with the item as it is. */
  async #update(input: UpdateItemCommandInput): Promise<{ applied: boolean; item: Item | undefined }> {
    try {
      const { Attributes: item } = await this.#client.send(new UpdateItemCommand(input));
      return { applied: true, item };
    } catch (error) {
      if (isNamed(error, "ConditionalCheckFailedException")) return { applied: false, item: error.Item };
      throw await this.#translate("UpdateItem", error);
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

  async #translate(action: string, error: unknown): Promise<LockError> {
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
    if (isNamed(error, "ValidationException") && KEY_SCHEMA.test(error.message)) {
      return new LockTableError(
        `Table ${tableName} has another key schema: expected ${schema}. Set keyAttribute and sortKey as the table has them`,
        cause,
      );
    }
    const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    return new LockError("LOCK_REQUEST", `${action} on table ${tableName} failed: ${message}`, cause);
  }
}

/** How DynamoDB, and after it DynamoDB Local, say that the key is not the table's. */
const KEY_SCHEMA = /key element|number of conditions on the keys|required keys was not given|type mismatch for key/i;

/** By name, as the AWS SDK advises where several copies of its classes may be loaded. */
const isNamed = (error: unknown, name: string): error is Error & { readonly Item?: Item } =>
  error instanceof Error && error.name === name;

/** For local work without a table: every key is free, and nothing is sent. */
export const alwaysFree: Store = {
  acquire: async () => ({ acquired: true, fencingToken: Date.now(), acquiredAt: Date.now() }),
  settle: async (_held, { status }) => ({ settled: true, status }),
  read: async () => undefined,
};
