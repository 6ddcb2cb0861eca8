import { LockError, LockHeldError, LockLostError, LockTableError, LockTimeoutError } from "../common/errors.ts";
import type { NotStartedReason } from "../common/events.ts";
import { createTurns } from "../common/parallel.ts";
import { isTransient } from "../dynamodb/aws-errors.ts";
import { leaseOf, timeUntil } from "../lambda/execution.ts";
import { attemptLock } from "../lock/attempt.ts";
import type { Lock } from "../lock/lock.ts";
import type { SettleTime } from "../lock/lock-writes.ts";
import { isRefused } from "../lock/refused.ts";
import { type BatchItem, type BatchRequest, fail, inTime, reportFailed } from "./item.ts";
import { BATCH_DEFAULTS, RESPONSE_RESERVE_MS } from "./options.ts";
import { planBatch } from "./order.ts";

/** A DynamoDB that has answered nothing for so long is not asked any more. */
const SILENCE_MS = 5_000;
/** How long a lock that is not for the handler is tried to give back. */
const GIVE_BACK_MS = 1_000;
/** Kept beside the handler's reserve: replies that are not there by then are not waited for. */
const ANSWER_MARGIN_MS = 50;
/** Kept beside the handler's reserve: the last look at a held key, and the start of the others. */
const WAIT_MARGIN_MS = 250;

/**
 * Takes what is free, in the order of the batch and `concurrency` at a time, and plans what becomes
 * of each record. It also takes what lies behind a record whose reply is still on its way, and
 * gives that back if the record is not to be had. It ends in time for the handler, whatever
 * DynamoDB does.
 *
 * @throws LockTableError, which no record is to blame for, and the fault of a DynamoDB that
 * answered nothing. Everything is given back then.
 */
export const acquireBatch = async (request: BatchRequest, items: readonly BatchItem[]): Promise<void> => {
  await new Acquiring(request, items).acquire();
  for (const { finished, plan, reason } of items) {
    if (finished && plan === "drop") request.locks.reportDropped(finished);
    if (reason instanceof LockHeldError) request.locks.reportHeld(reason.record);
  }
};

class Acquiring {
  readonly #request: BatchRequest;
  readonly #items: readonly BatchItem[];
  readonly #reserveMs: number;
  /** Monotonic: the batch waits for held records until then, whatever their number. */
  readonly #waitUntil: number;
  readonly #inTurn: ReturnType<typeof createTurns>;
  /** Monotonic: when DynamoDB has last answered, or was first asked. */
  #answeredAt: number;
  /** The first of the faults, as long as there was no answer at all. */
  #onlyFault: unknown;
  #hasAnswered = false;
  /** The last of them, if it has not answered since. */
  #fault: unknown;
  /** The last request about each key that was begun. */
  readonly #requests = new Map<string, Promise<void>>();
  /** The groups in which a record comes back. */
  #stopped = new Set<BatchItem["group"]>();
  /** The error of all records, such as a missing table. */
  #fatal: unknown;
  /** Aborted: from now on, a reply comes too late. */
  readonly #over = new AbortController();

  constructor(request: BatchRequest, items: readonly BatchItem[]) {
    const {
      concurrency = BATCH_DEFAULTS.concurrency,
      reserveMs = BATCH_DEFAULTS.reserveMs,
      waitMs = 0,
    } = request.options;
    this.#request = request;
    this.#items = items;
    this.#reserveMs = reserveMs;
    this.#answeredAt = request.clock.monotonic();
    this.#waitUntil = this.#answeredAt + waitMs;
    this.#inTurn = createTurns(concurrency);
  }

