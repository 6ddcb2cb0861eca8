import type { LockLostReason } from "./errors.ts";
import type { LockStatus } from "./record.ts";

/** What every event about a lock tells of it. */
export interface AboutLock {
  /** The key with its namespace. */
  readonly key: string;
  readonly owner: string;
  readonly token: string;
  readonly fencingToken: number;
  /** Since the acquisition began, in ms. */
  readonly elapsedMs: number;
}

/**
 * Why a key was left to its lease. `on-error`: `onError: 'keep'`. `timeout`: the handler, or the work, may still be running. `streaming`: so may
 * its response. `unsettled`: of a batch, DynamoDB doesn't answer any more, or the invocation ends.
 */
export type KeptReason = "on-error" | "timeout" | "streaming" | "unsettled";

interface AboutAcquisition extends AboutLock {
  readonly expiresAt: number;
  /** From the wish for the key to its acquisition, in ms: at least one request, and all the waiting. */
  readonly waitedMs: number;
}

/** One transition of a lock. No event carries an event, a response or any other payload. */
export type LockEvent =
  /** The key was free and is ours. */
  | (AboutAcquisition & { readonly type: "acquired" })
  /** Ours, from an owner whose lease ended before it finished. */
  | (AboutAcquisition & { readonly type: "taken-over"; readonly previousOwner: string })
  /** Ours by `force`, from whoever held or had finished it. */
  | (AboutAcquisition & { readonly type: "forced"; readonly previousOwner: string })
  /** The lease was prolonged. */
  | (AboutLock & { readonly type: "renewed"; readonly expiresAt: number })
  /** A request failed in a way that may pass, and is tried again. */
  | {
      readonly type: "retrying";
      readonly key: string;
      readonly owner: string;
      readonly operation: string;
      readonly error: unknown;
    }
  /** Refused: another run holds it, or (`status`) has finished it. The fields are the holder's. */
  | (AboutLock & { readonly type: "held"; readonly status: LockStatus; readonly expiresAt: number })
  /** Refused: another run holds or has finished the key with another payload. The fields are that run's. */
  | (AboutLock & { readonly type: "payload-mismatch"; readonly status: LockStatus })
  /** A repeat was answered from the record of the first run. The fields are the first run's. */
  | (AboutLock & { readonly type: "replayed"; readonly responseStored: boolean })
  /** A repeat in a batch was acknowledged without running. The fields are the first run's. */
  | (AboutLock & { readonly type: "dropped" })
  /** The key is finished: repeats don't run. */
  | (AboutLock & { readonly type: "finished"; readonly responseStored: boolean })
  /** The key is free. */
  | (AboutLock & { readonly type: "released" })
  /** Finished, but a repeat will get no response: `reason` says what of it could not be stored. */
  | (AboutLock & { readonly type: "response-not-stored"; readonly reason: string })
  /**
   * Not settled: the lease ends by itself. `on-error`: as configured. `timeout`: the handler may still be running. `unsettled`: of a
   * batch, when DynamoDB doesn't answer any more, or the invocation ends.
   */
  | (AboutLock & { readonly type: "kept"; readonly reason: KeptReason })
  /** An operator broke the lock: `status` is what it was. The fields are those of who held it. */
  | (AboutLock & { readonly type: "force-released"; readonly status: LockStatus; readonly expiresAt: number })
  /** The lease is over, or a write found that the lock is not ours any more and changed nothing. */
  | (AboutLock & { readonly type: "lost"; readonly reason: LockLostReason })
  /** A request of a lock that is held failed: to renew, finish, commit or release it, or to store its response. What is not settled, the lease ends. */
  | (AboutLock & { readonly type: "failed"; readonly operation: string; readonly error: unknown })
  /** A record of a batch comes back, because its key could not be made or not be taken. */
  | { readonly type: "record-failed"; readonly identifier: string; readonly error: unknown }
  /** As many records of a batch come back untried, or unanswered: the invocation has too little time left, or DynamoDB doesn't answer. */
  | { readonly type: "not-started"; readonly records: number; readonly reason: NotStartedReason };

/** Why records of a batch were not begun. `time`: less than `reserveMs` is left. `faults`: DynamoDB doesn't answer. */
export type NotStartedReason = "time" | "faults";

/** What is told of every event: `onEvent`. */
export type LockEventListener = (event: LockEvent) => void;

