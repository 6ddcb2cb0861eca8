/** The writes of one lock, one at a time, and what their replies make of it. */
import { isDeepStrictEqual } from "node:util";
import { CONFLICT_BACKOFF, delayMs, FAULT_BACKOFF, MIN_LEFT_MS } from "../common/backoff.ts";
import type { Clock } from "../common/clock.ts";
import { LockError, LockLostError, type LockLostReason } from "../common/errors.ts";
import type { LockEvent } from "../common/events.ts";
import type { Reporter } from "../common/report.ts";
import type { StorableResult } from "../common/result.ts";
import { isConflict, isInDoubt, isPassing, isTransient } from "../dynamodb/aws-errors.ts";
import { type Commit, type Holder, type HolderReply, sendCommit, sendEnding, sendRenewal } from "../dynamodb/holder.ts";
import type { Bounds } from "../dynamodb/persist.ts";
import type { Table } from "../dynamodb/table.ts";
import { companionKey } from "../protocol/fields.ts";
import type { TransactWriteItem } from "../protocol/item.ts";
import { type Ending, type Proof, storeResponse } from "../protocol/writes.ts";
import type { Acquisition, Wanted } from "./acquire.ts";
import type { Finish } from "./ending.ts";
import { Lease, type LeaseTimers } from "./lease.ts";
import { placeResponse, roomIn } from "./place-response.ts";
import { WriteQueue } from "./write-queue.ts";

/** Until when, in monotonic ms, a lock is tried to settle, and after which failures. */
export interface SettleTime {
  readonly until: number;
  readonly retries: "all" | "conflicts";
}

/** The parts of its client that a lock needs. */
export interface LockHost {
  readonly table: Table;
  readonly clock: Clock;
  readonly report: Reporter;
  readonly random: () => number;
  /** The key is not held any more. */
  settled(): void;
  /** The key was finished. */
  finished(finished: PreparedEnding): void;
}

/** How a key is finished, as it is written, with the response wherever that is stored. */
export interface PreparedEnding {
  readonly ending: Ending;
  readonly response: StorableResult | undefined;
  readonly leaseMs: number;
  /** Epoch ms, not later than the write, so that a copy of the record doesn't outlive it. */
  readonly begunAt: number;
}

export interface LockWritesOptions extends LeaseTimers {
  /** How long a write that is to end the lock is tried. */
  readonly settleTime: () => SettleTime;
  /** JSON of the application's data that stands in the record. */
  readonly data: string | undefined;
  readonly onExpiring: (() => void) | undefined;
  readonly onLost: (error: LockLostError) => unknown;
}

type Operation = "finish" | "commit" | "release";
type CommitUnderWay = Commit & { readonly prepared: PreparedEnding };

/** How long a write that is to end the lock waits for a renewal on its way, which it makes needless. */
const RENEWAL_MS = 250;

export class LockWrites {
  readonly lease: Lease;
  readonly proof: Proof;
  readonly #host: LockHost;
  readonly #wanted: Wanted;
  readonly #acquisition: Acquisition;
  readonly #options: LockWritesOptions;
  readonly #abort = new AbortController();
  readonly #queue = new WriteQueue(this.signal);
  /** Ends the renewal that is on its way. */
  #renewal: AbortController | undefined;
  /** How many renewals in a row have failed. */
  #failedRenewals = 0;
  #settled: "finished" | "released" | "lost" | undefined;
  #loss: Loss | undefined;
  /** How many were asked to finish, commit or release: nobody may re-enter. */
  #settling = 0;
  /**
   * The first write whose fate is unknown, and that may have settled the key: whether the lease was
   * held when it was sent.
   */
  #unknown: { readonly operation: Operation; readonly held: boolean } | undefined;
  /** Whether the loss has been reported. */
  #isLossReported = false;
  /** The commit that may have applied: it, and no other, may be sent again. */
  #commit: CommitUnderWay | undefined;
  /** How many responses were put beside the record. */
  #companions = 0;

