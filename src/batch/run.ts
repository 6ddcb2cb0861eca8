import type { Context } from "aws-lambda";
import { LockBatchError, LockLostError } from "../common/errors.ts";
import type { KeptReason } from "../common/events.ts";
import type { Connect } from "../dynamodb/transport.ts";
import { contextOfRun, tokensIn } from "../lambda/context.ts";
import { describeExecution, patienceOf, settleTimeOf } from "../lambda/execution.ts";
import { locksOf } from "../lambda/locks-of.ts";
import { checkInvocation } from "../lambda/options.ts";
import { isStream, refuseStreaming } from "../lambda/streams.ts";
import type { Lock } from "../lock/lock.ts";
import { acquireBatch } from "./acquire.ts";
import { bulkTableOf } from "./bulk.ts";
import { type BatchItem, type BatchRequest, toItems } from "./item.ts";
import { type BatchLocks, DYNAMO_LOCK_BATCH_RULES, type DynamoLockBatchOptions } from "./options.ts";
import { concludeBatch } from "./order.ts";
import { type BatchResponse, failuresOf } from "./outcome.ts";
import { respond } from "./respond.ts";
import { isSettled, settleItems } from "./settle.ts";
import { readBatch } from "./source.ts";

/** Checks the options, and gives the function that takes the locks of a batch. */
export const createBatchGuard = (caller: string, options: DynamoLockBatchOptions, connect: Connect<never>) => {
  checkInvocation(caller, options, DYNAMO_LOCK_BATCH_RULES);
  const locksInUse = locksOf(caller, options, connect);

  return async (event: unknown, context: Context): Promise<{ readonly run: BatchRun; readonly context: Context }> => {
    const { locks, disabled } = locksInUse();
    const batch = readBatch(event);
    const execution = describeExecution(context);
    if (execution.durableArn !== undefined) {
      throw new LockBatchError(
        "a durable execution would get other records each time it is resumed: start one for each record, under dynamoLock",
      );
    }
    const { clock, report } = locks;
    const around = tokensIn(context);
    const settleTime = settleTimeOf(options.settleMs, locks, execution);
    const table = options.bulk && !disabled ? bulkTableOf(locks) : undefined;
    const parts = { caller, options, locks, table, clock, report, disabled, batch, context, execution, around };
    const request: BatchRequest = { ...parts, settleTime, underWay: new Set() };
    const items = toItems(request);
    await acquireBatch(request, items);
    const run = new BatchRun(request, items);
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
  /** The records that the handler is given, in the order of the batch. */
  readonly records: readonly unknown[];
  readonly locks: BatchLocks<unknown, Lock | undefined>;
  readonly tokens: readonly string[];
  readonly #request: BatchRequest;
  readonly #items: readonly BatchItem[];
  /** The items of the records that the handler is given. */
  readonly #given: readonly BatchItem[];
  /** Most often one each: a record may be there twice, and several may share an identifier. */
  readonly #byRecord: ReadonlyMap<unknown, readonly BatchItem[]>;
  readonly #byIdentifier: ReadonlyMap<unknown, readonly BatchItem[]>;

  constructor(request: BatchRequest, items: readonly BatchItem[]) {
    this.#request = request;
    this.#items = items;
    this.#given = items.filter(({ plan }) => plan === "run");
    this.#byRecord = Map.groupBy(items, ({ record }) => record);
    this.#byIdentifier = Map.groupBy(items, ({ identifier }) => identifier);
    this.records = this.#given.map(({ record }) => record);
    this.locks = { get: (record) => this.#lockOf(record) };
    this.tokens = this.#given.flatMap(({ lock }) => lock?.token ?? []);
  }

  /**
   * Finishes what succeeded, and releases what failed and what is behind that. Gives the response
   * to Lambda. `event` is the handler's.
   *
   * @throws LockBatchError if `response` doesn't tell what failed, after everything was released;
   * LockError if it is a stream, under which everything is left to its lease.
   */
  async settle(response: unknown, event?: unknown): Promise<BatchResponse> {
    if (isStream(response)) {
      this.abandon("streaming");
      throw refuseStreaming();
    }
    await this.#awaitCalls();
    try {
      const identifiers = this.#given.map(({ identifier }) => identifier);
      for (const [identifier, error] of failuresOf(response, identifiers, this.#orderIn(event))) {
        for (const item of this.#byIdentifier.get(identifier) ?? []) item.failure ??= { error };
      }
    } catch (error) {
      await settleItems(this.#request, this.#given);
      throw error;
    }
    concludeBatch(this.#items);
    await settleItems(this.#request, this.#given);
    this.#reportFollowers();
    return respond(this.#request.batch, this.#items);
  }

  /** The handler failed, and says nothing of single records. */
  async fail(): Promise<void> {
    await this.#awaitCalls();
    await settleItems(this.#request, this.#given);
  }

  /**
   * The handler may go on, but not under these locks. What it has not finished itself comes back.
   */
  abandon(kept: KeptReason): BatchResponse {
    for (const item of this.#given) {
      const { lock } = item;
      if (lock && !isSettled(lock)) lock.abandon(kept, new LockLostError(lock.key, "expired"));
      if (lock?.status !== "finished") item.failure = { error: undefined };
    }
    concludeBatch(this.#items);
    return respond(this.#request.batch, this.#items);
  }

  /**
   * Waits for what the handler has begun on its locks and not awaited. A record whose commit fails,
   * or hangs, has failed.
   */
  async #awaitCalls(): Promise<void> {
    const ms = patienceOf(this.#request.execution);
    const wait = async (item: BatchItem) => {
      const unawaited = await item.lock?.unawaited(ms);
      item.failure = unawaited?.failure;
      item.hangs = unawaited?.hangs;
    };
    await Promise.all(this.#given.map(wait));
  }

  /**
   * A record is known by itself, also if the handler has changed it. A copy is known by its
   * identifier, if no other has that.
   */
  #lockOf(record: unknown): Lock | undefined {
    const itself = this.#byRecord.get(record);
    const all = itself ?? this.#byIdentifier.get(this.#request.batch.identify(record)) ?? [];
    const found = all.filter(({ plan }) => plan === "run");
    const [lock, ...others] = new Set(found.map((item) => item.lock));
    if (found.length > 0 && others.length === 0) return lock;
    throw new LockBatchError(
      `context.locks.get: ${
        found.length === 0
          ? "this is none of the records that the handler was given"
          : itself
            ? "the batch has this record several times, under different keys"
            : `this is a copy of a record, and ${found.length} records have its identifier ${found[0]?.identifier}: ` +
              "give the record itself, as it is in event.Records"
      }`,
    );
  }

  /** Undefined if a later middleware has replaced the event with one of another shape. */
  #orderIn(event: unknown): unknown[] | undefined {
    const { Records: records } = Object(event) as { Records?: unknown };
    if (!Array.isArray(records)) return undefined;
    return records.map((record) => this.#byRecord.get(record)?.[0]?.identifier ?? this.#request.batch.identify(record));
  }

  /** Reports the repeats within the batch that are acknowledged. */
  #reportFollowers(): void {
    for (const { plan, outcome, leader } of this.#items) {
      if (plan !== "follow" || outcome !== "drop" || !leader?.lock) continue;
      const { key, owner, token, fencingToken, elapsedMs } = leader.lock;
      this.#request.report({ type: "dropped", key, owner, token, fencingToken, elapsedMs });
    }
  }
}
