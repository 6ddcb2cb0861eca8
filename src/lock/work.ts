import type { Clock } from "../common/clock.ts";
import { LockTimeoutError } from "../common/errors.ts";
import type { Lock } from "./lock.ts";

/**
 * Runs the work, and waits for what it began on the lock and didn't await: a commit that fails is a
 * failure of the work.
 */
export const workUnder = async <T>(lock: Lock, work: (lock: Lock) => Promise<T> | T): Promise<T> => {
  let result: T;
  try {
    result = await work(lock);
  } catch (error) {
    await lock.unawaited();
    throw error;
  }
  const { failure } = await lock.unawaited();
  if (failure) throw failure.error;
  return result;
};

/**
 * Runs the work and releases the lock after it. After `timeoutMs` it leaves a work that goes on to
 * its lease.
 *
 * @throws LockTimeoutError then, and what the work throws.
 */
export const runUnder = async <T>(
  clock: Clock,
  lock: Lock,
  work: (lock: Lock) => Promise<T> | T,
  timeoutMs: number | undefined,
): Promise<T> => {
  const worked = workUnder(lock, work).finally(() => lock[Symbol.asyncDispose]());
  if (timeoutMs === undefined) return worked;
  let cancel = () => {};
  const timeout = new Promise<never>((_resolve, reject) => {
    cancel = clock.setTimer(timeoutMs, () => {
      const error = new LockTimeoutError(`The work under the lock took more than ${timeoutMs} ms`);
      // Another hold on the same lock goes on.
      if (!lock.isShared) lock.abandon("timeout", error);
      reject(error);
    });
  });
  try {
    return await Promise.race([worked, timeout]);
  } finally {
    cancel();
  }
};