  constructor(host: LockHost, wanted: Wanted, acquisition: Acquisition, options: LockWritesOptions) {
    this.#host = host;
    this.#wanted = wanted;
    this.#acquisition = acquisition;
    this.#options = options;
    this.proof = { token: wanted.token, slot: acquisition.slot, fencingToken: acquisition.fencingToken };
    this.lease = new Lease(host.clock, acquisition, options, {
      renew: () => this.renew(),
      expire: (reason) => this.#lose(reason),
      expiring: options.onExpiring,
    });
  }

  /** Aborted with a `LockLostError` when the lock is lost or its lease over. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get status() {
    return this.#settled ?? (this.#isOver ? "expired" : "held");
  }

  get isSettling(): boolean {
    return this.#settling > 0;
  }

  get elapsedMs(): number {
    return Math.round(this.#host.clock.monotonic() - this.#acquisition.startedAt);
  }

  get #isOver(): boolean {
    return this.signal.aborted || this.lease.remainingMs === 0;
  }

  get #key(): string {
    return this.#wanted.keys[0];
  }

  #holder(bounds: Bounds): Holder {
    const { table, clock } = this.#host;
    return { table, keys: this.#wanted.keys, proof: this.proof, now: clock.now(), bounds };
  }

  #settleBounds(operation: string, time = this.#options.settleTime()): Bounds & SettleTime {
    const { owner } = this.#wanted;
    const onRetry = (error: unknown) =>
      this.#host.report({ type: "retrying", key: this.#key, owner, operation, error });
    return { ...time, onRetry };
  }

  /** By a heartbeat, which is repeated when its time comes, or to `ms` from now. */
  renew(ms?: number): Promise<void> {
    const { clock } = this.#host;
    const renew = async () => {
      this.#checkOpen();
      if (this.#isOver) throw this.#lose("expired");
      if (this.#commit?.inDoubt) throw inDoubt("renewal"); // which FINISHED would refuse, as if the key were lost
      const renewal = this.lease.renewal(ms);
      const end = clock.monotonic() + this.lease.remainingMs;
      this.#renewal = new AbortController();
      const { signal } = this.#renewal;
      const bounds: Bounds =
        ms === undefined ? { retries: "conflicts", tries: this.#failedRenewals } : this.#settleBounds("extend");
      const { until = end } = bounds;
      const holder = this.#holder({ ...bounds, until: Math.min(until, end), signal });
      const reply = await sendRenewal(holder, renewal).catch((error: unknown) => {
        this.#failedRenewals++;
        this.#report({ type: "failed", operation: "renew", error });
        throw error;
      });
      this.#failedRenewals = 0;
      if (!reply.done) throw this.#lose(reply.reason, reply);
      // The reply came after the end of the lease that it was to prolong.
      if (this.#isOver) throw this.#lose("expired");
      this.lease.take(renewal);
      this.#report({ type: "renewed", expiresAt: renewal.expiresAt });
    };
    return this.#queue.run(renew, { isRenewal: true });
  }

  /** `undefined` if the key was finished before. */
  async finish(finish: Finish): Promise<PreparedEnding | undefined> {
    let prepared: PreparedEnding | undefined;
    const bounds = this.#settleBounds("finish");
    await this.#settle(async () => {
      if (this.#settled === "finished") return;
      prepared = await this.#prepare(finish, bounds);
      this.#commit = undefined; // from here on, FINISHED doesn't say by which of them
      await this.#end("finish", bounds, prepared.ending, prepared);
    });
    return prepared;
  }

  /** Does nothing if it is settled already. */
  release(data: string | undefined, time?: SettleTime): Promise<void> {
    const bounds = this.#settleBounds("release", time);
    return this.#settle(async () => {
      if (this.#settled !== "finished" && this.#settled !== "released") {
        await this.#end("release", bounds, { status: "RELEASED", data });
      }
    });
  }

  /** Leaves the key to its lease: `reason` aborts the signal. */
  abandon(kept: KeptEvent["reason"], reason?: Error): void {
    this.lease.stop();
    this.#renewal?.abort();
    this.#host.settled();
    if (this.#settled !== "finished" && this.#settled !== "released") this.#report({ type: "kept", reason: kept });
    if (reason) this.#abort.abort(reason);
  }

  /**
   * Sends a commit until its fate is known. What passes (conflicts with other transactions,
   * throttling) is waited for; what is in doubt is asked again with the same request. One write at
   * a time, so that the lease is renewed between two attempts.
   */
  async commit(items: readonly TransactWriteItem[], finish: Finish): Promise<void> {
    const { clock, random } = this.#host;
    const held = this.status === "held";
    const bounds = this.#settleBounds("commit");
    let commit: CommitUnderWay | undefined;
    try {
      for (let tries = 0; ; tries++) {
        try {
          return await this.#settle(async () => {
            commit ??= await this.#begin(items, finish, bounds);
            await this.#attempt(commit, { ...bounds, tries });
          });
        } catch (error) {
          const cause = error instanceof LockError ? error.cause : error;
          const leftMs = bounds.until - clock.monotonic();
          const pauseMs = delayMs(tries, isConflict(cause) ? CONFLICT_BACKOFF : FAULT_BACKOFF, random, leftMs);
          const isAgain = isPassing(cause) || (isTransient(error) && bounds.retries === "all");
          if (!isAgain || leftMs < MIN_LEFT_MS) throw error;
          if (!isConflict(cause)) bounds.onRetry?.(error);
          await clock.sleep(pauseMs);
        }
      }
    } catch (error) {
      if (commit?.inDoubt && !this.#settled) this.#fail("commit", error, held);
      throw error;
    }
  }

  /** The commit to send: a new one, or again the one that is in doubt. */
  async #begin(
    items: readonly TransactWriteItem[],
    finish: Finish,
    bounds: Bounds & SettleTime,
  ): Promise<CommitUnderWay> {
    if (this.#commit && isDeepStrictEqual(this.#commit.items, items)) {
      this.#commit.input = undefined; // the time that the key is remembered begins anew
      return this.#commit;
    }
    const prepared = await this.#prepare(finish, bounds);
    return { items, ending: prepared.ending, prepared, inDoubt: false };
  }

