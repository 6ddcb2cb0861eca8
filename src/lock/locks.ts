/** All doors stand on this: it takes locks on one table, and answers repeats from its records. */
import { randomUUID } from "node:crypto";
import { type Clock, systemClock } from "../common/clock.ts";
import { LockTableError, LockTimeoutError, PayloadMismatchError, ReplayedError } from "../common/errors.ts";
import type { LockEvent } from "../common/events.ts";
import { findMismatch, toFingerprint } from "../common/fingerprint.ts";
import { encodeData } from "../common/json.ts";
import type { Keys } from "../common/key.ts";
import type { LockRecord } from "../common/record.ts";
import { createReporter, type Reporter } from "../common/report.ts";
import { fromStorable } from "../common/result.ts";
import { createTransport, toTransport } from "../dynamodb/aws-sdk.ts";
import { Table } from "../dynamodb/table.ts";
import type { Commands, Transport } from "../dynamodb/transport.ts";
import { keyOf } from "../protocol/expression.ts";
import { attributeOf, toAttribute } from "../protocol/fields.ts";
import { acquire as acquireWrite, settle } from "../protocol/writes.ts";
import { type Acquisition, acquire, type Wanted } from "./acquire.ts";
import { FinishedCache } from "./finished-cache.ts";
import { heldHere } from "./held-here.ts";
import { type LayoutOptions, layoutOf } from "./layout.ts";
import type { LeaseTimers } from "./lease.ts";
import type { LeaseOptions, LossOptions, WaitOptions } from "./lease-options.ts";
import { Lock } from "./lock.ts";
import type { PreparedEnding, SettleTime } from "./lock-writes.ts";
import {
  DEFAULTS,
  type RememberOptions,
  type ReportOptions,
  type SettleTimeOptions,
  type TableOptions,
} from "./options.ts";
import { Refused } from "./refused.ts";
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

/** Each may be left out, or `undefined`. */
type Unset<T> = { readonly [Name in keyof T]?: T[Name] | undefined };

/** The request of a door. Its keys are as stored. */
export interface AttemptOptions
  extends Unset<
      Omit<Wanted, "keys" | "keyList" | "token" | "leaseMs" | "isOfInvocation" | "data" | "waitMs" | "expiry">
    >,
    Omit<LeaseOptions, "leaseMs">,
    WaitOptions,
    LossOptions,
    RememberOptions,
    SettleTimeOptions,
    Pick<LeaseTimers, "inTurn"> {
  /** Another way to the same table. */
  readonly table?: Table | undefined;
  /** In place of `settleMs` from now. */
  readonly settleTime?: (() => SettleTime) | undefined;
  /** A function, for a lease that shrinks while it is waited for. */
  readonly leaseMs?: number | (() => number) | undefined;
  readonly data?: unknown;
  readonly safeMs?: number | undefined;
  readonly onExpiring?: ((lock: Lock) => void) | undefined;
}

export interface LocksParts {
  /** Wraps what may find the table missing. */
  readonly withTable?: (<T>(request: () => Promise<T>) => Promise<T>) | undefined;
  /** Commands that are sent beside those that locks need. */
  readonly commands?: Commands | undefined;
  /** In place of the table of the options. */
  readonly table?: Table | undefined;
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
  readonly acquiring = new Set<Promise<unknown>>();
  readonly closing = new AbortController();
  readonly owner: string;
  readonly cache: FinishedCache | undefined;
  readonly watch: Watch;
  readonly #signals = new WeakMap<AbortSignal, AbortSignal>();
  readonly withTable: <T>(request: () => Promise<T>) => Promise<T>;

  /** Takes options that a door has checked. */
  constructor(options: LocksOptions, { withTable = (request) => request(), commands, table }: LocksParts = {}) {
    const { clock = systemClock, random = Math.random, owner = randomUUID(), client, cacheSize } = options;
    this.options = options;
    this.clock = clock;
    this.random = random;
    this.clockSkewMs = options.clockSkewMs ?? DEFAULTS.clockSkewMs;
    this.report = createReporter(options);
    this.transport =
      table?.transport ?? (client ? toTransport(client, commands) : createTransport(options.clientConfig, commands));
    this.table = table ?? new Table(this.transport, layoutOf(options), clock, random);
    this.owner = owner;
    this.cache = cacheSize ? new FinishedCache(cacheSize, clock) : undefined;
    this.watch = new Watch(clock);
    this.withTable = withTable;
  }

  /** For local work: every key is free, and nothing is sent but what the application commits. */
  get standIn(): Locks {
    const { transport, layout } = this.table;
    return new Locks({}, { table: new Table(transport, layout, systemClock, Math.random, true) });
  }

