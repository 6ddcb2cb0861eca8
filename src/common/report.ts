/** How the listener, the metrics, the logger and, failing these, the console hear of an event. */
import { LOSSES } from "./errors.ts";
import type { LockEvent, LockEventListener, LockLogger, LockMetrics } from "./events.ts";
import { callSafely, print } from "./print.ts";
import { conceal } from "./record.ts";

/** Metrics by name. Those whose name ends in Time are milliseconds, the others are counts. */
type Measured = Readonly<Record<string, number>>;

/**
 * The level at which an event is logged, its metrics, and its problem in words, if it has one for
 * which no error need be thrown.
 */
type EventKind<TEvent> = readonly [
  level: keyof LockLogger,
  measure?: ((event: TEvent) => Measured) | undefined,
  problem?: (event: TEvent) => string,
];

const acquired = ({ waitedMs }: { readonly waitedMs: number }) => ({ LockAcquired: 1, LockWaitTime: waitedMs });
const replayed = () => ({ LockReplayed: 1 });
const failed = () => ({ LockFailed: 1 });

/**
 * The metrics are few, because each name is paid for, and have no dimensions: a key or an owner
 * would make a metric of every run. The user's own dimensions, such as Powertools' `service`, hold
 * for them too. A lease that ends, and is then found taken by another run, counts as lost twice, as
 * there are two events.
 */
const KINDS: { readonly [T in LockEvent["type"]]: EventKind<Extract<LockEvent, { readonly type: T }>> } = {
  acquired: ["debug", acquired],
  "taken-over": ["warn", ({ waitedMs }) => ({ LockAcquired: 1, LockTakenOver: 1, LockWaitTime: waitedMs })],
  forced: ["warn", acquired],
  renewed: ["debug"],
  retrying: ["warn"],
  held: ["warn", ({ status }) => (status === "FINISHED" ? replayed() : { LockHeld: 1 })],
  "payload-mismatch": ["warn", () => ({ LockPayloadMismatch: 1 })],
  replayed: ["debug", replayed],
  dropped: ["debug", () => ({ LockDropped: 1 })],
  finished: ["debug", ({ elapsedMs }) => ({ LockFinished: 1, LockHoldTime: elapsedMs })],
  released: ["debug", ({ elapsedMs }) => ({ LockReleased: 1, LockHoldTime: elapsedMs })],
  "response-not-stored": [
    "warn",
    undefined,
    ({ key, reason }) => `The response under lock ${key} is not stored, so repeats get none: ${reason}`,
  ],
  kept: ["warn"],
  broken: ["warn"],
  forgotten: ["warn"],
  lost: [
    "warn",
    () => ({ LockLost: 1 }),
    ({ key, reason }) =>
      `Lock ${key} is lost (${reason}): ${LOSSES[reason]}. Another run may be at work under the same key`,
  ],
  failed: [
    "error",
    failed,
    ({ key, operation }) => `Lock ${key}: ${operation} failed. What is not settled, the lease ends`,
  ],
  unavailable: ["error", failed, ({ key }) => `DynamoDB is away: what has key ${key} runs without a lock`],
  "bulk-denied": ["warn"],
  "record-failed": ["error", failed],
  "not-started": ["warn", ({ records }) => ({ LockNotStarted: records })],
};

/**
 * Tells of an event. `problem` is the line to print for it if nobody hears, where only the caller
 * can word it.
 */
export type Reporter = (event: LockEvent, problem?: string) => void;

/**
 * Tells the listener, the metrics and the logger. A problem that neither listener nor logger took
 * is printed.
 */
export const createReporter = ({
  logger,
  metrics,
  onEvent,
}: {
  readonly logger?: LockLogger | undefined;
  readonly metrics?: LockMetrics | undefined;
  readonly onEvent?: LockEventListener | undefined;
}): Reporter => {
  return (reported, worded) => {
    const event = conceal({ ...reported } as LockEvent & { token: string; error?: unknown }, "token");
    const [level, measure, problemOf] = KINDS[event.type] as EventKind<LockEvent>;
    const { error, ...lock } = event;
    const thrown = "error" in event ? ([error] as const) : ([] as const);
    const heard = onEvent ? [callSafely("onEvent", () => onEvent(event))] : [];
    for (const [name, value] of Object.entries((metrics && measure?.(event)) ?? {})) {
      const unit = name.endsWith("Time") ? "Milliseconds" : "Count";
      callSafely("metrics", () => metrics?.addMetric(name, unit, value));
    }
    if (logger) {
      const attributes = { lock, ...(thrown.length > 0 && { error }) };
      heard.push(callSafely("logger", () => logger[level](`Lock ${event.type}`, attributes)));
    }
    const problem = worded ?? problemOf?.(event);
    if (!problem) return;
    const printIt = () => print(level === "error" ? level : "warn", problem, ...thrown);
    if (heard.length === 0) printIt();
    else Promise.all(heard).then((all) => all.includes(true) || printIt());
  };
};
