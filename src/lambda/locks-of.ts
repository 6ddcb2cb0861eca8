import { forbidTogether, show } from "../common/check.ts";
import { LockOptionsError } from "../common/errors.ts";
import type { DynamoLockOptions } from "../invocation/options.ts";
import { Locks, locksIn } from "../lock/locks.ts";
import { checkAcquisition, checkMethods } from "../lock/options.ts";

/** What the middlewares' options have in common: whose locks they take, and for how long. */
type CommonOptions = Pick<
  DynamoLockOptions,
  | "tableName"
  | "client"
  | "clientConfig"
  | "locks"
  | "clockSkewMs"
  | "cacheSize"
  | "heartbeatMs"
  | "waitMs"
  | "expiry"
  | "permits"
  | "logger"
  | "metrics"
  | "onEvent"
  | "disabled"
> & {
  readonly key: unknown;
  readonly leaseMs?: number | ((record: never) => number) | undefined;
};

/** Whose locks an invocation takes. */
export interface LocksInUse {
  readonly locks: Locks;
  /** Whether the client only pretends. */
  readonly disabled: boolean;
}

/** Gives a function that is asked for the client at each invocation: `DYNAMO_LOCK_DISABLED` may change between two. */
export const locksOf = (caller: string, options: CommonOptions): (() => LocksInUse) => {
  const { tableName, client, clientConfig, clockSkewMs, cacheSize, logger, metrics, onEvent } = options;
  const locks =
    locksIn(options.locks) ??
    new Locks({ tableName, client, clientConfig, clockSkewMs, cacheSize, logger, metrics, onEvent });
  let standIn: Locks | undefined;
  return () => {
    const disabled = options.disabled ?? isDisabled(caller);
    if (!disabled) return { locks, disabled };
    standIn ??= locks.standIn;
    return { locks: standIn, disabled };
  };
};

const isDisabled = (caller: string): boolean => {
  const { DYNAMO_LOCK_DISABLED: value = "" } = process.env;
  if (/^(1|true|yes|on)$/i.test(value)) return true;
  if (/^(0|false|no|off|)$/i.test(value)) return false;
  throw new LockOptionsError(
    `${caller}: the environment variable DYNAMO_LOCK_DISABLED must be one of 1, true, yes, on, or 0, false, no, off, got ` +
      JSON.stringify(value),
  );
};

/** What these options contradict in themselves. */
export const checkCommon = (caller: string, options: CommonOptions, keyOf: string): void => {
  if (options.key === undefined) {
    throw new LockOptionsError(`${caller}: key is required: a function of ${keyOf}, got undefined`);
  }
  if (options.locks !== undefined && !locksIn(options.locks)) {
    throw new LockOptionsError(`${caller}: locks must be a LockClient, got ${show(options.locks)}`);
  }
  const itsOwn = ["tableName", "client", "clientConfig", "clockSkewMs", "cacheSize", "logger", "metrics", "onEvent"];
  forbidTogether(caller, options, "locks", itsOwn, "set it on the LockClient");
  forbidTogether(caller, options, "client", ["clientConfig"], "a client has its configuration already");
  checkMethods(caller, options);
  if (options.heartbeatMs !== undefined && options.leaseMs === undefined) {
    throw new LockOptionsError(
      `${caller}: heartbeatMs needs leaseMs: a lease as long as the invocation needs no renewal`,
    );
  }
  const leaseMs = typeof options.leaseMs === "number" ? options.leaseMs : Number.POSITIVE_INFINITY;
  checkAcquisition(
    caller,
    {
      heartbeatMs: options.heartbeatMs ?? locksIn(options.locks)?.options.heartbeatMs,
      permits: options.permits,
      expiry: options.expiry,
    },
    1,
    leaseMs,
  );
  checkObserved(caller, options, typeof options.leaseMs === "function" ? 1 : leaseMs); // each record's when it is known
};

/** What a lease that nobody ends by the clock needs. */
export const checkObserved = (
  caller: string,
  { expiry, locks, waitMs = 0 }: Pick<CommonOptions, "expiry" | "locks" | "waitMs">,
  leaseMs: number,
): void => {
  if ((expiry ?? locksIn(locks)?.options.expiry) === "observed" && !(waitMs > leaseMs)) {
    throw new LockOptionsError(
      `${caller}: expiry 'observed' needs leaseMs and a longer waitMs: a crashed run's lease is over only when it was watched`,
    );
  }
};
