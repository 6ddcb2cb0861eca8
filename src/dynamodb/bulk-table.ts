import type { Clock } from "../common/clock.ts";
import { keyOf, type TableLayout } from "../protocol/expression.ts";
import type { Item } from "../protocol/item.ts";
import type { Write } from "../protocol/writes.ts";
import { BulkRequests, MAX_STATEMENTS, type Outcome } from "./bulk-requests.ts";
import { Expectation, isRemembered } from "./found.ts";
import { Gather } from "./gather.ts";
import { createStatements, type Translated } from "./statements.ts";
import { type Reply, Table, type WriteOptions } from "./table.ts";
import type { Transport } from "./transport.ts";

/**
 * Most keys of one BatchGetItem
 * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html).
 */
const MAX_KEYS = 100;

/**
 * A table whose writes to single keys, where several come together, are first tried in one request.
 * What is not known to have applied there is written as ever, with the same token. So nothing has to
 * be trusted but the conditions of the ordinary writes, which recognise what had applied.
 */
export class BulkTable extends Table {
  readonly #requests: BulkRequests;
  readonly #translate: (write: Write) => Translated | undefined;
  readonly #statements: Gather<Translated, Outcome>;
  readonly #items: Gather<{ readonly key: string }, Item | null | undefined>;
  readonly #expectation = new Expectation();

  constructor(
    transport: Transport,
    layout: TableLayout,
    clock: Clock,
    random: () => number,
    onDenied: (operation: string, error: unknown) => void,
  ) {
    super(transport, layout, clock, random);
    this.#translate = createStatements(layout);
    this.#requests = new BulkRequests(this, clock, onDenied);
    this.#statements = new Gather(MAX_STATEMENTS, (all, bounds) =>
      this.#requests.execute(
        all.map(({ statement }) => statement),
        bounds,
      ),
    );
    this.#items = new Gather(MAX_KEYS, (all, bounds) =>
      this.#requests.read(
        all.map(({ key }) => key),
        (key) => keyOf(layout, key),
        bounds,
      ),
    );
  }

  override async write(writes: readonly Write[], options: WriteOptions = {}): Promise<Reply> {
    const [write] = writes as [Write];
    const isOne = writes.length === 1 && this.#requests.isOpen(options);
    const translated = isOne ? this.#translate(write) : undefined;
    if (!translated) return super.write(writes, options);
    if (translated.kind === "insert") return this.#take(write, translated, options);
    const outcome = await this.#statements.ask(translated, options);
    if (outcome?.applied) return { applied: true };
    if (outcome?.fault !== undefined) options.onRetry?.(outcome.fault);
    return super.write(writes, { ...options, inDoubt: outcome?.inDoubt });
  }

  /** Takes a key: by an INSERT if nothing stands there, or else as ever. */
  async #take(write: Write, insert: Translated, options: WriteOptions): Promise<Reply> {
    const { likely } = this.#expectation;
    let inDoubt: boolean | undefined;
    const isOpen = () => this.#requests.isOpen(options);
    const tryInsert = async () => {
      const outcome = isOpen() ? await this.#statements.ask(insert, options) : undefined;
      inDoubt ||= outcome?.inDoubt;
      return outcome;
    };
    const first = likely === "absent" ? await tryInsert() : undefined;
    if (first?.applied) return this.#taken();
    if (likely === "finished" || first?.isDuplicate) {
      const { key } = write;
      const item = isOpen() ? await this.#items.ask({ key }, options) : undefined;
      if (item && isRemembered(this.recordIn(item), Number(write.values?.over))) {
        this.#expectation.learn("finished");
        return { applied: false, refusals: [{ key, item }], retried: Boolean(inDoubt) };
      }
      if (item === null && !first && (await tryInsert())?.applied) return this.#taken();
    }
    const reply = await super.write([write], { ...options, inDoubt });
    // In doubt, the record may be this acquisition's own.
    if (!inDoubt) this.#expectation.learn(this.#foundBy(reply));
    return reply;
  }

  #taken(): Reply {
    this.#expectation.learn("absent");
    return { applied: true };
  }

  #foundBy(reply: Reply) {
    if (reply.applied) return this.recordIn(reply.before) ? "other" : "absent"; // engines differ in what they show of none
    return this.recordIn(reply.refusals[0]?.item)?.status === "FINISHED" ? "finished" : "other";
  }
}
