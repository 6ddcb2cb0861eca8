import { checkArgument } from "../common/rules.ts";
import type { Connect } from "../dynamodb/transport.ts";
import { Locks, locksIn } from "../lock/locks.ts";
import { type InvocationOptions, ofLocks } from "./options.ts";

/** Whose locks an invocation takes. */
export interface LocksInUse {
  readonly locks: Locks;
  /** Whether the locks only pretend. */
  readonly disabled: boolean;
}

/**
 * Gives a function that is asked for the locks at each invocation: `DYNAMO_LOCK_DISABLED` may
 * change between two.
 */
export const locksOf = (
  caller: string,
  options: InvocationOptions<never>,
  connect: Connect<never>,
): (() => LocksInUse) => {
  const given = Object.entries(options).filter(([name]) => ofLocks().includes(name));
  const locks = locksIn(options.locks) ?? new Locks(Object.fromEntries(given), { over: connect });
  let standIn: Locks | undefined;
  return () => {
    const disabled = options.disabled ?? isDisabled(caller);
    if (!disabled) return { locks, disabled };
    standIn ??= locks.standIn;
    return { locks: standIn, disabled };
  };
};

const SWITCH = "'1', 'true', 'yes', 'on', '0', 'false', 'no' or 'off'";

const isDisabled = (caller: string): boolean => {
  const value = process.env.DYNAMO_LOCK_DISABLED?.toLowerCase();
  if (value) checkArgument(caller, "the environment variable DYNAMO_LOCK_DISABLED", value, SWITCH);
  return /^(1|true|yes|on)$/.test(String(value));
};
