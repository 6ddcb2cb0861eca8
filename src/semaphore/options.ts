/** Options of semaphores: each is declared once, its type and text above, its rule below. */
import type { Context } from "aws-lambda";
import type { LockKey } from "../common/key.ts";
import { type Contradictions, join, MS, pick, type Rules } from "../common/rules.ts";
import {
  ANSWER_RULES,
  type AnswerOptions,
  type HoldingOptions,
  INVOCATION_RULES,
  type InvocationOptions,
} from "../lambda/options.ts";
import { PATIENCE_RULES, type PatienceOptions, TAKE_RULES, type TakeOptions } from "../lock/acquire-options.ts";
import { LEASE_RULES, LOSS_RULES, WAIT_RULES } from "../lock/lease-options.ts";
import { locksIn } from "../lock/locks.ts";
import { SETTLE_TIME_RULES } from "../lock/options.ts";

/** Options of `semaphore`. */
export interface SemaphoreOptions {
  /**
   * How many may hold the key at once: 1 to 100.
   * @default required
   */
  readonly permits: number;
}

/**
 * Options of `dynamoSemaphore` and `withSemaphore`: those of `dynamoLock`, without the ones of a
 * finished key, because a semaphore is never finished. So nothing is remembered or replayed, and a
 * `duplicateResponse` answers those for whom no permit was left. `leaseMs` is at most 30 days.
 */
// biome-ignore lint/suspicious/noExplicitAny: without a type argument, `(event) => event.date` has to compile.
export interface DynamoSemaphoreOptions<TEvent = any>
  extends InvocationOptions<TEvent>,
    Omit<HoldingOptions, "expiry">,
    AnswerOptions<TEvent>,
    SemaphoreOptions {
  /**
   * Gives the key to take a permit of, from the event. Missing (`undefined`, `null` or `''`): see
   * `onMissingKey`. At most 2,048 bytes with the namespace. One key: an array is an error.
   * @default required
   */
  readonly key: (event: TEvent, context: Context) => LockKey;
  /**
   * The fate of the permit when the handler fails: `'release'`: another may take it at once;
   * `'keep'`: nobody may until the lease ends; or a function that decides.
   * @default `'release'`
   */
  readonly onError?: SemaphoreOnError | ((error: unknown) => SemaphoreOnError | Promise<SemaphoreOnError>) | undefined;
}

/** The fate of a permit when the handler fails. */
export type SemaphoreOnError = "release" | "keep";

/**
 * Options of `tryAcquire` of a semaphore, which doesn't wait. The lease is at most 30 days long, and
 * ends by the clock. What is left out is as the `LockClient` has it.
 */
export interface TryAcquirePermitOptions extends Omit<TakeOptions, "expiry" | "force"> {}

/** Options of `acquire` of a semaphore, which may wait. */
export interface AcquirePermitOptions extends TryAcquirePermitOptions, PatienceOptions {}

/** Options of `run` of a semaphore: those of `acquire`, and a limit on the work. */
export interface RunPermitOptions extends AcquirePermitOptions {
  /**
   * Limit on the work itself, in ms: then `lock.signal` is aborted, and `run` throws a
   * `LockTimeoutError`. The permit is released when the work ends after all, or else when its lease
   * does.
   * @default none
   */
  readonly timeoutMs?: number | undefined;
}

/** More would not fit into one expression when a semaphore becomes a plain key again. */
export const SEMAPHORE_RULES: Rules<SemaphoreOptions> = { permits: "a whole number from 1 to 100" };

/** The upper bound is `MAX_SEMAPHORE_LEASE_MS`. */
export const PERMIT_LEASE = "a whole number of milliseconds from 1 to 2592000000";

/** A slot ends by the clock, so there is no `expiry` to choose. */
const PERMIT_LEASE_RULES = /* @__PURE__ */ join(/* @__PURE__ */ pick(LEASE_RULES, "heartbeatMs"), {
  leaseMs: PERMIT_LEASE,
});

export const TRY_ACQUIRE_PERMIT_RULES: Rules<TryAcquirePermitOptions> = /* @__PURE__ */ join(
  /* @__PURE__ */ pick(TAKE_RULES, "owner", "data", "safeMs", "onExpiring", "onLost"),
  PERMIT_LEASE_RULES,
);
export const ACQUIRE_PERMIT_RULES: Rules<AcquirePermitOptions> = /* @__PURE__ */ join(
  TRY_ACQUIRE_PERMIT_RULES,
  PATIENCE_RULES,
);
export const RUN_PERMIT_RULES: Rules<RunPermitOptions> = /* @__PURE__ */ join(ACQUIRE_PERMIT_RULES, { timeoutMs: MS });

export const DYNAMO_SEMAPHORE_RULES: Rules<DynamoSemaphoreOptions> = /* @__PURE__ */ join(
  INVOCATION_RULES,
  PERMIT_LEASE_RULES,
  WAIT_RULES,
  SETTLE_TIME_RULES,
  LOSS_RULES,
  ANSWER_RULES,
  SEMAPHORE_RULES,
  { onError: "'release', 'keep' or a function" },
);

/** A client that trusts no clock would wait for ever for the permit of a process that has crashed. */
export const CLOCK_CONTRADICTIONS: Contradictions<{ readonly locks?: unknown }> = [
  [
    ({ locks }) => locksIn(locks)?.options.expiry === "observed",
    "locks must not have expiry 'observed': permits end by the clock",
  ],
];
