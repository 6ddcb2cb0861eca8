import {
  type AcquirePermitOptions,
  type LockClient,
  type LockKey,
  semaphore,
  type TryAcquirePermitOptions,
} from "../../src/index.ts";
import { type Locks, locksIn } from "../../src/lock/locks.ts";

/** What doors work with, for tests of what no public function asks for. */
export const locksOf = (client: LockClient): Locks => locksIn(client) as Locks;

/** Takes the whole key, or one of several permits: for tests of what holds for both. */
export const takes = (locks: LockClient, key: LockKey | readonly LockKey[], permits: number) =>
  permits > 1
    ? semaphore(locks, (Array.isArray(key) ? key[0] : key) as LockKey, { permits })
    : {
        acquire: (options?: AcquirePermitOptions) => locks.acquire(key, options),
        tryAcquire: (options?: TryAcquirePermitOptions) => locks.tryAcquire(key, options),
      };
