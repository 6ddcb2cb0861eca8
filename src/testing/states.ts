/** Brings keys into the states that a test begins with. */
import { type Lock, LockClient, type LockClientOptions, type LockKey, semaphore } from "../lean.ts";

/**
 * Where the record stands, and whose it is. What a handler has set otherwise has to be the same
 * here.
 */
export interface StateOptions
  extends Pick<
    LockClientOptions,
    "tableName" | "namespace" | "keyAttribute" | "ttlAttribute" | "sortKey" | "retentionMs" | "clockSkewMs"
  > {
  /** @default `'somebody else'` */
  readonly owner?: string | undefined;
}

/** A key that is held. */
export interface HeldStateOptions extends StateOptions {
  /**
   * How long the lease is, in ms.
   * @default 60_000
   */
  readonly leaseMs?: number | undefined;
  /** The application's own data in the record. */
  readonly data?: unknown;
}

/** A key that is finished. */
export interface FinishedStateOptions extends StateOptions {
  /** What repeats get. */
  readonly result?: unknown;
  /**
   * How long repeats get it, in ms.
   * @default 3_600_000
   */
  readonly rememberMs?: number | undefined;
  /** The payload of the first run, as the option `fingerprint` of the handler gives it. */
  readonly fingerprint?: unknown;
}

/** A key of a semaphore. */
export interface PermitsStateOptions extends Omit<HeldStateOptions, "data"> {
  readonly permits: number;
  /**
   * How many are in use.
   * @default all
   */
  readonly taken?: number | undefined;
}

/**
 * Ready states. A handler's keys have its function's name before them, unless its option
 * `namespace` says otherwise: give the same `namespace` here.
 */
export interface ReadyStates {
  /**
   * Somebody else holds the key. Release the lock that it gives, and the key is free.
   *
   * @example
   * await memory.holdLock("order-42", { namespace: "orders" });
   * await expect(handler(event, context)).rejects.toThrow(LockHeldError);
   */
  holdLock(key: LockKey, options?: HeldStateOptions): Promise<Lock>;
  /**
   * The key is finished, and repeats get the result.
   *
   * @example
   * await memory.finishLock("order-42", { namespace: "orders", result: { statusCode: 201 } });
   * expect(await handler(event, context)).toEqual({ statusCode: 201 });
   */
  finishLock(key: LockKey, options?: FinishedStateOptions): Promise<void>;
  /** Somebody held the key and crashed: the lease is over, and nobody has released it. */
  crashLock(key: LockKey, options?: HeldStateOptions): Promise<void>;
  /** Others hold permits of a semaphore. Gives their locks, for release. */
  holdPermits(key: LockKey, options: PermitsStateOptions): Promise<Lock[]>;
}

const LEASE_MS = 60_000;
const SKEW_MS = 1_000;

/** `now`: the engine's time, in epoch ms. */
export const readyStates = (client: NonNullable<LockClientOptions["client"]>, now: () => number): ReadyStates => {
  const locksOf = ({ owner = "somebody else", ...place }: StateOptions, agoMs = 0): LockClient =>
    new LockClient({ ...place, client, owner, heartbeatMs: false, clock: clockAt(() => now() - agoMs) });

  return {
    holdLock(key, { leaseMs = LEASE_MS, data, ...place } = {}) {
      return locksOf(place).acquire(key, { leaseMs, ...(data !== undefined && { data }) });
    },
    async finishLock(key, { result, rememberMs, fingerprint, ...place } = {}) {
      await locksOf(place).once(key, () => result, {
        ...(rememberMs !== undefined && { rememberMs }),
        ...(fingerprint !== undefined && { fingerprint }),
      });
    },
    async crashLock(key, { leaseMs = LEASE_MS, data, ...place } = {}) {
      const agoMs = leaseMs + (place.clockSkewMs ?? SKEW_MS) + 1;
      await locksOf(place, agoMs).acquire(key, { leaseMs, ...(data !== undefined && { data }) });
    },
    async holdPermits(key, { permits, taken = permits, leaseMs = LEASE_MS, ...place }) {
      const locks: Lock[] = [];
      for (let holder = 1; holder <= taken; holder++) {
        const owner = `${place.owner ?? "somebody else"} ${holder}`;
        locks.push(await semaphore(locksOf({ ...place, owner }), key, { permits }).acquire({ leaseMs }));
      }
      return locks;
    },
  };
};

/** The lock of a state has no timers of its own: its lease ends by the record. */
const clockAt = (now: () => number): NonNullable<LockClientOptions["clock"]> => ({
  now,
  monotonic: () => 0,
  sleep: async () => {},
  setTimer: () => () => {},
});