  async acquire(): Promise<void> {
    while (await this.#tryAll(this.#due())) {
      const { held, behind } = this.#toWaitFor();
      if (held.length === 0) break;
      await this.#giveBack(behind);
      if (!(await this.#tryAll(held))) break;
    }
    this.#over.abort();
    if (this.#mayRunWithout && this.#isSilent && !this.#isLate) {
      for (const item of [...this.#untried()]) this.#runWithout(item, this.#fault);
    }
    const error = this.#fatal ?? (this.#mayRunWithout ? undefined : this.#onlyFault);
    if (error !== undefined) {
      await this.#giveBack(this.#items);
      throw error;
    }
    this.#reportNotStarted([...this.#untried()].length, this.#isSilent ? "faults" : "time");
    // After the last look at time and locks nothing is awaited any more.
    for (;;) {
      this.#refuseLost();
      this.#refuseLate();
      planBatch(this.#items);
      const unwanted = this.#items.filter(({ lock, plan }) => lock && plan !== "run");
      if (unwanted.length === 0) return;
      await this.#giveBack(unwanted);
    }
  }

  /** The records whose turn it is. */
  *#due(): Generator<BatchItem> {
    for (const item of this.#untried()) {
      if (this.#fatal !== undefined || this.#isLate || this.#isSilent) return;
      yield item;
    }
  }

  /** The records not tried yet, without those behind one that comes back, as is known by then. */
  *#untried(): Generator<BatchItem> {
    this.#stopped = new Set();
    for (const item of this.#items) {
      if (item.state === "failed") this.#stopped.add(item.group);
      else if (item.state === "untried" && !item.leader && !this.#stopped.has(item.group)) yield item;
    }
  }

  /**
   * Gives the first record of each group that stops there because it is held, once, and the records
   * behind it. A run that waits for a record holds only what is ahead of it in its group. So of two
   * runs that want the same records in the same order, one always goes on.
   */
  #toWaitFor() {
    const held: BatchItem[] = [];
    const behind: BatchItem[] = [];
    if (this.#fatal !== undefined || this.#waitMs === 0) return { held, behind };
    const isWaitedFor = new Map<BatchItem["group"], boolean>();
    for (const item of this.#items) {
      const { group, state, reason, mayWait } = item;
      const isHeld = reason instanceof LockHeldError;
      if (isWaitedFor.get(group)) {
        if (isHeld) Object.assign(item, { state: "untried", reason: undefined });
        behind.push(item);
      } else if (state === "failed" && !isWaitedFor.has(group)) {
        isWaitedFor.set(group, isHeld && !mayWait);
        if (isHeld && !mayWait) held.push(item);
      }
    }
    for (const item of held) item.mayWait = true;
    return { held, behind };
  }

  get #waitMs(): number {
    const leftMs = Math.min(this.#waitUntil - this.#request.clock.monotonic(), this.#leftMs(WAIT_MARGIN_MS));
    return Math.max(0, Math.floor(leftMs));
  }

  /** The time until `marginMs` before the handler has to begin. */
  #leftMs(marginMs = 0): number {
    return timeUntil(this.#reserveMs + marginMs, this.#request.execution);
  }

  get #isLate(): boolean {
    return this.#leftMs() < 0;
  }

  /** Tries for records with one key one after the other: of several payloads the first has it. */
  #tryAll(items: Iterable<BatchItem>): Promise<boolean> {
    return this.#inTime(items, (item) => {
      const key = item.key as string;
      const { underWay } = this.#request;
      const request = (this.#requests.get(key) ?? Promise.resolve()).then(() => this.#try(item, key));
      this.#requests.set(key, request);
      underWay.add(request);
      return request.finally(() => underWay.delete(request));
    });
  }

  async #try(item: BatchItem, key: string): Promise<void> {
    const { signal } = this.#over;
    if (signal.aborted) return;
    const { locks, table, options, execution, around } = this.#request;
    const { heartbeatMs, expiry, onLost, rememberMs } = options;
    item.state = "untried";
    item.reason = undefined;
    try {
      const attempt = await attemptLock(locks, [key], {
        ...item.wish,
        ...leaseOf({ leaseMs: item.wish?.leaseMs, heartbeatMs }, execution),
        around,
        table,
        expiry,
        onLost,
        rememberMs,
        inTurn: this.#inTurn,
        waitMs: item.mayWait ? this.#waitMs : 0,
        signal,
        withinMs: Math.max(0, this.#leftMs()), // the signal comes first
        settleTime: () => this.#request.settleTime(),
      });
      if (signal.aborted) {
        if (!isRefused(attempt)) await attempt.releaseAll(this.#giveBackTime).catch(() => {}); // it has been reported
        return;
      }
      this.#answered();
      if (!isRefused(attempt)) {
        item.lock = attempt;
        item.state = "owned";
        return;
      }
      item.finished = locks.finishedBy(attempt);
      if (item.finished) item.state = "finished";
      else this.#fail(item, attempt.error); // reported when it comes back
    } catch (error) {
      if (signal.aborted) return;
      // Every record shares the table's state, which DynamoDB tells. An item that is no lock stands
      // under one key.
      if (error instanceof LockTableError && error.cause !== undefined) {
        this.#fatal ??= error;
        return;
      }
      if (isSilence(error)) this.#failed(error);
      else this.#answered();
      if (this.#mayRunWithout && isTransient(error)) return this.#runWithout(item, error);
      this.#fail(item, error);
      const isReported = error instanceof LockTimeoutError && error.record !== undefined; // as held
      if (!isReported) reportFailed(this.#request, item);
    }
  }

  get #mayRunWithout(): boolean {
    return this.#request.options.onUnavailable === "run";
  }

  #runWithout(item: BatchItem, error: unknown): void {
    item.state = "owned";
    const { key = "", wish } = item;
    this.#request.report({ type: "unavailable", key, owner: wish?.owner ?? "", error });
  }

  #answered(): void {
    this.#answeredAt = this.#request.clock.monotonic();
    this.#hasAnswered = true;
    this.#fault = undefined;
    this.#onlyFault = undefined;
  }

  #failed(error: unknown): void {
    this.#fault = error;
    if (!this.#hasAnswered) this.#onlyFault ??= error;
  }

  /** Many requests to a DynamoDB that doesn't answer must not eat the invocation. */
  get #isSilent(): boolean {
    return this.#fault !== undefined && this.#request.clock.monotonic() - this.#answeredAt >= SILENCE_MS;
  }

  /** The record comes back, and the records of its group that are not begun yet stay so. */
  #fail(item: BatchItem, reason: unknown): void {
    fail(item, reason);
    this.#stopped.add(item.group);
  }

