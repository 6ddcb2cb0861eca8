import { LockClient } from "../client/lock-client.ts";
import { systemClock } from "../common/clock.ts";
import { checkArgument } from "../common/rules.ts";
import { alwaysFree } from "../dynamodb/always-free.ts";
import { type InvocationOptions, ofLocks } from "./options.ts";

/** Whose locks an invocation takes. */
export interface LocksInUse {
  readonly locks: LockClient;
  /** Whether the client only pretends. */
  readonly disabled: boolean;
}

/** Gives a function that is asked for the client at each invocation: `DYNAMO_LOCK_DISABLED` may change between two. */
export const locksOf = (caller: string, options: InvocationOptions<never>): (() => LocksInUse) => {
  const given = Object.entries(options).filter(([name]) => ofLocks().includes(name));
  const locks = options.locks ?? new LockClient(Object.fromEntries(given));
  let standIn: LockClient | undefined;
  return () => {
    const disabled = options.disabled ?? isDisabled(caller);
    if (!disabled) return { locks, disabled };
    const { client: sender, store } = locks.internals;
    standIn ??= new LockClient({ client: sender }, alwaysFree(systemClock, store));
    return { locks: standIn, disabled };
  };
};

const SWITCH = "'1', 'true', 'yes', 'on', '0', 'false', 'no' or 'off'";

const isDisabled = (caller: string): boolean => {
  const value = process.env.DYNAMO_LOCK_DISABLED?.toLowerCase();
  if (value) checkArgument(caller, "the environment variable DYNAMO_LOCK_DISABLED", value, SWITCH);
  return /^(1|true|yes|on)$/.test(String(value));
};
