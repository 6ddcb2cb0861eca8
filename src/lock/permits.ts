/** Semaphores as an option of an acquisition: all that the options know of them stands here. */
import { type Contradictions, fits, type Rules } from "../common/rules.ts";

export interface PermitsOptions {
  /**
   * How many may hold the key at once, up to 100. More than one make it a semaphore, which can't be
   * finished: the middleware then needs `onSuccess: 'release'`.
   * @default 1
   */
  readonly permits?: number | undefined;
}

/** More would not fit into one expression when a semaphore becomes a plain key again. */
export const PERMITS_RULES: Rules<PermitsOptions> = { permits: "a whole number from 1 to 100" };

/** The upper bound is `MAX_SEMAPHORE_LEASE_MS`. */
export const MS_OF_SEMAPHORE = "a whole number of milliseconds from 1 to 2592000000";

const isSemaphore = ({ permits }: PermitsOptions) => typeof permits === "number" && permits > 1;

/** What is known of an acquisition of several permits. */
interface SemaphoreLease extends PermitsOptions {
  readonly leaseMs: number;
  readonly keys?: number | undefined;
  readonly reentrant?: boolean | undefined;
  readonly force?: boolean | undefined;
  readonly expiry?: "clock" | "observed" | undefined;
}

export const PERMITS_CONTRADICTIONS: Contradictions<SemaphoreLease> = [
  [
    (lease) => isSemaphore(lease) && Number.isFinite(lease.leaseMs) && !fits(lease.leaseMs, MS_OF_SEMAPHORE),
    "leaseMs of a semaphore must be at most 2592000000",
  ],
  [(lease) => isSemaphore(lease) && (lease.keys ?? 1) > 1, "permits and several keys contradict each other"],
  [
    (lease) => isSemaphore(lease) && ((lease.reentrant && "reentrant") || (lease.force && "force")),
    "permits and {} contradict each other",
  ],
  [(lease) => isSemaphore(lease) && lease.expiry === "observed", "permits and expiry 'observed' contradict each other"],
];

/** What an invocation that holds one of several permits can't do. */
export const INVOCATION_PERMITS_CONTRADICTIONS: Contradictions<
  PermitsOptions & { readonly fingerprint?: unknown; readonly onSuccess?: unknown; readonly onError?: unknown }
> = [
  [(options) => isSemaphore(options) && options.fingerprint, "permits and fingerprint contradict each other"],
  [
    (options) => isSemaphore(options) && (options.onSuccess !== "release" || options.onError === "finish"),
    "permits needs onSuccess 'release', and no onError 'finish'",
  ],
];
