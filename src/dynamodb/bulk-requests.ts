/** Sends requests that carry several writes or reads, and says what became of each. */
import type { Clock } from "../common/clock.ts";
import type { Item } from "../protocol/item.ts";
import { fateOf, isNamed, mayHaveApplied, PASSING } from "./aws-errors.ts";
import type { Bounds } from "./persist.ts";
import type { Statement } from "./statements.ts";
import type { Table } from "./table.ts";
import type { Output } from "./transport.ts";

/**
 * Most statements of one request
 * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchExecuteStatement.html).
 */
export const MAX_STATEMENTS = 25;

/** The fate of one statement. */
export interface Outcome {
  readonly applied: boolean;
  /** An item stands under the key that was to be inserted. */
  readonly isDuplicate: boolean;
  /** It may have applied all the same. */
  readonly inDoubt: boolean;
  /** What failed, if it was not refused by its own condition. */
  readonly fault?: unknown;
}

/** With less time than that for the ordinary request after it, none is sent, in ms. */
const MIN_MS = 250;
/** The longest that a request is waited for, in ms: it must not hold up more than it saves. */
const MAX_MS = 1_000;
/** So long none is sent after one that took too long, or that DynamoDB doesn't understand. */
const PAUSE_MS = 10_000;

const APPLIED: Outcome = { applied: true, isDuplicate: false, inDoubt: false };
/** Codes of statements that their own condition refused. */
const CONDITION = /^(ConditionalCheckFailed|DuplicateItem)$/;
/**
 * Codes of statements that were certainly not applied
 * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchStatementError.html). A
 * statement with another code, or without an answer, may have been.
 */
const REFUSED = /^(ConditionalCheckFailed|DuplicateItem|AccessDenied|ValidationError|ResourceNotFound|ItemCollection)/;

export class BulkRequests {
  readonly #table: Table;
  readonly #clock: Clock;
  readonly #onDenied: (operation: string, error: unknown) => void;
  #isDenied = false;
  /** Monotonic. */
  #pausedUntil = Number.NEGATIVE_INFINITY;

  /** `onDenied` is called once, when a permission is missing. From then on nothing is sent. */
  constructor(table: Table, clock: Clock, onDenied: (operation: string, error: unknown) => void) {
    this.#table = table;
    this.#clock = clock;
    this.#onDenied = onDenied;
  }

  /** Whether a request may be sent, so that the ordinary one has time after it. */
  isOpen({ until = Number.POSITIVE_INFINITY, signal }: Bounds): boolean {
    const now = this.#clock.monotonic();
    return !this.#isDenied && now >= this.#pausedUntil && until - now >= 2 * MIN_MS && !signal?.aborted;
  }

  /** Gives an outcome for each statement. No two may be about one item. */
  async execute(statements: readonly Statement[], bounds: Bounds): Promise<Outcome[]> {
    const operation = "BatchExecuteStatement";
    try {
      const output = await this.#send(operation, { Statements: statements }, bounds);
      const wasRetried = (output?.$metadata?.attempts ?? 1) > 1;
      return statements.map((_, index): Outcome => {
        const reply = output?.Responses?.[index];
        if (reply && !reply.Error) return APPLIED;
        const { Code = "NoReply", Message } = reply?.Error ?? {};
        const inDoubt = wasRetried || !(REFUSED.test(Code) || PASSING.test(Code));
        if (CONDITION.test(Code)) return { applied: false, isDuplicate: Code === "DuplicateItem", inDoubt };
        const fault = Object.assign(new Error(Message), { name: Code });
        if (Code === "AccessDenied") this.#deny(operation, fault);
        return { applied: false, isDuplicate: false, inDoubt, fault };
      });
    } catch (error) {
      const failed = { applied: false, isDuplicate: false, inDoubt: mayHaveApplied(error), fault: error };
      return statements.map(() => failed);
    }
  }

  /**
   * Gives the item under each key, strongly consistent: `null` if there is none, `undefined` if it
   * could not be read.
   */
  async read(
    keys: readonly string[],
    toKey: (key: string) => Item,
    bounds: Bounds,
  ): Promise<(Item | null | undefined)[]> {
    const { tableName, keyAttribute } = this.#table.layout;
    const input = { RequestItems: { [tableName]: { Keys: keys.map(toKey), ConsistentRead: true } } };
    try {
      const { Responses, UnprocessedKeys } = await this.#send("BatchGetItem", input, bounds);
      const byKey = (items: readonly Item[] = []) => new Map(items.map((item) => [item[keyAttribute]?.S, item]));
      const found = byKey(Responses[tableName]);
      const unread = byKey(UnprocessedKeys?.[tableName]?.Keys);
      return keys.map((key) => found.get(key) ?? (unread.has(key) ? undefined : null));
    } catch {
      return keys.map(() => undefined);
    }
  }

  async #send(operation: string, input: object, { until = Number.POSITIVE_INFINITY, signal }: Bounds): Promise<Output> {
    const now = this.#clock.monotonic();
    const ms = Math.min(MAX_MS, this.#table.transport.requestMs(), (until - now) / 2);
    try {
      return await this.#table.persist(operation, input, { until: now + ms, retries: "none", signal });
    } catch (error) {
      const endedAt = this.#clock.monotonic();
      if (isNamed(error, "AccessDeniedException")) this.#deny(operation, error);
      else if (endedAt - now >= ms / 2 || fateOf(error) === "refused") this.#pausedUntil = endedAt + PAUSE_MS;
      throw error;
    }
  }

  #deny(operation: string, error: unknown): void {
    if (!this.#isDenied) this.#onDenied(operation, error);
    this.#isDenied = true;
  }
}