/** What is needed of a logger: `@aws-lambda-powertools/logger` and `console` fit as they are. */
export interface LockLogger {
  debug(message: string, attributes: Record<string, unknown>): void;
  warn(message: string, attributes: Record<string, unknown>): void;
  error(message: string, attributes: Record<string, unknown>): void;
}

/**
 * What is needed of metrics: `@aws-lambda-powertools/metrics` fits as it is. It keeps what is added, and prints it with the rest when
 * it is told to (https://docs.aws.amazon.com/powertools/typescript/latest/features/metrics/#flushing-metrics).
 */
export interface LockMetrics {
  addMetric(name: string, unit: "Count" | "Milliseconds", value: number): unknown;
}

const LEVELS: Record<LockEvent["type"], keyof LockLogger> = {
  acquired: "debug",
  "taken-over": "warn",
  forced: "warn",
  renewed: "debug",
  retrying: "warn",
  held: "warn",
  "payload-mismatch": "warn",
  replayed: "debug",
  dropped: "debug",
  finished: "debug",
  released: "debug",
  "response-not-stored": "warn",
  kept: "warn",
  "force-released": "warn",
  lost: "warn",
  failed: "error",
  "record-failed": "error",
  "not-started": "warn",
};

/** What must not go unheard where nobody listens: no lock tells of it, and no error is thrown. */
const warningOf = (event: LockEvent): Error | string | undefined => {
  if (event.type === "not-started")
    return `${event.records} records of a batch come back, not begun: ${NOT_STARTED[event.reason]}`;
  if (event.type !== "record-failed") return undefined;
  return event.error instanceof Error ? event.error : `Record ${event.identifier} failed: ${event.error}`;
};
const NOT_STARTED: Record<NotStartedReason, string> = {
  time: "the invocation has less than reserveMs left",
  faults: "DynamoDB doesn't answer",
};

type Metric = readonly [name: string, unit: "Count" | "Milliseconds", value: number];

const count = (name: string): Metric => [name, "Count", 1];

/**
 * Few, because each name is paid for, and without dimensions: a key or an owner would make a metric of every run. Those of the
 * user's own, such as Powertools' `service`, hold for these too. A lease that ended, and then is found taken by another, is lost
 * twice, as events are.
 */
const toMetrics = (event: LockEvent): Metric[] => {
  switch (event.type) {
    case "acquired":
    case "forced":
    case "taken-over": {
      const wait: Metric = ["LockWaitTime", "Milliseconds", event.waitedMs];
      return [count("LockAcquired"), ...(event.type === "taken-over" ? [count("LockTakenOver")] : []), wait];
    }
    case "held": // a finished key stands in nobody's way
      return [count(event.status === "FINISHED" ? "LockReplayed" : "LockHeld")];
    case "payload-mismatch":
      return [count("LockPayloadMismatch")];
    case "dropped":
      return [count("LockDropped")];
    case "replayed":
      return [count("LockReplayed")];
    case "finished":
      return [count("LockFinished"), ["LockHoldTime", "Milliseconds", event.elapsedMs]];
    case "released":
      return [count("LockReleased"), ["LockHoldTime", "Milliseconds", event.elapsedMs]];
    case "lost":
      return [count("LockLost")];
    case "failed":
    case "record-failed":
      return [count("LockFailed")];
    case "not-started":
      return [["LockNotStarted", "Count", event.records]];
    default:
      return [];
  }
};

/** A callback of the user's must not break a run that goes well: what it throws becomes a process warning instead. */
export const callSafely = async (callback: () => unknown): Promise<void> => {
  try {
    await callback();
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : String(error));
  }
};

/** Tells the listener, the metrics and the logger. */
export const createReporter = (options: {
  readonly logger?: LockLogger | undefined;
  readonly metrics?: LockMetrics | undefined;
  readonly onEvent?: LockEventListener | undefined;
}): LockEventListener => {
  const { logger, metrics, onEvent } = options;
  return (event) => {
    callSafely(() => onEvent?.(event));
    if (metrics) for (const metric of toMetrics(event)) callSafely(() => metrics.addMetric(...metric));
    const warning = logger || onEvent ? undefined : warningOf(event);
    if (warning) process.emitWarning(warning);
    if (!logger) return;
    const { error, ...lock } = event as LockEvent & { error?: unknown };
    callSafely(() => logger[LEVELS[event.type]](`Lock ${event.type}`, { lock, ...(error !== undefined && { error }) }));
  };
};
