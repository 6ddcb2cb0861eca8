import { inspect, isDeepStrictEqual } from "node:util";
import { type Backoff, delayMs } from "../common/backoff.ts";
import { checkOptions, milliseconds, show } from "../common/check.ts";
import type { Clock } from "../common/clock.ts";
import { LockError, LockLostError, type LockLostReason, LockOptionsError, LockTableError } from "../common/errors.ts";
import { type AboutLock, callSafely, type KeptReason, type LockEvent, type Reporter } from "../common/events.ts";
import type { Keys } from "../common/key.ts";
import { type LockRecord, withoutTokens } from "../common/record.ts";
import { compress, encodeData, type StorableResult } from "../common/result.ts";
import { isInDoubt, isPassing, isTransient } from "../dynamodb/aws-errors.ts";
import {
  type Commit,
  type Holder,
  type HolderReply,
  sendCommit,
  sendEnding,
  sendRenewal,
  toConditionCheck,
} from "../dynamodb/holder.ts";
import type { Table } from "../dynamodb/table.ts";
import { companionKey } from "../protocol/fields.ts";
import type { ConditionCheck, TransactWriteItem } from "../protocol/item.ts";
import { type Ending, MAX_SEMAPHORE_LEASE_MS, type Proof, storeResponse } from "../protocol/writes.ts";
import type { Acquisition, Wanted } from "./acquire.ts";
import { checkedItems } from "./commit-items.ts";
import {
  type CommitOptions,
  commitChecks,
  type Finish,
  type FinishOptions,
  finishChecks,
  type ReleaseOptions,
  releaseChecks,
  toFinish,
} from "./ending.ts";
import { LeaseWatch, type LeaseWatchOptions } from "./heartbeat.ts";
import { Lease } from "./lease.ts";
import { type Unawaited, UnderWay } from "./under-way.ts";
import { WriteQueue } from "./write-queue.ts";

/**
 * `held`: ours. `expired`: the lease is over, and nobody is known to have taken the key. `lost`: a write found another
 * token. `finished` and `released`: settled by this handle.
 */
export type LockHandleStatus = "held" | "expired" | "finished" | "released" | "lost";

/** @internal How its holder watches a lock, and ends it. */
export interface HandleOptions extends LeaseWatchOptions {
  /** How long the key is remembered when it is finished, unless that says otherwise, in ms. */
  readonly rememberMs: number;
  /** JSON of the application's data, so that nobody who changes what he was given changes it. */
  readonly data: string | undefined;
  readonly onExpiring?: ((lock: Lock) => void) | undefined;
  readonly onLost?: ((lock: Lock, error: LockLostError) => void) | undefined;
}

/** @internal What a handle needs of its client. */
export interface LockHost {
  readonly table: Table;
  readonly clock: Clock;
  readonly report: Reporter;
  readonly random: () => number;
  settled(lock: Lock): void;
  /** Told of each key that was finished, with its response. `begunAt`, epoch ms, is not later than the write. */
  readonly finished?: ((finished: PreparedEnding) => void) | undefined;
}

/** @internal How a key is finished, as it is written, with the response wherever it is stored. */
export interface PreparedEnding {
  readonly ending: Ending;
  readonly response: StorableResult | undefined;
  readonly leaseMs: number;
  /** Epoch ms, not later than the write, so that a copy of the record doesn't outlive it. */
  readonly begunAt: number;
}

/** What settles a key. */
type Operation = "finish" | "commit" | "release";

type CommitUnderWay = Commit & { readonly prepared: PreparedEnding };

