import type { Context } from "aws-lambda";
import { DEFAULT_CONCURRENCY, DEFAULT_RESERVE_MS, type DynamoLockBatchOptions } from "./batch-options.ts";
import { type Place, type Plan, planBatch, type Wish } from "./batch-order.ts";
import type { Batch, BatchItem } from "./batch-source.ts";
import { milliseconds } from "./check.ts";
import { LockHeldError, LockOptionsError, LockTableError, LockTimeoutError, PayloadMismatchError } from "./errors.ts";
import type { NotStartedReason } from "./events.ts";
import { type Execution, leaseOf, ownerOf, waitOf } from "./execution.ts";
import { toFingerprint } from "./fingerprint.ts";
import { isMissing, toStoredKey } from "./key.ts";
import { Lock } from "./lock.ts";
import type { LockClient } from "./lock-client.ts";
import { inParallel } from "./parallel.ts";
import { Patience } from "./patience.ts";
import type { LockRecord } from "./record.ts";

/** A batch whose keys were tried for. Everything is by the index of its record. */
export interface AcquiredBatch {
  readonly places: readonly Place[];
  readonly plans: readonly Plan[];
  readonly locks: readonly (Lock | undefined)[];
  /** Why records come back, where that is known. */
  readonly reasons: ReadonlyMap<number, unknown>;
}

export interface BatchRequest {
  readonly caller: string;
  readonly locks: LockClient;
  readonly disabled: boolean;
  readonly options: DynamoLockBatchOptions;
  readonly records: readonly unknown[];
  readonly batch: Batch;
  readonly context: Context;
  readonly execution: Execution;
}

/**
 * Takes what is free, in the order of the batch and `concurrency` at a time: also what lies behind a record whose reply is still on its
 * way, and gives that back if the record is not to be had.
 *
 * @throws LockTableError and LockOptionsError, which no record is to blame for, and the fault of a DynamoDB that answered nothing;
 * with everything given back.
 */
export const acquireBatch = async (request: BatchRequest): Promise<AcquiredBatch> => {
  const acquiring = new Acquiring(request);
  await acquiring.acquire();
  return acquiring.plan();
};

class Acquiring {
  readonly #request: BatchRequest;
  readonly #keys: (string | undefined)[] = [];
  readonly #places: Place[] = [];
  readonly #wishes: Wish[] = [];
  readonly #locks: (Lock | undefined)[] = [];
  readonly #finished = new Map<number, LockRecord>();
  readonly #reasons = new Map<number, unknown>();
  readonly #stopped = new Set<string>();
  readonly #patience = new Patience();
  /** What is wrong with all of them. */
  #fatal: unknown;

