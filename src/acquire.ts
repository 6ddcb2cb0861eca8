import type { Clock } from "./clock.ts";
import { LockTimeoutError } from "./errors.ts";
import type { LockEventListener } from "./events.ts";
import type { Keys } from "./key.ts";
import type { LockRecord } from "./record.ts";
import type { Claim } from "./requests.ts";
import { acquirePermit } from "./semaphore.ts";
import { type Acquired, isTransient, type Store } from "./store.ts";
import { type Backoff, jitteredDelay, untilOver, Watch } from "./wait.ts";

/** What it takes to acquire: the store, time, chance, and someone to tell. */
export interface AcquireContext {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  readonly report: LockEventListener;
}

/** An acquisition that is wanted. */
export interface Wanted {
  readonly keys: Keys;
  /** One for all attempts, so that an attempt whose reply was lost is recognised by the next. */
  readonly token: string;
  readonly owner: string;
  /** Asked anew for each attempt: the remaining time of an invocation shrinks while it waits. */
  readonly leaseMs: () => number;
  readonly clockSkewMs: number;
  readonly permits: number;
  readonly waitMs: number;
  readonly backoff: Backoff;
  readonly signal?: AbortSignal | undefined;
  readonly data?: string | undefined;
  readonly force?: boolean | undefined;
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
 * @throws LockTimeoutError when a key was waited for in vain, and the signal's reason when that is aborted
 */
export const acquire = async (context: AcquireContext, wanted: Wanted): Promise<Acquisition | Refusal> => {
  const { clock, store, report, random } = context;
  const { waitMs, signal, owner, backoff, clockSkewMs, permits, observedOnly } = wanted;
  const deadline = clock.monotonic() + waitMs;
  const watch = new Watch(clock);

  /** `undefined` for an error that may pass, within the deadline. */
  const retried = async <T>(operation: string, request: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await request();
    } catch (error) {
      if (!isTransient(error) || clock.monotonic() >= deadline) throw error;
      report({ type: "retrying", key: wanted.keys[0], owner, operation, error });
      return undefined;
    }
  };
  const untilFree = (record: LockRecord): number => {
    const byClock = observedOnly && record.status === "IN_PROGRESS";
    const over = byClock ? Number.POSITIVE_INFINITY : untilOver(record, clock.now(), clockSkewMs, permits);
    return Math.min(over, watch.untilOver(record));
  };

  let blocker: LockRecord | undefined;
  for (let round = 0; ; ) {
    signal?.throwIfAborted();
    const reply = await retried("acquire", () => attempt(context, wanted, watch.over(blocker)));
    if (reply?.acquired) return reply;
    blocker = reply && inTheWay(reply);
    if (reply && (waitMs === 0 || blocker?.status === "FINISHED")) return reply;

    do {
      const leftMs = deadline - clock.monotonic();
      if (leftMs <= 0) throw timedOut(wanted, blocker);
      const delayMs = jitteredDelay(round++, backoff, random);
      // At the known end of the lease rather than after it; 0 would be a hot loop against a record that refuses us.
      await clock.sleep(Math.min(delayMs, leftMs, (blocker && untilFree(blocker)) || delayMs), signal);
      if (!blocker) break; // nothing is known of it: write
      const { key } = blocker;
      const seen = await retried("read", async () => (await store.read(key, { consistent: false })) ?? "gone");
      if (seen === "gone") blocker = undefined;
      else if (seen) blocker = seen;
    } while (blocker && blocker.status !== "FINISHED" && untilFree(blocker) > 0);
  }
};

/** Of several keys, a held one says more than a finished one. */
const inTheWay = ({ records }: Refusal): LockRecord | undefined =>
  records.find(({ status }) => status !== "FINISHED") ?? records[0];

const timedOut = ({ keys, waitMs }: Wanted, blocker: LockRecord | undefined) =>
  new LockTimeoutError(
    `Lock ${JSON.stringify(blocker?.key ?? keys[0])} did not become free within ${waitMs} ms`,
    blocker,
  );

/** `over`: a lease that was watched to its end. */
const attempt = async (
  context: AcquireContext,
  wanted: Wanted,
  over: (Claim["watched"] & { readonly key: string }) | undefined,
): Promise<Acquisition | Refusal> => {
  const { clock, random, store } = context;
  const { keys, token, owner, clockSkewMs, permits, data, force, execution, observedOnly } = wanted;
  const [now, monotonic] = [clock.now(), clock.monotonic()];
  const leaseMs = wanted.leaseMs();
  const claimOf = (key: string): Claim => {
    const watched = over?.key === key ? over : undefined;
    return { key, token, owner, leaseMs, clockSkewMs, data, force, execution, observedOnly, watched };
  };
  const [key, ...more] = keys;
  const reply =
    more.length > 0
      ? await acquireSeveral(context, keys.map(claimOf))
      : permits > 1
        ? await acquirePermit(store, clock, random, claimOf(key), permits)
        : await acquireOne(context, claimOf(key));
  if (!reply.acquired) return "records" in reply ? reply : { acquired: false, records: [reply.record] };
  // An attempt that is recognised only now began when its record says.
  return { ...reply, startedAt: monotonic - Math.max(0, now - reply.acquiredAt) };
};

/** A key that was a semaphore, and has no holder any more, becomes a plain one in a second request. */
const acquireOne = async ({ store, clock }: AcquireContext, claim: Claim) => {
  const reply = await store.acquire(claim);
  if (reply.acquired) return reply;
  const vacant = vacancy(reply.record, claim, clock);
  return vacant ? store.acquire({ ...claim, vacant }) : reply;
};

const vacancy = (record: LockRecord, claim: Claim, clock: Clock): Claim["vacant"] => {
  if (record.status !== "SEMAPHORE") return undefined;
  if (!claim.force && untilOver(record, clock.now(), claim.clockSkewMs) > 0) return undefined;
  return { fencingToken: record.fencingToken, slots: record.holders?.map(({ slot }) => slot) ?? [] };
};

/** How often several keys are tried for while none of them is held. */
const MAX_ATTEMPTS = 5;

/**
 * Several keys in one transaction, under one fencing token. A transaction brings no values back, so the token is set
 * instead of counted: to the clock, which is ahead of every counter that started at it, or above a record's that is not.
 */
const acquireSeveral = async ({ store, clock }: AcquireContext, claims: readonly Claim[]) => {
  let fence = clock.now();
  let vacant = new Map<string, Claim["vacant"]>();
  for (let round = 1; ; round++) {
    const reply = await store.acquireAll(claims.map((claim) => ({ ...claim, fence, vacant: vacant.get(claim.key) })));
    if (reply.acquired || round === MAX_ATTEMPTS) return reply;
    const claimed = (record: LockRecord) => claims.find(({ key }) => key === record.key) as Claim;
    vacant = new Map(reply.records.map((record) => [record.key, vacancy(record, claimed(record), clock)]));
    fence = Math.max(fence, ...reply.records.map(({ fencingToken }) => fencingToken + 1));
    const { clockSkewMs, force } = claims[0] as Claim;
    const held = reply.records.some((record) => untilOver(record, clock.now(), clockSkewMs) > 0);
    if (held && !force) return reply;
  }
};
