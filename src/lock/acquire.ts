import type { Backoff } from "../common/backoff.ts";
import { delayMs, FAULT_BACKOFF } from "../common/backoff.ts";
import type { Clock } from "../common/clock.ts";
import { LockLostError, LockTimeoutError, PayloadMismatchError } from "../common/errors.ts";
import type { LockEventListener } from "../common/events.ts";
import { findMismatch } from "../common/fingerprint.ts";
import type { Keys } from "../common/key.ts";
import type { LockRecord } from "../common/record.ts";
import type { Rule } from "../common/rules.ts";
import { isInDoubt, isTransient } from "../dynamodb/aws-errors.ts";
import { type Holder, sendEnding, sendRenewal } from "../dynamodb/holder.ts";
import type { Bounds } from "../dynamodb/persist.ts";
import type { Reply, Table } from "../dynamodb/table.ts";
import { untilOver } from "../protocol/expiry.ts";
import { type Asked, acquire as acquireWrite, type Claim } from "../protocol/writes.ts";
import { isAround } from "./held-here.ts";
import type { Watch } from "./watch.ts";

/**
 * The parts that an acquisition works with: the table, time, chance, the client's watch, and its
 * reporter.
 */
export interface AcquireContext {
  readonly table: Table;
  readonly clock: Clock;
  readonly watch: Watch;
  readonly random: () => number;
  readonly report: LockEventListener;
}

/** The wish of a caller, in one shape for all doors. */
export interface Wanted extends Asked {
  /** Without repeats. */
  readonly keys: Keys;
  /** Asked anew for each attempt: the remaining time of an invocation shrinks while it waits. */
  readonly leaseMs: () => number;
  readonly waitMs: number;
  /** How long the user wanted to wait, where the end of the invocation has cut that to `waitMs`. */
  readonly askedMs?: number | undefined;
  readonly backoff: Backoff;
  /** The end of the invocation, less what is kept of it, in ms: no answer is waited for longer. */
  readonly withinMs: number;
  /** A lease of an invocation ends with it: a reply that comes after that is given back. */
  readonly isOfInvocation: boolean;
  readonly signal: AbortSignal;
  readonly force?: boolean | undefined;
  /** The tokens of the locks around the run that asks: what they hold is not waited for. */
  readonly around?: readonly string[] | undefined;
  /** Takes one of several permits in place of the whole key. */
  readonly semaphore?:
    | {
        readonly permits: number;
        readonly take: Take;
        /** How long a lease may be. */
        readonly leaseRule: Rule;
      }
    | undefined;
}

/** An acquisition that succeeded. */
export interface Acquisition {
  readonly fencingToken: number;
  /** Epoch ms, from before the write. */
  readonly acquiredAt: number;
  /**
   * Monotonic, from before the write: a lease must not seem longer to its holder than to others.
   */
  readonly startedAt: number;
  readonly leaseMs: number;
  /** Epoch ms. */
  readonly expiresAt: number;
  readonly slot?: number | undefined;
  /** The record as it was before, where the request could bring it. */
  readonly before?: LockRecord | undefined;
  /** The record that has the application's data which the holder before left. */
  readonly left?: LockRecord | undefined;
}

/**
 * Once: takes what is wanted, or gives the records that stand in the way, of which there may be
 * none any more.
 */
export type Take = (attempt: Attempt) => Promise<Acquisition | readonly LockRecord[]>;

export interface Attempt extends AcquireContext {
  readonly wanted: Wanted;
  readonly leaseMs: number;
  /** How long its requests may take. */
  readonly bounds: Bounds;
  claim(key: string): Claim;
  /** Reads a reply: the acquisition, or the records that stand in the way. */
  taken(reply: Reply, now: number, more?: { slot?: number; fence?: number | undefined }): Acquisition | LockRecord[];
  untilFree(record: LockRecord): number;
  /**
   * Whether the key is ours to take, however long it is held or remembered: by force, or from
   * ourselves.
   */
  isForUs(record: LockRecord): boolean;
}

