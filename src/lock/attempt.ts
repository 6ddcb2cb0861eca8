/** Takes keys of a table: from the wish of a door to the lock, or to what stands in its way. */
import { randomUUID } from "node:crypto";
import { LockTimeoutError, PayloadMismatchError } from "../common/errors.ts";
import type { LockEvent } from "../common/events.ts";
import { findMismatch, toFingerprint } from "../common/fingerprint.ts";
import { encodeData } from "../common/json.ts";
import type { Keys } from "../common/key.ts";
import type { LockRecord } from "../common/record.ts";
import { fromStorable } from "../common/result.ts";
import type { Table } from "../dynamodb/table.ts";
import { keyOf } from "../protocol/expression.ts";
import { attributeOf, toAttribute } from "../protocol/fields.ts";
import { acquire as acquireWrite, settle } from "../protocol/writes.ts";
import { type Acquisition, acquire, type Wanted } from "./acquire.ts";
import { heldHere } from "./held-here.ts";
import type { LeaseTimers } from "./lease.ts";
import type { LeaseOptions, LossOptions, WaitOptions } from "./lease-options.ts";
import { Lock } from "./lock.ts";
import type { PreparedEnding, SettleTime } from "./lock-writes.ts";
import type { Locks } from "./locks.ts";
import { DEFAULTS, type RememberOptions, type SettleTimeOptions } from "./options.ts";
import { Refused } from "./refused.ts";

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

/** The lock, or what stands in its way. */
export const attemptLock = async (locks: Locks, asked: Keys, options: AttemptOptions): Promise<Lock | Refused> => {
  const { signal: closing } = locks.closing;
  closing.throwIfAborted();
  const begunAt = locks.clock.monotonic();
  const { options: defaults, clockSkewMs } = locks;
  const { leaseMs = defaults.leaseMs ?? DEFAULTS.leaseMs, signal, force, fingerprint } = options;
  const wanted: Wanted = {
    ...options,
    keys: [...new Set(asked)] as unknown as Keys,
    keyList: asked.length > 1 ? toFingerprint(asked) : undefined,
    token: randomUUID(),
    owner: options.owner ?? locks.owner,
    leaseMs: typeof leaseMs === "number" ? () => leaseMs : leaseMs,
    isOfInvocation: typeof leaseMs !== "number",
    withinMs: options.withinMs ?? Number.POSITIVE_INFINITY,
    clockSkewMs,
    waitMs: options.waitMs ?? 0,
    backoff: options.backoff ?? DEFAULTS.backoff,
    expiry: options.expiry ?? defaults.expiry,
    signal: signal ? orClosing(locks, signal) : closing,
    data: encodeData(options.data),
  };
  const [key] = wanted.keys;
  const isOne = wanted.keys.length === 1;
  const generation = locks.cache?.generation(key);
  const cached = isOne && !force ? locks.cache?.get(key) : undefined;
  const acquiring = (async () => {
    if (!cached) return locks.withTable(() => acquire({ ...contextOf(locks, options), watch: locks.watch }, wanted));
    if (findMismatch(fingerprint, [cached])) throw new PayloadMismatchError(cached);
    return [cached];
  })();
  locks.acquiring.add(acquiring);
  try {
    const outcome = await acquiring;
    if (!("length" in outcome)) return hold(locks, wanted, outcome, options, begunAt);
    if (isOne) for (const record of outcome) locks.cache?.set(record, generation);
    return new Refused(outcome, wanted);
  } catch (error) {
    if (force) for (const each of wanted.keys) locks.forget(each); // it may have been taken
    if (error instanceof LockTimeoutError && error.record) locks.reportHeld(error.record);
    if (error instanceof PayloadMismatchError) locks.reportMismatch(error.record);
    throw error;
  } finally {
    locks.acquiring.delete(acquiring);
  }
};

/** One for all acquisitions with the same signal. */
const orClosing = ({ signals, closing }: Locks, signal: AbortSignal): AbortSignal => {
  const known = signals.get(signal) ?? AbortSignal.any([signal, closing.signal]);
  signals.set(signal, known);
  return known;
};

const contextOf = (locks: Locks, { table = locks.table }: AttemptOptions) => {
  const { clock, random, report } = locks;
  return { table, clock, random, report };
};

const hold = (
  locks: Locks,
  wanted: Wanted,
  acquisition: Acquisition,
  options: AttemptOptions,
  begunAt: number,
): Lock => {
  const { keys, token, execution } = wanted;
  for (const key of keys) locks.forget(key);
  const generation = locks.cache?.generation(keys[0]);
  const { before, left, leaseMs } = acquisition;
  const data = wanted.data ?? (left?.data === undefined ? undefined : JSON.stringify(left.data));
  const { heartbeatMs = locks.options.heartbeatMs ?? Math.ceil(leaseMs / 3) } = options;
  const { rememberMs = locks.options.rememberMs ?? DEFAULTS.rememberMs, safeMs = Math.floor(leaseMs / 4) } = options;
  const { settleTime = () => locks.settleTime(options.settleMs) } = options;
  const lock = new Lock(
    {
      ...contextOf(locks, options),
      settled: (settled) => {
        locks.held.delete(settled);
        heldHere.delete(token);
      },
      finished: (prepared) => {
        const record = locks.cache && recordOf(locks, { ...wanted, data }, acquisition, prepared);
        if (record) locks.cache?.set(record, generation);
      },
    },
    wanted,
    acquisition,
    { ...options, heartbeatMs: heartbeatMs || 0, rememberMs, data, safeMs, settleTime },
  );
  // A durable execution holds its key while it is suspended, and this process may be gone.
  if (!execution) {
    locks.held.add(lock);
    heldHere.add(token);
  }
  const { key, owner, fencingToken, elapsedMs, expiresAt } = lock;
  const waitedMs = Math.round(locks.clock.monotonic() - begunAt);
  const type = acquisitionType(wanted, before, locks.clock.now());
  const from = type !== "acquired" && { previousOwner: before?.owner };
  locks.report({ type, ...from, key, owner, token, fencingToken, elapsedMs, expiresAt, waitedMs } as LockEvent);
  return lock;
};

/** The record as a reader would find it. */
const recordOf = (
  { table }: Locks,
  wanted: Wanted,
  { fencingToken, acquiredAt }: Acquisition,
  prepared: PreparedEnding,
) => {
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
  const record = table.recordIn({ ...keyOf(table.layout, key), ...Object.fromEntries(item) });
  return record && { ...record, ...(response && { result: { value: fromStorable(response) } }) };
};

/** How the key came to be ours, and whether that was at somebody's expense. */
const acquisitionType = ({ force, execution, clockSkewMs }: Wanted, before: LockRecord | undefined, now: number) => {
  if (!before) return "acquired";
  if (force && before.expiresAt > now - clockSkewMs) return "forced";
  const isAgain = execution !== undefined && before.execution === execution;
  return before.status === "IN_PROGRESS" && !isAgain ? "taken-over" : "acquired";
};
