import type { Context } from "aws-lambda";
import { LockBatchError, LockLostError } from "../common/errors.ts";
import type { KeptReason } from "../common/events.ts";
import { inParallel } from "../common/parallel.ts";
import { contextOfRun, tokensIn } from "../lambda/context.ts";
import { describeExecution, patienceOf, timeUntil } from "../lambda/execution.ts";
import { locksOf } from "../lambda/locks-of.ts";
import { checkInvocation } from "../lambda/options.ts";
import type { Lock } from "../lock/lock.ts";
import { type AcquiredBatch, acquireBatch } from "./acquire.ts";
import {
  BATCH_DEFAULTS,
  type BatchLocks,
  DYNAMO_LOCK_BATCH_RULES,
  type DynamoLockBatchOptions,
  RESPONSE_RESERVE_MS,
} from "./options.ts";
import { concludeBatch, type Outcome } from "./order.ts";
import { type BatchResponse, type Failures, failuresOf } from "./outcome.ts";
import { Patience } from "./patience.ts";
import { type BatchItem, readBatch } from "./source.ts";
import type { BatchRequest } from "./wanted.ts";

/** Checks the options, and gives what takes the locks of a batch. */
export const createBatchGuard = (caller: string, options: DynamoLockBatchOptions) => {
  checkInvocation(caller, options, DYNAMO_LOCK_BATCH_RULES);
  const locksInUse = locksOf(caller, options);

  return async (event: unknown, context: Context): Promise<{ readonly run: BatchRun; readonly context: Context }> => {
    const { locks, disabled } = locksInUse();
    const batch = readBatch(event);
    const execution = describeExecution(context);
    if (execution.durableArn !== undefined) {
      throw new LockBatchError(
        "a durable execution would get other records each time it is resumed: start one for each record, under dynamoLock",
      );
    }
    const { Records: records } = event as { Records: readonly unknown[] };
    const around = tokensIn(context);
    const request = { caller, options, locks, disabled, records, batch, context, execution, around };
    const run = new BatchRun(request, await acquireBatch(request));
    try {
      return { run, context: contextOfRun(context, "locks", run.locks, run.tokens) };
    } catch (error) {
      await run.fail(); // a context that can't be made must not leave the keys taken
      throw error;
    }
  };
};

/** A batch between the acquisition of its keys and their settlement, which happens once. */
export class BatchRun {
  /** The handler's records, in the order of the batch. */
  readonly records: readonly unknown[];
  readonly locks: BatchLocks<unknown, Lock | undefined>;
  readonly #request: BatchRequest;
  readonly #acquired: AcquiredBatch;
  /** The records that the handler is given, by their place in the batch. */
  readonly #given: readonly number[];
  readonly #all: ReadonlySet<unknown>;
  /** Most often one each: a record may be there twice, and several may share an identifier. */
  readonly #byRecord: ReadonlyMap<unknown, readonly number[]>;
  readonly #byIdentifier: ReadonlyMap<unknown, readonly number[]>;

