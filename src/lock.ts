import { anything, type Check, checkOptions, milliseconds, text } from "./check.ts";
import type { Clock } from "./clock.ts";
import { LockLostError, type LockLostReason, LockOptionsError } from "./errors.ts";
import { type AboutLock, callSafely, type KeptReason, type LockEventListener } from "./events.ts";
import { LeaseWatch, type LeaseWatchOptions } from "./heartbeat.ts";
import type { Keys } from "./key.ts";
import type { EncodedResult, LockRecord } from "./record.ts";
import type { Hold, Settlement } from "./requests.ts";
import { encodeData, toFailure, toStorable } from "./result.ts";
import type { Store } from "./store.ts";

export interface ReleaseOptions {
  /** Replaces the data stored with the lock: any JSON value. Left out: it stays, for the next holder. */
  readonly data?: unknown;
}

export interface FinishOptions extends ReleaseOptions {
  /** The response that repeats get. Left out: none is stored. `undefined` is stored as such. */
  readonly result?: unknown;
  /** A status of the application's own, such as `"shipped"`, for who reads the record. At most 100 characters. */
  readonly status?: string;
  /** Remember a final failure instead: repeats throw a `ReplayedError` with its name, message and status code. */
  readonly error?: unknown;
  /**
   * How long repeats are blocked, in ms.
   * @default 3_600_000, or the client's
   */
  readonly rememberMs?: number;
}

/**
 * `held`: ours. `expired`: the lease is over, and nobody is known to have taken the key. `lost`: a write found another
 * token. `finished` and `released`: settled by this handle.
 */
export type LockHandleStatus = "held" | "expired" | "finished" | "released" | "lost";

/** @internal What a client knows of an acquisition that succeeded. */
export interface Holding extends LeaseWatchOptions {
  readonly keys: Keys;
  readonly owner: string;
  readonly token: string;
  readonly slot: number | undefined;
  readonly fencingToken: number;
  readonly acquiredAt: number;
  readonly expiresAt: number;
  /** Monotonic time from before the write was sent. */
  readonly startedAt: number;
  readonly previous: LockRecord | undefined;
  readonly data: unknown;
  readonly onExpiring: ((lock: Lock) => void) | undefined;
  readonly onLost: ((lock: Lock, error: LockLostError) => void) | undefined;
}

/** @internal What a handle needs of its client. */
export interface LockHost {
  readonly store: Store;
  readonly clock: Clock;
  readonly report: LockEventListener;
  readonly rememberMs: number;
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
  readonly owner: string;
  /** Random id of this acquisition: the proof of ownership that every later write carries. */
  readonly token: string;
  /**
   * Strictly increasing per key: hand it to resources outside DynamoDB and let them refuse smaller ones
   * (https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html).
   */
  readonly fencingToken: number;
  /** Epoch ms. */
  readonly acquiredAt: number;
  /**
   * The record that was taken over, if its owner never finished: look here whether its work was half done.
   * Not known of several keys, nor if the reply to the acquisition was lost on the network.
   */
  readonly previous: LockRecord | undefined;
  /** The application's data: what was given to `acquire`, or else what the holder before left. */
  readonly data: unknown;

  readonly #host: LockHost;
  readonly #hold: Hold;
  readonly #onLost: Holding["onLost"];
  readonly #abort = new AbortController();
  readonly #startedAt: number;
  readonly #watch: LeaseWatch;
  /** The lease as this holder counts it: from before the write that began or prolonged it, on both clocks. */
  #lease: { readonly ms: number; readonly since: number; readonly expiresAt: number };
  #settled: "finished" | "released" | "lost" | undefined;
  #lostReason: LockLostReason = "released";
  #inFlight: { readonly settled: Promise<void>; readonly isRenewal: boolean } | undefined;
  #holds = 1;
  /** A finish or release was asked for: nobody may re-enter. */
  #settling = false;
  /** A finish or release whose fate is unknown: whether the lease was held when it was sent. */
  #unknown: { readonly held: boolean } | undefined;
  /** First and last end of the lease that the record may have: they differ after a renewal whose fate is unknown. */
  #ends: readonly number[];

