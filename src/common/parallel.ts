import type { Clock } from "./clock.ts";

/** How long work is waited for, in ms. */
export interface TimeLimit {
  readonly clock: Clock;
  readonly ms: number;
}

/**
 * Works on all items, at most `concurrency` at a time, in their order. The next item is asked for
 * when its turn has come, so that a generator may leave out what is not wanted any more. The work
 * must not reject. When the time is up nothing more is begun, and what is under way is left to
 * itself: then it gives false.
 */
export const inParallel = async <T>(
  items: Iterable<T>,
  concurrency: number,
  work: (item: T) => Promise<void>,
  { clock, ms }: TimeLimit,
): Promise<boolean> => {
  const iterator = items[Symbol.iterator]();
  let isUp = ms <= 0;
  const worker = async () => {
    while (!isUp) {
      const next = iterator.next();
      if (next.done) return;
      await work(next.value);
    }
  };
  let cancel = () => {};
  const timeIsUp = new Promise<void>((resolve) => {
    cancel = clock.setTimer(Math.max(0, ms), () => {
      isUp = true;
      resolve();
    });
  });
  await Promise.race([Promise.all(Array.from({ length: concurrency }, worker)), timeIsUp]);
  cancel();
  return !isUp;
};

/** Lets at most `concurrency` pieces of work go on at once; the others wait for their turn. */
export const createTurns = (concurrency: number) => {
  let free = concurrency;
  const waiting: (() => void)[] = [];
  return async (work: () => Promise<void>): Promise<void> => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else free++;
    }
  };
};
