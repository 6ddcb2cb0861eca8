import { type LockKey, toStoredKey } from "../common/key.ts";
import { checkArgument, checkOptions, FUNCTION, type Rules, refuse } from "../common/rules.ts";
import { LOCK_CLIENT } from "../lambda/options.ts";
import { attemptLock } from "../lock/attempt.ts";
import { LEASE_CONTRADICTIONS } from "../lock/lease-options.ts";
import type { Lock } from "../lock/lock.ts";
import { type LockClientLike, type Locks, locksIn } from "../lock/locks.ts";
import { DEFAULTS } from "../lock/options.ts";
import { isRefused, type Refused } from "../lock/refused.ts";
import { runUnder } from "../lock/work.ts";
import {
  ACQUIRE_PERMIT_RULES,
  type AcquirePermitOptions,
  CLOCK_CONTRADICTIONS,
  RUN_PERMIT_RULES,
  type RunPermitOptions,
  SEMAPHORE_RULES,
  type SemaphoreOptions,
  TRY_ACQUIRE_PERMIT_RULES,
  type TryAcquirePermitOptions,
} from "./options.ts";
import { permitOf } from "./take-permit.ts";

/**
 * One key that several may hold at once. A permit is a `Lock`: it can be extended, released and
 * checked with `condition()`. `finish` and `commit` are refused, because a semaphore is never
 * finished.
 */
export interface Semaphore {
  /**
   * Takes a permit if one is free: one request, or two. `undefined` when as many hold the key as it
   * permits.
   *
   * @example
   * const permit = await imports.tryAcquire();
   * if (!permit) return "busy";
   *
   * @throws LockOptionsError, LockTableError, LockError
   */
  tryAcquire(options?: TryAcquirePermitOptions): Promise<Lock | undefined>;
  /**
   * Takes a permit, waiting up to `waitMs` for it. The error carries the record with the holders.
   *
   * @example
   * await using permit = await imports.acquire({ waitMs: 60_000 }); // released at the end of the block
   *
   * @throws LockHeldError, LockTimeoutError after waiting, LockOptionsError, LockTableError, LockError
   */
  acquire(options?: AcquirePermitOptions): Promise<Lock>;
  /**
   * Runs `work` under a permit: acquires, runs, releases. What `work` throws is thrown on; a failing
   * release is reported as an event.
   *
   * @throws LockTimeoutError when `work` takes longer than `timeoutMs`, and what `acquire` throws
   */
  run<T>(work: (lock: Lock) => Promise<T> | T, options?: RunPermitOptions): Promise<T>;
}

/**
 * A semaphore on a key of a `LockClient`'s table: at most `permits` hold it at once. Nothing is sent
 * before a permit is taken. `locks.count(key)` tells how many are in use, and `locks.close()`
 * releases them.
 *
 * Those who share a key should agree on the number. Where they don't, each keeps to its own: it
 * takes a permit only while fewer than that hold the key. A plain lock and a semaphore on one key
 * exclude each other.
 *
 * @example
 * const imports = semaphore(locks, "imports", { permits: 3 });
 * await imports.run(() => importFile(name), { waitMs: 60_000 });
 *
 * @throws LockOptionsError, also for a `LockClient` with `expiry: 'observed'`, because permits end
 * by the clock; LockKeyError
 */
export const semaphore = (locks: LockClientLike, key: LockKey, options: SemaphoreOptions): Semaphore => {
  checkArgument("semaphore", "locks, the first argument,", locks, LOCK_CLIENT);
  checkOptions("semaphore", options, SEMAPHORE_RULES);
  checkArgument("semaphore", "permits", options.permits, SEMAPHORE_RULES.permits);
  refuse("semaphore", { locks }, CLOCK_CONTRADICTIONS);
  const client = locksIn(locks) as Locks;
  const stored = toStoredKey(key, client.options.namespace);
  const permit = permitOf(options.permits);

  const attempt = async (
    caller: string,
    given: AcquirePermitOptions,
    rules: Rules<TryAcquirePermitOptions>,
  ): Promise<Lock | Refused> => {
    checkOptions<TryAcquirePermitOptions>(caller, given, rules);
    const { options: defaults } = client;
    const { leaseMs = defaults.leaseMs ?? DEFAULTS.leaseMs, heartbeatMs = defaults.heartbeatMs } = given;
    refuse(caller, { ...given, leaseMs, heartbeatMs }, LEASE_CONTRADICTIONS);
    const outcome = await attemptLock(client, [stored], { ...given, semaphore: permit });
    if (isRefused(outcome)) client.reportHeld(outcome.record);
    return outcome;
  };
  const acquire = async (...about: Parameters<typeof attempt>): Promise<Lock> => {
    const outcome = await attempt(...about);
    if (isRefused(outcome)) throw outcome.error;
    return outcome;
  };

  return {
    async tryAcquire(given = {}) {
      const outcome = await attempt("tryAcquire", given, TRY_ACQUIRE_PERMIT_RULES);
      return isRefused(outcome) ? undefined : outcome;
    },
    acquire: (given = {}) => acquire("acquire", given, ACQUIRE_PERMIT_RULES),
    async run(work, given = {}) {
      checkArgument("run", "work, the first argument,", work, FUNCTION);
      const lock = await acquire("run", given, RUN_PERMIT_RULES);
      return runUnder(client.clock, lock, work, given.timeoutMs);
    },
  };
};
