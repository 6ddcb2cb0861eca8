import { LockError } from "../common/errors.ts";
import { toFingerprint } from "../common/fingerprint.ts";
import type { Jsonified } from "../common/jsonified.ts";
import { type Keys, type LockKey, toStoredKey, toStoredKeys } from "../common/key.ts";
import { type LockRecord, withoutTokens } from "../common/record.ts";
import { fromStorable } from "../common/result.ts";
import { checkArgument, checkOptions, FUNCTION, KEYS, refuse } from "../common/rules.ts";
import { withNewTable } from "../dynamodb/new-table.ts";
import type { Connect } from "../dynamodb/transport.ts";
import { reportsFailures } from "../lambda/partial-batch.ts";
import { type AttemptOptions, attemptLock } from "../lock/attempt.ts";
import { checkLayout, layoutOf } from "../lock/layout.ts";
import { LEASE_CONTRADICTIONS } from "../lock/lease-options.ts";
import type { Lock } from "../lock/lock.ts";
import { LOCKS, type LockClientLike, Locks } from "../lock/locks.ts";
import { CLIENT_CONTRADICTIONS, type ClientOptions, DEFAULTS, SETTLE_TIME_RULES } from "../lock/options.ts";
import { isRefused, type Refused } from "../lock/refused.ts";
import { runUnder, workUnder } from "../lock/work.ts";
import { liveHolders } from "../protocol/expiry.ts";
import type { TransactWriteItem } from "../protocol/item.ts";
import { commitOnce } from "./commit-once.ts";
import { warnOfDoubling } from "./doubled.ts";
import {
  ACQUIRE_RULES,
  type AcquireOptions,
  type CloseOptions,
  COMMIT_ONCE_RULES,
  type CommitOnceOptions,
  LOCK_CLIENT_RULES,
  type LockClientOptions,
  ONCE_RULES,
  type OnceOptions,
  RUN_RULES,
  type RunOptions,
  TRY_ACQUIRE_RULES,
  type TryAcquireOptions,
} from "./options.ts";
import { type WaitUntilFinishedOptions, waitUntilFinished } from "./wait-until-finished.ts";
import { type WarmUp, warmUp } from "./warm-up.ts";

/** Locks on a DynamoDB table, however that is reached: each entry point has a `LockClient` of it. */
export class LockClientOver implements LockClientLike {
  readonly #locks: Locks;
  readonly #ensuresTable: boolean;

