import { toFingerprint } from "../common/fingerprint.ts";
import type { LockKey } from "../common/key.ts";
import { toStoredKey } from "../common/key.ts";
import { fromStorable, toStorable } from "../common/result.ts";
import { CommitRun } from "../lock/commit-run.ts";
import type { Locks } from "../lock/locks.ts";
import { DEFAULTS } from "../lock/options.ts";
import type { TransactWriteItem } from "../protocol/item.ts";
import type { CommitOnceOptions } from "./options.ts";

/** Commits for a key that nobody holds, and gives what all callers get: the result of the first. */
export const commitOnce = async (
  locks: Locks,
  key: LockKey,
  items: readonly TransactWriteItem[],
  options: CommitOnceOptions,
): Promise<unknown> => {
  const { fingerprint, owner = locks.owner, settleMs, ...commitOptions } = options;
  locks.closing.signal.throwIfAborted();
  const run = new CommitRun(locks, {
    key: toStoredKey(key, locks.options.namespace),
    owner,
    fingerprint: fingerprint === undefined ? undefined : toFingerprint(fingerprint),
    rememberMs: locks.options.rememberMs ?? DEFAULTS.rememberMs,
    settleTime: () => locks.settleTime(settleMs),
  });
  if (!run.isKnown()) {
    try {
      const result = await run.commit(items, commitOptions);
      const stored = toStorable(result);
      return "reason" in stored ? result : fromStorable(stored);
    } catch (error) {
      if (!run.refusal) throw error;
    }
  }
  const { refused, error } = run.refusal as NonNullable<CommitRun["refusal"]>;
  const finished = refused && locks.finishedBy(refused);
  if (finished) return locks.replay(finished);
  if (refused) locks.reportHeld(refused.record);
  throw error;
};
