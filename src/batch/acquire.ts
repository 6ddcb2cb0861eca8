import { LockError, LockHeldError, LockLostError, LockTableError, LockTimeoutError } from "../common/errors.ts";
import type { NotStartedReason } from "../common/events.ts";
import { createTurns, inParallel } from "../common/parallel.ts";
import type { LockRecord } from "../common/record.ts";
import { leaseOf, timeUntil, waitOf } from "../lambda/execution.ts";
import { Lock } from "../lock/lock.ts";
import { BATCH_DEFAULTS, RESPONSE_RESERVE_MS } from "./options.ts";
import { type Place, type Plan, planBatch, type Wish } from "./order.ts";
import { Patience } from "./patience.ts";
import type { BatchItem } from "./source.ts";
import { type BatchRequest, storedKeyOf, type Wanted, wantedOf } from "./wanted.ts";

/** A batch whose keys were tried for. Everything is by the index of its record. */
export interface AcquiredBatch {
  readonly places: readonly Place[];
  readonly plans: readonly Plan[];
  /** The locks of the records that run. */
  readonly locks: readonly (Lock | undefined)[];
  /** Why records come back, where that is known. */
  readonly reasons: ReadonlyMap<number, unknown>;
}

/**
 * Takes what is free, in the order of the batch and `concurrency` at a time: also what lies behind a record whose reply is still on its
 * way, and gives that back if the record is not to be had. Ends in time for the handler, whatever DynamoDB does.
 *
 * @throws LockTableError, which no record is to blame for, and the fault of a DynamoDB that answered nothing; with everything given back.
 */
export const acquireBatch = async (request: BatchRequest): Promise<AcquiredBatch> => {
  const acquiring = new Acquiring(request);
  await acquiring.acquire();
  return acquiring.plan();
};

/** Beside the handler's reserve: replies that are not there by then are not waited for. */
const ANSWER_MARGIN_MS = 50;
/** Beside the handler's reserve: for the last look at a held key, after which the others of the batch still begin in time. */
const WAIT_MARGIN_MS = 250;

class Acquiring {
  readonly #request: BatchRequest;
  readonly #keys: (string | undefined)[] = [];
  readonly #wanted: (Wanted | undefined)[] = [];
  readonly #places: Place[] = [];
  readonly #wishes: Wish[] = [];
  readonly #locks: (Lock | undefined)[] = [];
  readonly #finished = new Map<number, LockRecord>();
  readonly #reasons = new Map<number, unknown>();
  readonly #stopped = new Set<string>();
  readonly #patience = new Patience();
  /** By key, the last attempt that was begun. */
  readonly #attempts = new Map<string, Promise<void>>();
  readonly #heartbeats: ReturnType<typeof createTurns>;
  /** Monotonic: the batch waits for held records until then, whatever their number. */
  readonly #waitUntil: number;
  /** The ordered records that were waited for. */
  readonly #waited = new Set<number>();
  /** The error of all records, such as a missing table. */
  #fatal: unknown;
  /** From now on, a reply comes too late. */
  #isOver = false;

  constructor(request: BatchRequest) {
    this.#request = request;
    this.#heartbeats = createTurns(this.#concurrency);
    this.#waitUntil = request.locks.clock.monotonic() + (request.options.waitMs ?? 0);
    const first = new Map<string, number>();
    for (const [index, { group }] of request.batch.items.entries()) {
      const wanted = this.#wantedOf(index);
      this.#wanted[index] = wanted;
      // Only an equal key makes a repeat, and an equal payload: with another one it is tried for,
      // and refused. Records with one identifier may be of different things.
      const name = wanted && `${wanted.fingerprint ?? ""} ${wanted.key}`;
      const leader = name === undefined ? undefined : first.get(name);
      if (name !== undefined && leader === undefined) first.set(name, index);
      this.#places[index] = { group, leader };
    }
  }

