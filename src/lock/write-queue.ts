interface Turn {
  readonly settled: Promise<void>;
  readonly isRenewal: boolean;
  /** The turn that a renewal waits for. */
  readonly before: Turn | undefined;
}

/**
 * The writes of one lock, one at a time: a release that follows a renewal or a finish in flight
 * sees how that one ended. Once the lease is over (`signal`), nothing waits any more for a renewal
 * that may hang.
 */
export class WriteQueue {
  readonly #signal: AbortSignal;
  #last: Turn | undefined;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  run<T>(work: () => Promise<T>, { isRenewal = false } = {}): Promise<T> {
    const before = this.#last;
    const next = before ? this.#after(before).then(work) : work();
    const settled = next
      .catch(() => {})
      .then(() => {
        if (this.#last === turn) this.#last = undefined;
      });
    const turn: Turn = { settled, isRenewal, before: isRenewal ? before : undefined };
    this.#last = turn;
    return next;
  }

  /** A turn that passes a renewal still waits for what the renewal was waiting for. */
  async #after({ settled, isRenewal, before }: Turn): Promise<void> {
    if (!isRenewal) return settled;
    await settledOrAborted(settled, this.#signal);
    if (before) await this.#after(before);
  }
}

/** Leaves no listener behind, for a lock may be renewed for as long as its process lives. */
const settledOrAborted = (promise: Promise<void>, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const done = () => {
      signal.removeEventListener("abort", done);
      resolve();
    };
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
    void promise.then(done);
  });
