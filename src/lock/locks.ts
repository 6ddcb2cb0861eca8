/** All doors stand on this: one table, with all that is known of it, and the answers to repeats from its records. */
import { randomUUID } from "node:crypto";
import { type Clock, systemClock } from "../common/clock.ts";
import { LockTableError, PayloadMismatchError, ReplayedError } from "../common/errors.ts";
import type { LockEvent } from "../common/events.ts";
import type { LockRecord } from "../common/record.ts";
import { createReporter, type Reporter } from "../common/report.ts";
import { Table } from "../dynamodb/table.ts";
import type { Connect, Transport } from "../dynamodb/transport.ts";
import { FinishedCache } from "./finished-cache.ts";
import { type LayoutOptions, layoutOf } from "./layout.ts";
import type { LeaseOptions } from "./lease-options.ts";
import type { Lock } from "./lock.ts";
import type { SettleTime } from "./lock-writes.ts";
import {
  DEFAULTS,
  type RememberOptions,
  type ReportOptions,
  type SettleTimeOptions,
  type TableOptions,
} from "./options.ts";
import type { Refused } from "./refused.ts";
import { Watch } from "./watch.ts";

/** Options that have been checked by a door. */
export interface LocksOptions
  extends TableOptions,
    LayoutOptions,
    ReportOptions,
    RememberOptions,
    LeaseOptions,
    SettleTimeOptions {
  readonly namespace?: string | undefined;
  readonly owner?: string | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: (() => number) | undefined;
}

export interface LocksParts {
  /** How DynamoDB is reached, or a table that knows. */
  readonly over: Connect<never> | Table;
  /** Wraps what may find the table missing. */
  readonly withTable?: (<T>(request: () => Promise<T>) => Promise<T>) | undefined;
}

export class Locks {
  readonly options: LocksOptions;
  readonly transport: Transport;
  readonly table: Table;
  readonly clock: Clock;
  readonly random: () => number;
  readonly report: Reporter;
  readonly clockSkewMs: number;
  /** The locks that are held, and may have to be given back. */
  readonly held = new Set<Lock>();
  /** What is under way, and may end up with a key: an acquisition, or a commit without a lock. */
  readonly acquiring = new Set<Promise<unknown>>();
  readonly closing = new AbortController();
  readonly owner: string;
  readonly cache: FinishedCache | undefined;
  readonly watch: Watch;
  /** One that is aborted with `closing`, too, for each signal of a caller's: a batch has thousands. */
  readonly signals = new WeakMap<AbortSignal, AbortSignal>();
  readonly withTable: <T>(request: () => Promise<T>) => Promise<T>;

  /** Takes options that a door has checked. */
  constructor(options: LocksOptions, { over, withTable = (request) => request() }: LocksParts) {
    const { clock = systemClock, random = Math.random, owner = randomUUID(), cacheSize } = options;
    this.options = options;
    this.clock = clock;
    this.random = random;
    this.clockSkewMs = options.clockSkewMs ?? DEFAULTS.clockSkewMs;
    this.report = createReporter(options);
    this.table = over instanceof Table ? over : new Table(over(options as never), layoutOf(options), clock, random);
    this.transport = this.table.transport;
    this.owner = owner;
    this.cache = cacheSize ? new FinishedCache(cacheSize, clock) : undefined;
    this.watch = new Watch(clock);
    this.withTable = withTable;
  }

  /** For local work: every key is free, and nothing is sent but what the application commits. */
  get standIn(): Locks {
    const { transport, layout } = this.table;
    return new Locks({}, { over: new Table(transport, layout, systemClock, Math.random, true) });
  }

  /**
   * The record to answer a repeat from, if one run has finished all the keys.
   *
   * @throws PayloadMismatchError if that run had the keys in another order, or with other repeats:
   * it did something else.
   */
  finishedBy(refused: Refused): LockRecord | undefined {
    const { finished } = refused;
    if (!finished || !refused.isOfAnotherList) return finished;
    this.reportMismatch(finished);
    throw new PayloadMismatchError(finished, "in another order, or another number of times");
  }

  /**
   * The stored response of a finished record; throws `ReplayedError` if the run failed for good.
   */
  async replay(finished: LockRecord, headers?: Record<string, string>): Promise<unknown> {
    const record = await this.withResult(finished);
    const isUnreadable = record.unreadable?.some((field) => field !== "data");
    const isGone = record.resultKey && !record.result;
    if (isUnreadable || isGone) {
      const why = isUnreadable
        ? "can't be read: a newer version of this package wrote it, or something else did. The key stays finished, and nothing ran"
        : "is gone from beside its record: something else deletes in this table";
      throw new LockTableError(`The stored response of key ${JSON.stringify(record.key)} ${why}`);
    }
    this.#report(record, { type: "replayed", responseStored: record.result !== undefined });
    if (record.failure) throw new ReplayedError(record.failure, headers);
    return record.result?.value;
  }

  /** With the response that stands beside it, if it is still there. */
  async withResult(record: LockRecord): Promise<LockRecord> {
    const whole = await this.table.withResult(record);
    if (whole.result) this.cache?.complete(whole);
    return whole;
  }

  /** From now. `leftMs`: no longer than that. */
  settleTime(settleMs = this.options.settleMs ?? DEFAULTS.settleMs, leftMs = Number.POSITIVE_INFINITY): SettleTime {
    const ms = Math.max(settleMs, this.transport.requestMs());
    return { until: this.clock.monotonic() + Math.min(ms, leftMs), retries: settleMs > 0 ? "all" : "conflicts" };
  }

  async read(key: string): Promise<LockRecord | undefined> {
    const record = await this.withTable(() => this.table.read(key));
    if (record) this.watch.see(record);
    return record;
  }

  /** Forgets a finished record that is not as it was. */
  forget(key: string): void {
    this.cache?.delete(key);
  }

  reportHeld(record: LockRecord): void {
    const { status, expiresAt } = record;
    this.#report(record, { type: "held", status, expiresAt });
  }

  reportDropped(record: LockRecord): void {
    this.#report(record, { type: "dropped" });
  }

  reportMismatch(record: LockRecord): void {
    this.#report(record, { type: "payload-mismatch", status: record.status });
  }

  #report({ key, owner, token, fencingToken, acquiredAt }: LockRecord, event: object): void {
    const elapsedMs = this.clock.now() - acquiredAt;
    this.report({ ...event, key, owner, token, fencingToken, elapsedMs } as LockEvent);
  }
}

/**
 * By it, a `LockClient` is known, also one of another copy of this package. The number is that of
 * what it gives.
 */
export const LOCKS: unique symbol = Symbol.for("middy-dynamo-lock.locks.1");

/** A `LockClient`, of this copy of the package or of another. */
export interface LockClientLike {
  readonly [LOCKS]: object;
}

/**
 * The locks of a `LockClient`, if it is one, and no imitation: a proxy around a client can't reach
 * what is private to it.
 */
export const locksIn = (client: unknown): Locks | undefined => {
  try {
    const locks = (Object(client) as { [LOCKS]?: Locks })[LOCKS];
    return locks?.held instanceof Set ? locks : undefined; // a mock may answer to every name
  } catch {
    return undefined;
  }
};
