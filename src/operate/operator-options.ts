/** Options of the calls by which an operator ends an acquisition. */
import {
  ANYTHING,
  BOOLEAN,
  type Contradictions,
  fits,
  join,
  MS,
  pick,
  type Rule,
  type Rules,
  TEXT,
} from "../common/rules.ts";

/** Who does it and why, and to which acquisition of the key. */
export interface BreakLockOptions {
  /**
   * The acquisition that was seen, and no other. A record or an event that is given in place of a
   * key has its own. Of a semaphore it names the holder.
   */
  readonly fencingToken?: number | undefined;
  /**
   * Without that guard: whoever it is by now. Of a semaphore: all holders.
   * @default `false`
   */
  readonly any?: boolean | undefined;
  /**
   * The person or program that does it: kept in the record, shown in the event, and told to the one
   * who loses the lock.
   * @default the `owner` of the `LockClient`, if it has one
   */
  readonly by?: string | undefined;
  /** The reason, kept and shown with `by`. */
  readonly why?: string | undefined;
}

/** Options of `forgetLock`: those of `breakLock`. */
export interface ForgetLockOptions extends BreakLockOptions {}

/** Options of `finishLock`: those of `breakLock`, and how the key is finished. */
export interface FinishLockOptions extends Omit<BreakLockOptions, "any"> {
  /** The response that repeats get. Without it they get `undefined`. */
  readonly result?: unknown;
  /** A status of the application's own, `finalStatus` of the record. */
  readonly status?: string | undefined;
  /**
   * How long the key blocks repeats, in ms.
   * @default that of the `LockClient`, or 3_600_000
   */
  readonly rememberMs?: number | undefined;
}

/** A record is paid for by its size at every write. */
const MAX_NOTE_BYTES = 500;
const NOTE: Rule = [
  `${TEXT}, of at most ${MAX_NOTE_BYTES} bytes`,
  (value) => fits(value, TEXT) === true && Buffer.byteLength(value as string) <= MAX_NOTE_BYTES,
];

export const BREAK_LOCK_RULES: Rules<BreakLockOptions> = {
  fencingToken: "a whole number from 1 to 9007199254740991",
  any: BOOLEAN,
  by: NOTE,
  why: NOTE,
};

export const FINISH_LOCK_RULES: Rules<FinishLockOptions> = /* @__PURE__ */ join(
  pick(BREAK_LOCK_RULES, "fencingToken", "by", "why"),
  { result: ANYTHING, status: TEXT, rememberMs: MS },
);

export const GUARD_CONTRADICTIONS: Contradictions<BreakLockOptions> = [
  [
    ({ any, fencingToken }) => any === true && fencingToken !== undefined,
    "fencingToken and any: true contradict each other",
  ],
];
