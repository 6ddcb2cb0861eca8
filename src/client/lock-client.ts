import { randomUUID } from "node:crypto";
import type { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { systemClock } from "../common/clock.ts";
import { LockError, LockTableError, LockTimeoutError, PayloadMismatchError, ReplayedError } from "../common/errors.ts";
import { createReporter } from "../common/events.ts";
import { findMismatch, toFingerprint } from "../common/fingerprint.ts";
import { type Keys, type LockKey, toStoredKey, toStoredKeys } from "../common/key.ts";
import { type LockRecord, withoutTokens } from "../common/record.ts";
import { encodeData, fromStorable, type Jsonified } from "../common/result.ts";
import { checkArgument, checkOptions, FUNCTION, KEYS, refuse } from "../common/rules.ts";
import { createClient } from "../dynamodb/client.ts";
import { withNewTable } from "../dynamodb/ensure-table.ts";
import { DynamoStore, type Store } from "../dynamodb/store.ts";
import { reportsFailures } from "../lambda/partial-batch.ts";
import { type Acquisition, acquire, type Refusal, type Wanted } from "../lock/acquire.ts";
import { FinishedCache } from "../lock/finished-cache.ts";
import { heldHere } from "../lock/holder.ts";
import type { LockInternals } from "../lock/internals.ts";
import { checkLayout, layoutOf } from "../lock/layout.ts";
import { LEASE_CONTRADICTIONS } from "../lock/lease-options.ts";
import { type Ending, Lock, type LockHost } from "../lock/lock.ts";
import { CLIENT_CONTRADICTIONS, DEFAULTS } from "../lock/options.ts";
import { PERMITS_CONTRADICTIONS } from "../lock/permits.ts";
import { Refused } from "../lock/refused.ts";
import type { TableLayout } from "../protocol/requests.ts";
import { liveHolders, Watch } from "../protocol/wait.ts";
import {
  ACQUIRE_RULES,
  type AcquireOptions,
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

/** @internal What the middleware asks for beyond the public options; keys are as stored. */
export interface AttemptOptions extends AcquireOptions {
  /** For a lease that shrinks while it is waited for. */
  readonly leaseOf?: (() => number) | undefined;
  /** ARN of the durable execution that asks. */
  readonly execution?: string | undefined;
  /** Hash of the payload. */
  readonly fingerprint?: string | undefined;
  /** The `waitMs` that the user asked for, where the end of the invocation has cut it. */
  readonly askedMs?: number | undefined;
  /** How long the key is remembered when it is finished. */
  readonly rememberMs?: number | undefined;
  /** The tokens of the locks around the run that asks. */
  readonly around?: readonly string[] | undefined;
  /** Lets heartbeats go when it is their turn. */
  readonly inTurn?: ((work: () => Promise<void>) => Promise<void>) | undefined;
}

/** @internal The lock, or the records that stand in the way. */
export type Attempt = Lock | Refused;

/**
 * Locks on a DynamoDB table, for any Node.js program.
 *
 * @example
 * const locks = new LockClient({ tableName: "dynamo-locks" });
 * const report = await locks.once("report-2026-11-21", () => makeReport()); // a repeat gets the first report
 */
export class LockClient {
  readonly #host: LockHost;
  readonly #options: LockClientOptions;
  readonly #owner: string;
  readonly #held = new Set<Lock>();
  readonly #client: DynamoDBClient;
  readonly #layout: TableLayout;
  readonly #acquiring = new Set<Promise<unknown>>();
  readonly #closing = new AbortController();
  readonly #cache: FinishedCache | undefined;
  readonly #watch: Watch;

  /** @throws LockOptionsError */
  constructor(options?: LockClientOptions);
  /** @internal */
  constructor(options: LockClientOptions, store: Store);
  constructor(options: LockClientOptions = {}, store?: Store) {
    checkOptions("LockClient", options, LOCK_CLIENT_RULES, CLIENT_CONTRADICTIONS);
    const clock = options.clock ?? systemClock;
    const random = options.random ?? Math.random;
    this.#cache = options.cacheSize ? new FinishedCache(options.cacheSize, clock) : undefined;
    this.#watch = new Watch(clock);
    this.#layout = layoutOf(options);
    checkLayout("LockClient", this.#layout, options.clockSkewMs);
    this.#client = options.client ?? createClient(options.clientConfig);
    this.#host = {
      store: store ?? new DynamoStore(this.#client, this.#layout, clock, random),
      clock,
      report: createReporter(options),
      random,
      settled: (lock) => {
        this.#held.delete(lock);
        heldHere.delete(lock.token);
      },
      finished: undefined,
    };
    const { heartbeatMs, leaseMs = DEFAULTS.leaseMs } = options;
    refuse("LockClient", { leaseMs, heartbeatMs }, LEASE_CONTRADICTIONS);
    this.#options = options;
    this.#owner = options.owner ?? randomUUID();
  }

  /**
   * Takes the key if it is free: one request. `undefined` when it is held or finished. Several keys are taken in one
   * transaction, all or none, at most 100.
   *
   * @throws LockKeyError, LockOptionsError, LockTableError, LockError
   */
  async tryAcquire(key: LockKey | readonly LockKey[], options: TryAcquireOptions = {}): Promise<Lock | undefined> {
    checkOptions("tryAcquire", options, TRY_ACQUIRE_RULES);
    const attempt = await this.attempt("tryAcquire", this.#storedKeys(key), options);
    if (attempt instanceof Lock) return attempt;
    this.reportHeld(attempt.record);
    return undefined;
  }

  /**
   * Takes the key, waiting up to `waitMs` for it. A finished key is not waited for. The error carries the holder's record.
   *
   * @throws LockHeldError, LockTimeoutError after waiting, LockKeyError, LockOptionsError, LockTableError, LockError
   */
  async acquire(key: LockKey | readonly LockKey[], options: AcquireOptions = {}): Promise<Lock> {
    checkOptions("acquire", options, ACQUIRE_RULES);
    const attempt = await this.attempt("acquire", this.#storedKeys(key), options);
    if (attempt instanceof Lock) return attempt;
    this.reportHeld(attempt.record);
    throw attempt.error;
  }

  /**
   * Runs `work` at most once at a time per key: acquires, runs, releases. What `work` throws is thrown on; a failing
   * release is reported as an event.
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
    const worked = workUnder(lock, work).finally(() => lock[Symbol.asyncDispose]());
    return timeoutMs === undefined ? worked : this.#limited(lock, worked, timeoutMs);
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
   * @throws LockHeldError while another run is at it, PayloadMismatchError for another `fingerprint`
   * and for a list of keys that was finished in another order, ReplayedError if the first run
   * finished with an error, and what `acquire` throws
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
    const attempt = await this.attempt("once", this.#storedKeys(key), {
      ...acquireOptions,
      fingerprint: fingerprint === undefined ? undefined : toFingerprint(fingerprint),
    });
    if (!(attempt instanceof Lock)) {
      const finished = this.finishedBy(attempt);
      if (finished) return this.replay(finished);
      this.reportHeld(attempt.record);
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
   * The record of a key as it is now (strongly consistent), with its response wherever that is stored, or `undefined`. Needs
   * `dynamodb:GetItem`.
   *
   * @throws LockKeyError, LockTableError, LockError
   */
  async get(key: LockKey): Promise<LockRecord | undefined> {
    const record = await this.#read(key);
    return record && withoutTokens(await this.withResult(record));
  }

  /**
   * How many hold the key now (strongly consistent): of a semaphore, its permits in use. Needs `dynamodb:GetItem`.
   *
   * @throws LockKeyError, LockTableError, LockError
   */
  async count(key: LockKey): Promise<number> {
    const record = await this.#read(key);
    const now = this.#host.clock.now();
    if (record?.status === "SEMAPHORE") return liveHolders(record, now, this.#clockSkewMs).length;
    return record?.status === "IN_PROGRESS" && record.expiresAt > now - this.#clockSkewMs ? 1 : 0;
  }

  /**
   * Waits until none of the keys is held: finished, released, over and absent ones are not. Gives those that still are
   * when the time is up. Any number of keys, read 100 at a time. Needs `dynamodb:BatchGetItem`.
   *
   * @throws LockKeyError, LockOptionsError, LockTableError, LockError, and the signal's reason
   */
  async waitUntilFinished(keys: readonly LockKey[], options: WaitUntilFinishedOptions = {}): Promise<LockKey[]> {
    checkArgument("waitUntilFinished", "keys, the first argument,", keys, KEYS);
    const { namespace } = this.#options;
    const byStored = new Map(keys.map((key) => [toStoredKey(key, namespace), key]));
    const pending = await waitUntilFinished(this.internals, [...byStored.keys()], options);
    return pending.map((stored) => byStored.get(stored));
  }

  /**
   * Writes, reads and deletes a probe, and tells how long each took: shows in Lambda's init phase that the table is there
   * and may be used, and opens the connection. Needs `dynamodb:UpdateItem`, `GetItem` and `DeleteItem`.
   *
   * @throws LockTableError that says which step failed
   */
  async warmUp(): Promise<WarmUp> {
    return this.#withTable(() => warmUp(this.internals));
  }

  /**
   * Releases every lock of this client that is still held, and destroys the DynamoDB client if it was made here. One
   * failing release doesn't stop the rest. Afterwards nothing can be acquired.
   *
   * @throws AggregateError of the releases that failed
   */
  async close(): Promise<void> {
    this.#closing.abort(new LockError("LOCK_CLOSED", "LockClient is closed: acquire from a new one"));
    await Promise.allSettled(this.#acquiring); // they end by the signal, and give back what they took
    const outcomes = await Promise.allSettled([...this.#held].map((lock) => lock.releaseAll()));
    if (!this.#options.client) this.#client.destroy();
    const errors = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
    if (errors.length > 0)
      throw new AggregateError(errors, `${errors.length} of ${outcomes.length} locks not released`);
  }

  /** @internal The lock, or what stands in its way. */
  async attempt(caller: string, asked: Keys, options: AttemptOptions): Promise<Attempt> {
    this.#closing.signal.throwIfAborted();
    const keys = [...new Set(asked)] as unknown as Keys;
    const begunAt = this.#host.clock.monotonic();
    const { owner = this.#owner, permits = 1, waitMs = 0, execution, force, signal } = options;
    const leaseMs = options.leaseMs ?? this.#options.leaseMs ?? DEFAULTS.leaseMs;
    const heartbeatMs = options.heartbeatMs ?? this.#options.heartbeatMs;
    refuse(caller, { ...options, leaseMs, heartbeatMs }, LEASE_CONTRADICTIONS);
    refuse(caller, { ...options, leaseMs, keys: keys.length }, PERMITS_CONTRADICTIONS);
    if (options.reentrant) {
      const held = this.#reentered(owner, keys);
      if (held) return held;
    }
    const wanted: Wanted = {
      keys,
      keyList: asked.length > 1 ? toFingerprint(asked) : undefined,
      token: randomUUID(),
      owner,
      leaseMs: options.leaseOf ?? (() => leaseMs),
      clockSkewMs: this.#clockSkewMs,
      permits,
      waitMs,
      askedMs: options.askedMs,
      backoff: options.backoff ?? DEFAULTS.backoff,
      signal: signal ? AbortSignal.any([signal, this.#closing.signal]) : this.#closing.signal,
      data: encodeData(options.data),
      fingerprint: options.fingerprint,
      force: force === true,
      execution,
      around: options.around,
      observedOnly: (options.expiry ?? this.#options.expiry) === "observed",
    };
    const context = { ...this.#host, watch: this.#watch };
    const generation = this.#cache?.generation(keys[0]);
    const acquiring = (async () => this.#cached(wanted) ?? this.#withTable(() => acquire(context, wanted)))();
    this.#acquiring.add(acquiring);
    try {
      const reply = await acquiring;
      if (reply.acquired) return this.#hold(wanted, reply, options, begunAt);
      if (keys.length === 1) for (const record of reply.records) this.#cache?.set(record, generation);
      return new Refused(reply, wanted);
    } catch (error) {
      if (force) for (const key of keys) this.#forget(key); // it may have been taken
      if (error instanceof LockTimeoutError && error.record) this.reportHeld(error.record);
      if (error instanceof PayloadMismatchError) this.#reportMismatch(error.record);
      throw error;
    } finally {
      this.#acquiring.delete(acquiring);
    }
  }

  /**
   * @internal The record to answer a repeat from, if one run has finished all the keys.
   *
   * @throws PayloadMismatchError if that run had the keys in another order, or with other repeats:
   * it did something else.
   */
  finishedBy(refused: Refused): LockRecord | undefined {
    const { finished } = refused;
    if (!finished || !refused.isOfAnotherList) return finished;
    this.#reportMismatch(finished);
    throw new PayloadMismatchError(finished, "in another order, or another number of times");
  }

  /** @internal */
  reportHeld(record: LockRecord): void {
    const { status, expiresAt } = record;
    this.#host.report({ type: "held", status, expiresAt, ...this.#about(record) });
  }

  /** @internal */
  reportDropped(record: LockRecord): void {
    this.#host.report({ type: "dropped", ...this.#about(record) });
  }

  /** @internal The stored response of a finished record; throws `ReplayedError` if the run failed for good. */
  async replay(finished: LockRecord, headers?: Record<string, string>): Promise<unknown> {
    const record = await this.withResult(finished);
    if (record.unreadable?.some((attribute) => attribute !== "data")) {
      throw new LockTableError(
        `The stored response of key ${JSON.stringify(record.key)} can't be read: a newer version of this package wrote it, or something else did. ` +
          "The key stays finished, and nothing ran",
      );
    }
    if (record.resultKey && !record.result) {
      throw new LockTableError(
        `The stored response of key ${JSON.stringify(record.key)} is gone from beside its record: something else deletes in this table`,
      );
    }
    const responseStored = record.result !== undefined;
    this.#host.report({ type: "replayed", responseStored, ...this.#about(record) });
    if (record.failure) throw new ReplayedError(record.failure, headers);
    return record.result?.value;
  }

  /** @internal With the response that stands beside it, if it is still there. */
  async withResult(record: LockRecord): Promise<LockRecord> {
    const whole = await this.#host.store.withResult(record);
    if (whole.result) this.#cache?.complete(whole);
    return whole;
  }

  /** Forgets a finished record that is not as it was. */
  #forget(key: string): void {
    this.#cache?.delete(key);
  }

  async #read(key: LockKey): Promise<LockRecord | undefined> {
    const stored = toStoredKey(key, this.#options.namespace);
    const record = await this.#withTable(() => this.#host.store.read(stored));
    if (record) this.#watch.see(record);
    return record;
  }

  /** What the refusal of a finished key would be. */
  #cached({ keys, fingerprint, force }: Wanted): Refusal | undefined {
    const record = keys.length === 1 && !force ? this.#cache?.get(keys[0]) : undefined;
    if (!record) return undefined;
    if (findMismatch(fingerprint, [record])) throw new PayloadMismatchError(record);
    return { acquired: false, records: [record] };
  }

  #reportMismatch(record: LockRecord): void {
    this.#host.report({ type: "payload-mismatch", status: record.status, ...this.#about(record) });
  }

  #hold(wanted: Wanted, acquisition: Acquisition, options: AttemptOptions, begunAt: number): Lock {
    const { keys, keyList, owner, token, data, fingerprint, execution } = wanted;
    for (const key of keys) this.#forget(key);
    const generation = this.#cache?.generation(keys[0]);
    const { before, slot, left, ...lease } = acquisition;
    const stored = left?.data;
    const { leaseMs } = lease;
    const {
      heartbeatMs = this.#options.heartbeatMs ?? Math.ceil(leaseMs / 3),
      safeMs = Math.floor(leaseMs / 4),
      onExpiring,
      onLost,
      inTurn,
    } = options;
    const lock = new Lock(
      {
        ...lease,
        keys,
        keyList,
        owner,
        token,
        slot,
        previous: before?.status === "IN_PROGRESS" ? withoutTokens(before) : undefined,
        data: data === undefined ? stored : JSON.parse(data),
        dataIsUnreadable: data === undefined && left?.unreadable?.includes("data") === true,
        rememberMs: options.rememberMs ?? this.#options.rememberMs ?? DEFAULTS.rememberMs,
        dataJson: data ?? (stored === undefined ? undefined : JSON.stringify(stored)),
        layoutBytes: bytesOf(this.#layout),
        fingerprint,
        execution,
        heartbeatMs: heartbeatMs || 0,
        safeMs,
        inTurn,
        onExpiring,
        onLost,
      },
      { ...this.#host, finished: (ending) => this.#cache?.set(recordOf(ending), generation) },
    );
    // A durable execution holds its key while it is suspended, and this process may be gone.
    if (!wanted.execution) {
      this.#held.add(lock);
      heldHere.add(token);
    }
    const { key, fencingToken, elapsedMs, expiresAt } = lock;
    const waitedMs = Math.round(this.#host.clock.monotonic() - begunAt);
    const about = { key, owner, token, fencingToken, elapsedMs, expiresAt, waitedMs };
    const type = acquisitionType(wanted, before, this.#host.clock.now());
    this.#host.report(
      type === "acquired" ? { type, ...about } : { type, previousOwner: (before as LockRecord).owner, ...about },
    );
    return lock;
  }

  /** A lock of this client on the same keys for the same owner, with one more hold on it. */
  #reentered(owner: string, keys: Keys): Lock | undefined {
    const same = JSON.stringify(keys);
    return [...this.#held].find((lock) => lock.owner === owner && JSON.stringify(lock.keys) === same && lock.reenter());
  }

  async #limited<T>(lock: Lock, worked: Promise<T>, timeoutMs: number): Promise<T> {
    let cancel = () => {};
    const timeout = new Promise<never>((_resolve, reject) => {
      cancel = this.#host.clock.setTimer(timeoutMs, () => {
        const error = new LockTimeoutError(`The work under the lock took more than ${timeoutMs} ms`);
        // Another hold on the same lock goes on.
        if (!lock.isShared) lock.abandon("timeout", error);
        reject(error);
      });
    });
    try {
      return await Promise.race([worked, timeout]);
    } finally {
      cancel();
    }
  }

  /** With `ensureTable`, makes the table that turns out to be missing. */
  async #withTable<T>(request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } catch (error) {
      if (!this.#options.ensureTable || !isTableMissing(error)) throw error;
      return withNewTable(this.#client, this.#host.clock, this.#layout, request, isTableMissing);
    }
  }

  get #clockSkewMs(): number {
    return this.#options.clockSkewMs ?? DEFAULTS.clockSkewMs;
  }

  #about({ key, owner, token, fencingToken, acquiredAt }: LockRecord) {
    return { key, owner, token, fencingToken, elapsedMs: this.#host.clock.now() - acquiredAt };
  }

  #storedKeys(key: LockKey | readonly LockKey[]): Keys {
    return toStoredKeys(key, this.#options.namespace);
  }

  /** @internal What the functions beside the client work with. */
  get internals(): LockInternals {
    const { store, clock, report, random } = this.#host;
    const { namespace, heartbeatMs, expiry } = this.#options;
    const forget = (key: string) => this.#forget(key);
    const settings = { namespace, heartbeatMs, expiry, clockSkewMs: this.#clockSkewMs };
    return { client: this.#client, store, clock, report, random, ...settings, forget };
  }
}

/** Whether it is one, and no imitation: a proxy around a client can't reach what is private to it. */
export const isLockClient = (value: unknown): value is LockClient => {
  try {
    return value instanceof LockClient && value.internals !== undefined;
  } catch {
    return false;
  }
};

/** Runs the work, and waits for what it began on the lock and didn't await: a commit that fails is a failure of the work. */
const workUnder = async <T>(lock: Lock, work: (lock: Lock) => Promise<T> | T): Promise<T> => {
  let result: T;
  try {
    result = await work(lock);
  } catch (error) {
    await lock.unawaited();
    throw error;
  }
  const { failure } = await lock.unawaited();
  if (failure) throw failure.error;
  return result;
};

/** The record as a reader would find it. */
const recordOf = ({ record, result }: Ending): LockRecord => ({
  ...record(),
  ...(result && { result: { value: fromStorable(result) } }),
});

/** What names and values of the table's own take in an item. */
const bytesOf = ({ keyAttribute, ttlAttribute, sortKey }: TableLayout): number =>
  Buffer.byteLength(`${keyAttribute}${ttlAttribute}${sortKey?.attribute ?? ""}${sortKey?.value ?? ""}`);

const isTableMissing = (error: unknown): boolean =>
  error instanceof Error && (error.name === "ResourceNotFoundException" || isTableMissing(error.cause));

/** How the key came to be ours, and whether that was at somebody's expense. */
const acquisitionType = ({ force, execution, clockSkewMs }: Wanted, before: LockRecord | undefined, now: number) => {
  if (!before) return "acquired";
  if (force && before.expiresAt > now - clockSkewMs) return "forced";
  const again = execution !== undefined && before.execution === execution;
  return before.status === "IN_PROGRESS" && !again ? "taken-over" : "acquired";
};