  /** The lock, or what stands in its way. */
  async attempt(asked: Keys, options: AttemptOptions): Promise<Lock | Refused> {
    const { signal: closing } = this.closing;
    closing.throwIfAborted();
    const begunAt = this.clock.monotonic();
    const { options: defaults, clockSkewMs } = this;
    const { leaseMs = defaults.leaseMs ?? DEFAULTS.leaseMs, signal, force, fingerprint } = options;
    const wanted: Wanted = {
      ...options,
      keys: [...new Set(asked)] as unknown as Keys,
      keyList: asked.length > 1 ? toFingerprint(asked) : undefined,
      token: randomUUID(),
      owner: options.owner ?? this.owner,
      leaseMs: typeof leaseMs === "number" ? () => leaseMs : leaseMs,
      isOfInvocation: typeof leaseMs !== "number",
      withinMs: options.withinMs ?? Number.POSITIVE_INFINITY,
      clockSkewMs,
      waitMs: options.waitMs ?? 0,
      backoff: options.backoff ?? DEFAULTS.backoff,
      expiry: options.expiry ?? defaults.expiry,
      signal: signal ? this.#orClosing(signal) : closing,
      data: encodeData(options.data),
    };
    const [key] = wanted.keys;
    const isOne = wanted.keys.length === 1;
    const generation = this.cache?.generation(key);
    const cached = isOne && !force ? this.cache?.get(key) : undefined;
    const acquiring = (async () => {
      if (!cached) return this.withTable(() => acquire({ ...this.#contextOf(options), watch: this.watch }, wanted));
      if (findMismatch(fingerprint, [cached])) throw new PayloadMismatchError(cached);
      return [cached];
    })();
    this.acquiring.add(acquiring);
    try {
      const outcome = await acquiring;
      if (!("length" in outcome)) return this.#hold(wanted, outcome, options, begunAt);
      if (isOne) for (const record of outcome) this.cache?.set(record, generation);
      return new Refused(outcome, wanted);
    } catch (error) {
      if (force) for (const each of wanted.keys) this.forget(each); // it may have been taken
      if (error instanceof LockTimeoutError && error.record) this.reportHeld(error.record);
      if (error instanceof PayloadMismatchError) this.reportMismatch(error.record);
      throw error;
    } finally {
      this.acquiring.delete(acquiring);
    }
  }

  /** One for all acquisitions with the same signal: a batch has thousands. */
  #orClosing(signal: AbortSignal): AbortSignal {
    const known = this.#signals.get(signal) ?? AbortSignal.any([signal, this.closing.signal]);
    this.#signals.set(signal, known);
    return known;
  }

  #contextOf({ table = this.table }: AttemptOptions) {
    const { clock, random, report } = this;
    return { table, clock, random, report };
  }

  #hold(wanted: Wanted, acquisition: Acquisition, options: AttemptOptions, begunAt: number): Lock {
    const { keys, token, execution } = wanted;
    for (const key of keys) this.forget(key);
    const generation = this.cache?.generation(keys[0]);
    const { before, left, leaseMs } = acquisition;
    const data = wanted.data ?? (left?.data === undefined ? undefined : JSON.stringify(left.data));
    const { heartbeatMs = this.options.heartbeatMs ?? Math.ceil(leaseMs / 3) } = options;
    const { rememberMs = this.options.rememberMs ?? DEFAULTS.rememberMs, safeMs = Math.floor(leaseMs / 4) } = options;
    const { settleTime = () => this.settleTime(options.settleMs) } = options;
    const lock = new Lock(
      {
        ...this.#contextOf(options),
        settled: (settled) => {
          this.held.delete(settled);
          heldHere.delete(token);
        },
        finished: (prepared) => {
          const record = this.cache && this.#finishedRecord({ ...wanted, data }, acquisition, prepared);
          if (record) this.cache?.set(record, generation);
        },
      },
      wanted,
      acquisition,
      { ...options, heartbeatMs: heartbeatMs || 0, rememberMs, data, safeMs, settleTime },
    );
    // A durable execution holds its key while it is suspended, and this process may be gone.
    if (!execution) {
      this.held.add(lock);
      heldHere.add(token);
    }
    const { key, owner, fencingToken, elapsedMs, expiresAt } = lock;
    const waitedMs = Math.round(this.clock.monotonic() - begunAt);
    const type = acquisitionType(wanted, before, this.clock.now());
    const from = type !== "acquired" && { previousOwner: before?.owner };
    this.report({ type, ...from, key, owner, token, fencingToken, elapsedMs, expiresAt, waitedMs } as LockEvent);
    return lock;
  }

  /** The record as a reader would find it. */
  #finishedRecord(wanted: Wanted, { fencingToken, acquiredAt }: Acquisition, prepared: PreparedEnding) {
    const { keys, token, data } = wanted;
    const { ending, response, leaseMs, begunAt } = prepared;
    const [key] = keys;
    const keyCount = keys.length > 1 ? keys.length : undefined;
    const { set } = acquireWrite({ ...wanted, key, leaseMs, keyCount }, acquiredAt);
    const fields = {
      ...set,
      fencingToken,
      ...settle(key, { token }, { ...ending, data: ending.data ?? data }, begunAt).set,
    };
    const item = Object.entries(fields).flatMap(([field, value]) =>
      value === undefined ? [] : [[attributeOf(field), toAttribute(value)]],
    );
    const record = this.table.recordIn({ ...keyOf(this.table.layout, key), ...Object.fromEntries(item) });
    return record && { ...record, ...(response && { result: { value: fromStorable(response) } }) };
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

/** How the key came to be ours, and whether that was at somebody's expense. */
const acquisitionType = ({ force, execution, clockSkewMs }: Wanted, before: LockRecord | undefined, now: number) => {
  if (!before) return "acquired";
  if (force && before.expiresAt > now - clockSkewMs) return "forced";
  const isAgain = execution !== undefined && before.execution === execution;
  return before.status === "IN_PROGRESS" && !isAgain ? "taken-over" : "acquired";
};

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
