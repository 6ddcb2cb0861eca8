/** The only source of time: tests put their own in its place. */
export interface Clock {
  /** Wall clock, epoch ms. */
  now(): number;
  /** Never goes back, in ms from an arbitrary start. */
  monotonic(): number;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
};
