import type { Clock } from "../../src/index.ts";

/** Midnight of today: DynamoDB Local deletes by its own clock what a TTL of the past has ended. */
export const TODAY = new Date().setUTCHours(0, 0, 0, 0);

/** A clock that only moves when it is told to, or when somebody sleeps. */
export const manualClock = (start = TODAY) => {
  let wall = start;
  let monotonic = 0;
  const timers = new Map<object, { at: number; callback: () => void }>();

  /** Both clocks, stopping at every timer that is due on the way. */
  const advance = (ms: number) => {
    const end = monotonic + ms;
    for (;;) {
      const [next] = [...timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at);
      if (!next) break;
      const [id, { at, callback }] = next;
      timers.delete(id);
      wall += Math.max(0, at - monotonic);
      monotonic = Math.max(monotonic, at);
      callback();
    }
    wall += end - monotonic;
    monotonic = end;
  };

  const clock = {
    now: () => wall,
    monotonic: () => monotonic,
    async sleep(ms: number, signal?: AbortSignal) {
      signal?.throwIfAborted();
      advance(ms);
      await new Promise(setImmediate); // what the timers began goes on first
    },
    setTimer(ms: number, callback: () => void) {
      const id = {};
      timers.set(id, { at: monotonic + ms, callback });
      return () => timers.delete(id);
    },
    advance,
    /** Whether nothing is on its way that a timer began: `pass` waits for that. */
    isIdle: (): boolean => true,
    /** Advances from timer to timer, letting requests that one began come back before the next. */
    async pass(ms: number) {
      const end = monotonic + ms;
      do {
        const next = Math.min(end, ...[...timers.values()].map(({ at }) => at));
        advance(Math.max(0, next - monotonic));
        for (let turn = 0; turn === 0 || (turn < 200 && !clock.isIdle()); turn++) {
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      } while (monotonic < end);
    },
    /** A frozen sandbox stops its monotonic clock; a corrected wall clock jumps. No timer fires. */
    advanceWall(ms: number) {
      wall += ms;
    },
    /** A frozen sandbox: both clocks have moved on when it thaws, and then its timers are due. */
    freeze(ms: number) {
      wall += ms;
      monotonic += ms;
    },
    get timers() {
      return timers.size;
    },
  };
  return clock satisfies Clock;
};

export type ManualClock = ReturnType<typeof manualClock>;
