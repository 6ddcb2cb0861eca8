/** Sends a request again while it fails in a way that may pass. */
import { delayMs, FAULT_BACKOFF } from "../common/backoff.ts";
import type { Clock } from "../common/clock.ts";
import { isConflict, mayPass } from "../dynamodb/aws-errors.ts";
import type { Output, SendOptions } from "../dynamodb/transport.ts";

/**
 * As the AWS SDK does: what DynamoDB throttles, what failed on its side, and what failed on the way.
 * Where another transaction is in the way, who sent the request decides.
 */
const isRetryable = (error: unknown): boolean =>
  Object(error).$retryable !== undefined || (mayPass(error) && !isConflict(error));

/** Notes the number of attempts in the error, where whoever asks for doubt reads it. */
const counted = (error: unknown, attempts: number): unknown => {
  const { $metadata } = Object(error);
  return error instanceof Error ? Object.assign(error, { $metadata: { ...$metadata, attempts } }) : error;
};

/** Makes at most `maxAttempts` attempts, with a pause between two. */
export const retrying = async (
  attempt: () => Promise<Output>,
  maxAttempts: number,
  clock: Clock,
  random: () => number,
  { signal, onFailure }: SendOptions = {},
): Promise<Output> => {
  for (let attempts = 1; ; attempts++) {
    try {
      return await attempt();
    } catch (thrown) {
      const error = counted(thrown, attempts);
      onFailure?.(error);
      if (attempts >= maxAttempts || signal?.aborted || !isRetryable(error)) throw error;
      // A connection that was closed while it was idle says nothing of DynamoDB.
      const pauseMs = Object(error).reusedSocket ? 0 : delayMs(attempts - 1, FAULT_BACKOFF, random);
      if (pauseMs > 0) await clock.sleep(pauseMs, signal).catch(() => {}); // the signal ends the next attempt
    }
  }
};
