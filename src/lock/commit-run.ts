/** A run that takes nothing before it commits: its key is finished by the commit, or refuses it. */
import { isDeepStrictEqual } from "node:util";
import { CONFLICT_BACKOFF, delayMs, FAULT_BACKOFF, MIN_LEFT_MS } from "../common/backoff.ts";
import { type LockError, LockOptionsError, PayloadMismatchError } from "../common/errors.ts";
import type { LockEvent } from "../common/events.ts";
import { findMismatch } from "../common/fingerprint.ts";
import type { LockRecord } from "../common/record.ts";
import { checkOptions } from "../common/rules.ts";
import { isNamed, isTransient } from "../dynamodb/aws-errors.ts";
import { errorOf, type FreeCommit, sendFreeCommit } from "../dynamodb/free-commit.ts";
import { keyOf } from "../protocol/expression.ts";
import type { TransactWriteItem } from "../protocol/item.ts";
import { checkedItems } from "./commit-items.ts";
import { type Finish, toFinish } from "./ending.ts";
import type { SettleTime } from "./lock-writes.ts";
import type { Locks } from "./locks.ts";
import { type CommitWanted, finishedRecord, isInTheWay, type PreparedCommit, prepareCommit } from "./prepare-commit.ts";
import { Refused } from "./refused.ts";
import { COMMIT_RULES, type CommitOptions } from "./settle-options.ts";
import { type Unawaited, UnderWay } from "./under-way.ts";

/** Why a run may not commit any more. */
interface KeyRefusal {
  readonly error: LockError;
  /** What stands in the way; not where that has another payload. */
  readonly refused?: Refused;
}

type Writing = "commit" | "finish";

export class CommitRun {
  /** Set as soon as the key has refused: then every later commit is refused unsent. */
  refusal: KeyRefusal | undefined;
  isCommitted = false;
  readonly #locks: Locks;
  readonly #wanted: CommitWanted;
  readonly #begunAt: number;
  readonly #underWay = new UnderWay();
  /** One write at a time: the end of the latest. */
  #turn: Promise<unknown> = Promise.resolve();
  /** The commit that may have applied: it alone may be sent again. */
  #inDoubt: PreparedCommit | undefined;
  #closed: Error | undefined;

  constructor(locks: Locks, wanted: CommitWanted) {
    this.#locks = locks;
    this.#wanted = wanted;
    this.#begunAt = locks.clock.monotonic();
  }

  /** Whether a record that is kept in memory refuses it. */
  isKnown(): boolean {
    const record = this.#locks.cache?.get(this.#wanted.key);
    if (record) this.#refuse(record);
    return record !== undefined;
  }

