import { randomUUID } from "node:crypto";
import type { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { checkOptions, forbidTogether } from "./check.ts";
import { systemClock } from "./clock.ts";
import { createClient } from "./dynamodb-client.ts";
import { LockError, LockHeldError, LockOptionsError, ReplayedError } from "./errors.ts";
import { createReporter } from "./events.ts";
import { type LockKey, toStoredKey } from "./key.ts";
import { Lock, type LockHost } from "./lock.ts";
import {
  type AcquireOptions,
  acquireChecks,
  clientChecks,
  DEFAULTS,
  type LockClientOptions,
  type OnceOptions,
  onceChecks,
} from "./options.ts";
import type { LockRecord } from "./record.ts";
import type { Claim, TableLayout } from "./requests.ts";
import { DynamoStore, type Store } from "./store.ts";

/** @internal */
export type Attempt = Lock | LockRecord;

/**
 * Locks on a DynamoDB table, for any Node.js program.
 *
 * @example
 * const locks = new LockClient({ tableName: "dynamo-locks" });
 * const report = await locks.once("report-2026-11-21", () => makeReport()); // a repeat gets the first report
 */
export class LockClient {
  readonly #host: LockHost;
  readonly #defaults: { owner: string; leaseMs: number; clockSkewMs: number; namespace: string | undefined };
  readonly #held = new Set<Lock>();
  readonly #ownClient: DynamoDBClient | undefined;
  #closed = false;

  /** @throws LockOptionsError */
  constructor(options: LockClientOptions = {}, /** @internal */ store?: Store) {
    checkOptions("LockClient", options, clientChecks);
    forbidTogether("LockClient", options, "client", ["clientConfig"], "a client has its configuration already");
    const layout: TableLayout = {
      tableName: options.tableName ?? (process.env.DYNAMO_LOCK_TABLE || DEFAULTS.tableName),
      keyAttribute: options.keyAttribute ?? DEFAULTS.keyAttribute,
      ttlAttribute: options.ttlAttribute ?? DEFAULTS.ttlAttribute,
      sortKey: options.sortKey,
      retentionMs: options.retentionMs ?? DEFAULTS.retentionMs,
    };
    const attributes = [layout.keyAttribute, layout.ttlAttribute, layout.sortKey?.attribute];
    if (new Set(attributes).size < attributes.length) {
      throw new LockOptionsError("LockClient: keyAttribute, ttlAttribute and sortKey must have different names");
    }
    const clock = options.clock ?? systemClock;
    if (!options.client && !store) this.#ownClient = createClient(options.clientConfig);
    this.#host = {
      store: store ?? new DynamoStore(options.client ?? (this.#ownClient as DynamoDBClient), layout, clock),
      clock,
      report: createReporter(options),
      rememberMs: options.rememberMs ?? DEFAULTS.rememberMs,
      settled: (lock) => this.#held.delete(lock),
    };
    this.#defaults = {
      owner: options.owner ?? randomUUID(),
      leaseMs: options.leaseMs ?? DEFAULTS.leaseMs,
      clockSkewMs: options.clockSkewMs ?? DEFAULTS.clockSkewMs,
      namespace: options.namespace,
    };
  }

  /**
   * Takes the key if it is free: one request. `undefined` when it is held or finished.
   *
   * @throws LockKeyError, LockOptionsError, LockTableError, LockError
   */
  async tryAcquire(key: LockKey, options: AcquireOptions = {}): Promise<Lock | undefined> {
    checkOptions("tryAcquire", options, acquireChecks);
    const attempt = await this.attempt(this.#storedKey(key), options);
    if (attempt instanceof Lock) return attempt;
    this.reportHeld(attempt);
    return undefined;
  }

  /**
   * Takes the key, or throws `LockHeldError`, which carries the holder's record.
   *
   * @throws LockHeldError, LockKeyError, LockOptionsError, LockTableError, LockError
   */
  async acquire(key: LockKey, options: AcquireOptions = {}): Promise<Lock> {
    checkOptions("acquire", options, acquireChecks);
    const attempt = await this.attempt(this.#storedKey(key), options);
    if (attempt instanceof Lock) return attempt;
    this.reportHeld(attempt);
    throw new LockHeldError(attempt);
  }

  /**
   * Runs `work` at most once at a time per key: acquires, runs, releases. What `work` throws is thrown on; a failing
   * release is reported as an event.
   *
   * @throws LockHeldError and what `acquire` throws
   */
  async run<T>(key: LockKey, work: (lock: Lock) => Promise<T> | T, options: AcquireOptions = {}): Promise<T> {
    const lock = await this.acquire(key, options);
    try {
      return await work(lock);
    } finally {
      await lock[Symbol.asyncDispose]();
    }
  }

  /**
   * Runs `work` once per key within `rememberMs`: a repeat gets what the first run returned (`undefined` if that could
   * not be stored). If `work` throws, the key is released, so that a retry can run.
   *
   * @throws LockHeldError while another run is at it, and what `acquire` throws
   */
  async once<T>(key: LockKey, work: (lock: Lock) => Promise<T> | T, options: OnceOptions = {}): Promise<T> {
    checkOptions("once", options, onceChecks);
    const { storeResult = true, rememberMs, ...acquireOptions } = options;
    const attempt = await this.attempt(this.#storedKey(key), acquireOptions);
    if (!(attempt instanceof Lock)) {
      if (attempt.status === "FINISHED") return this.replay(attempt) as T;
      this.reportHeld(attempt);
      throw new LockHeldError(attempt);
    }
    let result: T;
    try {
      result = await work(attempt);
    } catch (error) {
      await attempt[Symbol.asyncDispose]();
      throw error;
    }
    await attempt
      .finish({ ...(storeResult && { result }), ...(rememberMs !== undefined && { rememberMs }) })
      .catch(() => {}); // the work succeeded; the lock has reported the loss or the failure
    return result;
  }

  /** The record of a key as it is now (strongly consistent), or `undefined`. */
  async get(key: LockKey): Promise<LockRecord | undefined> {
    return this.#host.store.read(this.#storedKey(key));
  }

  /**
   * Releases every lock of this client that is still held, and destroys the DynamoDB client if it was made here. One
   * failing release doesn't stop the rest. Afterwards nothing can be acquired.
   *
   * @throws AggregateError of the releases that failed
   */
  async close(): Promise<void> {
    this.#closed = true;
    const outcomes = await Promise.allSettled([...this.#held].map((lock) => lock.release()));
    this.#ownClient?.destroy();
    const errors = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
    if (errors.length > 0)
      throw new AggregateError(errors, `${errors.length} of ${outcomes.length} locks not released`);
  }

  /** @internal One conditional write: the lock, or the record that refused it. `key` is as stored. */
  async attempt(key: string, options: AcquireOptions & Pick<Claim, "reenter"> = {}): Promise<Attempt> {
    if (this.#closed) throw new LockError("LOCK_CLOSED", "LockClient is closed: acquire from a new one");
    const { clock, report, store } = this.#host;
    const startedAt = clock.monotonic(); // before the write: our lease must not seem longer to us than to others
    const claim: Claim = {
      key,
      token: randomUUID(),
      owner: options.owner ?? this.#defaults.owner,
      leaseMs: options.leaseMs ?? this.#defaults.leaseMs,
      clockSkewMs: this.#defaults.clockSkewMs,
      ...(options.reenter && { reenter: true }),
    };
    const reply = await store.acquire(claim);
    if (!reply.acquired) return reply.record;
    const { fencingToken, acquiredAt, previous } = reply;
    const lock = new Lock({ ...claim, fencingToken, acquiredAt, startedAt, previous }, this.#host);
    this.#held.add(lock);
    const { owner, token, elapsedMs, expiresAt } = lock;
    const about = { key, owner, token, fencingToken, elapsedMs, expiresAt };
    report(
      previous && !(claim.reenter && previous.owner === owner)
        ? { type: "taken-over", previousOwner: previous.owner, ...about }
        : { type: "acquired", ...about },
    );
    return lock;
  }

  /** @internal */
  reportHeld(record: LockRecord): void {
    const { status, expiresAt } = record;
    this.#host.report({ type: "held", status, expiresAt, ...this.#about(record) });
  }

  /** @internal The stored response of a finished record; throws `ReplayedError` if the run failed for good. */
  replay(record: LockRecord): unknown {
    const responseStored = record.result !== undefined;
    this.#host.report({ type: "replayed", responseStored, ...this.#about(record) });
    if (record.failure) throw new ReplayedError(record.failure);
    return record.result?.value;
  }

  #about({ key, owner, token, fencingToken, acquiredAt }: LockRecord) {
    return { key, owner, token, fencingToken, elapsedMs: this.#host.clock.now() - acquiredAt };
  }

  #storedKey(key: LockKey): string {
    return toStoredKey(key, this.#defaults.namespace);
  }
}
