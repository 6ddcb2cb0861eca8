import type { Clock } from "../common/clock.ts";
import { LockLostError, LockTimeoutError, PayloadMismatchError } from "../common/errors.ts";
import type { LockEventListener } from "../common/events.ts";
import { findMismatch } from "../common/fingerprint.ts";
import type { Keys } from "../common/key.ts";
import type { LockRecord } from "../common/record.ts";
import { isInDoubt, isTransient } from "../dynamodb/aws-errors.ts";
import { type Acquired, type AcquireReply, recognise, type Store } from "../dynamodb/store.ts";
import type { Claim } from "../protocol/requests.ts";
import { type Backoff, jitteredDelay, untilOver, type Watch } from "../protocol/wait.ts";
import { acquirePermit } from "../semaphore/semaphore.ts";
import { isAround } from "./holder.ts";

/** What it takes to acquire: the store, time, chance, what the client has watched, and someone to tell. */
export interface AcquireContext {
  readonly store: Store;
  readonly clock: Clock;
  readonly watch: Watch;
  readonly random: () => number;
  readonly report: LockEventListener;
}

/** An acquisition that is wanted. */
export interface Wanted {
  /** Without repeats. */
  readonly keys: Keys;
  /** Hash of the list of keys that was asked for, if it had more than one. */
  readonly keyList: string | undefined;
  /** One for all attempts, so that an attempt whose reply was lost is recognised by the next. */
  readonly token: string;
  readonly owner: string;
  /** Asked anew for each attempt: the remaining time of an invocation shrinks while it waits. */
  readonly leaseMs: () => number;
  readonly clockSkewMs: number;
  readonly permits: number;
  readonly waitMs: number;
  /** How long the user wanted to wait, where the end of the invocation has cut that to `waitMs`. */
  readonly askedMs?: number | undefined;
  readonly backoff: Backoff;
  readonly signal?: AbortSignal | undefined;
  readonly data?: string | undefined;
  readonly fingerprint?: string | undefined;
  readonly force: boolean;
  /** The tokens of the locks around the run that asks: what they hold is not waited for. */
  readonly around?: readonly string[] | undefined;
  /** ARN of the durable execution that asks. */
  readonly execution?: string | undefined;
  /** A lease ends by watching alone, not by the clock. */
  readonly observedOnly?: boolean | undefined;
}

export type Acquisition = Acquired & {
  /** Monotonic, from before the write: a lease must not seem longer to its holder than to others. */
  readonly startedAt: number;
};

/** The records that stand in the way, where a request brought them: of several keys, there may be several. */
export interface Refusal {
  readonly acquired: false;
  readonly records: readonly LockRecord[];
}

/**
 * Acquires, or waits until it can: polls with eventually consistent reads, which cost half a read unit, and writes only
 * when the key looks free. Ends early when a key in the way is finished.
 *
 * @throws LockTimeoutError when a key was waited for in vain, and the signal's reason when that is aborted. What an
 * attempt may have taken without our hearing of it is given back first.
 */
export const acquire = async (context: AcquireContext, wanted: Wanted): Promise<Acquisition | Refusal> => {
  const { clock, store, report, random } = context;
  const { waitMs, askedMs = waitMs, signal, owner, backoff, keys, around = [] } = wanted;
  const deadline = clock.monotonic() + waitMs;
  const attempts = new Attempts(context, wanted);

  /** `undefined` for an error that may pass, within the deadline. */
  const retried = async <T>(operation: string, request: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await request();
    } catch (error) {
      if (!isTransient(error) || clock.monotonic() >= deadline) throw error;
      report({ type: "retrying", key: keys[0], owner, operation, error });
      return undefined;
    }
  };

  try {
    let blocker: LockRecord | undefined;
    for (let round = 0; ; ) {
      signal?.throwIfAborted();
      const reply = await retried("acquire", () => attempts.next());
      if (reply?.acquired) {
        if (!signal?.aborted) return reply;
        await store.settle(keys, { token: wanted.token, slot: reply.slot }, { status: "RELEASED" });
        throw signal.reason;
      }
      if (reply?.records.some((record) => isAround(record, around))) return reply;
      const mismatch = reply && attempts.mismatch(reply.records);
      if (mismatch) throw new PayloadMismatchError(mismatch);
      blocker = reply && inTheWay(reply);
      if (reply && (askedMs === 0 || blocker?.status === "FINISHED")) return reply;

      do {
        const leftMs = deadline - clock.monotonic();
        if (leftMs <= 0) throw timedOut(wanted, blocker);
        const delayMs = jitteredDelay(round++, backoff, random);
        // At the known end of the lease rather than after it; 0 would be a hot loop against a record that refuses us.
        await clock.sleep(Math.min(delayMs, leftMs, (blocker && attempts.untilFree(blocker)) || delayMs), signal);
        if (!blocker) break; // nothing is known of it: write
        const { key } = blocker;
        const seen = await retried("read", async () => (await store.read(key, { consistent: false })) ?? "gone");
        if (seen === "gone") blocker = undefined;
        else if (seen) blocker = seen;
        // A read may be of a moment ago: what it says of another payload, or of a finish, a write has to confirm.
      } while (
        blocker &&
        blocker.status !== "FINISHED" &&
        !attempts.mismatch([blocker]) &&
        attempts.untilFree(blocker) > 0
      );
    }
  } catch (error) {
    await attempts.giveBack();
    throw error;
  }
};