  /** @internal */
  constructor(given: Omit<LockClientOptions, keyof ClientOptions>, connect: Connect<never>) {
    const options: LockClientOptions = given; // how DynamoDB is reached is the connection's affair
    checkOptions("LockClient", options, LOCK_CLIENT_RULES, CLIENT_CONTRADICTIONS);
    const { heartbeatMs, leaseMs = DEFAULTS.leaseMs, ensureTable, namespace } = options;
    checkLayout("LockClient", layoutOf(options), options.clockSkewMs);
    refuse("LockClient", { leaseMs, heartbeatMs }, LEASE_CONTRADICTIONS);
    this.#ensuresTable = ensureTable === true;
    this.#locks = new Locks(
      { ...options, namespace: namespace || undefined },
      {
        over: connect,
        ...(ensureTable && { withTable: (request) => this.#withNewTable(request) }),
      },
    );
  }

  /** For the functions beside the client, and the middlewares. */
  get [LOCKS](): object {
    return this.#locks;
  }

  /**
   * Takes the key if it is free: one request. `undefined` when it is held or finished. Several keys
   * are taken in one transaction, all or none, at most 100.
   *
   * @throws LockKeyError, LockOptionsError, LockTableError, LockError
   */
  async tryAcquire(key: LockKey | readonly LockKey[], options: TryAcquireOptions = {}): Promise<Lock | undefined> {
    checkOptions("tryAcquire", options, TRY_ACQUIRE_RULES);
    const attempt = await this.#attempt("tryAcquire", this.#storedKeys(key), options);
    if (!isRefused(attempt)) return attempt;
    this.#locks.reportHeld(attempt.record);
    return undefined;
  }

  /**
   * Takes the key, waiting up to `waitMs` for it. A finished key is not waited for. The error
   * carries the holder's record.
   *
   * @throws LockHeldError, LockTimeoutError after waiting, LockKeyError, LockOptionsError,
   * LockTableError, LockError
   */
  async acquire(key: LockKey | readonly LockKey[], options: AcquireOptions = {}): Promise<Lock> {
    checkOptions("acquire", options, ACQUIRE_RULES);
    const attempt = await this.#attempt("acquire", this.#storedKeys(key), options);
    if (!isRefused(attempt)) return attempt;
    this.#locks.reportHeld(attempt.record);
    throw attempt.error;
  }

  /**
   * Runs `work` at most once at a time per key: acquires, runs, releases. What `work` throws is
   * thrown on; a failing release is reported as an event.
   *
   * @throws LockTimeoutError when `work` takes longer than `timeoutMs`, and what `acquire` throws
   */
  async run<T>(
    key: LockKey | readonly LockKey[],
    work: (lock: Lock) => Promise<T> | T,
    options: RunOptions = {},
  ): Promise<T> {
    checkArgument("run", "work, the second argument,", work, FUNCTION);
    checkOptions("run", options, RUN_RULES);
    const { timeoutMs, ...acquireOptions } = options;
    const lock = await this.acquire(key, acquireOptions);
    return runUnder(this.#locks.clock, lock, work, timeoutMs);
  }

  /**
   * Runs `work` once per key within `rememberMs`. All callers get the same: what JSON makes of what
   * the first run returned. So a Date is a string for the first caller too. If JSON can't carry it
   * (a BigInt, a circular structure), the first caller gets it as it is and repeats get
   * `undefined`, which is reported (`response-not-stored`). If `work` throws, or returns a response
   * to a batch of which a part failed (`batchItemFailures`), the key is released, so that a retry
   * can run.
   *
   * @example
   * // Exactly once: the order and the end of the key in one transaction.
   * const order = await locks.once(`order-${id}`, async (lock) => {
   *   const result = { id, status: "placed" };
   *   await lock.commit([{ Put: { TableName: "orders", Item: { id: { S: id } } } }], { result });
   *   return result;
   * }, { rememberMs: 15 * 24 * 3_600_000, fingerprint: cart });
   *
   * @throws LockHeldError while another run is at it, PayloadMismatchError for another
   * `fingerprint` and for a list of keys that was finished in another order, ReplayedError if the
   * first run finished with an error, and what `acquire` throws
   */
  once<T>(
    key: LockKey | readonly LockKey[],
    work: (lock: Lock) => Promise<T> | T,
    options: OnceOptions & { readonly storeResult: false },
  ): Promise<T>;
  once<T>(
    key: LockKey | readonly LockKey[],
    work: (lock: Lock) => Promise<T> | T,
    options?: OnceOptions,
  ): Promise<Jsonified<T>>;
  async once(
    key: LockKey | readonly LockKey[],
    work: (lock: Lock) => unknown,
    options: OnceOptions = {},
  ): Promise<unknown> {
    checkArgument("once", "work, the second argument,", work, FUNCTION);
    checkOptions("once", options, ONCE_RULES);
    const { storeResult = true, fingerprint, ...acquireOptions } = options;
    const attempt = await this.#attempt("once", this.#storedKeys(key), {
      ...acquireOptions,
      fingerprint: fingerprint === undefined ? undefined : toFingerprint(fingerprint),
    });
    if (isRefused(attempt)) {
      const finished = this.#locks.finishedBy(attempt);
      if (finished) return this.#locks.replay(finished);
      this.#locks.reportHeld(attempt.record);
      throw attempt.error;
    }
    let result: unknown;
    try {
      result = await workUnder(attempt, work);
    } catch (error) {
      await attempt[Symbol.asyncDispose]();
      throw error;
    }
    if (reportsFailures(result)) {
      await attempt[Symbol.asyncDispose]();
      return result;
    }
    if (!storeResult) {
      await attempt.finish().catch(() => {}); // the work succeeded; the lock has reported the loss or the failure
      return result;
    }
    const stored = await attempt.finishWith(result);
    return stored ? fromStorable(stored) : result;
  }

