import type { Clock } from "../../src/index.ts";

/** A clock that only moves when it is told to. */
export const manualClock = (start = Date.UTC(2026, 10, 21)) => {
  let wall = start;
  let monotonic = 0;
  return {
    now: () => wall,
    monotonic: () => monotonic,
    advance(ms: number) {
      wall += ms;
      monotonic += ms;
    },
    /** A frozen sandbox stops its monotonic clock; a corrected wall clock jumps. */
    advanceWall(ms: number) {
      wall += ms;
    },
  } satisfies Clock & Record<string, unknown>;
};
