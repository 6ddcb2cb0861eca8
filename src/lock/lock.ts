import { inspect, isDeepStrictEqual } from "node:util";
import { checkOptions, milliseconds, show } from "../common/check.ts";
import type { Clock } from "../common/clock.ts";
import { LockError, LockLostError, type LockLostReason, LockOptionsError, LockTableError } from "../common/errors.ts";
import { type AboutLock, callSafely, type KeptReason, type Reporter } from "../common/events.ts";
import type { Keys } from "../common/key.ts";
import type { LockRecord } from "../common/record.ts";
import { encodeData, type StorableResult } from "../common/result.ts";
import { isInDoubt } from "../dynamodb/aws-errors.ts";
import { type Commit, sendCommit } from "../dynamodb/commit.ts";
import type { HoldReply, Store } from "../dynamodb/store.ts";
import type { ConditionCheck, TransactWriteItem } from "../protocol/item.ts";
import { companionKey } from "../protocol/record.ts";
import { type Hold, MAX_SEMAPHORE_LEASE_MS, type Settlement } from "../protocol/requests.ts";
import { checkedItems } from "./commit-items.ts";
import { LeaseWatch, type LeaseWatchOptions } from "./heartbeat.ts";
import { Lease } from "./lease.ts";
import {
  type CommitOptions,
  commitChecks,
  type Finish,
  type FinishOptions,
  type FinishRequest,
  finishChecks,
  finishedRecord,
  fitsInRecord,
  type Held,
  type ReleaseOptions,
  releaseChecks,
  toFinish,
} from "./settlement.ts";
import { type Unawaited, UnderWay } from "./under-way.ts";
import { WriteQueue } from "./write-queue.ts";

/**
 * `held`: ours. `expired`: the lease is over, and nobody is known to have taken the key. `lost`: a write found another
 * token. `finished` and `released`: settled by this handle.
 */
export type LockHandleStatus = "held" | "expired" | "finished" | "released" | "lost";

/** @internal What a client knows of an acquisition that succeeded. */
export interface Holding extends LeaseWatchOptions, Held {
  readonly slot: number | undefined;
  readonly leaseMs: number;
  readonly expiresAt: number;
  /** Monotonic time from before the write was sent. */
  readonly startedAt: number;
  readonly previous: LockRecord | undefined;
  readonly data: unknown;
  /** The holder before left data which this version can't read. */
  readonly dataIsUnreadable: boolean;
  readonly onExpiring: ((lock: Lock) => void) | undefined;
  readonly onLost: ((lock: Lock, error: LockLostError) => void) | undefined;
}

/** @internal What a handle needs of its client. */
export interface LockHost {
  readonly store: Store;
  readonly clock: Clock;
  readonly report: Reporter;
  readonly random: () => number;
  settled(lock: Lock): void;
  readonly finished: ((ending: Ending) => void) | undefined;
}

/** @internal How a key is finished. */
export interface Ending {
  /** As written. */
  readonly settlement: Finish;
  /** The record that this leaves, without the response; `expiresAt` is not later than the stored one. */
  readonly record: () => LockRecord;
  /** The response, wherever it is stored. */
  readonly result: StorableResult | undefined;
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
  readonly #hold: Hold;
  readonly #holding: Holding;
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
  #told = false;
  /** The commit that may have applied: it, and no other, may be sent again. */
  #commit: Commit<Ending> | undefined;
  /** How many responses were put beside the record. */
  #companions = 0;