  constructor(request: BatchRequest) {
    this.#request = request;
    const first = new Map<string, number>();
    for (const [index, { group, identifier }] of request.batch.items.entries()) {
      const key = this.#keyOf(index);
      this.#keys[index] = key;
      const names = [`id ${identifier}`, ...(key === undefined ? [] : [`key ${key}`])];
      const leader = names.map((name) => first.get(name)).find((found) => found !== undefined);
      if (leader === undefined && !this.#reasons.has(index)) for (const name of names) first.set(name, index);
      this.#places[index] = { group, leader };
    }
  }

  async acquire(): Promise<void> {
    const { concurrency = DEFAULT_CONCURRENCY } = this.#request.options;
    await inParallel(this.#due(), concurrency, (index) => this.#attempt(index));
    const error = this.#fatal ?? this.#patience.onlyFault;
    if (error === undefined) return;
    await this.#giveBack(this.#locks);
    throw error;
  }

  async plan(): Promise<AcquiredBatch> {
    const { locks } = this.#request;
    const owned = this.#wishes.filter((wish) => wish === "owned").length;
    const isLate = owned > 0 && this.#isLate;
    if (isLate) this.#reportNotStarted(owned, "time");
    const plans = planBatch(this.#places, (index) => {
      const wish = this.#wishes[index] as Wish;
      return isLate && wish === "owned" ? "blocked" : wish;
    });
    for (const [index, record] of this.#finished) if (plans[index] === "drop") locks.reportDropped(record);
    await this.#giveBack(this.#locks.filter((_lock, index) => plans[index] !== "run"));
    return { places: this.#places, plans, locks: this.#locks, reasons: this.#reasons };
  }

  /** The key as stored; nothing for a record that runs without one, that follows another, or that has failed by now. */
  #keyOf(index: number): string | undefined {
    const { options, records, batch, context, execution, locks, disabled } = this.#request;
    this.#wishes[index] = "blocked";
    try {
      const key = disabled ? batch.items[index]?.identifier : options.key(records[index], context);
      if (isMissing(key) && options.onMissingKey === "run") {
        this.#wishes[index] = "owned";
        return undefined;
      }
      return toStoredKey(key, options.namespace ?? locks.internals.namespace ?? execution.functionName);
    } catch (error) {
      this.#reasons.set(index, error);
      this.#reportFailed(index, error);
      return undefined;
    }
  }

  /** The records whose turn it is: none behind one that comes back. */
  *#due(): Generator<number> {
    let untried = 0;
    let reason: NotStartedReason | undefined;
    for (const [index, { group, leader }] of this.#places.entries()) {
      if (this.#reasons.has(index) && group !== undefined) this.#stopped.add(group);
      if (this.#keys[index] === undefined || leader !== undefined) continue;
      if (this.#fatal !== undefined) return;
      if (group !== undefined && this.#stopped.has(group)) continue;
      if (this.#isLate) reason = "time";
      else if (this.#patience.isOver) reason = "faults";
      if (reason) untried++;
      else yield index;
    }
    if (reason) this.#reportNotStarted(untried, reason);
  }

  async #attempt(index: number): Promise<void> {
    const { caller, locks } = this.#request;
    try {
      const reply = await locks.attempt(caller, [this.#keys[index] as string], this.#acquisitionOf(index));
      this.#patience.answered();
      if (reply instanceof Lock) {
        this.#locks[index] = reply;
        this.#wishes[index] = "owned";
      } else if (reply.finished) {
        this.#finished.set(index, reply.finished);
        this.#wishes[index] = "finished";
      } else {
        locks.reportHeld(reply.record);
        this.#blocked(index, new LockHeldError(reply.record));
      }
    } catch (error) {
      if (error instanceof LockTableError || error instanceof LockOptionsError) {
        this.#fatal ??= error;
        return;
      }
      this.#patience.failed(error);
      if (error instanceof PayloadMismatchError || (error instanceof LockTimeoutError && error.record))
        this.#blocked(index, error); // and reported
      else {
        this.#blocked(index, error);
        this.#reportFailed(index, error);
      }
    }
  }

  #acquisitionOf(index: number) {
    const { options, records, context, execution } = this.#request;
    const { heartbeatMs, expiry, onLost, fingerprint, reserveMs = DEFAULT_RESERVE_MS } = options;
    const record = records[index];
    const leaseMs = typeof options.leaseMs === "function" ? options.leaseMs(record) : options.leaseMs;
    const complaint = leaseMs === undefined ? undefined : milliseconds(1)(leaseMs);
    if (complaint) throw new LockOptionsError(`${this.#request.caller}: leaseMs ${complaint}, got ${leaseMs}`);
    return {
      ...leaseOf({ leaseMs, heartbeatMs }, execution),
      owner: ownerOf(options.owner, [record, context], execution),
      fingerprint: fingerprint && toFingerprint(fingerprint(record, context)),
      expiry,
      onLost,
      waitMs: waitOf(options.waitMs, reserveMs, execution),
    };
  }

  /** The record comes back, and what of its group is not begun yet doesn't have to be. */
  #blocked(index: number, reason: unknown): void {
    const { group } = this.#places[index] as Place;
    this.#reasons.set(index, reason);
    if (group !== undefined) this.#stopped.add(group);
  }

  #reportFailed(index: number, error: unknown): void {
    const { batch, locks } = this.#request;
    const { identifier } = batch.items[index] as BatchItem;
    locks.internals.report({ type: "record-failed", identifier, error });
  }

  async #giveBack(locks: readonly (Lock | undefined)[]): Promise<void> {
    const { concurrency = DEFAULT_CONCURRENCY } = this.#request.options;
    const held = locks.filter((lock) => lock !== undefined);
    await inParallel(held, concurrency, (lock) => lock[Symbol.asyncDispose]());
  }

  get #isLate(): boolean {
    const { options, execution } = this.#request;
    return (execution.remainingMs?.() ?? Number.POSITIVE_INFINITY) < (options.reserveMs ?? DEFAULT_RESERVE_MS);
  }

  #reportNotStarted(records: number, reason: NotStartedReason): void {
    this.#request.locks.internals.report({ type: "not-started", records, reason });
  }
}