/** Of several keys, a held one says more than a finished one. */
const inTheWay = ({ records }: Refusal): LockRecord | undefined =>
  records.find(({ status }) => status !== "FINISHED") ?? records[0];

const timedOut = ({ waitMs, askedMs }: Wanted, blocker: LockRecord | undefined) => {
  const cut = askedMs === undefined ? "" : `: the end of the invocation has cut short the waitMs of ${askedMs}`;
  return new LockTimeoutError(`The key did not become free within ${Math.round(waitMs)} ms${cut}`, blocker);
};

/** How often keys are tried for while none of them is held, or while they change hands. */
const MAX_ATTEMPTS = 5;
/** How long giving back may take: it is a courtesy to the next, whose wait ends with the lease anyway. */
const GIVE_BACK_MS = 1_000;

/** The attempts of one acquisition: they share a token, and what is not known. */
class Attempts {
  readonly #context: AcquireContext;
  readonly #wanted: Wanted;
  /** Monotonic time of the first attempt whose fate is unknown: it may have acquired. */
  #unknownSince: number | undefined;

  constructor(context: AcquireContext, wanted: Wanted) {
    this.#context = context;
    this.#wanted = wanted;
  }

  async next(): Promise<Acquisition | Refusal> {
    const { clock, store } = this.#context;
    const { keys, token, permits } = this.#wanted;
    const startedAt = clock.monotonic();
    const leaseMs = this.#wanted.leaseMs();
    try {
      // Which slot an attempt took that we heard nothing of, only the record can tell.
      const record =
        permits > 1 && this.#unknownSince !== undefined ? await store.read(keys[0]).catch(() => undefined) : undefined;
      const reply = (record && recognise(record, token)) ?? (await this.#attempt(leaseMs));
      if (!reply.acquired) {
        const records = "records" in reply ? reply.records : reply.record ? [reply.record] : [];
        if (records.length === 0) return this.next(); // what was in the way is gone since it was seen
        for (const seen of records) this.#context.watch.see(seen);
        return { acquired: false, records };
      }
      const since = reply.recognised ? (this.#unknownSince ?? startedAt) : startedAt;
      return await this.#alive({ ...reply, startedAt: since }, leaseMs);
    } catch (error) {
      if (isInDoubt(error)) this.#unknownSince ??= startedAt;
      throw error;
    }
  }

  /** Until a record is free, as far as is known, in ms. */
  untilFree(record: LockRecord): number {
    const { observedOnly, clockSkewMs, permits } = this.#wanted;
    const byWatching = this.#context.watch.see(record);
    if (this.#isForUs(record)) return 0;
    // Slots are not watched: without trust in clocks a holder is there until it has released.
    const now = observedOnly && record.status !== "FINISHED" ? Number.NEGATIVE_INFINITY : this.#context.clock.now();
    return Math.min(untilOver(record, now, clockSkewMs, permits), byWatching);
  }

  /** Whether the key is ours to take, however long it is held or remembered: by force, or from ourselves. */
  #isForUs(record: LockRecord): boolean {
    const { force, execution, around = [] } = this.#wanted;
    if (force || record.status === "RELEASED") return true;
    // A run of the same execution that is around this one goes on holding it.
    const isSameExecution = execution !== undefined && record.execution === execution;
    return isSameExecution && record.status === "IN_PROGRESS" && !isAround(record, around);
  }

  /** The record of a key that is in use with another payload. */
  mismatch(records: readonly LockRecord[]): LockRecord | undefined {
    const inUse = records.filter((record) => this.untilFree(record) > 0);
    return findMismatch(this.#wanted.fingerprint, inUse);
  }

  /** What an attempt may have taken without our hearing of it. */
  async giveBack(): Promise<void> {
    if (this.#unknownSince === undefined) return;
    const { clock, store } = this.#context;
    const { keys, token, permits } = this.#wanted;
    const release = async () => {
      const record = permits > 1 ? await store.read(keys[0]) : undefined;
      const slot = record && recognise(record, token)?.slot;
      if (permits === 1 || slot !== undefined) await store.settle(keys, { token, slot }, { status: "RELEASED" });
    };
    // If it fails too, the lease ends what was taken. The error that the caller gets is the first one.
    const released = new AbortController();
    const waited = clock.sleep(GIVE_BACK_MS, released.signal).catch(() => {});
    await Promise.race([release().catch(() => {}), waited]);
    released.abort();
  }

  #claim(key: string, leaseMs: number): Claim {
    const { keys, keyList, token, owner, clockSkewMs, data, fingerprint, execution, observedOnly } = this.#wanted;
    const wanted = { keyList, token, owner, clockSkewMs, data, fingerprint, execution, observedOnly };
    const keyCount = keys.length > 1 ? keys.length : undefined;
    return { ...wanted, key, leaseMs, watched: this.#context.watch.over(key), keyCount };
  }

  #attempt(leaseMs: number) {
    const { clock, random, store } = this.#context;
    const { keys, permits } = this.#wanted;
    if (keys.length > 1) return this.#several(leaseMs);
    if (permits > 1) return acquirePermit(store, clock, random, this.#claim(keys[0], leaseMs), permits);
    return this.#one(leaseMs);
  }

  /** A key that is to be taken from what is there takes a second request, which says from what. */
  async #one(leaseMs: number): Promise<AcquireReply> {
    const { store } = this.#context;
    const claim = this.#claim(this.#wanted.keys[0], leaseMs);
    let reply = await store.acquire(claim);
    for (let round = 1; round < MAX_ATTEMPTS && !reply.acquired && this.#takesFrom(reply.record); round++) {
      reply = await store.acquire({ ...claim, seen: reply.record });
    }
    return reply;
  }

  /**
   * Whether the key may be taken from this record, whatever the time. From a lease that is over by time it may not: its holder
   * may renew it before the request arrives.
   */
  #takesFrom(record: LockRecord | undefined): record is LockRecord {
    if (!record) return false;
    return this.#isForUs(record) || (record.status === "SEMAPHORE" && this.untilFree(record) === 0);
  }

  /**
   * Several keys in one transaction, under one fencing token. A transaction brings no values back, so the token is set
   * instead of counted: to the clock, which is ahead of every counter that started at it, or above a record's that is not.
   */
  async #several(leaseMs: number) {
    const { clock, store } = this.#context;
    let fence = clock.now();
    const seen = new Map<string, LockRecord>();
    for (let round = 1; ; round++) {
      const claims = this.#wanted.keys.map((key) => ({ ...this.#claim(key, leaseMs), fence, seen: seen.get(key) }));
      const reply = await store.acquireAll(claims);
      if (reply.acquired || round === MAX_ATTEMPTS) return reply;
      if (reply.records.some((record) => this.untilFree(record) > 0)) return reply;
      for (const record of reply.records) if (this.#takesFrom(record)) seen.set(record.key, record);
      fence = Math.max(fence, ...reply.records.map(({ fencingToken }) => fencingToken + 1));
    }
  }

  /**
   * A reply that took longer than the lease brings a lock that is over: renew it, since nobody else has been told of it. Not
   * a permit: who counts holders relies on a lease that was seen over to stay so.
   */
  async #alive(acquisition: Acquisition, leaseMs: number): Promise<Acquisition> {
    const { clock, store } = this.#context;
    const { keys, token } = this.#wanted;
    const isOver = (held: Acquisition) =>
      held.expiresAt <= clock.now() || held.startedAt + held.leaseMs <= clock.monotonic();
    if (!isOver(acquisition)) return acquisition;
    const hold = { token, slot: acquisition.slot };
    if (acquisition.slot !== undefined) {
      await store.settle(keys, hold, { status: "RELEASED" });
      throw new LockLostError(keys[0], "expired");
    }
    const startedAt = clock.monotonic();
    const acquiredAt = clock.now();
    // Another end than before, also when the wall clock stands still: who watches must see the renewal.
    const expiresAt = Math.max(acquiredAt + leaseMs, acquisition.expiresAt + 1);
    const renewed = { ...acquisition, startedAt, acquiredAt, leaseMs, expiresAt };
    const reply = await store.renew(keys, hold, renewed);
    if (reply.done && !isOver(renewed)) return renewed;
    await store.settle(keys, hold, { status: "RELEASED" });
    throw new LockLostError(keys[0], reply.done ? "expired" : reply.reason);
  }
}