/** Names, numbers and status of an item, in bytes at most. */
const FIXED_BYTES = 200;
/** A write costs one unit per kB, also a refused one (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html). */
const WRITE_UNIT_BYTES = 1024;
/** The part of the lease that conflicts of a commit leave for a release and the caller's answer. */
const MAX_RESERVE_MS = 500;
/** How often a commit in doubt is sent again, each in the SDK's several attempts. */
const MAX_IN_DOUBT = 2;
const COMMIT_BACKOFF: Backoff = { minMs: 10, maxMs: 500 };

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
  /** Who took it, for people who read the table: in a Lambda the request id, unless the options say otherwise. Proves nothing. */
  readonly owner: string;
  /**
   * Strictly increasing per key: hand it to resources outside DynamoDB and let them refuse smaller ones
   * (https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html).
   */
  readonly fencingToken: number;
  /** Epoch ms. */
  readonly acquiredAt: number;
  /**
   * The record that was taken over, if its owner never finished: look here whether its work was half done.
   * Not known of several keys, nor if the reply to the acquisition was lost on the network. Its token can be read, but is not shown.
   */
  readonly previous: LockRecord | undefined;
  readonly #host: LockHost;
  readonly #wanted: Wanted;
  readonly #acquisition: Acquisition;
  readonly #options: HandleOptions;
  readonly #proof: Proof;
  readonly #data: unknown;
  readonly #abort = new AbortController();
  readonly #watch: LeaseWatch;
  readonly #lease: Lease;
  readonly #writes = new WriteQueue(this.#abort.signal);
  readonly #underWay = new UnderWay();
  #settled: "finished" | "released" | "lost" | undefined;
  #lostReason: LockLostReason = "released";
  #holds = 1;
  /** How many were asked to finish, commit or release: nobody may re-enter. */
  #settling = 0;
  /** The first write whose fate is unknown, and that may have settled the key: whether the lease was held when it was sent. */
  #unknown: { readonly operation: Operation; readonly held: boolean } | undefined;
  /** Whether the loss has been reported. */
  #isLossReported = false;
  /** The commit that may have applied: it, and no other, may be sent again. */
  #commit: CommitUnderWay | undefined;
  /** How many responses were put beside the record. */
  #companions = 0;

  /** @internal */
  constructor(host: LockHost, wanted: Wanted, acquisition: Acquisition, options: HandleOptions) {
    const { before, slot, leaseMs, startedAt, expiresAt } = acquisition;
    this.keys = wanted.keys;
    this.owner = wanted.owner;
    this.fencingToken = acquisition.fencingToken;
    this.acquiredAt = acquisition.acquiredAt;
    this.previous = before?.status === "IN_PROGRESS" ? withoutTokens(before) : undefined;
    this.#host = host;
    this.#wanted = wanted;
    this.#acquisition = acquisition;
    this.#options = options;
    this.#proof = { token: wanted.token, slot };
    this.#data = options.data === undefined ? undefined : JSON.parse(options.data);
    this.#lease = new Lease(host.clock, { leaseMs, since: startedAt, expiresAt });
    const { onExpiring } = options;
    this.#watch = new LeaseWatch(
      {
        clock: host.clock,
        remainingMs: () => this.remainingMs,
        renew: () => this.#renew(),
        expire: (reason) => this.#lose(reason),
        expiring: onExpiring && (() => callSafely("onExpiring", () => onExpiring(this))),
      },
      options,
    );
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
    const { left } = this.#acquisition;
    if (this.#data !== undefined || !left?.unreadable?.includes("data")) return this.#data;
    throw new LockTableError(
      `The data that the holder before left with key ${JSON.stringify(this.key)} can't be read: it is not JSON, or a newer version of this package wrote it. ` +
        "It is kept until data is given to acquire, finish or release",
    );
  }

  /**
   * Random id of this acquisition: the proof of ownership that every later write carries. It can be read, but is not shown where
   * the lock is printed.
   */
  get token(): string {
    return this.#proof.token;
  }

  /** End of the lease, epoch ms. */
  get expiresAt(): number {
    return this.#lease.expiresAt;
  }

  /** Until the lease ends, in ms, never negative; by the wall or the monotonic clock, whichever is first: a freeze may stop either. */
  get remainingMs(): number {
    return this.#lease.remainingMs;
  }

  /** Since the acquisition began, in ms. */
  get elapsedMs(): number {
    return Math.round(this.#host.clock.monotonic() - this.#acquisition.startedAt);
  }

  get status(): LockHandleStatus {
    return this.#settled ?? (this.#isOver ? "expired" : "held");
  }

  get #isOver(): boolean {
    return this.signal.aborted || this.remainingMs === 0;
  }

  /** Aborted when the lock is lost or its lease over: `signal.reason` is then a `LockLostError`. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /**
   * Prolongs the lease to `ms` from now. Nothing shortens a lease: if more than `ms` are left, they stay.
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
      const complaint = milliseconds(1, this.#wanted.semaphore && MAX_SEMAPHORE_LEASE_MS)(ms);
      if (complaint) throw new LockOptionsError(`extend: ms ${complaint}, got ${show(ms)}`);
      await this.#renew(ms);
    });
  }

  /**
   * Marks the key finished: repeats are refused, and get the stored response, until `rememberMs` have passed. Works
   * after the lease is over too, as long as nobody has taken the key. A second call does nothing.
   *
   * @throws LockLostError if another run has taken the key over: nothing was written.
   * @throws LockError if DynamoDB could not be reached: call it again.
   */
  finish(options: FinishOptions = {}): Promise<void> {
    return this.#call(async () => {
      checkOptions("finish", options, finishChecks);
      this.#refuseSemaphore("finish", "can only be released");
      await this.#finish(toFinish(options, this.#options.rememberMs));
    });
  }

  /**
   * @internal Finishes with a response, and gives what a repeat gets; `undefined` if it can't be stored.
   * Doesn't throw: the work succeeded, and the lock has reported what failed.
   */
  async finishWith(result: unknown): Promise<StorableResult | undefined> {
    const finish = toFinish({ result }, this.#options.rememberMs);
    return this.#finish(finish).then(
      (prepared) => (prepared ?? finish).response,
      () => finish.response, // it may have been written
    );
  }

  /** `undefined` if the key was finished before. */
  async #finish(finish: Finish): Promise<PreparedEnding | undefined> {
    let prepared: PreparedEnding | undefined;
    await this.#settle(async () => {
      if (this.#settled === "finished") return;
      prepared = await this.#prepare(finish);
      this.#commit = undefined; // from here on, FINISHED doesn't say by which of them
      await this.#end("finish", prepared.ending, prepared);
    });
    return prepared;
  }

  /**
   * Writes `items` and marks the key finished, in one transaction: all or nothing, and only if nobody has taken the key over,
   * however late it comes. So the effect of a run happens exactly once. Of several keys all are finished. Conflicts with
   * other transactions are waited for within the lease.
   *
   * @param items Puts, updates, deletes and condition checks on tables of the same account and region, as
   * `TransactWriteItems` takes them, with values in the form of `@aws-sdk/client-dynamodb`: at most 100 less the number of keys,
   * at most 4 MB in all
   * (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html).
   *
   * @example
   * const response = { statusCode: 201 };
   * await lock.commit([{ Put: { TableName: "orders", Item: { id: { S: orderId } } } }], { result: response });
   * return response;
   *
   * @throws LockLostError if another run has taken the key over: nothing was written.
   * @throws TransactionCanceledException as DynamoDB sent it, if one of your conditions failed: nothing was written, the
   * lock is still held, and `CancellationReasons` are in the order of your items, with those of the lock after them.
   * @throws LockError with code LOCK_REQUEST if it is not known whether it was written: commit the same items again, or
   * let it be: a release makes sure that it never will be. Other errors of DynamoDB come as they are, with the item that they are
   * about added to their message where it is known; nothing was written.
   * @throws LockOptionsError for what is no item, or would not be written as it stands there, for a semaphore, and in a durable
   * execution: nothing was sent.
   */
  commit(items: readonly TransactWriteItem[], options: CommitOptions = {}): Promise<void> {
    return this.#call(async () => {
      checkOptions("commit", options, commitChecks);
      this.#refuseSemaphore("commit", "is never finished: put condition() into a transaction of your own");
      if (this.#wanted.execution !== undefined) {
        throw new LockOptionsError(
          "commit: a durable execution would end there when it is next resumed, with the steps after it left out: commit in a function of its own",
        );
      }
      const finish = toFinish(options, this.#options.rememberMs);
      const conditions = this.keys.map((key) => toConditionCheck(this.#host.table, key, this.#proof));
      await this.#sendCommit(checkedItems(items, conditions), finish);
    }, true);
  }

  /**
   * Sends a commit until its fate is known. What passes (conflicts with other transactions, throttling) is waited for as
   * long as the lease lasts; what is in doubt is asked again with the same request. One write at a time, so that the
   * lease is renewed between two attempts.
   */
  async #sendCommit(items: readonly TransactWriteItem[], finish: Finish): Promise<void> {
    const { clock, random } = this.#host;
    const held = this.status === "held";
    const deadline = clock.monotonic() + this.remainingMs - Math.min(MAX_RESERVE_MS, this.#lease.leaseMs / 4);
    let commit: CommitUnderWay | undefined;
    const attempt = async () => {
      commit ??= await this.#begin(items, finish);
      await this.#attempt(commit);
    };
    this.#settling++;
    try {
      for (let attempts = 0, doubts = 0; ; attempts++) {
        try {
          return await this.#writes.run(attempt);
        } catch (error) {
          const pauseMs = delayMs(attempts, COMMIT_BACKOFF, random);
          const isPassingNow = isPassing(error instanceof LockError ? error.cause : error);
          const again = isPassingNow || (isTransient(error) && doubts++ < MAX_IN_DOUBT);
          if (!again || deadline - clock.monotonic() <= pauseMs) throw error;
          await clock.sleep(pauseMs);
        }
      }
    } catch (error) {
      if (commit?.inDoubt && !this.#settled) this.#fail("commit", error, held);
      throw error;
    } finally {
      this.#settling--;
    }
  }

  /** The commit to send: a new one, or again the one that is in doubt. */
  async #begin(items: readonly TransactWriteItem[], finish: Finish): Promise<CommitUnderWay> {
    const again = this.#commit && isDeepStrictEqual(this.#commit.items, items) ? this.#commit : undefined;
    if (again) {
      again.input = undefined; // the time that the key is remembered begins anew
      return again;
    }
    const prepared = await this.#prepare(finish);
    return { items, ending: prepared.ending, prepared, inDoubt: false };
  }

  /** In its turn: whatever was written since the attempt before has to be looked at. */
  async #attempt(commit: CommitUnderWay): Promise<void> {
    if (this.#settled === "finished" && this.#commit === commit) return; // a release has found that it had applied
    if (this.#commit !== commit && (this.#unknown || this.#commit?.inDoubt)) throw inDoubt("commit");
    if (commit.inDoubt && this.#settled && this.#settled !== "released") throw inDoubt("commit");
    this.#checkOpen();
    const held = this.#unknown?.held ?? this.status === "held";
    this.#commit = commit;
    try {
      const reply = await sendCommit(this.#holder, commit);
      this.#conclude("commit", reply, held, commit.prepared);
    } finally {
      if (!commit.inDoubt && !this.#settled) this.#commit = undefined; // certain: nothing was written
    }
  }

  /**
   * That the lock is still held, as part of a `TransactWriteItems` of your own: if another run has taken the key over, the
   * transaction is cancelled. The lock itself stays held. Of several keys, name one of `keys`, and check each.
   *
   * @example
   * await client.send(new TransactWriteItemsCommand({ TransactItems: [{ ConditionCheck: lock.condition() }, ...items] }));
   */
  condition(key?: string): ConditionCheck {
    if (key === undefined ? this.keys.length > 1 : !this.keys.includes(key)) {
      throw new LockOptionsError(`condition: key must be one of ${JSON.stringify(this.keys)}, got ${show(key)}`);
    }
    return toConditionCheck(this.#host.table, key ?? this.key, this.#proof);
  }

  /** `condition` in the shape of `@aws-sdk/lib-dynamodb`, for its `TransactWriteCommand`. */
  documentCondition(key?: string) {
    const { Key, ExpressionAttributeValues, ...rest } = this.condition(key);
    return { ...rest, Key: toPlain(Key), ExpressionAttributeValues: toPlain(ExpressionAttributeValues) };
  }

  /**
   * Frees the key, or gives back one of several holds (`reentrant`). Does nothing if the handle has finished or released
   * it already.
   *
   * @throws LockLostError if another run has taken the key over: nothing was written.
   * @throws LockError if DynamoDB could not be reached: call it again, or let the lease end.
   */
  release(options: ReleaseOptions = {}): Promise<void> {
    return this.#call(async () => {
      checkOptions("release", options, releaseChecks);
      const data = encodeData(options.data);
      if (this.#holds > 1) {
        this.#holds--;
        return;
      }
      await this.#settle(async () => {
        if (this.#settled === "finished" || this.#settled === "released") return;
        await this.#end("release", { status: "RELEASED", data });
      });
    });
  }

  /**
   * Releases what is still held. Problems are reported as events and not thrown, so that they can't hide an error of the block. It
   * only throws the failure of a commit that nobody has awaited.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const { failure } = await this.unawaited();
    await this.release().catch(() => {}); // #end has reported it
    if (failure) throw failure.error;
  }

  /** The form in which JSON and logs show the lock: without the token, which proves ownership, and without data. */
  toJSON() {
    const { keys, owner, fencingToken, acquiredAt, expiresAt, status } = this;
    return { keys, owner, fencingToken, acquiredAt, expiresAt, status };
  }

  /** @internal As `toJSON`, for `console.log`. */
  [inspect.custom](_depth: number, options: object): string {
    return `Lock ${inspect(this.toJSON(), options)}`;
  }

  /**
   * @internal Waits, at most `ms`, for what was begun on the lock and not awaited. The failure of a commit is the work's, which goes
   * on as if its effects had happened. What else fails has been reported.
   */
  unawaited(ms = Number.POSITIVE_INFINITY): Promise<Unawaited> {
    return this.#underWay.settled(this.#host.clock, ms);
  }

  /** @internal However often it is held. */
  releaseAll(): Promise<void> {
    this.#holds = 1;
    return this.release();
  }

  /** @internal One more hold for the same owner; false if the lock is not held any more, or about to end. */
  reenter(): boolean {
    if (this.#settling > 0 || this.#wanted.semaphore || this.status !== "held") return false;
    this.#holds++;
    return true;
  }

  /** @internal Whether somebody else holds it through this handle. */
  get isShared(): boolean {
    return this.#holds > 1;
  }

  /** @internal Leaves the key to its lease, because its work may still be running: `reason` aborts the signal. */
  abandon(kept: KeptReason, reason?: Error): void {
    this.#watch.stop();
    this.#host.settled(this);
    if (this.#settled !== "finished" && this.#settled !== "released") this.#report({ type: "kept", reason: kept });
    if (reason) this.#abort.abort(reason);
  }

  /** `isVital`: must not fail unheard. */
  #call(work: () => Promise<void>, isVital = false): Promise<void> {
    return this.#underWay.add(isVital, work());
  }

  get #holder(): Holder {
    const { table, clock } = this.#host;
    return { table, keys: this.keys, proof: this.#proof, now: clock.now() };
  }

  #refuseSemaphore(operation: string, why: string): void {
    if (this.#wanted.semaphore) throw new LockOptionsError(`${operation}: a semaphore ${why}`);
  }

  #checkOpen(): void {
    if (this.#settled) throw new LockLostError(this.key, this.#lostReason);
  }

  #renew(ms?: number): Promise<void> {
    const renew = async () => {
      this.#checkOpen();
      if (this.#isOver) throw this.#lose("expired");
      if (this.#commit?.inDoubt) throw inDoubt("renewal"); // which FINISHED would refuse, as if the key were lost
      const renewal = this.#lease.renewal(ms);
      const reply = await sendRenewal(this.#holder, renewal).catch((error: unknown) => {
        this.#reportFailed("renew", error);
        throw error;
      });
      if (!reply.done) throw this.#lose(reply.reason, reply.key);
      // The reply came after the end of the lease that it was to prolong.
      if (this.#isOver) throw this.#lose("expired");
      this.#lease.take(renewal);
      this.#watch.renewed();
      this.#report({ type: "renewed", expiresAt: this.expiresAt });
    };
    return this.#writes.run(renew, { isRenewal: true });
  }

  async #settle(work: () => Promise<void>): Promise<void> {
    this.#settling++;
    try {
      await this.#writes.run(work);
    } finally {
      this.#settling--;
    }
  }

  async #end(operation: "finish" | "release", ending: Ending, prepared?: PreparedEnding): Promise<void> {
    this.#checkOpen();
    const held = this.#unknown?.held ?? this.status === "held";
    this.#watch.stop();
    const reply = await sendEnding(this.#holder, ending).catch((error: unknown) => {
      this.#fail(operation, error, held);
      throw error;
    });
    this.#conclude(operation, reply, held, prepared);
  }

  /** From here on nobody may count on the lock, and nothing renews it: it was to be settled, and that may have applied. */
  #fail(operation: Operation, error: unknown, held: boolean): void {
    this.#reportFailed(operation, error);
    this.#watch.stop();
    if (operation === "commit" || isInDoubt(error)) this.#unknown ??= { operation, held };
    this.#abort.abort(new LockLostError(this.key, "unreachable"));
  }

  #conclude(operation: Operation, reply: HolderReply, held: boolean, prepared: PreparedEnding | undefined): void {
    this.#watch.stop();
    this.#host.settled(this);
    const finishing = operation !== "release";
    // A release that was refused after an earlier attempt at it, within our lease: that one applied, and others came after.
    const releasing = this.#unknown ? this.#unknown.operation === "release" : !reply.done && reply.retried;
    if (!reply.done && (finishing || !held || !releasing)) {
      const lost = this.#lose(reply.reason, reply.key);
      throw reply.inDoubt ? inDoubt("commit", lost) : lost;
    }
    this.#settled = reply.done && reply.status === "FINISHED" ? "finished" : "released";
    // An earlier release applied though its reply was lost: too late to finish.
    if (finishing && this.#settled === "released") throw new LockLostError(this.key, "released");
    this.#report(
      this.#settled === "released"
        ? { type: "released" }
        : { type: "finished", responseStored: prepared?.ending.result !== undefined },
    );
    // What is recognised may be what an earlier attempt wrote, with another response.
    if (prepared && reply.done && !reply.recognised) this.#host.finished?.(prepared);
  }

  /** The response stays in the record while that costs nothing; a larger one goes beside it, before the record says so. */
  async #prepare({ ending, response, notStored }: Finish): Promise<PreparedEnding> {
    this.#checkOpen();
    const { clock, table } = this.#host;
    const prepared = { leaseMs: this.#lease.leaseMs, begunAt: clock.now() };
    const notStoredBecause = (reason: string) => {
      this.#report({ type: "response-not-stored", reason });
      return { ...prepared, ending, response: undefined };
    };
    if (notStored !== undefined) return notStoredBecause(notStored);
    const { json } = response ?? {};
    if (json === undefined || this.#fits(json, ending)) {
      return { ...prepared, ending: response ? { ...ending, result: json ?? null } : ending, response };
    }
    const companion = ++this.#companions;
    try {
      const body = await compress(json);
      const key = companionKey(this.key, this.token, companion);
      await table.write([storeResponse(key, body, ending.rememberMs as number, clock.now())]);
      return { ...prepared, ending: { ...ending, result: companion }, response };
    } catch (error) {
      if (error instanceof LockError) this.#reportFailed("store result", error);
      return notStoredBecause(
        error instanceof RangeError ? error.message : "it could not be written beside the record",
      );
    }
  }

  /**
   * Whether a response can stand in the record without costing a write unit more, by the bytes that an item takes
   * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html).
   */
  #fits(json: string, { data = this.#options.data, failure, finalStatus }: Ending): boolean {
    const { keyList, owner, token, execution, fingerprint } = this.#wanted;
    const { keyAttribute, ttlAttribute, sortKey } = this.#host.table.layout;
    const texts = [this.key, keyList, owner, token, execution, fingerprint, data, failure, finalStatus];
    const names = [keyAttribute, ttlAttribute, sortKey?.attribute, sortKey?.value];
    const bytes = FIXED_BYTES + Buffer.byteLength([...texts, ...names].join(""));
    const units = (size: number) => Math.ceil(size / WRITE_UNIT_BYTES);
    return units(bytes + Buffer.byteLength(json)) === units(bytes);
  }

  /**
   * By time, or with proof: the key that a write found in other hands. What is lost by time may still be finished, if
   * nobody took the key meanwhile; what is proven lost may not.
   */
  #lose(reason: LockLostReason, provenKey?: string): LockLostError {
    const error = new LockLostError(provenKey ?? this.key, reason);
    const known = this.#isLossReported || (this.signal.aborted && provenKey === undefined);
    this.#watch.stop();
    if (provenKey !== undefined) {
      this.#settled = "lost";
      this.#lostReason = reason;
      this.#host.settled(this);
    }
    if (known && provenKey === undefined) return error;
    this.#report({ type: "lost", reason });
    this.#abort.abort(error);
    this.#isLossReported = true;
    if (!known) callSafely("onLost", () => this.#options.onLost?.(this, error));
    return error;
  }

  #reportFailed(operation: string, error: unknown): void {
    this.#report({ type: "failed", operation, error });
  }

  #report(event: Pick<LockEvent, "type"> & Record<string, unknown>): void {
    const { key, owner, token, fencingToken, elapsedMs } = this;
    const about: AboutLock = { key, owner, token, fencingToken, elapsedMs };
    this.#host.report({ ...event, ...about } as LockEvent);
  }
}

const inDoubt = (what: string, cause?: unknown) =>
  new LockError("LOCK_REQUEST", `${what}: it is not known whether an earlier finish, release or commit applied`, {
    cause,
  });

const toPlain = (item: ConditionCheck["Key"] = {}): Record<string, string | number> =>
  Object.fromEntries(Object.entries(item).map(([name, { S, N }]) => [name, S ?? Number(N)]));
