/** Options of semaphores: all that options know of permits stands here. */
import { type Contradictions, fits, join, MS, pick, type Rules } from "../common/rules.ts";
import {
  ANSWER_RULES,
  type AnswerOptions,
  type HoldingOptions,
  INVOCATION_RULES,
  type InvocationOptions,
} from "../lambda/options.ts";
import { PATIENCE_RULES, type PatienceOptions, TAKE_RULES, type TakeOptions } from "../lock/acquire-options.ts";
import { LEASE_RULES, LOSS_RULES, WAIT_RULES } from "../lock/lease-options.ts";

export interface PermitsOptions {
  /**
   * How many may hold the key at once: 1 to 100.
   * @default required
   */
  readonly permits: number;
}

/**
 * Options of `dynamoSemaphore` and `withSemaphore`. A semaphore is never finished, so nothing is
 * remembered or replayed.
 */
// biome-ignore lint/suspicious/noExplicitAny: without a type argument, `(event) => event.date` has to compile.
export interface DynamoSemaphoreOptions<TEvent = any>
  extends InvocationOptions<TEvent>,
    Omit<HoldingOptions, "expiry">,
    AnswerOptions<TEvent>,
    PermitsOptions {
  /**
   * The fate of the permit when the handler fails: `'release'`: another may take it at once;
   * `'keep'`: nobody may until the lease ends; or a function that decides.
   * @default `'release'`
   */
  readonly onError?: SemaphoreOnError | ((error: unknown) => SemaphoreOnError | Promise<SemaphoreOnError>) | undefined;
}

/** The fate of a permit when the handler fails. */
export type SemaphoreOnError = "release" | "keep";

/** Options of `tryAcquire` of a semaphore, which doesn't wait. */
export interface TryPermitOptions extends Omit<TakeOptions, "expiry" | "force"> {}

/** Options of `acquire` of a semaphore. */
export interface PermitOptions extends TryPermitOptions, PatienceOptions {}

/** Options of `run` of a semaphore. */
export interface RunPermitOptions extends PermitOptions {
  /**
   * Limit on the work itself, in ms: then `lock.signal` is aborted, and `run` throws a
   * `LockTimeoutError`.
   */
  readonly timeoutMs?: number | undefined;
}

/** More would not fit into one expression when a semaphore becomes a plain key again. */
export const PERMITS_RULES: Rules<PermitsOptions> = { permits: "a whole number from 1 to 100" };

/** The upper bound is `MAX_SEMAPHORE_LEASE_MS`. */
export const PERMIT_LEASE = "a whole number of milliseconds from 1 to 2592000000";

/** A slot ends by the clock, so there is no `expiry` to choose. */
const PERMIT_LEASE_RULES = /* @__PURE__ */ join(/* @__PURE__ */ pick(LEASE_RULES, "heartbeatMs"), {
  leaseMs: PERMIT_LEASE,
});

export const TRY_PERMIT_RULES: Rules<TryPermitOptions> = /* @__PURE__ */ join(
  /* @__PURE__ */ pick(TAKE_RULES, "owner", "data", "safeMs", "onExpiring", "onLost"),
  PERMIT_LEASE_RULES,
);
export const PERMIT_RULES: Rules<PermitOptions> = /* @__PURE__ */ join(TRY_PERMIT_RULES, PATIENCE_RULES);
export const RUN_PERMIT_RULES: Rules<RunPermitOptions> = /* @__PURE__ */ join(PERMIT_RULES, { timeoutMs: MS });

export const DYNAMO_SEMAPHORE_RULES: Rules<DynamoSemaphoreOptions> = /* @__PURE__ */ join(
  INVOCATION_RULES,
  PERMIT_LEASE_RULES,
  WAIT_RULES,
  LOSS_RULES,
  ANSWER_RULES,
  PERMITS_RULES,
  { onError: "'release', 'keep' or a function" },
);

/** A lease that is the client's own may be longer than that of a permit. */
export const PERMIT_CONTRADICTIONS: Contradictions<{ readonly leaseMs: number }> = [
  [({ leaseMs }) => !fits(leaseMs, PERMIT_LEASE), "leaseMs of a semaphore must be at most 2592000000"],
];
