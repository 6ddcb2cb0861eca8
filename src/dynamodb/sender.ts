import { randomUUID } from "node:crypto";
import {
  type DynamoDBClient,
  GetItemCommand,
  TransactWriteItemsCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import type { Clock } from "../common/clock.ts";
import type { Item } from "../protocol/item.ts";
import { type ConditionalUpdate, readRequest, type TableLayout } from "../protocol/requests.ts";
import { isConflict, isNamed, isRefusal, mayHaveApplied, reasonsOf, rememberDoubt } from "./aws-errors.ts";
import { type Commit, commitRequest } from "./commit.ts";
import { translate } from "./translate.ts";

export interface UpdateReply {
  readonly applied: boolean;
  readonly item: Item | undefined;
  /** It was sent more than once, and an earlier attempt may have applied. */
  readonly retried: boolean;
}

export type TransactReply =
  | { readonly applied: true }
  | { readonly applied: false; readonly refusals: readonly Refusal[]; readonly retried: boolean };

/** What became of one item of a cancelled transaction. */
export interface Refusal {
  readonly refused: boolean;
  readonly item: Item | undefined;
}

export const toRefusals = (error: unknown): Refusal[] =>
  reasonsOf(error).map(({ Code, Item }) => ({ refused: Code === "ConditionalCheckFailed", item: Item }));

const CONFLICT_ATTEMPTS = 5;
const CONFLICT_DELAY_MS = 10;

/** Sends, and turns AWS errors into ours. */
export class Sender {
  readonly client: DynamoDBClient;
  readonly #layout: TableLayout;
  readonly #clock: Clock;
  readonly #random: () => number;

  constructor(client: DynamoDBClient, layout: TableLayout, clock: Clock, random: () => number) {
    this.client = client;
    this.#layout = layout;
    this.#clock = clock;
    this.#random = random;
  }

  async send<T>(action: string, request: (client: DynamoDBClient) => Promise<T>): Promise<T> {
    try {
      return await request(this.client);
    } catch (error) {
      throw await this.translate(action, error);
    }
  }

  translate(action: string, error: unknown) {
    return translate(this.#layout, async () => this.client.config.region(), action, error);
  }

  async read(key: string, consistent = true): Promise<Item | undefined> {
    const command = new GetItemCommand(readRequest(this.#layout, key, consistent));
    // A mock that was not told what to answer gives nothing at all.
    const reply: { readonly Item?: Item | undefined } | undefined = await this.send("GetItem", (client) =>
      client.send(command),
    );
    return reply?.Item;
  }

  /** A conditional write: applied, with the item as it was before, or refused, with the item as it is. */
  update(request: ConditionalUpdate): Promise<UpdateReply> {
    const command = new UpdateItemCommand({ ...request, ReturnValues: "ALL_OLD" });
    return this.send("UpdateItem", async (client) => {
      try {
        const { Attributes: item } = await this.#unconflicted(() => client.send(command));
        return { applied: true, item, retried: false };
      } catch (error) {
        if (!isNamed(error, "ConditionalCheckFailedException")) throw error;
        return { applied: false, item: error.Item, retried: mayHaveApplied(error) };
      }
    });
  }

  /**
   * Several conditional writes, all or none. The SDK gives every attempt of one command the same ClientRequestToken, so a
   * retry after a lost reply succeeds (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html).
   */
  transact(requests: readonly ConditionalUpdate[]): Promise<TransactReply> {
    const TransactItems = requests.map((request) => ({ Update: request }));
    return this.send("TransactWriteItems", async (client) => {
      try {
        await this.#unconflicted(() => client.send(new TransactWriteItemsCommand({ TransactItems })));
        return { applied: true };
      } catch (error) {
        const refusals = toRefusals(error);
        if (!refusals.some(({ refused }) => refused)) throw error;
        return { applied: false, refusals, retried: mayHaveApplied(error) };
      }
    });
  }

  /**
   * A commit, once, and whether an attempt of it may have applied. While nothing is in doubt each is a new request, so that the
   * time a key is remembered begins with the one that applies; in doubt it is the same, under the same ClientRequestToken.
   */
  async commit(commit: Commit, settlements: () => readonly ConditionalUpdate[]): Promise<void> {
    if (!commit.inDoubt) commit.input = undefined;
    commit.input ??= commitRequest(commit.items, settlements(), randomUUID());
    const command = new TransactWriteItemsCommand(commit.input);
    let sent = false;
    const watched = <T>(request: Promise<T>): Promise<T> =>
      request.catch((error: unknown) => {
        if (sent && !isRefusal(error)) commit.inDoubt = true;
        throw error;
      });
    command.middlewareStack.add(
      (next) => (args) => {
        sent = true;
        return watched(next(args));
      },
      { step: "finalizeRequest", name: "middyDynamoLockCommit" }, // within the SDK's retries, which come first there
    );
    await watched(this.client.send(command));
  }

  /**
   * Waits out a transaction of somebody else on the same items: it is over in a moment, and no news to the caller. A conflict says
   * nothing of an attempt before it whose reply was lost, so that is remembered for the error that ends the last attempt.
   */
  async #unconflicted<T>(send: () => Promise<T>): Promise<T> {
    let inDoubt = false;
    for (let attempt = 1; ; attempt++) {
      try {
        return await send();
      } catch (error) {
        inDoubt ||= mayHaveApplied(error);
        if (inDoubt) rememberDoubt(error);
        if (attempt === CONFLICT_ATTEMPTS || !isConflict(error)) throw error;
        await this.#clock.sleep(this.#random() * CONFLICT_DELAY_MS * 2 ** attempt);
      }
    }
  }
}