  /**
   * Writes `items` and finishes the key, in one transaction and one request, if nobody holds the
   * key or has finished it: exactly once without a lock. A repeat computes its items in vain: it
   * writes nothing, and gets the `result` of the first, as JSON. Nothing is taken before, so nothing
   * is held after a crash. Needs `dynamodb:UpdateItem`, `GetItem`, and what your items need.
   *
   * @param items as in `lock.commit`: at most 99, and 98 where the result is too large for the record.
   *
   * @example
   * const order = await locks.commitOnce(
   *   `order-${id}`,
   *   [{ Put: { TableName: "orders", Item: { id: { S: id } } } }],
   *   { result: { id, status: "placed" }, rememberMs: 15 * 24 * 3_600_000, fingerprint: cart },
   * );
   *
   * @throws LockHeldError while a run under a lock is at it, PayloadMismatchError for another
   * `fingerprint`, ReplayedError if a run under a lock has finished with an error.
   * @throws TransactionCanceledException as DynamoDB sent it, if one of your conditions failed and
   * nobody has the key: nothing was written.
   * @throws LockError with code LOCK_REQUEST if it is not known whether it was written: call it again
   * with the same key. LockOptionsError, LockKeyError: nothing was sent.
   */
  async commitOnce<T = undefined>(
    key: LockKey,
    items: readonly TransactWriteItem[],
    options: CommitOnceOptions & { readonly result?: T } = {},
  ): Promise<Jsonified<T>> {
    checkOptions<CommitOnceOptions>("commitOnce", options, COMMIT_ONCE_RULES);
    return commitOnce(this.#locks, key, items, options) as Promise<Jsonified<T>>;
  }

  /**
   * The record of a key as it is now (strongly consistent), with its response wherever that is
   * stored, or `undefined`. Needs `dynamodb:GetItem`.
   *
   * @throws LockKeyError, LockTableError, LockError
   */
  async get(key: LockKey): Promise<LockRecord | undefined> {
    const record = await this.#locks.read(this.#storedKey(key));
    return record && withoutTokens(await this.#locks.withResult(record));
  }

  /**
   * How many hold the key now (strongly consistent): of a semaphore, its permits in use. Needs
   * `dynamodb:GetItem`.
   *
   * @throws LockKeyError, LockTableError, LockError
   */
  async count(key: LockKey): Promise<number> {
    const record = await this.#locks.read(this.#storedKey(key));
    const live = record ? liveHolders(record, this.#locks.clock.now() - this.#locks.clockSkewMs) : [];
    return live.filter(({ status }) => status === "IN_PROGRESS").length;
  }

  /**
   * Waits until none of the keys is held: finished, released, over and absent ones are not. Gives
   * those that still are when the time is up. Any number of keys, read 100 at a time. Needs
   * `dynamodb:BatchGetItem`.
   *
   * @throws LockKeyError, LockOptionsError, LockTableError, LockError, and the signal's reason
   */
  async waitUntilFinished(keys: readonly LockKey[], options: WaitUntilFinishedOptions = {}): Promise<LockKey[]> {
    checkArgument("waitUntilFinished", "keys, the first argument,", keys, KEYS);
    const byStored = new Map(keys.map((key) => [this.#storedKey(key), key]));
    const pending = await waitUntilFinished(this.#locks, [...byStored.keys()], options);
    return pending.map((stored) => byStored.get(stored));
  }

  /**
   * Writes, reads and deletes a probe, and tells how long each took: shows in Lambda's init phase
   * that the table is there and may be used, and opens the connection. Needs `dynamodb:UpdateItem`,
   * `GetItem` and `DeleteItem`.
   *
   * @throws LockTableError that says which step failed
   */
  async warmUp(): Promise<WarmUp> {
    const work = () => warmUp(this.#locks);
    return this.#ensuresTable ? this.#withNewTable(work) : work();
  }

  /**
   * Releases every lock of this client that is still held, and destroys the DynamoDB client if it
   * was made here. One failing release doesn't stop the rest. Afterwards nothing can be acquired.
   *
   * @example
   * process.once("SIGTERM", () => locks.close({ settleMs: 2_000 }).finally(() => process.exit()));
   *
   * @throws AggregateError of the releases that failed
   */
  async close(options: CloseOptions = {}): Promise<void> {
    checkOptions("close", options, SETTLE_TIME_RULES);
    const { closing, acquiring, held, transport } = this.#locks;
    const time = this.#locks.settleTime(options.settleMs);
    closing.abort(new LockError("LOCK_CLOSED", "LockClient is closed: acquire from a new one"));
    await Promise.allSettled(acquiring); // they end by the signal, and give back what they took
    const outcomes = await Promise.allSettled([...held].map((lock) => lock.releaseAll(time)));
    transport.close();
    const errors = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
    if (errors.length > 0)
      throw new AggregateError(errors, `${errors.length} of ${outcomes.length} locks not released`);
  }

  async #attempt(
    caller: string,
    keys: Keys,
    options: AcquireOptions & Pick<AttemptOptions, "fingerprint" | "rememberMs">,
  ): Promise<Lock | Refused> {
    const { options: defaults, closing } = this.#locks;
    closing.signal.throwIfAborted();
    const { leaseMs = defaults.leaseMs ?? DEFAULTS.leaseMs, heartbeatMs = defaults.heartbeatMs } = options;
    refuse(caller, { ...options, leaseMs, heartbeatMs }, LEASE_CONTRADICTIONS);
    const { owner = this.#locks.owner, reentrant } = options;
    return (reentrant && this.#reentered(owner, keys)) || attemptLock(this.#locks, keys, options);
  }

  /** A lock of this client on the same keys for the same owner, with one more hold on it. */
  #reentered(owner: string, asked: Keys): Lock | undefined {
    const same = JSON.stringify([...new Set(asked)]);
    return [...this.#locks.held].find(
      (lock) => lock.owner === owner && JSON.stringify(lock.keys) === same && lock.reenter(),
    );
  }

  /** Makes the table that turns out to be missing. */
  async #withNewTable<T>(request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } catch (error) {
      if (!isTableMissing(error)) throw error;
      const { transport, clock, table } = this.#locks;
      return withNewTable(transport.send, clock, table.layout, request, isTableMissing);
    }
  }

  #storedKey(key: LockKey): string {
    const { namespace } = this.#locks.options;
    warnOfDoubling(key, namespace);
    return toStoredKey(key, namespace);
  }

  #storedKeys(key: LockKey | readonly LockKey[]): Keys {
    const { namespace } = this.#locks.options;
    for (const each of Array.isArray(key) ? key : [key]) warnOfDoubling(each, namespace);
    return toStoredKeys(key, namespace);
  }
}

const isTableMissing = (error: unknown): boolean =>
  error instanceof Error && (error.name === "ResourceNotFoundException" || isTableMissing(error.cause));