  constructor(request: BatchRequest, acquired: AcquiredBatch) {
    const { records } = request;
    this.#request = request;
    this.#acquired = acquired;
    this.#given = [...acquired.plans.keys()].filter((index) => acquired.plans[index] === "run");
    this.records = this.#given.map((index) => records[index]);
    this.#all = new Set(records);
    this.#byRecord = Map.groupBy(this.#given, (index) => records[index]);
    this.#byIdentifier = Map.groupBy(this.#given, (index) => this.#identifierOf(index));
    this.locks = { get: (record) => this.#lockOf(record) };
  }

  /**
   * Finishes what succeeded, releases what failed, and what is behind that; gives the response to Lambda. `event` is the handler's.
   *
   * @throws LockBatchError if `response` doesn't tell what failed; everything is released then.
   */
  async settle(response: unknown, event?: unknown): Promise<BatchResponse> {
    const identifiers = this.#given.map((index) => this.#identifierOf(index));
    const unawaited = await this.#awaitCalls();
    let failures: Failures;
    try {
      failures = failuresOf(response, identifiers, this.#orderIn(event));
    } catch (error) {
      await this.#settleEach([], unawaited.hanging);
      throw error;
    }
    const { failed, hanging } = unawaited;
    const outcomes = this.#conclude((index) => failed.has(index) || failures.has(this.#identifierOf(index)));
    await this.#settleEach(outcomes, hanging);
    this.#reportFollowers(outcomes);
    return this.#response(outcomes, (index) => failed.get(index) ?? failures.get(this.#identifierOf(index)));
  }

  get tokens(): string[] {
    return this.#given.flatMap((index) => this.#acquired.locks[index]?.token ?? []);
  }

  /** The handler failed, and says nothing of single records. */
  async fail(): Promise<void> {
    const { hanging } = await this.#awaitCalls();
    await this.#settleEach([], hanging);
  }

  /** Waits for what the handler has begun on its locks and not awaited. A record whose commit fails, or hangs, has failed. */
  async #awaitCalls(): Promise<{ failed: Map<number, unknown>; hanging: Set<Lock> }> {
    const failed = new Map<number, unknown>();
    const hanging = new Set<Lock>();
    const ms = patienceOf(this.#request.execution);
    const wait = async (index: number) => {
      const lock = this.#acquired.locks[index];
      const unawaited = await lock?.unawaited(ms);
      if (lock && unawaited?.hangs) hanging.add(lock);
      if (unawaited?.failure) failed.set(index, unawaited.failure.error);
    };
    await Promise.all(this.#given.map(wait));
    return { failed, hanging };
  }

  /** The handler may go on, but not under these locks. What it has not finished itself comes back. */
  abandon(kept: KeptReason): BatchResponse {
    for (const index of this.#given) {
      const lock = this.#acquired.locks[index];
      if (lock && !isSettled(lock)) lock.abandon(kept, new LockLostError(lock.key, "expired"));
    }
    const outcomes = this.#conclude((index) => this.#acquired.locks[index]?.status !== "finished");
    return this.#response(outcomes, () => undefined);
  }

  /**
   * A record itself is known by that, also if the handler has changed it; a copy by its identifier,
   * if only one record has that.
   */
  #lockOf(record: unknown): Lock | undefined {
    const { batch } = this.#request;
    const itself = this.#byRecord.get(record);
    const identifier = batch.identify(record);
    const found = itself ?? (this.#all.has(record) ? [] : (this.#byIdentifier.get(identifier) ?? []));
    const [lock, ...others] = new Set(found.map((index) => this.#acquired.locks[index]));
    if (found.length === 0) {
      throw new LockBatchError("context.locks.get: this is none of the records that the handler was given");
    }
    if (others.length === 0) return lock;
    throw new LockBatchError(
      itself
        ? "context.locks.get: the batch has this record several times, under different keys"
        : `context.locks.get: this is a copy of a record, and ${found.length} records of the batch have its identifier ${identifier}: ` +
            "give the record itself, as it is in event.Records",
    );
  }

  #identifierOf(index: number): string {
    return (this.#request.batch.items[index] as BatchItem).identifier;
  }

  /** Undefined if a middleware behind us has replaced the event with one of another shape. */
  #orderIn(event: unknown): unknown[] | undefined {
    const { Records: records } = Object(event) as { Records?: unknown };
    if (!Array.isArray(records)) return undefined;
    return records.map((record) => {
      const [index] = this.#byRecord.get(record) ?? [];
      return index === undefined ? this.#request.batch.identify(record) : this.#identifierOf(index);
    });
  }

  #conclude(hasFailed: (index: number) => boolean): Outcome[] {
    const { places, plans } = this.#acquired;
    return concludeBatch(places, plans, hasFailed);
  }

  /**
   * Finishes where the outcome says so, and releases the rest. Lanes side by side, each in its order: after a crash, nothing is finished
   * ahead of an earlier record about the same thing, which would run again after it. Nor is anything behind a finish of which nobody
   * knows whether it applied. What a lock can't do it reports, and the response tells what the handler did.
   */
  async #settleEach(outcomes: readonly Outcome[], hanging: ReadonlySet<Lock>): Promise<void> {
    const { options, batch, execution, locks } = this.#request;
    const { concurrency = BATCH_DEFAULTS.concurrency } = options;
    const lanes = Map.groupBy(this.#given, (index) => batch.items[index]?.lane ?? index);
    const left = new Set(this.#given.flatMap((index) => this.#acquired.locks[index] ?? []));
    const patience = new Patience();
    let isOver = false;
    const settleLane = async (lane: readonly number[]) => {
      let isBroken = false;
      for (const index of lane) {
        const lock = this.#acquired.locks[index];
        const isFinish = outcomes[index] === "finish";
        if (!lock || (isBroken && isFinish)) continue;
        if (hanging.has(lock)) {
          isBroken = true; // nobody knows what becomes of it
          continue;
        }
        if (isOver || patience.isOver) return;
        await (isFinish ? lock.finish() : lock.release()).then(
          () => patience.answered(),
          (error: unknown) => {
            patience.failed(error);
            isBroken ||= !(error instanceof LockLostError);
          },
        );
        left.delete(lock);
      }
    };
    const limit = { clock: locks.clock, ms: timeUntil(RESPONSE_RESERVE_MS, execution) };
    await inParallel(lanes.values(), concurrency, settleLane, limit);
    isOver = true;
    for (const lock of left) if (!isSettled(lock)) lock.abandon("unsettled");
  }

  #reportFollowers(outcomes: readonly Outcome[]): void {
    const { plans, places, locks } = this.#acquired;
    for (const [index, outcome] of outcomes.entries()) {
      const lock = plans[index] === "follow" && outcome === "drop" && locks[places[index]?.leader as number];
      if (!lock) continue;
      const { key, owner, token, fencingToken, elapsedMs } = lock;
      this.#request.locks.report({ type: "dropped", key, owner, token, fencingToken, elapsedMs });
    }
  }

  #response(outcomes: readonly Outcome[], reasonOf: (index: number) => unknown): BatchResponse {
    const { batch } = this.#request;
    const identifiers = batch.items.flatMap(({ identifier }, index) =>
      outcomes[index] === "return" ? identifier : [],
    );
    const returned = batch.fromLowest ? lowestOf(identifiers) : [...new Set(identifiers)];
    const response = { batchItemFailures: returned.map((itemIdentifier) => ({ itemIdentifier })) };
    if (batch.fromLowest) return response;
    return withResults(response, outcomes, (index) => reasonOf(index) ?? this.#acquired.reasons.get(index));
  }
}

/**
 * Sequence numbers are whole numbers of many digits. The first record that comes back need not have
 * the lowest: a middleware may have sorted the records, and several may have one number.
 */
const lowestOf = (sequenceNumbers: readonly string[]): string[] =>
  sequenceNumbers.toSorted((a, b) => a.length - b.length || (a < b ? -1 : 1)).slice(0, 1);

const isSettled = ({ status }: Lock): boolean => status !== "held" && status !== "expired";

/**
 * For a `@middy/sqs-partial-batch-failure` that was registered before us: its `after` runs when ours has made the response, and reads from
 * it a result for each record of the event. They can't be enumerated, so that Lambda sees nothing of them.
 */
const withResults = (
  response: BatchResponse,
  outcomes: readonly Outcome[],
  reasonOf: (index: number) => unknown,
): BatchResponse => {
  for (const [index, outcome] of outcomes.entries()) {
    const value =
      outcome === "return"
        ? { status: "rejected", reason: reasonOf(index) }
        : { status: "fulfilled", value: undefined };
    Object.defineProperty(response, index, { value });
  }
  return response;
};