  /** In its turn: whatever was written since the attempt before has to be looked at. */
  async #attempt(commit: CommitUnderWay, bounds: Bounds): Promise<void> {
    const isOther = this.#commit !== commit;
    if (!isOther && this.#settled === "finished") return; // a release has found that it had applied
    const isEarlierInDoubt = isOther && (this.#unknown || this.#commit?.inDoubt);
    const isTooLate = commit.inDoubt && this.#settled && this.#settled !== "released";
    if (isEarlierInDoubt || isTooLate) throw inDoubt("commit");
    this.#checkOpen();
    const held = this.#unknown?.held ?? this.status === "held";
    this.#commit = commit;
    try {
      this.#conclude("commit", await sendCommit(this.#holder(bounds), commit), held, commit.prepared);
    } finally {
      if (!commit.inDoubt && !this.#settled) this.#commit = undefined; // certain: nothing was written
    }
  }

  async #settle(work: () => Promise<void>): Promise<void> {
    this.#settling++;
    const endRenewal = this.#host.clock.setTimer(RENEWAL_MS, () => this.#renewal?.abort());
    const inTurn = () => {
      endRenewal();
      return work();
    };
    await this.#queue.run(inTurn).finally(() => this.#settling--);
  }

  #checkOpen(): void {
    if (this.#settled) throw new LockLostError(this.#key, this.#loss?.reason ?? "released", this.#loss?.note);
  }

  async #end(operation: Operation, bounds: Bounds, ending: Ending, prepared?: PreparedEnding): Promise<void> {
    this.#checkOpen();
    const held = this.#unknown?.held ?? this.status === "held";
    this.lease.stop();
    const reply = await sendEnding(this.#holder(bounds), ending).catch((error: unknown) => {
      this.#fail(operation, error, held);
      throw error;
    });
    this.#conclude(operation, reply, held, prepared);
  }

  /**
   * From here on nobody may count on the lock, and nothing renews it: it was to be settled, and
   * that may have applied.
   */
  #fail(operation: Operation, error: unknown, held: boolean): void {
    this.#report({ type: "failed", operation, error });
    this.lease.stop();
    if (operation === "commit" || isInDoubt(error)) this.#unknown ??= { operation, held };
    this.#abort.abort(new LockLostError(this.#key, "unreachable"));
  }

  #conclude(operation: Operation, reply: HolderReply, held: boolean, prepared: PreparedEnding | undefined): void {
    this.lease.stop();
    this.#host.settled();
    const isRelease = operation === "release";
    // A release that was refused after an earlier attempt at it, within our lease: that one
    // applied, and others came after.
    const wasReleasing = this.#unknown ? this.#unknown.operation === "release" : !reply.done && reply.retried;
    if (!reply.done && !(isRelease && held && wasReleasing)) {
      const lost = this.#lose(reply.reason, reply);
      throw reply.inDoubt ? inDoubt("commit", lost) : lost;
    }
    this.#settled = reply.done && reply.status === "FINISHED" ? "finished" : "released";
    // An earlier release applied though its reply was lost: too late to finish.
    if (!isRelease && this.#settled === "released") throw new LockLostError(this.#key, "released");
    const responseStored = this.#settled === "finished" && { responseStored: prepared?.ending.result !== undefined };
    this.#report({ type: this.#settled, ...responseStored });
    // A recognised record may be one that an earlier attempt wrote, with another response.
    if (prepared && reply.done && !reply.recognised) this.#host.finished(prepared);
  }

  /**
   * A small response stays in the record, compressed where that is smaller. A larger one goes beside
   * it, before the record says so.
   */
  async #prepare(
    { ending, response, notStored }: Finish,
    { until, ...bounds }: Bounds & SettleTime,
  ): Promise<PreparedEnding> {
    this.#checkOpen();
    const { clock, table } = this.#host;
    const prepared = { ending, response, leaseMs: this.lease.leaseMs, begunAt: clock.now() };
    let reason = notStored;
    if (reason === undefined) {
      if (!response) return prepared;
      try {
        const placed = await placeResponse(response.json, this.#roomBeside(ending));
        if ("result" in placed) return { ...prepared, ending: { ...ending, ...placed } };
        const result = ++this.#companions;
        const companion = companionKey(this.#key, this.proof.token, result);
        const write = storeResponse(companion, placed.beside, ending.rememberMs as number, clock.now());
        await table.write([write], { ...bounds, until: (clock.monotonic() + until) / 2 });
        return { ...prepared, ending: { ...ending, result } };
      } catch (error) {
        if (error instanceof LockError) this.#report({ type: "failed", operation: "store result", error });
        reason = error instanceof RangeError ? error.message : "it could not be written beside the record";
      }
    }
    this.#report({ type: "response-not-stored", reason });
    return { ...prepared, response: undefined };
  }

  #roomBeside({ data = this.#options.data, failure, finalStatus }: Ending): number {
    const { keyList, owner, token, execution, fingerprint } = this.#wanted;
    const texts = [this.#key, keyList, owner, token, execution, fingerprint, data, failure, finalStatus];
    return roomIn(this.#host.table.layout, texts);
  }

  /**
   * By time, or with proof: a write found the key in other hands. What is lost by time may
   * still be finished, if nobody took the key meanwhile; what is proven lost may not.
   */
  #lose(reason: LockLostReason, proof?: Loss): LockLostError {
    const error = new LockLostError(proof?.key ?? this.#key, reason, proof?.note);
    const isKnown = this.#isLossReported || (this.signal.aborted && !proof);
    this.lease.stop();
    if (proof) {
      this.#settled = "lost";
      this.#loss = proof;
      this.#host.settled();
    } else if (isKnown) return error;
    this.#report({ type: "lost", reason, ...proof?.note });
    this.#abort.abort(error);
    this.#isLossReported = true;
    if (!isKnown) this.#options.onLost(error);
    return error;
  }

  #report(event: Pick<LockEvent, "type"> & Record<string, unknown>): void {
    const { owner, token } = this.#wanted;
    const { fencingToken } = this.#acquisition;
    this.#host.report({ ...event, key: this.#key, owner, token, fencingToken, elapsedMs: this.elapsedMs } as LockEvent);
  }
}

type Loss = Extract<HolderReply, { done: false }>;
type KeptEvent = Extract<LockEvent, { type: "kept" }>;

const inDoubt = (what: string, cause?: unknown) =>
  new LockError("LOCK_REQUEST", `${what}: it is not known whether an earlier finish, release or commit applied`, {
    cause,
  });
