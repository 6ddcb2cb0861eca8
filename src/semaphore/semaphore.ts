import { type LockKey, toStoredKey } from "../common/key.ts";
import { checkArgument, checkOptions, FUNCTION, type Rules, refuse } from "../common/rules.ts";
import { LOCK_CLIENT } from "../lambda/options.ts";
import { LEASE_CONTRADICTIONS } from "../lock/lease-options.ts";
import type { Lock } from "../lock/lock.ts";
import { type LockClientLike, type Locks, locksIn } from "../lock/locks.ts";
import { DEFAULTS } from "../lock/options.ts";
import { isRefused, type Refused } from "../lock/refused.ts";
import { runUnder } from "../lock/work.ts";
import {
  PERMIT_CONTRADICTIONS,
  PERMIT_RULES,
  PERMITS_RULES,
  type PermitOptions,
  type PermitsOptions,
  RUN_PERMIT_RULES,
  type RunPermitOptions,
  TRY_PERMIT_RULES,
  type TryPermitOptions,
} from "./options.ts";
import { permitOf } from "./take-permit.ts";

/**
 * One key that several may hold at once. What is taken is a `Lock`, which can be released, and not
 * finished.
 */
export interface Semaphore {
  /**
   * Takes a permit if one is free. `undefined` when as many hold the key as it permits.
   *
   * @throws LockOptionsError, LockTableError, LockError
   */
  tryAcquire(options?: TryPermitOptions): Promise<Lock | undefined>;
  /**
   * Takes a permit, waiting up to `waitMs` for it.
   *
   * @throws LockHeldError, LockTimeoutError after waiting, LockOptionsError, LockTableError,
   * LockError
   */
  acquire(options?: PermitOptions): Promise<Lock>;
  /**
   * Runs `work` under a permit: acquires, runs, releases.
   *
   * @throws LockTimeoutError when `work` takes longer than `timeoutMs`, and what `acquire` and
   * `work` throw
   */
  run<T>(work: (lock: Lock) => Promise<T> | T, options?: RunPermitOptions): Promise<T>;
}

/**
 * A semaphore on a key of a `LockClient`'s table: at most `permits` hold it at once. Those who
 * share a key should agree on the number. Where they don't, each keeps to its own: it takes a
 * permit only while fewer than that hold the key. A permit ends by the clock, also where the client
 * has `expiry: 'observed'`: a slot can't be watched.
 *
 * @example
 * const imports = semaphore(locks, "imports", { permits: 3 });
 * await imports.run(() => importFile(name), { waitMs: 60_000 });
 *
 * @throws LockOptionsError, LockKeyError
 */
export const semaphore = (locks: LockClientLike, key: LockKey, options: PermitsOptions): Semaphore => {
  checkArgument("semaphore", "locks, the first argument,", locks, LOCK_CLIENT);
  checkOptions("semaphore", options, PERMITS_RULES);
  const { permits } = options;
  checkArgument("semaphore", "permits", permits, PERMITS_RULES.permits);
  const client = locksIn(locks) as Locks;
  const stored = toStoredKey(key, client.options.namespace);

  const attempt = async (caller: string, given: PermitOptions, rules: Rules<never>): Promise<Lock | Refused> => {
    checkOptions<object>(caller, given, rules);
    const { options: defaults } = client;
    const { leaseMs = defaults.leaseMs ?? DEFAULTS.leaseMs, heartbeatMs = defaults.heartbeatMs } = given;
    refuse(caller, { ...given, leaseMs, heartbeatMs }, LEASE_CONTRADICTIONS, PERMIT_CONTRADICTIONS);
    const outcome = await client.attempt([stored], { ...given, expiry: "clock", semaphore: permitOf(permits) });
    if (isRefused(outcome)) client.reportHeld(outcome.record);
    return outcome;
  };
  const acquire = async (caller: string, given: PermitOptions, rules: Rules<never>): Promise<Lock> => {
    const outcome = await attempt(caller, given, rules);
    if (isRefused(outcome)) throw outcome.error;
    return outcome;
  };

  return {
    async tryAcquire(given = {}) {
      const outcome = await attempt("tryAcquire", given, TRY_PERMIT_RULES as Rules<never>);
      return isRefused(outcome) ? undefined : outcome;
    },
    acquire: (given = {}) => acquire("acquire", given, PERMIT_RULES as Rules<never>),
    async run(work, given = {}) {
      checkArgument("run", "work, the first argument,", work, FUNCTION);
      const { timeoutMs, ...rest } = given;
      checkOptions("run", given, RUN_PERMIT_RULES);
      return runUnder(client.clock, await acquire("run", rest, PERMIT_RULES as Rules<never>), work, timeoutMs);
    },
  };
};