/** How often keys are tried for while none of them is held, or while they change hands. */
const MAX_ROUNDS = 5;
/** How long an acquisition that waits for nobody waits for a DynamoDB that fails for the moment. */
const FAULTS_MS = 5_000;
/**
 * How long giving back may take, in the time that is left and after it: it is a courtesy to the
 * next, whose wait ends with the lease anyway.
 */
const GIVE_BACK_MS = 1_000;
const GIVE_BACK_AFTER_MS = 150;
/** How long the last look at a held key may take, after the time for waiting. */
const LAST_LOOK_MS = 150;

/**
 * Acquires, or waits until it can: polls with eventually consistent reads, which cost half a read
 * unit, and writes only when the key looks free. Ends early when a key in the way is finished.
 *
 * @throws LockTimeoutError when a key was waited for in vain, and the signal's reason when that is
 * aborted. What an attempt may have taken without our hearing of it is given back first.
 */
export const acquire = async (
  context: AcquireContext,
  wanted: Wanted,
): Promise<Acquisition | readonly LockRecord[]> => {
  const { table, clock, watch, random, report } = context;
  const { keys, token, owner, waitMs, askedMs = waitMs, signal, around = [], clockSkewMs, semaphore } = wanted;
  const { withinMs } = wanted;
  const keyCount = keys.length > 1 ? keys.length : undefined;
  const begunAt = clock.monotonic();
  const end = begunAt + withinMs;
  const deadline = Math.min(end, begunAt + (waitMs || FAULTS_MS));
  /** How often in a row DynamoDB has failed for the moment. */
  let faults = 0;
  /** The last of them. */
  let fault: unknown;
  /** Also the first request, and the last look at a held key, have time for a reply. */
  const bounds = (): Bounds => {
    const until = Math.max(deadline, begunAt + table.transport.requestMs(), clock.monotonic() + LAST_LOOK_MS);
    return { until: Math.min(end, until), tries: faults, retries: "conflicts", signal };
  };
  /** Giving back needs no signal, and little time. */
  const lastBounds = (): Bounds => {
    const now = clock.monotonic();
    const atLeast = Math.min(GIVE_BACK_AFTER_MS, withinMs / 2);
    return { until: Math.max(now + atLeast, Math.min(now + GIVE_BACK_MS, deadline)) };
  };
  const holderOf = (slot: number | undefined, within: Bounds): Holder => ({
    table,
    keys,
    proof: { token, slot },
    now: clock.now(),
    bounds: within,
  });
  const release = (slot?: number) => sendEnding(holderOf(slot, lastBounds()), { status: "RELEASED" });
  /** Monotonic time of the first attempt whose fate is unknown: it may have acquired. */
  let doubtfulSince: number | undefined;

  const isForUs = (record: LockRecord): boolean => {
    if (wanted.force || record.status === "RELEASED") return true;
    // A run of the same execution that is around this one goes on holding it.
    const isSameExecution = wanted.execution !== undefined && record.execution === wanted.execution;
    return isSameExecution && record.status === "IN_PROGRESS" && !isAround(record, around);
  };

  /** Until a record is free, as far as is known, in ms. */
  const untilFree = (record: LockRecord): number => {
    const byWatching = watch.see(record);
    if (isForUs(record)) return 0;
    // Slots are not watched: without trust in clocks a holder is there until it has released.
    const now = wanted.expiry === "observed" && record.status !== "FINISHED" ? Number.NEGATIVE_INFINITY : clock.now();
    return Math.min(untilOver(record, now - clockSkewMs, semaphore?.permits), byWatching);
  };

  const mismatchIn = (records: readonly LockRecord[]): LockRecord | undefined =>
    findMismatch(
      wanted.fingerprint,
      records.filter((record) => untilFree(record) > 0),
    );

  const attempt = async (): Promise<Acquisition | readonly LockRecord[]> => {
    const startedAt = clock.monotonic();
    const leaseMs = wanted.leaseMs();
    const isOver = ({ expiresAt, startedAt, leaseMs }: Acquisition) =>
      expiresAt <= clock.now() || startedAt + leaseMs <= clock.monotonic();
    const found = (record: LockRecord) => {
      const own = recognise(record, token);
      return own && { ...own, startedAt: doubtfulSince ?? startedAt, left: record };
    };
    const self: Attempt = {
      ...context,
      wanted,
      leaseMs,
      bounds: bounds(),
      isForUs,
      untilFree,
      claim: (key) => ({ ...wanted, key, leaseMs, keyCount, watched: watch.over(key) }),
      taken: (reply, now, { slot, fence } = {}) => {
        if (reply.applied) {
          const before = table.recordIn(reply.before);
          const fencingToken = fence ?? (before?.fencingToken ?? now) + 1;
          return {
            fencingToken,
            acquiredAt: now,
            startedAt,
            leaseMs,
            expiresAt: now + leaseMs,
            slot,
            before,
            left: before,
          };
        }
        const records = reply.refusals.flatMap(({ key, item }) => (item ? [table.record(item, key)] : []));
        // Our own token everywhere: an earlier attempt of this acquisition applied, and its reply
        // was lost.
        const own = records.length === keys.length ? records.map(found) : [];
        return (own.length > 0 && own.every(Boolean) && own[0]) || records;
      },
    };
    try {
      // Which slot an attempt took that we heard nothing of, only the record can tell.
      const record =
        semaphore && doubtfulSince !== undefined
          ? await table.read(keys[0], self.bounds).catch(() => undefined)
          : undefined;
      const reply = (record && found(record)) ?? (await (semaphore?.take ?? takeKeys)(self));
      if (!("length" in reply)) return isOver(reply) ? await revive(reply, isOver) : reply;
      if (reply.length === 0) return attempt(); // what was in the way is gone since it was seen
      for (const seen of reply) watch.see(seen);
      return reply;
    } catch (error) {
      if (isInDoubt(error)) doubtfulSince ??= startedAt;
      throw error;
    }
  };

  /**
   * A reply that took longer than the lease brings a lock that is over: renew it, since nobody else
   * has been told of it. Not a permit: who counts holders relies on a lease that was seen over to
   * stay so.
   */
  const revive = async (
    acquisition: Acquisition,
    isOver: (acquisition: Acquisition) => boolean,
  ): Promise<Acquisition> => {
    const { slot, leaseMs } = acquisition;
    const mayRenew = slot === undefined && !wanted.isOfInvocation && !signal.aborted;
    const acquiredAt = clock.now();
    // Another end than before, also when the wall clock stands still: who watches must see the
    // renewal.
    const expiresAt = Math.max(acquiredAt + leaseMs, acquisition.expiresAt + 1);
    const renewed = { ...acquisition, startedAt: clock.monotonic(), acquiredAt, expiresAt };
    const reply = mayRenew ? await sendRenewal(holderOf(slot, bounds()), renewed) : undefined;
    if (reply?.done && !isOver(renewed)) return renewed;
    await release(slot);
    throw new LockLostError(keys[0], reply && !reply.done ? reply.reason : "expired");
  };

  /** Releases what an attempt may have taken without our hearing of it. */
  const giveBack = async (): Promise<void> => {
    const record = semaphore && (await table.read(keys[0], lastBounds()));
    const slot = record && recognise(record, token)?.slot;
    // If it fails too, the lease ends what was taken. The error that the caller gets is the first
    // one.
    if (!semaphore || slot !== undefined) await release(slot);
  };

  /** `undefined` for an error that may pass, within the deadline. */
  const retried = async <T>(operation: string, request: () => Promise<T>): Promise<T | undefined> => {
    try {
      const reply = await request();
      faults = 0;
      fault = undefined;
      return reply;
    } catch (error) {
      signal.throwIfAborted();
      if (!isTransient(error) || clock.monotonic() >= deadline) throw error;
      faults++;
      fault = error;
      report({ type: "retrying", key: keys[0], owner, operation, error });
      return undefined;
    }
  };

  try {
    let blocker: LockRecord | undefined;
    for (let round = 0; ; ) {
      signal.throwIfAborted();
      const reply = await retried("acquire", attempt);
      if (reply && !("length" in reply)) {
        if (!signal.aborted) return reply;
        await release(reply.slot);
        throw signal.reason;
      }
      if (reply?.some((record) => isAround(record, around))) return reply;
      const mismatch = reply && mismatchIn(reply);
      if (mismatch) throw new PayloadMismatchError(mismatch);
      // A held one of several keys says more than a finished one.
      blocker = reply?.find(({ status }) => status !== "FINISHED") ?? reply?.[0];
      if (reply && (askedMs === 0 || blocker?.status === "FINISHED")) return reply;

      do {
        const leftMs = deadline - clock.monotonic();
        if (leftMs <= 0) throw blocker || !fault ? timedOut(wanted, blocker) : fault;
        const pauseMs = fault ? delayMs(faults, FAULT_BACKOFF, random) : delayMs(round++, wanted.backoff, random);
        // At the known end of the lease rather than after it; 0 would be a hot loop against a
        // record that refuses us.
        await clock.sleep(Math.min(pauseMs, leftMs, (blocker && untilFree(blocker)) || pauseMs), signal);
        if (!blocker) break; // nothing is known of it: write
        const { key } = blocker;
        const seen = await retried(
          "read",
          async () => (await table.read(key, { ...bounds(), consistent: false })) ?? "gone",
        );
        if (seen === "gone") blocker = undefined;
        else if (seen) blocker = seen;
        // A read may be of a moment ago: what it says of another payload, or of a finish, a write
        // has to confirm.
      } while (blocker && blocker.status !== "FINISHED" && !mismatchIn([blocker]) && untilFree(blocker) > 0);
    }
  } catch (error) {
    if (doubtfulSince !== undefined) await giveBack().catch(() => {});
    throw error;
  }
};

