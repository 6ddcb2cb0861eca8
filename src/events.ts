import type { LockLostReason } from "./errors.ts";
import type { LockStatus } from "./record.ts";

interface AboutLock {
  /** The key with its namespace. */
  readonly key: string;
  readonly owner: string;
  readonly token: string;
  readonly fencingToken: number;
  /** Since the acquisition began, in ms. */
  readonly elapsedMs: number;
}

/** One transition of a lock. No event carries an event, a response or any other payload. */
export type LockEvent =
  /** The key was free and is ours. */
  | (AboutLock & { readonly type: "acquired"; readonly expiresAt: number })
  /** Ours, from an owner whose lease ended before it finished. */
  | (AboutLock & { readonly type: "taken-over"; readonly expiresAt: number; readonly previousOwner: string })
  /** Refused: another run holds it, or (`status`) has finished it. The fields are the holder's. */
  | (AboutLock & { readonly type: "held"; readonly status: LockStatus; readonly expiresAt: number })
  /** A repeat was answered from the record of the first run. The fields are the first run's. */
  | (AboutLock & { readonly type: "replayed"; readonly responseStored: boolean })
  | (AboutLock & { readonly type: "finished"; readonly responseStored: boolean })
  | (AboutLock & { readonly type: "released" })
  /** Finished, but a repeat will get no response: `reason` says what of it could not be stored. */
  | (AboutLock & { readonly type: "response-not-stored"; readonly reason: string })
  /** Not settled: the lease ends by itself. `on-error`: as configured. `timeout`: the handler may still be running. */
  | (AboutLock & { readonly type: "kept"; readonly reason: "on-error" | "timeout" | "streaming" })
  /** A write found that the lock is not ours any more, and changed nothing. */
  | (AboutLock & { readonly type: "lost"; readonly reason: LockLostReason })
  /** Finishing or releasing failed; the lease ends by itself. */
  | (AboutLock & { readonly type: "failed"; readonly operation: string; readonly error: unknown });

export type LockEventListener = (event: LockEvent) => void;

/** What is needed of a logger: `@aws-lambda-powertools/logger` and `console` fit as they are. */
export interface LockLogger {
  debug(message: string, attributes: Record<string, unknown>): void;
  warn(message: string, attributes: Record<string, unknown>): void;
  error(message: string, attributes: Record<string, unknown>): void;
}

const LEVELS: Record<LockEvent["type"], keyof LockLogger> = {
  acquired: "debug",
  "taken-over": "warn",
  held: "warn",
  replayed: "debug",
  finished: "debug",
  released: "debug",
  "response-not-stored": "warn",
  kept: "warn",
  lost: "warn",
  failed: "error",
};

/**
 * Tells the listener and the logger. Neither may break a run that goes well, so what they throw becomes a process
 * warning instead.
 */
export const createReporter = (options: {
  readonly logger?: LockLogger | undefined;
  readonly onEvent?: LockEventListener | undefined;
}): LockEventListener => {
  const { logger, onEvent } = options;
  return (event) => {
    try {
      onEvent?.(event);
      if (logger) {
        const { type, error, ...lock } = event as LockEvent & { error?: unknown };
        logger[LEVELS[type]](`Lock ${type}`, { lock, ...(error !== undefined && { error }) });
      }
    } catch (error) {
      process.emitWarning(error instanceof Error ? error : String(error));
    }
  };
};