  /**
   * Looks at the record, once, as it was a moment ago. Only a finished one refuses: a lock that was
   * held then may be released by now.
   */
  async look(withinMs: number): Promise<void> {
    const { clock, transport, report } = this.#locks;
    const { key, owner } = this.#wanted;
    const until = clock.monotonic() + Math.min(withinMs, transport.requestMs());
    const generation = this.#locks.cache?.generation(key);
    try {
      const record = await this.#locks.table.read(key, { consistent: false, until, retries: "none" });
      if (record?.status !== "FINISHED" || !isInTheWay(this.#locks, record)) return;
      this.#locks.cache?.set(record, generation);
      this.#refuse(record);
    } catch (error) {
      if (!isTransient(error)) throw error;
      report({ type: "retrying", key, owner, operation: "look", error }); // the commit finds out
    }
  }

  /** Resolves to the `result` as it was given. */
  commit<T>(items: readonly TransactWriteItem[], options: CommitOptions & { readonly result?: T } = {}): Promise<T> {
    return this.#underWay.add(true, this.#commit(items, options));
  }

  async #commit<T>(items: readonly TransactWriteItem[], options: CommitOptions & { readonly result?: T }): Promise<T> {
    checkOptions("commit", options, COMMIT_RULES);
    const { layout } = this.#locks.table;
    const own = { TableName: layout.tableName, Key: keyOf(layout, this.#wanted.key), ConditionExpression: "" };
    const checked = checkedItems(items, [own]);
    const finish = toFinish(options, this.#wanted.rememberMs);
    await this.#send("commit", checked, finish);
    return options.result as T;
  }

  /**
   * Finishes the key with the response of a run that has not committed. The first to write wins:
   * later there is a `refusal`.
   */
  async finish(result: unknown): Promise<void> {
    await this.#send("finish", [], toFinish({ result }, this.#wanted.rememberMs));
  }

  /** From here on nothing is sent: `reason` is what later calls throw. */
  close(reason: Error): void {
    this.#closed ??= reason;
  }

  /** Waits, at most `ms`, for commits that were not awaited. */
  unawaited(ms: number): Promise<Unawaited> {
    return this.#underWay.settled(this.#locks.clock, ms);
  }

  #send(operation: Writing, items: readonly TransactWriteItem[], finish: Finish): Promise<void> {
    const bounds = this.#wanted.settleTime();
    const { acquiring } = this.#locks;
    const turn = this.#turn.then(() => this.#write(operation, items, finish, bounds));
    acquiring.add(turn); // so that a client which is closed waits for it
    this.#turn = turn.catch(() => {}).then(() => acquiring.delete(turn));
    return turn;
  }

  get #isClosed(): boolean {
    return this.#closed !== undefined || this.#locks.closing.signal.aborted;
  }

  #checkOpen(): void {
    if (this.refusal) throw this.refusal.error;
    if (this.isCommitted) {
      throw new LockOptionsError("commit: this run has committed already: put all that it writes into one call");
    }
    if (this.#closed) throw this.#closed;
    this.#locks.closing.signal.throwIfAborted();
  }

  /** Sends it until its fate is known, or the time is over. */
  async #write(
    operation: Writing,
    items: readonly TransactWriteItem[],
    finish: Finish,
    bounds: SettleTime,
  ): Promise<void> {
    this.#checkOpen();
    const { clock, random, table, cache, report } = this.#locks;
    const { key, owner } = this.#wanted;
    const earlier = this.#inDoubt;
    const isSame =
      operation === "commit" && earlier && isDeepStrictEqual([earlier.items, earlier.finish], [items, finish]);
    const commit = isSame ? earlier : await prepareCommit(this.#locks, this.#wanted, items, finish);
    const generation = cache?.generation(key);
    for (let tries = 0; ; tries++) {
      const reply = await sendFreeCommit(table, commit, clock.now(), { ...bounds, tries, retries: "none" });
      if (reply.end === "written") return this.#written(commit, generation);
      if (reply.end === "refused") {
        cache?.set(reply.record, generation);
        throw this.#refuse(reply.record);
      }
      const { error, again } = reply;
      if (tries === 0 && isNamed(error, "ResourceNotFoundException")) {
        await this.#findTable(bounds);
        continue;
      }
      const leftMs = bounds.until - clock.monotonic();
      const isPassing = again === "fault" ? bounds.retries === "all" : again !== undefined;
      const isAgain = isPassing && leftMs >= MIN_LEFT_MS && !this.#isClosed;
      if (isAgain) {
        if (again !== "conflict") report({ type: "retrying", key, owner, operation, error });
        await clock.sleep(delayMs(tries, again === "conflict" ? CONFLICT_BACKOFF : FAULT_BACKOFF, random, leftMs));
      }
      if (isAgain && !this.#isClosed) continue;
      throw reply.over ? this.#refuse(reply.over) : await this.#failed(operation, commit, error);
    }
  }

  /** The table that is missing may be this client's, which may make it. */
  async #findTable(bounds: SettleTime): Promise<void> {
    const { withTable, table } = this.#locks;
    await withTable(() => table.readItem(this.#wanted.key, bounds)).catch((error: LockError) => {
      if (isNamed(error.cause, "ResourceNotFoundException")) throw error;
    });
  }

  async #failed(operation: Writing, commit: PreparedCommit, cause: unknown): Promise<unknown> {
    if (commit.inDoubt) this.#inDoubt = commit;
    const error = await errorOf(this.#locks.table, commit, cause);
    // The application's own condition is no failure of the key's.
    if (commit.inDoubt || operation === "finish") {
      const what = `Key ${this.#wanted.key}: ${operation} without a lock failed`;
      const fate = commit.inDoubt
        ? "It is not known whether it was written: a repeat finds out"
        : "Nothing was written";
      this.#report(commit, { type: "failed", operation, error }, `${what}. ${fate}`);
    }
    return error;
  }

  #refuse(record: LockRecord): LockError {
    const { key, fingerprint, around } = this.#wanted;
    if (findMismatch(fingerprint, [record])) {
      this.#locks.reportMismatch(record);
      this.refusal = { error: new PayloadMismatchError(record) };
    } else {
      const refused = new Refused([record], { keys: [key], keyList: undefined, around });
      this.refusal = { error: refused.error, refused };
    }
    return this.refusal.error;
  }

  #written(commit: PreparedCommit, generation: number | undefined): void {
    this.isCommitted = true;
    this.#inDoubt = undefined;
    const { notStored, ending } = commit;
    if (notStored !== undefined) this.#report(commit, { type: "response-not-stored", reason: notStored });
    this.#report(commit, { type: "finished", responseStored: ending.result !== undefined });
    const { cache } = this.#locks;
    if (cache) cache.set(finishedRecord(this.#wanted, commit), generation);
  }

  /** A transaction brings no values back, so the fencing token is not known. */
  #report({ token }: FreeCommit, event: object, problem?: string): void {
    const { key, owner } = this.#wanted;
    const elapsedMs = Math.round(this.#locks.clock.monotonic() - this.#begunAt);
    this.#locks.report({ ...event, key, owner, token, fencingToken: 0, elapsedMs } as LockEvent, problem);
  }
}