  async acquire(): Promise<void> {
    while (await this.#inTime(this.#due(), (index) => this.#attempt(index))) {
      const held = this.#toWaitFor();
      if (held.length === 0) break;
      await this.#giveBackBehind(held);
      for (const index of held) this.#waited.add(index);
      if (!(await this.#inTime(held, (index) => this.#attempt(index)))) break;
    }
    this.#isOver = true;
    const error = this.#fatal ?? this.#patience.onlyFault;
    if (error !== undefined) {
      await this.#giveBack(this.#locks.keys());
      throw error;
    }
    this.#reportNotStarted([...this.#untried()].length, this.#patience.isOver ? "faults" : "time");
  }

  /** After its last look at time and locks, it awaits no more. */
  async plan(): Promise<AcquiredBatch> {
    for (;;) {
      this.#refuseLost();
      this.#refuseLate();
      const plans = planBatch(this.#places, (index) => this.#wishes[index] as Wish);
      const unwanted = [...this.#locks.keys()].filter((index) => this.#locks[index] && plans[index] !== "run");
      if (unwanted.length === 0) return this.#acquired(plans);
      await this.#giveBack(unwanted);
    }
  }

  #acquired(plans: readonly Plan[]): AcquiredBatch {
    const { locks } = this.#request;
    for (const [index, record] of this.#finished) if (plans[index] === "drop") locks.reportDropped(record);
    for (const reason of this.#reasons.values()) if (reason instanceof LockHeldError) locks.reportHeld(reason.record);
    return { places: this.#places, plans, locks: this.#locks, reasons: this.#reasons };
  }

  /** Undefined for a record that runs without a lock, or that has failed by now. */
  #wantedOf(index: number): Wanted | undefined {
    this.#wishes[index] = "blocked";
    try {
      const key = storedKeyOf(this.#request, index);
      this.#keys[index] = key;
      if (key !== undefined) return wantedOf(this.#request, index, key);
      this.#wishes[index] = "owned";
      return undefined;
    } catch (thrown) {
      const error = toReadable(thrown);
      this.#reasons.set(index, error);
      this.#reportFailed(index, error);
      return undefined;
    }
  }

  /** The records whose turn it is. */
  *#due(): Generator<number> {
    for (const index of this.#untried()) {
      if (this.#fatal !== undefined || this.#isLate || this.#patience.isOver) return;
      yield index;
    }
  }

  /** The records that are not tried yet, without those behind one that comes back. */
  *#untried(): Generator<number> {
    this.#stopped.clear();
    for (const [index, { group, leader }] of this.#places.entries()) {
      if (this.#reasons.has(index) && group !== undefined) this.#stopped.add(group);
      if (!this.#wanted[index] || leader !== undefined || this.#isTried(index)) continue;
      if (group === undefined || !this.#stopped.has(group)) yield index;
    }
  }

  #isTried(index: number): boolean {
    return this.#locks[index] !== undefined || this.#finished.has(index) || this.#reasons.has(index);
  }

  /** The first record of each group that stops there because it is held, once. */
  #toWaitFor(): number[] {
    if (this.#fatal !== undefined || this.#waitMs === 0) return [];
    const first = new Map<string, number>();
    for (const [index, { group }] of this.#places.entries()) {
      if (group !== undefined && this.#reasons.has(index) && !first.has(group)) first.set(group, index);
    }
    return [...first.values()].filter(
      (index) => this.#reasons.get(index) instanceof LockHeldError && !this.#waited.has(index),
    );
  }

  /**
   * A run that waits for a record holds only what is ahead of it in its group. So of two runs that
   * want the same records in the same order, one always goes on.
   */
  async #giveBackBehind(waitedFor: readonly number[]): Promise<void> {
    const firstOf = new Map(waitedFor.map((index) => [this.#places[index]?.group, index]));
    const behind = [...this.#places.keys()].filter(
      (index) => index > (firstOf.get(this.#places[index]?.group) ?? Number.POSITIVE_INFINITY),
    );
    for (const index of behind) if (this.#reasons.get(index) instanceof LockHeldError) this.#reasons.delete(index);
    await this.#giveBack(behind);
  }

  get #waitMs(): number {
    const { execution, locks } = this.#request;
    const leftMs = Math.max(0, this.#waitUntil - locks.clock.monotonic());
    return waitOf(leftMs, this.#reserveMs + WAIT_MARGIN_MS, execution);
  }

  /** Records with the same key one after the other: of several payloads the first has it. */
  #attempt(index: number): Promise<void> {
    const { key } = this.#wanted[index] as Wanted;
    const attempt = (this.#attempts.get(key) ?? Promise.resolve()).then(() => this.#ask(index, key));
    this.#attempts.set(key, attempt);
    return attempt;
  }

  async #ask(index: number, key: string): Promise<void> {
    if (this.#isOver) return;
    const { locks } = this.#request;
    this.#reasons.delete(index);
    try {
      const reply = await locks.attempt([key], this.#acquisitionOf(index));
      if (this.#isOver) {
        if (reply instanceof Lock) await reply[Symbol.asyncDispose]();
        return;
      }
      this.#patience.answered();
      const finished = reply instanceof Lock ? undefined : locks.finishedBy(reply);
      if (reply instanceof Lock) {
        this.#locks[index] = reply;
        this.#wishes[index] = "owned";
      } else if (finished) {
        this.#finished.set(index, finished);
        this.#wishes[index] = "finished";
      } else {
        this.#blocked(index, reply.error); // reported when it comes back
      }
    } catch (error) {
      if (this.#isOver) return;
      if (isOfTable(error)) {
        this.#fatal ??= error;
        return;
      }
      this.#patience.failed(error);
      this.#blocked(index, error);
      const isReported = error instanceof LockTimeoutError && error.record !== undefined; // as held
      if (!isReported) this.#reportFailed(index, error);
    }
  }

  #acquisitionOf(index: number) {
    const { options, execution, around } = this.#request;
    const { heartbeatMs, expiry, onLost, rememberMs } = options;
    const { owner, leaseMs, fingerprint } = this.#wanted[index] as Wanted;
    const isOrdered = this.#places[index]?.group !== undefined;
    return {
      ...leaseOf({ leaseMs, heartbeatMs }, execution),
      owner,
      fingerprint,
      around,
      expiry,
      onLost,
      rememberMs,
      inTurn: this.#heartbeats,
      // In order, the first that is held is waited for, and nothing behind it.
      waitMs: isOrdered && !this.#waited.has(index) ? 0 : Math.floor(this.#waitMs),
    };
  }

  /** The record comes back, and what of its group is not begun yet doesn't have to be. */
  #blocked(index: number, reason: unknown): void {
    const { group } = this.#places[index] as Place;
    this.#reasons.set(index, reason);
    if (group !== undefined) this.#stopped.add(group);
  }

  /**
   * A lock that was lost since it was taken, while others were waited for, is not the handler's.
   */
  #refuseLost(): void {
    for (const [index, lock] of this.#locks.entries()) {
      if (!lock || lock.status === "held") continue;
      this.#wishes[index] = "blocked";
      this.#reasons.set(index, lock.signal.reason ?? new LockLostError(lock.key, "expired"));
    }
  }

  #refuseLate(): void {
    if (!this.#isLate) return;
    const owned = [...this.#wishes.keys()].filter((index) => this.#wishes[index] === "owned");
    for (const index of owned) this.#wishes[index] = "blocked";
    this.#reportNotStarted(owned.length, "time");
  }

  #reportFailed(index: number, error: unknown): void {
    const { batch, locks } = this.#request;
    const { identifier } = batch.items[index] as BatchItem;
    const key = this.#keys[index];
    const about = key === undefined ? batch.source : `${batch.source}, key ${key}`;
    const problem = `Record ${identifier} of a batch (${about}) comes back, without having run`;
    locks.report({ type: "record-failed", identifier, error }, problem);
  }

  #reportNotStarted(records: number, reason: NotStartedReason): void {
    if (records === 0) return;
    const problem = `${records} records of a batch come back, not begun: ${NOT_STARTED[reason]}`;
    this.#request.locks.report({ type: "not-started", records, reason }, problem);
  }

  /** Locks that can't be given back in time are left to their leases. */
  async #giveBack(indexes: Iterable<number>): Promise<void> {
    const left = new Set<Lock>();
    for (const index of indexes) {
      const lock = this.#locks[index];
      if (!lock) continue;
      left.add(lock);
      this.#locks[index] = undefined;
      this.#wishes[index] = "blocked";
    }
    await this.#inTime([...left], async (lock) => {
      left.delete(lock);
      await lock[Symbol.asyncDispose]();
    });
    for (const lock of left) lock.abandon("unsettled");
  }

  /** In time for the handler, or for the response if it is too late for that. */
  #inTime<T>(items: Iterable<T>, work: (item: T) => Promise<void>): Promise<boolean> {
    const { execution, locks } = this.#request;
    const reserveMs = this.#isLate ? RESPONSE_RESERVE_MS : this.#reserveMs + ANSWER_MARGIN_MS;
    const { clock } = locks;
    return inParallel(items, this.#concurrency, work, { clock, ms: timeUntil(reserveMs, execution) });
  }

  get #isLate(): boolean {
    return timeUntil(this.#reserveMs, this.#request.execution) < 0;
  }

  get #reserveMs(): number {
    return this.#request.options.reserveMs ?? BATCH_DEFAULTS.reserveMs;
  }

  get #concurrency(): number {
    return this.#request.options.concurrency ?? BATCH_DEFAULTS.concurrency;
  }
}

const NOT_STARTED: Readonly<Record<NotStartedReason, string>> = {
  time: "the invocation has less than reserveMs left",
  faults: "DynamoDB doesn't answer",
};

/** Gives what a function of the user's threw, or an error in its place if it can't even be asked for its class. */
const toReadable = (thrown: unknown): unknown => {
  try {
    Object.getPrototypeOf(Object(thrown));
    return thrown;
  } catch {
    return new LockError("LOCK_BATCH", "What was thrown can't be read");
  }
};

/**
 * Every record shares the table's state, as DynamoDB tells it. An item that is no lock stands under
 * one key.
 */
const isOfTable = (error: unknown): boolean => error instanceof LockTableError && error.cause !== undefined;
