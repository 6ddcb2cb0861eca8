/** Sends a request within bounds of time, and again while it fails in a way that may pass. */
import { CONFLICT_BACKOFF, delayMs, FAULT_BACKOFF, MIN_LEFT_MS } from "../common/backoff.ts";
import type { Clock } from "../common/clock.ts";
import { isConflict, mayHaveApplied, mayPass, rememberDoubt } from "./aws-errors.ts";
import type { Output, SendOptions, Transport } from "./transport.ts";

/** How long a request may take, and whether it is sent again. */
export interface Bounds {
  /** Monotonic ms: no answer is waited for any longer. Left out: 10 s from now. */
  readonly until?: number | undefined;
  /**
   * Send it again until then, when it has failed in a way that may pass, or only when another
   * transaction was in the way, or never.
   * @default `"all"`
   */
  readonly retries?: "all" | "conflicts" | "none" | undefined;
  /** How often the caller has sent it before: each try is waited for twice as long. */
  readonly tries?: number | undefined;
  /** Whether the caller has sent it before in a way that may have applied. */
  readonly inDoubt?: boolean | undefined;
  /** Aborted: no answer is waited for any longer. */
  readonly signal?: AbortSignal | undefined;
  /** Called with each error after which it is sent again, but for brief conflicts. */
  readonly onRetry?: ((error: unknown) => void) | undefined;
}

/** In place of `tries`: a large reply may take as long as the fourth try of a small one. */
export const LARGE_REPLY = 3;
/** The bound of a request that has no other. */
const REQUEST_BOUND_MS = 10_000;

/**
 * A transaction of somebody else on the same items is over in a moment: so often it is sent again
 * without a word to the caller, who may not be waiting for anything.
 */
const CONFLICT_ATTEMPTS = 5;

/**
 * The time of a try, in ms: each has twice that of the one before, and leaves as much for another
 * while there is enough for two.
 */
const timeOfTry = (requestMs: number, tries: number, leftMs: number): number =>
  Math.max(1, Math.min(requestMs * 2 ** Math.min(tries, 20), Math.max(leftMs / 2, Math.min(leftMs, requestMs))));

/**
 * A reply that was refused in the end says nothing of an attempt before it whose reply was lost, so
 * that doubt is remembered with the error that ends the last attempt.
 */
export const persist = async (
  transport: Transport,
  clock: Clock,
  random: () => number,
  [operation, input]: readonly [operation: string, input: object],
  bounds: Bounds & Pick<SendOptions, "onFailure"> = {},
): Promise<Output> => {
  const { until = clock.monotonic() + REQUEST_BOUND_MS, retries = "all", tries = 0, signal, onRetry } = bounds;
  let { inDoubt } = bounds;
  for (let attempt = 0; ; attempt++) {
    const ms = timeOfTry(transport.requestMs(), tries + attempt, until - clock.monotonic());
    try {
      return await sendWithin(ms, transport, clock, operation, input, bounds);
    } catch (error) {
      inDoubt ||= mayHaveApplied(error);
      if (inDoubt) rememberDoubt(error);
      const leftMs = until - clock.monotonic();
      const pauseMs = delayMs(attempt, isConflict(error) ? CONFLICT_BACKOFF : FAULT_BACKOFF, random, leftMs);
      const isInTime = retries === "all" && mayPass(error) && leftMs > MIN_LEFT_MS;
      const isBrief = retries !== "none" && isConflict(error) && attempt + 1 < CONFLICT_ATTEMPTS;
      if (!(isInTime || isBrief) || signal?.aborted) throw error;
      if (!isBrief) onRetry?.(error);
      await clock.sleep(pauseMs, signal).catch(() => {}); // the signal ends the next attempt
    }
  }
};

/**
 * One request, with a timer of ours: a client of the user's may have none, and a stand-in or a
 * middleware may ignore a signal.
 */
const sendWithin = (
  ms: number,
  transport: Transport,
  clock: Clock,
  operation: string,
  input: object,
  { signal, onFailure }: Bounds & Pick<SendOptions, "onFailure">,
): Promise<Output> => {
  const stop = new AbortController();
  return new Promise<Output>((resolve, reject) => {
    const end = (name: string, message: string) => {
      done();
      const error = Object.assign(new Error(message), { name });
      onFailure?.(error);
      reject(error);
      stop.abort(error);
    };
    const abort = () => end("AbortError", "Its reply is not waited for any longer");
    const cancel = clock.setTimer(ms, () => end("TimeoutError", `No reply within ${Math.round(ms)} ms`));
    const done = () => {
      cancel();
      signal?.removeEventListener("abort", abort);
    };
    if (signal?.aborted) return abort();
    signal?.addEventListener("abort", abort);
    const send = async () => transport.send(operation, input, { signal: stop.signal, onFailure });
    send().finally(done).then(resolve, reject);
  });
};
