import { inspect } from "node:util";
import { type LockLostError, LockOptionsError, LockTableError } from "../common/errors.ts";
import type { KeptReason } from "../common/events.ts";
import { hashOf } from "../common/fingerprint.ts";
import { encodeData } from "../common/json.ts";
import type { Keys } from "../common/key.ts";
import { callSafely } from "../common/print.ts";
import { type LockRecord, withoutTokens } from "../common/record.ts";
import type { StorableResult } from "../common/result.ts";
import { checkArgument, checkOptions, MS, show, TEXT } from "../common/rules.ts";
import { toConditionCheck } from "../dynamodb/holder.ts";
import type { ConditionCheck, TransactWriteItem } from "../protocol/item.ts";
import type { Acquisition, Wanted } from "./acquire.ts";
import { checkedItems } from "./commit-items.ts";
import { toFinish } from "./ending.ts";
import type { LeaseTimers } from "./lease.ts";
import { type LockHost, LockWrites, type LockWritesOptions, type SettleTime } from "./lock-writes.ts";
import {
  COMMIT_RULES,
  type CommitOptions,
  FINISH_RULES,
  type FinishOptions,
  RELEASE_RULES,
  type ReleaseOptions,
} from "./settle-options.ts";
import { type Unawaited, UnderWay } from "./under-way.ts";

/**
 * `held`: ours. `expired`: the lease is over, and nobody is known to have taken the key. `lost`: a
 * write found another token. `finished` and `released`: settled by this handle.
 */
export type LockHandleStatus = "held" | "expired" | "finished" | "released" | "lost";

/** @internal How its holder watches a lock, and ends it. */
export interface HandleOptions extends LeaseTimers, Pick<LockWritesOptions, "settleTime"> {
  /** How long the key is remembered when it is finished, unless that says otherwise, in ms. */
  readonly rememberMs: number;
  /** JSON of the application's data, so that nobody who changes what he was given changes it. */
  readonly data: string | undefined;
  readonly onExpiring?: ((lock: Lock) => void) | undefined;
  readonly onLost?: ((lock: Lock, error: LockLostError) => void) | undefined;
}

/** @internal What a handle needs of its client. */
export interface HandleHost extends Omit<LockHost, "settled"> {
  settled(lock: Lock): void;
}

/**
 * One acquisition of one key, or of several keys at once.
 *
 * @example
 * await using lock = await locks.acquire("report-2026-11-21"); // released at the end of the block
 * await storage.write(data, { fence: lock.fencingToken, signal: lock.signal });
 */
export class Lock implements AsyncDisposable {
  /** The keys with their namespace, as stored. */
  readonly keys: Keys;
  /**
   * The name of the one who took it, for people who read the table: in a Lambda the request id,
   * unless the options say otherwise. It proves nothing.
   */
  readonly owner: string;
  /**
   * Strictly increasing per key: hand it to resources outside DynamoDB and let them refuse smaller
   * ones (https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html).
   */
  readonly fencingToken: number;
  /** Epoch ms. */
  readonly acquiredAt: number;
  /**
   * The record that was taken over, if its owner never finished: look here whether its work was
   * half done. Not known of several keys, nor if the reply to the acquisition was lost on the
   * network. Its token can be read, but is not shown.
   */
  readonly previous: LockRecord | undefined;
  readonly #host: HandleHost;
  readonly #wanted: Wanted;
  readonly #options: HandleOptions;
  readonly #writes: LockWrites;
  readonly #underWay = new UnderWay();
  readonly #data: unknown;
  readonly #isDataUnreadable: boolean;
  #holds = 1;