  /** @internal */
  constructor(holding: Holding, host: LockHost) {
    this.keys = holding.keys;
    this.owner = holding.owner;
    this.token = holding.token;
    this.fencingToken = holding.fencingToken;
    this.acquiredAt = holding.acquiredAt;
    this.previous = holding.previous;
    this.data = holding.data;
    this.#host = host;
    this.#hold = { token: holding.token, slot: holding.slot };
    this.#onLost = holding.onLost;
    this.#startedAt = holding.startedAt;
    const { acquiredAt, expiresAt, startedAt, onExpiring } = holding;
    this.#lease = { ms: expiresAt - acquiredAt, since: startedAt, expiresAt };
    this.#ends = [expiresAt];
    this.#watch = new LeaseWatch(
      {
        clock: host.clock,
        remainingMs: () => this.remainingMs,
        renew: () => this.#renew(this.#lease.ms),
        expire: (reason) => this.#lose(reason),
        expiring: onExpiring && (() => callSafely(() => onExpiring(this))),
      },
      holding,
    );
  }

  /** The key with its namespace, as stored; of several keys, the first. */
  get key(): string {
    return this.keys[0];
  }

  /** End of the lease, epoch ms. */
  get expiresAt(): number {
    return this.#lease.expiresAt;
  }

  /** Until the lease ends, in ms, never negative; by the wall or the monotonic clock, whichever is first: a freeze may stop either. */
  get remainingMs(): number {
    const { ms, since, expiresAt } = this.#lease;
    const { clock } = this.#host;
    return Math.max(0, Math.floor(Math.min(expiresAt - clock.now(), ms - (clock.monotonic() - since))));
  }

  /** Since the acquisition began, in ms. */
  get elapsedMs(): number {
    return Math.round(this.#host.clock.monotonic() - this.#startedAt);
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
   * Prolongs the lease to `ms` from now.
   *
   * @throws LockLostError if the lease is over, or another run has taken the key over.
   * @throws LockError if DynamoDB could not be reached: the lease is as it was, or shorter if it was to be shortened.
   */
  async extend(ms: number): Promise<void> {
    const complaint = milliseconds(1)(ms);
    if (complaint) throw new LockOptionsError(`extend: ms ${complaint}, got ${ms}`);
    await this.#renew(ms);
  }

  /**
   * Marks the key finished: repeats are refused, and get the stored response, until `rememberMs` have passed. Works
   * after the lease is over too, as long as nobody has taken the key. A second call does nothing.
   *
   * @throws LockLostError if another run has taken the key over: nothing was written.
   * @throws LockError if DynamoDB could not be reached: call it again.
   */
  async finish(options: FinishOptions = {}): Promise<void> {
    checkOptions("finish", options, finishChecks);
    if (this.#hold.slot !== undefined) throw new LockOptionsError("finish: a semaphore can only be released");
    const { rememberMs = this.#host.rememberMs, error, status: finalStatus } = options;
    const data = encodeData(options.data);
    this.#settling = true;
    await this.#serialize(async () => {
      if (this.#settled === "finished") return;
      if ("error" in options) {
        await this.#settle({ status: "FINISHED", rememberMs, finalStatus, failure: toFailure(error), data });
        return;
      }
      const finished = { status: "FINISHED", rememberMs, finalStatus, data } as const;
      const result = "result" in options ? this.#encode(options.result) : undefined;
      if (!result) return this.#settle(finished);
      await this.#settle({ ...finished, result }).catch(async (failure: unknown) => {
        // It fits in an item, but not beside the key and the data of this one.
        if (!isTooLarge(failure)) throw failure;
        this.#reportNotStored("it does not fit in the item beside the rest of the record");
        await this.#settle(finished);
      });
    });
  }

  /**
   * Frees the key, or gives back one of several holds (`reentrant`). Does nothing if the handle has finished or released
   * it already.
   *
   * @throws LockLostError if another run has taken the key over: nothing was written.
   * @throws LockError if DynamoDB could not be reached: call it again, or let the lease end.
   */
  async release(options: ReleaseOptions = {}): Promise<void> {
    checkOptions("release", options, { data: anything });
    const data = encodeData(options.data);
    if (this.#holds > 1) {
      this.#holds--;
      return;
    }
    this.#settling = true;
    await this.#serialize(async () => {
      if (this.#settled !== "finished" && this.#settled !== "released")
        await this.#settle({ status: "RELEASED", data });
    });
  }

  /** Releases what is still held. Does not throw, so that it can't hide an error of the block: problems are reported as events. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.release().catch(() => {}); // #settle has reported it
  }

  /** @internal However often it is held. */
  releaseAll(): Promise<void> {
    this.#holds = 1;
    return this.release();
  }

  /** @internal One more hold for the same owner; false if the lock is not held any more, or about to end. */
  reenter(): boolean {
    if (this.#settling || this.#hold.slot !== undefined || this.status !== "held") return false;
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
    this.#host.report({ type: "kept", reason: kept, ...this.#about() });
    if (reason) this.#abort.abort(reason);
  }

  /**
   * Writes are one at a time: a release that follows a renewal or a finish in flight sees how that one ended. Once the
   * lease is over, nothing waits any more for a renewal that may hang.
   */
  #serialize<T>(work: () => Promise<T>, isRenewal = false): Promise<T> {
    const before = this.#inFlight;
    const turn = before && (before.isRenewal ? settledOrAborted(before.settled, this.signal) : before.settled);
    const next = turn ? turn.then(work) : work();
    const settled = next
      .catch(() => {})
      .then(() => {
        if (this.#inFlight === inFlight) this.#inFlight = undefined;
      });
    const inFlight = { settled, isRenewal };
    this.#inFlight = inFlight;
    return next;
  }

  #renew(ms: number): Promise<void> {
    return this.#serialize(async () => {
      if (this.#settled) throw new LockLostError(this.key, this.#lostReason);
      if (this.#isOver) throw this.#lose("expired");
      const { clock, store, report } = this.#host;
      const lease = { ms, since: clock.monotonic(), expiresAt: clock.now() + ms };
      const ends = this.#ends;
      const isShorter = lease.since + ms < this.#lease.since + this.#lease.ms;
      // Another end than before, also when the wall clock stands still or was set back: watchers must see the renewal.
      if (!isShorter) lease.expiresAt = Math.max(lease.expiresAt, ...ends.map((end) => end + 1));
      this.#ends = [Math.min(...ends, lease.expiresAt), Math.max(...ends, lease.expiresAt)];
      // A shorter lease holds for us from now on, whether or not we hear that it was written.
      if (isShorter) this.#takeLease(lease);
      const reply = await this.#reported("renew", () => store.renew(this.keys, this.#hold, lease, ends));
      if (!reply.done) throw this.#lose(reply.reason, reply.key);
      this.#ends = [lease.expiresAt];
      // The reply came after the end of the lease that it was to prolong.
      if (this.#isOver) throw this.#lose("expired");
      this.#takeLease(lease);
      report({ type: "renewed", expiresAt: this.expiresAt, ...this.#about() });
    }, true);
  }

  #takeLease(lease: { readonly ms: number; readonly since: number; readonly expiresAt: number }): void {
    this.#lease = lease;
    this.#watch.renewed();
  }

  async #settle(settlement: Settlement): Promise<void> {
    if (this.#settled) throw new LockLostError(this.key, this.#lostReason);
    const { store, report } = this.#host;
    const finishing = settlement.status === "FINISHED";
    const held = this.#unknown?.held ?? this.status === "held";
    this.#watch.stop();
    const reply = await store.settle(this.keys, this.#hold, settlement).catch((error: unknown) => {
      if ("result" in settlement && isTooLarge(error)) throw error; // for certain not applied, and tried without it
      report({ type: "failed", operation: finishing ? "finish" : "release", error, ...this.#about() });
      // It may have applied: from here on nobody may count on the lock, and nothing renews it.
      this.#unknown = { held };
      this.#abort.abort(new LockLostError(this.key, "unreachable"));
      throw error;
    });
    this.#host.settled(this);
    // A release that was refused after an earlier attempt at it, within our lease: that one applied, and others came after.
    const freedBefore = !reply.done && !finishing && held && (this.#unknown !== undefined || reply.retried);
    if (!reply.done && !freedBefore) throw this.#lose(reply.reason, reply.key);
    this.#settled = reply.done && reply.status === "FINISHED" ? "finished" : "released";
    // An earlier release applied though its reply was lost: too late to finish.
    if (finishing && this.#settled === "released") throw new LockLostError(this.key, "released");
    report(
      this.#settled === "released"
        ? { type: "released", ...this.#about() }
        : { type: "finished", responseStored: "result" in settlement, ...this.#about() },
    );
  }

  async #reported<T>(operation: string, request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } catch (error) {
      this.#host.report({ type: "failed", operation, error, ...this.#about() });
      throw error;
    }
  }

  /**
   * By time, or with proof: the key that a write found in other hands. What is lost by time may still be finished, if
   * nobody took the key meanwhile; what is proven lost may not.
   */
  #lose(reason: LockLostReason, provenKey?: string): LockLostError {
    const error = new LockLostError(provenKey ?? this.key, reason);
    const known = this.#abort.signal.aborted;
    this.#watch.stop();
    if (provenKey !== undefined) {
      this.#settled = "lost";
      this.#lostReason = reason;
      this.#host.settled(this);
    }
    if (known && provenKey === undefined) return error;
    this.#host.report({ type: "lost", reason, ...this.#about() });
    this.#abort.abort(error);
    if (!known) callSafely(() => this.#onLost?.(this, error));
    return error;
  }

  #encode(value: unknown): EncodedResult | undefined {
    const storable = toStorable(value);
    if ("json" in storable) return storable;
    this.#reportNotStored(storable.reason);
    return undefined;
  }

  #reportNotStored(reason: string): void {
    this.#host.report({ type: "response-not-stored", reason, ...this.#about() });
  }

  #about(): AboutLock {
    const { key, owner, token, fencingToken, elapsedMs } = this;
    return { key, owner, token, fencingToken, elapsedMs };
  }
}

/** Leaves no listener behind, for a lock may be renewed for as long as its process lives. */
const settledOrAborted = (promise: Promise<void>, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const done = () => {
      signal.removeEventListener("abort", done);
      resolve();
    };
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
    void promise.then(done);
  });

const finalStatus: Check = (value) =>
  text(value) ?? (String(value).length > 100 ? "must have at most 100 characters" : undefined);

const finishChecks = {
  status: finalStatus,
  result: anything,
  error: anything,
  rememberMs: milliseconds(1),
  data: anything,
};

const isTooLarge = (error: unknown): boolean => {
  const { name, message } = Object(Object(error).cause) as { name?: unknown; message?: unknown };
  return name === "ValidationException" && /item size/i.test(String(message));
};