  /** A lock that was lost while others were waited for is not the handler's. */
  #refuseLost(): void {
    for (const item of this.#items) {
      const { lock } = item;
      if (lock && lock.status !== "held") fail(item, lock.signal.reason ?? new LockLostError(lock.key, "expired"));
    }
  }

  #refuseLate(): void {
    const late = this.#isLate ? this.#items.filter(({ state }) => state === "owned") : [];
    for (const item of late) item.state = "untried";
    this.#reportNotStarted(late.length, "time");
  }

  #reportNotStarted(records: number, reason: NotStartedReason): void {
    if (records === 0) return;
    const problem = `${records} records of a batch come back, not begun: ${NOT_STARTED[reason]}`;
    this.#request.report({ type: "not-started", records, reason }, problem);
  }

  /** Locks that can't be given back in time are left to their leases. */
  async #giveBack(items: readonly BatchItem[]): Promise<void> {
    const left = new Set<Lock>();
    for (const item of items) {
      if (!item.lock) continue;
      left.add(item.lock);
      item.lock = undefined;
      item.state = "untried";
    }
    await this.#inTime([...left], async (lock) => {
      left.delete(lock);
      await lock.releaseAll(this.#giveBackTime).catch(() => {}); // it has been reported
    });
    for (const lock of left) lock.abandon("unsettled");
  }

  /** At most half of what is left, which leaves time for the others. */
  get #giveBackTime(): SettleTime {
    const { locks, execution } = this.#request;
    return locks.settleTime(GIVE_BACK_MS, timeUntil(this.#keptMs, execution) / 2);
  }

  /** In time for the handler, or for the response if it is too late for that. */
  #inTime<T>(all: Iterable<T>, work: (one: T) => Promise<void>): Promise<boolean> {
    return inTime(this.#request, this.#keptMs, all, work);
  }

  get #keptMs(): number {
    return this.#isLate ? RESPONSE_RESERVE_MS : this.#reserveMs + ANSWER_MARGIN_MS;
  }
}

const NOT_STARTED: Readonly<Record<NotStartedReason, string>> = {
  time: "the invocation has less than reserveMs left",
  faults: "DynamoDB doesn't answer",
};

const isSilence = (error: unknown): boolean =>
  error instanceof LockTimeoutError
    ? error.record === undefined
    : error instanceof LockError && (error.code === "LOCK_REQUEST" || error.code === "LOCK_CLOSED");