  /** @internal */
  constructor(host: HandleHost, wanted: Wanted, acquisition: Acquisition, options: HandleOptions) {
    const { before, left } = acquisition;
    const { data, onExpiring, onLost } = options;
    this.keys = wanted.keys;
    this.owner = wanted.owner;
    this.fencingToken = acquisition.fencingToken;
    this.acquiredAt = acquisition.acquiredAt;
    this.previous = before?.status === "IN_PROGRESS" ? withoutTokens(before) : undefined;
    this.#host = host;
    this.#wanted = wanted;
    this.#options = options;
    this.#data = data === undefined ? undefined : JSON.parse(data);
    this.#isDataUnreadable = data === undefined && left?.unreadable?.includes("data") === true;
    this.#writes = new LockWrites({ ...host, settled: () => host.settled(this) }, wanted, acquisition, {
      ...options,
      onExpiring: onExpiring && (() => callSafely("onExpiring", () => onExpiring(this))),
      onLost: (error) => callSafely("onLost", () => onLost?.(this, error)),
    });
  }

  /**
   * A key for a service that takes idempotency keys, such as Stripe: the same in every retry under
   * this key, and another one for any other key. So what a run has done there before it crashed is
   * not done again. It has 43 characters (letters, digits, `-` and `_`), and says nothing of the
   * key. Under a key that is released after success, and runs again on purpose, put into `part`
   * what makes the runs differ.
   *
   * @param part tells several calls of one run apart
   *
   * @example
   * await stripe.charges.create(charge, { idempotencyKey: lock.idempotencyKey("charge") });
   *
   * @throws LockOptionsError for a part that is no text, and without a part for a semaphore, whose
   * holders have one key and would all be taken for one
   */
  idempotencyKey(part = ""): string {
    if (part !== "") checkArgument("idempotencyKey", "part", part, TEXT);
    else
      this.#refuseSemaphore("idempotencyKey", "has one key for all its holders: name what this one works on as part");
    return hashOf(JSON.stringify([...this.keys, part]));
  }

  /** The key with its namespace, as stored; of several keys, the first. */
  get key(): string {
    return this.keys[0];
  }

  /**
   * The application's data: what was given to `acquire`, or else what the holder before left.
   *
   * @throws LockTableError if that can't be read: it is not JSON, or a newer version wrote it.
   */
  get data(): unknown {
    if (!this.#isDataUnreadable) return this.#data;
    throw new LockTableError(
      `The data that the holder before left with key ${JSON.stringify(this.key)} can't be read: it is not JSON, or a newer version of this package wrote it. ` +
        "It is kept until data is given to acquire, finish or release",
    );
  }

  /**
   * Random id of this acquisition: the proof of ownership that every later write carries. It can be
   * read, but is not shown where the lock is printed.
   */
  get token(): string {
    return this.#wanted.token;
  }

  /** End of the lease, epoch ms. */
  get expiresAt(): number {
    return this.#writes.lease.expiresAt;
  }

  /**
   * Until the lease ends, in ms, never negative; by the wall or the monotonic clock, whichever is
   * first: a freeze may stop either.
   */
  get remainingMs(): number {
    return this.#writes.lease.remainingMs;
  }

  /** Since the acquisition began, in ms. */
  get elapsedMs(): number {
    return this.#writes.elapsedMs;
  }

  get status(): LockHandleStatus {
    return this.#writes.status;
  }

  /** Aborted when the lock is lost or its lease over: `signal.reason` is then a `LockLostError`. */
  get signal(): AbortSignal {
    return this.#writes.signal;
  }

  /**
   * Prolongs the lease to `ms` from now. Nothing shortens a lease: if more than `ms` are left, they
   * stay.
   *
   * @example
   * const lock = await locks.acquire("import", { leaseMs: 10_000, heartbeatMs: false });
   * for (const part of parts) {
   *   await lock.extend(10_000); // throws when another has taken the key
   *   await importPart(part);
   * }
   *
   * @throws LockLostError if the lease is over, or another run has taken the key over.
   * @throws LockError if DynamoDB could not be reached: the lease is as it was.
   */
  extend(ms: number): Promise<void> {
    return this.#call(async () => {
      checkArgument("extend", "ms", ms, this.#wanted.semaphore?.leaseRule ?? MS);
      await this.#writes.renew(ms);
    });
  }

  /**
   * Marks the key finished: repeats are refused, and get the stored response, until `rememberMs`
   * have passed. Works after the lease is over too, as long as nobody has taken the key. A second
   * call does nothing.
   *
   * @throws LockLostError if another run has taken the key over: nothing was written.
   * @throws LockError if DynamoDB could not be reached: call it again.
   */
  finish(options: FinishOptions = {}): Promise<void> {
    return this.#call(async () => {
      checkOptions("finish", options, FINISH_RULES);
      this.#refuseSemaphore("finish", "can only be released");
      await this.#writes.finish(toFinish(options, this.#options.rememberMs));
    });
  }

  /**
   * @internal Finishes with a response, and gives what a repeat gets; `undefined` if it can't be
   * stored. Doesn't throw: the work succeeded, and the lock has reported what failed.
   */
  async finishWith(result: unknown): Promise<StorableResult | undefined> {
    const finish = toFinish({ result }, this.#options.rememberMs);
    return this.#writes.finish(finish).then(
      (prepared) => (prepared ?? finish).response,
      () => finish.response, // it may have been written
    );
  }

  /**
   * Writes `items` and marks the key finished, in one transaction: all or nothing, and only if
   * nobody has taken the key over, however late it comes. So the effect of a run happens exactly
   * once. Of several keys all are finished. Conflicts with other transactions are waited for within
   * the lease.
   *
   * @param items Puts, updates, deletes and condition checks on tables of the same account and
   * region, as `TransactWriteItems` takes them, with values in the form of
   * `@aws-sdk/client-dynamodb`: at most 100 less the number of keys, at most 4 MB in all
   * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html).
   *
   * @example
   * const response = { statusCode: 201 };
   * await lock.commit([{ Put: { TableName: "orders", Item: { id: { S: orderId } } } }], { result: response });
   * return response;
   *
   * @throws LockLostError if another run has taken the key over: nothing was written.
   * @throws TransactionCanceledException as DynamoDB sent it, if one of your conditions failed:
   * nothing was written, the lock is still held, and `CancellationReasons` are in the order of your
   * items, with those of the lock after them.
   * @throws LockError with code LOCK_REQUEST if it is not known whether it was written: commit the
   * same items again, or let it be: a release makes sure that it never will be. Other errors of
   * DynamoDB come as they are, with the item that they are about added to their message where it is
   * known; nothing was written.
   * @throws LockOptionsError for what is no item, or would not be written as it stands there, for a
   * semaphore, and in a durable execution: nothing was sent.
   */
  commit(items: readonly TransactWriteItem[], options: CommitOptions = {}): Promise<void> {
    return this.#call(async () => {
      checkOptions("commit", options, COMMIT_RULES);
      this.#refuseSemaphore("commit", "is never finished: put condition() into a transaction of your own");
      if (this.#wanted.execution !== undefined) {
        throw new LockOptionsError(
          "commit: a durable execution would end there when it is next resumed, with the steps after it left out: commit in a function of its own",
        );
      }
      const finish = toFinish(options, this.#options.rememberMs);
      const conditions = this.keys.map((key) => this.condition(key));
      await this.#writes.commit(checkedItems(items, conditions), finish);
    }, true);
  }

  /**
   * The condition that the lock is still held, for a `TransactWriteItems` of your own: if another
   * run has taken the key over, the transaction is cancelled. The lock itself stays held. Of
   * several keys, name one of `keys`, and check each.
   *
   * @example
   * await client.send(new TransactWriteItemsCommand({ TransactItems: [{ ConditionCheck: lock.condition() }, ...items] }));
   */
  condition(key?: string): ConditionCheck {
    if (key === undefined ? this.keys.length > 1 : !this.keys.includes(key)) {
      throw new LockOptionsError(`condition: key must be one of ${JSON.stringify(this.keys)}, got ${show(key)}`);
    }
    return toConditionCheck(this.#host.table, key ?? this.key, this.#writes.proof);
  }

  /** `condition` in the shape of `@aws-sdk/lib-dynamodb`, for its `TransactWriteCommand`. */
  documentCondition(key?: string) {
    const { Key, ExpressionAttributeValues, ...rest } = this.condition(key);
    return { ...rest, Key: toPlain(Key), ExpressionAttributeValues: toPlain(ExpressionAttributeValues) };
  }

  /**
   * Frees the key, or gives back one of several holds (`reentrant`). Does nothing if the handle has
   * finished or released it already.
   *
   * @throws LockLostError if another run has taken the key over: nothing was written.
   * @throws LockError if DynamoDB could not be reached: call it again, or let the lease end.
   */
  release(options: ReleaseOptions = {}): Promise<void> {
    return this.#call(async () => {
      checkOptions("release", options, RELEASE_RULES);
      const data = encodeData(options.data);
      if (this.#holds > 1) {
        this.#holds--;
        return;
      }
      await this.#writes.release(data);
    });
  }

  /**
   * Releases what is still held. Problems are reported as events and not thrown, so that they can't
   * hide an error of the block. It only throws the failure of a commit that nobody has awaited.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const { failure } = await this.unawaited();
    await this.release().catch(() => {}); // it has been reported
    if (failure) throw failure.error;
  }

  /**
   * The form in which JSON and logs show the lock: without the token, which proves ownership, and
   * without data.
   */
  toJSON() {
    const { keys, owner, fencingToken, acquiredAt, expiresAt, status } = this;
    return { keys, owner, fencingToken, acquiredAt, expiresAt, status };
  }

  /** @internal As `toJSON`, for `console.log`. */
  [inspect.custom](_depth: number, options: object): string {
    return `Lock ${inspect(this.toJSON(), options)}`;
  }

  /**
   * @internal Waits, at most `ms`, for what was begun on the lock and not awaited. The failure of a
   * commit is the work's, which goes on as if its effects had happened. What else fails has been
   * reported.
   */
  unawaited(ms = Number.POSITIVE_INFINITY): Promise<Unawaited> {
    return this.#underWay.settled(this.#host.clock, ms);
  }

  /** @internal However often it is held. `time` is in place of the lock's own. */
  releaseAll(time?: SettleTime): Promise<void> {
    this.#holds = 1;
    return this.#call(() => this.#writes.release(undefined, time));
  }

  /**
   * @internal One more hold for the same owner; false if the lock is not held any more, or about to
   * end.
   */
  reenter(): boolean {
    if (this.#writes.isSettling || this.#wanted.semaphore || this.status !== "held") return false;
    this.#holds++;
    return true;
  }

  /** @internal Whether somebody else holds it through this handle. */
  get isShared(): boolean {
    return this.#holds > 1;
  }

  /**
   * @internal Leaves the key to its lease, because its work may still be running: `reason` aborts
   * the signal.
   */
  abandon(kept: KeptReason, reason?: Error): void {
    this.#writes.abandon(kept, reason);
  }

  /** `isVital`: must not fail unheard. */
  #call(work: () => Promise<void>, isVital = false): Promise<void> {
    return this.#underWay.add(isVital, work());
  }

  #refuseSemaphore(operation: string, why: string): void {
    if (this.#wanted.semaphore) throw new LockOptionsError(`${operation}: a semaphore ${why}`);
  }
}

const toPlain = (item: ConditionCheck["Key"] = {}): Record<string, string | number> =>
  Object.fromEntries(Object.entries(item).map(([name, { S, N }]) => [name, S ?? Number(N)]));
