import { anything, checkOptions, milliseconds } from "./check.ts";
import type { Clock } from "./clock.ts";
import { LockLostError, type LockLostReason } from "./errors.ts";
import type { LockEvent, LockEventListener } from "./events.ts";
import type { EncodedResult, LockRecord, StoredFailure } from "./record.ts";
import type { Settlement } from "./requests.ts";
import { toStorable } from "./result.ts";
import type { Store } from "./store.ts";

export interface FinishOptions {
  /** The response that repeats get. Left out: none is stored. `undefined` is stored as such. */
  readonly result?: unknown;
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
export interface Acquisition {
  readonly key: string;
  readonly owner: string;
  readonly token: string;
  readonly fencingToken: number;
  readonly leaseMs: number;
  readonly acquiredAt: number;
  /** Monotonic time from before the write was sent. */
  readonly startedAt: number;
  readonly previous: LockRecord | undefined;
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
 * One acquisition of one key.
 *
 * @example
 * await using lock = await locks.acquire("report-2026-11-21"); // released at the end of the block
 * await storage.write(data, { fence: lock.fencingToken });
 */
export class Lock implements AsyncDisposable {
  /** The key with its namespace, as stored. */
  readonly key: string;
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
   * Not known if the reply to the acquisition was lost on the network.
   */
  readonly previous: LockRecord | undefined;

  readonly #host: LockHost;
  readonly #leaseMs: number;
  readonly #startedAt: number;
  readonly #abort = new AbortController();
  #settled: "finished" | "released" | "lost" | undefined;
  #lostReason: LockLostReason = "released";
  #inFlight: Promise<unknown> = Promise.resolve();

  /** @internal */
  constructor(acquisition: Acquisition, host: LockHost) {
    this.key = acquisition.key;
    this.owner = acquisition.owner;
    this.token = acquisition.token;
    this.fencingToken = acquisition.fencingToken;
    this.acquiredAt = acquisition.acquiredAt;
    this.previous = acquisition.previous;
    this.#leaseMs = acquisition.leaseMs;
    this.#startedAt = acquisition.startedAt;
    this.#host = host;
  }

  /** End of the lease, epoch ms. */
  get expiresAt(): number {
    return this.acquiredAt + this.#leaseMs;
  }

  /** Until the lease ends, in ms, never negative; by the wall or the monotonic clock, whichever is first: a freeze may stop either. */
  get remainingMs(): number {
    const { clock } = this.#host;
    return Math.max(0, Math.min(this.expiresAt - clock.now(), this.#leaseMs - this.elapsedMs));
  }

  /** Since the acquisition began, in ms. */
  get elapsedMs(): number {
    return Math.round(this.#host.clock.monotonic() - this.#startedAt);
  }

  get status(): LockHandleStatus {
    return this.#settled ?? (this.remainingMs > 0 ? "held" : "expired");
  }

  /** Aborted when the lock is lost: `signal.reason` is a `LockLostError`. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /**
   * Marks the key finished: repeats are refused, and get the stored response, until `rememberMs` have passed. Works
   * after the lease is over too, as long as nobody has taken the key. A second call does nothing.
   *
   * @throws LockLostError if another run has taken the key over: nothing was written.
   * @throws LockError if DynamoDB could not be reached: call it again.
   */
  finish(options: FinishOptions = {}): Promise<void> {
    return this.#serialize(async () => {
      checkOptions("finish", options, { result: anything, error: anything, rememberMs: milliseconds(1) });
      if (this.#settled === "finished") return;
      const { rememberMs = this.#host.rememberMs } = options;
      if ("error" in options) {
        await this.#settle({ status: "FINISHED", rememberMs, failure: toFailure(options.error) });
        return;
      }
      const result = "result" in options ? this.#encode(options.result) : undefined;
      await this.#settle({ status: "FINISHED", rememberMs, ...(result && { result }) });
    });
  }

  /**
   * Frees the key. Does nothing if the handle has finished or released it already.
   *
   * @throws LockLostError if another run has taken the key over: nothing was written.
   * @throws LockError if DynamoDB could not be reached: call it again, or let the lease end.
   */
  release(): Promise<void> {
    return this.#serialize(async () => {
      if (this.#settled !== "finished" && this.#settled !== "released") await this.#settle({ status: "RELEASED" });
    });
  }

  /** Releases what is still held. Does not throw, so that it can't hide an error of the block: problems are reported as events. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.release().catch(() => {}); // #settle has reported it
  }

  /** @internal Leaves the key to its lease, because its work may still be running. */
  abandon(reason: "on-error" | "timeout" | "streaming"): void {
    this.#host.settled(this);
    if (reason !== "on-error") this.#abort.abort(new LockLostError(this.key, "expired"));
    this.#host.report({ type: "kept", reason, ...this.#about() });
  }

  /** Settling is one at a time: a release that follows a finish in flight sees how that one ended. */
  #serialize(work: () => Promise<void>): Promise<void> {
    const next = this.#inFlight.then(work);
    this.#inFlight = next.catch(() => {});
    return next;
  }

  async #settle(settlement: Settlement): Promise<void> {
    if (this.#settled) throw new LockLostError(this.key, this.#lostReason);
    const { store, report } = this.#host;
    const operation = settlement.status === "FINISHED" ? "finish" : "release";
    const reply = await store.settle(this, settlement).catch((error: unknown) => {
      report({ type: "failed", operation, error, ...this.#about() });
      throw error;
    });
    this.#host.settled(this);
    if (!reply.settled) throw this.#lose(reply.reason);
    this.#settled = reply.status === "FINISHED" ? "finished" : "released";
    // An earlier release applied though its reply was lost: too late to finish.
    if (reply.status === "RELEASED" && operation === "finish") throw new LockLostError(this.key, "released");
    report(
      this.#settled === "released"
        ? { type: "released", ...this.#about() }
        : { type: "finished", responseStored: "result" in settlement, ...this.#about() },
    );
  }

  #lose(reason: LockLostReason): LockLostError {
    const error = new LockLostError(this.key, reason);
    this.#settled = "lost";
    this.#lostReason = reason;
    this.#host.report({ type: "lost", reason, ...this.#about() });
    this.#abort.abort(error);
    return error;
  }

  #encode(value: unknown): EncodedResult | undefined {
    const storable = toStorable(value);
    if ("json" in storable) return storable;
    this.#host.report({ type: "response-not-stored", reason: storable.reason, ...this.#about() });
    return undefined;
  }

  #about(): Pick<LockEvent, "key" | "owner" | "token" | "fencingToken" | "elapsedMs"> {
    const { key, owner, token, fencingToken, elapsedMs } = this;
    return { key, owner, token, fencingToken, elapsedMs };
  }
}

/** Enough of an error message for its reader, in a record that has to stay small. */
const MAX_MESSAGE_LENGTH = 500;

const toFailure = (error: unknown): StoredFailure => {
  const { name, message, statusCode } = Object(error) as Record<string, unknown>;
  return {
    name: typeof name === "string" ? name : "Error",
    message: (typeof message === "string" ? message : String(error)).slice(0, MAX_MESSAGE_LENGTH),
    ...(typeof statusCode === "number" && { statusCode }),
  };
};
