/**
 * Answers "is it over?" for whoever asks. A holder counts its own lease more strictly: see
 * lock/lease.ts.
 */
import { holdersOf, type LockRecord } from "../common/record.ts";

/**
 * Those who keep others out of a key: its holder, or the run that is remembered; of a semaphore,
 * its holders. `by`: epoch ms at which they must not be over, which is now less `clockSkewMs`.
 */
export const liveHolders = (record: LockRecord, by: number) =>
  holdersOf(record).filter(({ status, expiresAt }) => status !== "RELEASED" && expiresAt > by);

/**
 * Until a record is over by the clock, in ms; 0 when it is, or when a semaphore has a permit left.
 */
export const untilOver = (record: LockRecord, by: number, permits = 1): number => {
  const live = liveHolders(record, by);
  return live.length < (record.holders ? permits : 1) ? 0 : Math.min(...live.map(({ expiresAt }) => expiresAt)) - by;
};
