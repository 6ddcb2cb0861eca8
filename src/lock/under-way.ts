import type { Clock } from "../common/clock.ts";
import { LockError } from "../common/errors.ts";
import { inParallel } from "../common/parallel.ts";

/**
 * A promise that knows whether anybody listens to it: a failure that nobody has heard of, nobody
 * has dealt with.
 */
class Call<TResult = unknown> extends Promise<TResult> {
  static override get [Symbol.species]() {
    return Promise;
  }

  isVital = false;
  isHeard = false;
  hasFailed = false;

  // biome-ignore lint/suspicious/noThenProperty: a promise has one, and `await` calls it
  override then<T, U>(
    onFulfilled?: ((value: TResult) => T | PromiseLike<T>) | null,
    onRejected?: ((reason: unknown) => U | PromiseLike<U>) | null,
  ): Promise<T | U> {
    this.isHeard = true;
    return super.then(onFulfilled, onRejected);
  }
}

const hanging = () =>
  new LockError(
    "LOCK_REQUEST",
    "A commit that was not awaited has no answer while the invocation ends. It is not known whether it was applied: await it, and " +
      "give the client's requestHandler a requestTimeout. The key is left to its lease",
  );

/** The outcome of calls that were not awaited. */
export interface Unawaited {
  /** Some of them still hang. */
  readonly hangs: boolean;
  /** The first failure of a call that must not fail unheard. */
  readonly failure: { readonly error: unknown } | undefined;
}

/**
 * The calls on a lock that are under way, and those that failed without anybody having heard of it.
 */
export class UnderWay {
  readonly #calls = new Set<Call>();

  /** `isVital`: must not fail unheard. */
  add<T>(isVital: boolean, work: Promise<T>): Promise<T> {
    const call = new Call<T>((resolve) => resolve(work));
    call.isVital = isVital;
    this.#calls.add(call);
    work.then(
      () => this.#calls.delete(call),
      () => {
        call.hasFailed = true;
        if (!isVital || call.isHeard) this.#calls.delete(call);
      },
    );
    return call;
  }

  /**
   * Waits for what is under way by now, at most `ms`. From then on its failures are no unhandled
   * rejections.
   */
  async settled(clock: Clock, ms: number): Promise<Unawaited> {
    let failure: Unawaited["failure"];
    const calls = [...this.#calls].filter(({ hasFailed, isHeard }) => !(hasFailed && isHeard));
    if (calls.length === 0) return { hangs: false, failure };
    for (const call of calls) call.catch(() => {});
    const wait = async (call: Call) => {
      await call.catch((error: unknown) => {
        if (call.isVital) failure ??= { error };
      });
      this.#calls.delete(call);
    };
    const hangs = !(await inParallel(calls, calls.length, wait, { clock, ms }));
    if (hangs && calls.some((call) => call.isVital && this.#calls.has(call))) failure ??= { error: hanging() };
    return { hangs, failure };
  }
}