  /** @internal */
  constructor(holding: Holding, host: LockHost) {
    this.keys = holding.keys;
    this.owner = holding.owner;
    this.fencingToken = holding.fencingToken;
    this.acquiredAt = holding.acquiredAt;
    this.previous = holding.previous;
    this.#host = host;
    this.#hold = { token: holding.token, slot: holding.slot };
    this.#holding = holding;
    const { leaseMs, expiresAt, startedAt, onExpiring } = holding;
    this.#lease = new Lease(host.clock, { leaseMs, since: startedAt, expiresAt });
    this.#watch = new LeaseWatch(
      {
        clock: host.clock,
        remainingMs: () => this.remainingMs,
        renew: () => this.#renew(),
        expire: (reason) => this.#lose(reason),
        expiring: onExpiring && (() => callSafely("onExpiring", () => onExpiring(this))),
      },
      holding,
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
    if (!this.#holding.dataIsUnreadable) return this.#holding.data;
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
    return this.#hold.token;
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
    return Math.round(this.#host.clock.monotonic() - this.#holding.startedAt);
  }

  get status(): LockHandleStatus {
    if (this.#settled) return this.#settled;
    return this.#isOver ? "expired" : "held";
  }

  get #isOver(): boolean {
    return this.#abort.signal.aborted || this.remainingMs === 0;
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
      const complaint = milliseconds(1, this.#hold.slot === undefined ? undefined : MAX_SEMAPHORE_LEASE_MS)(ms);
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
      if (this.#hold.slot !== undefined) throw new LockOptionsError("finish: a semaphore can only be released");
      await this.#finish(toFinish(options, this.#holding.rememberMs));
    });
  }

  /**
   * @internal Finishes with a response, and gives what a repeat gets; nothing if it can't be stored.
   * Doesn't throw: the work succeeded, and the lock has reported what failed.
   */
  async finishWith(response: unknown): Promise<StorableResult | undefined> {
    const request = toFinish({ result: response }, this.#holding.rememberMs);
    const { result } = request.finish;
    return this.#finish(request).then(
      (ending) => (ending ? ending.result : result),
      () => result, // it may have been written
    );
  }

  /** Gives nothing if the key was finished before. */
  async #finish(request: FinishRequest): Promise<Ending | undefined> {
    let ending: Ending | undefined;
    await this.#untilSettled(() =>
      this.#writes.run(async () => {
        if (this.#settled === "finished") return;
        ending = await this.#prepare(request);
        this.#commit = undefined; // from here on, FINISHED doesn't say by which of them
        await this.#settle("finish", ending.settlement, ending);
      }),
    );
    return ending;
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
    return this.#call(() => this.#commitItems(items, options), { isVital: true });
  }

  async #commitItems(items: readonly TransactWriteItem[], options: CommitOptions): Promise<void> {
    checkOptions("commit", options, commitChecks);
    if (this.#hold.slot !== undefined) {
      throw new LockOptionsError(
        "commit: a semaphore is never finished: put condition() into a transaction of your own",
      );
    }
    if (this.#holding.execution !== undefined) {
      throw new LockOptionsError(
        "commit: a durable execution would end there when it is next resumed, with the steps after it left out: commit in a function of its own",
      );
    }
    const request = toFinish(options, this.#holding.rememberMs);
    const { clock, random, store } = this.#host;
    const conditions = this.keys.map((key) => store.condition(key, this.#hold));
    const own = checkedItems(items, conditions);
    const held = this.status === "held";
    const deadline = clock.monotonic() + this.remainingMs - Math.min(MAX_RESERVE_MS, this.#lease.leaseMs / 4);
    let commit: Commit<Ending> | undefined;
    // One write at a time, so that the lease is renewed between two attempts.
    const attempt = () =>
      this.#writes.run(async () => {
        commit ??= await this.#begin(own, request);
        await this.#attempt(commit);
      });
    await this.#untilSettled(async () => {
      try {
        await sendCommit({ clock, random }, attempt, () => deadline - clock.monotonic());
      } catch (error) {
        if (commit?.inDoubt && !this.#settled) this.#fail("commit", error, held);
        throw error;
      }
    });
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
    return this.#host.store.condition(key ?? this.key, this.#hold);
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
      await this.#untilSettled(() =>
        this.#writes.run(async () => {
          if (this.#settled === "finished" || this.#settled === "released") return;
          await this.#settle("release", { status: "RELEASED", data });
        }),
      );
    });
  }

  /**
   * Releases what is still held. Problems are reported as events and not thrown, so that they can't hide an error of the block. It
   * only throws the failure of a commit that nobody has awaited.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const { failure } = await this.unawaited();
    await this.release().catch(() => {}); // #settle has reported it
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
    if (this.#settling > 0 || this.#hold.slot !== undefined || this.status !== "held") return false;
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
    if (this.#settled !== "finished" && this.#settled !== "released")
      this.#host.report({ type: "kept", reason: kept, ...this.#about() });
    if (reason) this.#abort.abort(reason);
  }

  #call(work: () => Promise<void>, { isVital = false } = {}): Promise<void> {
    return this.#underWay.add(isVital, work());
  }

  async #untilSettled(work: () => Promise<void>): Promise<void> {
    this.#settling++;
    try {
      await work();
    } finally {
      this.#settling--;
    }
  }

  #renew(ms?: number): Promise<void> {
    const renew = async () => {
      if (this.#settled) throw new LockLostError(this.key, this.#lostReason);
      if (this.#isOver) throw this.#lose("expired");
      if (this.#commit?.inDoubt) throw inDoubt("renewal"); // which FINISHED would refuse, as if the key were lost
      const renewal = this.#lease.renewal(ms);
      const { store, report } = this.#host;
      const reply = await store.renew(this.keys, this.#hold, renewal).catch((error: unknown) => {
        this.#reportFailed("renew", error);
        throw error;
      });
      if (!reply.done) throw this.#lose(reply.reason, reply.key);
      // The reply came after the end of the lease that it was to prolong.
      if (this.#isOver) throw this.#lose("expired");
      this.#lease.take(renewal);
      this.#watch.renewed();
      report({ type: "renewed", expiresAt: this.expiresAt, ...this.#about() });
    };
    return this.#writes.run(renew, { isRenewal: true });
  }

  #checkOpen(): void {
    if (this.#settled) throw new LockLostError(this.key, this.#lostReason);
  }

  async #settle(operation: Exclude<Operation, "commit">, settlement: Settlement, ending?: Ending): Promise<void> {
    this.#checkOpen();
    const held = this.#unknown?.held ?? this.status === "held";
    this.#watch.stop();
    const reply = await this.#host.store.settle(this.keys, this.#hold, settlement).catch((error: unknown) => {
      this.#fail(operation, error, held);
      throw error;
    });
    this.#conclude(operation, reply, held, ending);
  }

  /** The commit to send: a new one, or again the one that is in doubt. */
  async #begin(items: readonly TransactWriteItem[], request: FinishRequest): Promise<Commit<Ending>> {
    const again = this.#commit && isDeepStrictEqual(this.#commit.items, items) ? this.#commit : undefined;
    if (!again) return { items, ending: await this.#prepare(request), inDoubt: false };
    again.input = undefined; // the time that the key is remembered begins anew
    return again;
  }

  /** In its turn: whatever was written since the attempt before has to be looked at. */
  async #attempt(commit: Commit<Ending>): Promise<void> {
    if (this.#settled === "finished" && this.#commit === commit) return; // a release has found that it had applied
    if (this.#commit !== commit && (this.#unknown || this.#commit?.inDoubt)) throw inDoubt("commit");
    if (commit.inDoubt && this.#settled && this.#settled !== "released") throw inDoubt("commit");
    this.#checkOpen();
    const held = this.#unknown?.held ?? this.status === "held";
    this.#commit = commit;
    try {
      const reply = await this.#host.store.commit(commit, this.keys, this.#hold);
      this.#conclude("commit", reply, held, commit.ending);
    } finally {
      if (!commit.inDoubt && !this.#settled) this.#commit = undefined; // certain: nothing was written
    }
  }

  /** From here on nobody may count on the lock, and nothing renews it: it was to be settled, and that may have applied. */
  #fail(operation: Operation, error: unknown, held: boolean): void {
    this.#reportFailed(operation, error);
    this.#watch.stop();
    if (operation === "commit" || isInDoubt(error)) this.#unknown ??= { operation, held };
    this.#abort.abort(new LockLostError(this.key, "unreachable"));
  }

  #conclude(operation: Operation, reply: HoldReply, held: boolean, ending: Ending | undefined): void {
    this.#watch.stop();
    this.#host.settled(this);
    const finishing = operation !== "release";
    // A release that was refused after an earlier attempt at it, within our lease: that one applied, and others came after.
    const releasing = this.#unknown ? this.#unknown.operation === "release" : !reply.done && reply.retried;
    const freedBefore = !reply.done && !finishing && held && releasing;
    if (!reply.done && !freedBefore) {
      const lost = this.#lose(reply.reason, reply.key);
      throw reply.inDoubt ? inDoubt("commit", lost) : lost;
    }
    this.#settled = reply.done && reply.status === "FINISHED" ? "finished" : "released";
    // An earlier release applied though its reply was lost: too late to finish.
    if (finishing && this.#settled === "released") throw new LockLostError(this.key, "released");
    this.#host.report(
      this.#settled === "released"
        ? { type: "released", ...this.#about() }
        : { type: "finished", responseStored: ending?.settlement.result !== undefined, ...this.#about() },
    );
    // What is recognised may be what an earlier attempt wrote, with another response.
    if (ending && reply.done && !reply.recognised) this.#host.finished?.(ending);
  }

  /** The response stays in the record while that costs nothing; a larger one goes beside it, before the record says so. */
  async #prepare({ finish, notStored }: FinishRequest): Promise<Ending> {
    this.#checkOpen();
    const { clock, store } = this.#host;
    const { result, ...rest } = finish;
    const record = () => finishedRecord(this.#holding, finish, this.#lease.leaseMs, begunAt);
    const begunAt = clock.now(); // not later than the write, so that a copy doesn't outlive the record
    if (notStored !== undefined) this.#reportNotStored(notStored);
    const json = result?.json;
    if (!result || json === undefined || fitsInRecord(json, this.#holding, finish)) {
      return { settlement: finish, record, result };
    }
    const companion = ++this.#companions;
    try {
      await store.storeResult(companionKey(this.key, this.token, companion), json, finish);
      return { settlement: { ...rest, result: { companion } }, record, result };
    } catch (error) {
      if (error instanceof LockError) this.#reportFailed("store result", error);
      this.#reportNotStored(error instanceof RangeError ? error.message : "it could not be written beside the record");
      return { settlement: rest, record, result: undefined };
    }
  }

  /**
   * By time, or with proof: the key that a write found in other hands. What is lost by time may still be finished, if
   * nobody took the key meanwhile; what is proven lost may not.
   */
  #lose(reason: LockLostReason, provenKey?: string): LockLostError {
    const error = new LockLostError(provenKey ?? this.key, reason);
    const known = this.#told || (this.#abort.signal.aborted && provenKey === undefined);
    this.#watch.stop();
    if (provenKey !== undefined) {
      this.#settled = "lost";
      this.#lostReason = reason;
      this.#host.settled(this);
    }
    if (known && provenKey === undefined) return error;
    this.#host.report({ type: "lost", reason, ...this.#about() });
    this.#abort.abort(error);
    this.#told = true;
    if (!known) callSafely("onLost", () => this.#holding.onLost?.(this, error));
    return error;
  }

  #reportFailed(operation: string, error: unknown): void {
    this.#host.report({ type: "failed", operation, error, ...this.#about() });
  }

  #reportNotStored(reason: string): void {
    this.#host.report({ type: "response-not-stored", reason, ...this.#about() });
  }

  #about(): AboutLock {
    const { key, owner, token, fencingToken, elapsedMs } = this;
    return { key, owner, token, fencingToken, elapsedMs };
  }
}

/** What settles a key. */
type Operation = "finish" | "commit" | "release";

/** What conflicts of a commit leave of the lease, for a release and the caller's answer. */
const MAX_RESERVE_MS = 500;

const inDoubt = (what: string, cause?: unknown) =>
  new LockError("LOCK_REQUEST", `${what}: it is not known whether an earlier finish, release or commit applied`, {
    cause,
  });

const toPlain = (item: ConditionCheck["Key"] = {}): Record<string, string | number> =>
  Object.fromEntries(Object.entries(item).map(([name, { S, N }]) => [name, S ?? Number(N)]));