/**
 * Takes the whole key, or several in one transaction. What is to be taken from what is there takes
 * a second request, which says from what. Several keys have one fencing token. A transaction brings
 * no values back, so the token is set instead of counted: to the clock, which is ahead of every
 * counter that started at it, or above a record's that is not.
 */
const takeKeys: Take = async ({ table, clock, wanted: { keys }, bounds, claim, taken, untilFree, isForUs }) => {
  const seen = new Map<string, LockRecord>();
  let fence = keys.length > 1 ? clock.now() : undefined;
  for (let round = 1; ; round++) {
    const now = clock.now();
    const writes = keys.map((key) => acquireWrite({ ...claim(key), fence, seen: seen.get(key) }, now));
    const outcome = taken(await table.write(writes, { ...bounds, returnsBefore: true, allowsAbsent: true }), now, {
      fence,
    });
    if (!("length" in outcome) || round === MAX_ROUNDS) return outcome;
    if (outcome.some((record) => untilFree(record) > 0)) return outcome;
    for (const record of outcome) {
      // From a lease that is over by time it may not be taken: its holder may renew it before the
      // request arrives.
      if (isForUs(record) || record.status === "SEMAPHORE") seen.set(record.key, record);
      else if (!fence) return outcome;
      if (fence) fence = Math.max(fence, record.fencingToken + 1);
    }
  }
};

const timedOut = ({ waitMs, askedMs }: Wanted, blocker: LockRecord | undefined) => {
  const cut = askedMs === undefined ? "" : `: the end of the invocation has cut short the waitMs of ${askedMs}`;
  return new LockTimeoutError(`The key did not become free within ${Math.round(waitMs)} ms${cut}`, blocker);
};

/**
 * The acquisition with this token, if the record is its: the write applied, and its reply was lost.
 */
const recognise = (record: LockRecord, token: string) => {
  const slot = record.holders?.find((holder) => holder.token === token && holder.status === "IN_PROGRESS");
  if (!slot && (record.token !== token || record.status !== "IN_PROGRESS")) return undefined;
  const { fencingToken, acquiredAt, leaseMs, expiresAt } = slot ?? record;
  return { fencingToken, acquiredAt, leaseMs, expiresAt, slot: slot?.slot };
};
