import { systemClock } from "../common/clock.ts";
import { holdersOf, type KeyHolder, type LockRecord, type LockStatus } from "../common/record.ts";
import { checkArgument, checkOptions, MS_OR_ZERO, type Rule, type Rules } from "../common/rules.ts";

export interface DescribeLockOptions {
  /**
   * IANA name of the time zone in which times are written, such as `"America/Sao_Paulo"`.
   * @default `'UTC'`
   */
  readonly timeZone?: string | undefined;
  /**
   * The present, epoch ms.
   * @default `Date.now()`
   */
  readonly now?: number | undefined;
}

/** One holding, for people to read. Times are ISO 8601 with the offset of the time zone. */
export interface HoldingDescription {
  readonly status: LockStatus;
  readonly owner: string;
  readonly fencingToken: number;
  readonly acquiredAt: string;
  /** When the lease ends, or when a finished key is forgotten. Absent when released. */
  readonly expiresAt?: string;
  /** The time from the acquisition until now, or until a finish or a release, in ms. */
  readonly elapsedMs: number;
  /** The time until `expiresAt`, in ms, never negative. */
  readonly remainingMs: number;
}

export interface LockDescription extends HoldingDescription {
  readonly key: string;
  readonly updatedAt: string;
  /**
   * Those who have not released a semaphore. The fields above are then those of the latest to take
   * it.
   */
  readonly holders?: readonly HoldingDescription[];
}

const RECORD: Rule = [
  "a LockRecord, as get and listLocks give it",
  (value) => {
    const { key, acquiredAt, updatedAt, expiresAt } = Object(value) as Partial<LockRecord>;
    return typeof key === "string" && [acquiredAt, updatedAt, expiresAt].every(Number.isFinite);
  },
];

/** Makes its times with the offset of the time zone, or nothing for a name that is none. */
const formatOf = (timeZone: unknown): Intl.DateTimeFormat | undefined => {
  try {
    return new Intl.DateTimeFormat("en-US", { timeZone: String(timeZone), timeZoneName: "longOffset" });
  } catch {
    return undefined;
  }
};

export const DESCRIBE_LOCK_RULES: Rules<DescribeLockOptions> = {
  timeZone: ['an IANA time zone such as "Europe/Berlin"', (value) => formatOf(value) !== undefined],
  now: MS_OR_ZERO,
};

/**
 * Describes a record for people: how long the key has been held, how long it still will be, and
 * when, in a time zone of choice.
 *
 * @example
 * const record = await locks.get("report-2026-11-21");
 * if (record) console.table(describeLock(record, { timeZone: "Europe/Berlin" }));
 *
 * @throws LockOptionsError for a name that is no time zone.
 */
export const describeLock = (record: LockRecord, options: DescribeLockOptions = {}): LockDescription => {
  checkArgument("describeLock", "record, the first argument,", record, RECORD);
  checkOptions("describeLock", options, DESCRIBE_LOCK_RULES);
  const { timeZone = "UTC", now = systemClock.now() } = options;
  const write = timeWriter(timeZone);
  const describe = ({ status, owner, fencingToken, acquiredAt, expiresAt }: KeyHolder): HoldingDescription => {
    const isOver = status === "FINISHED" || status === "RELEASED";
    return {
      status,
      owner,
      fencingToken,
      acquiredAt: write(acquiredAt),
      ...(expiresAt > 0 && { expiresAt: write(expiresAt) }),
      elapsedMs: Math.max(0, (isOver ? record.updatedAt : now) - acquiredAt),
      remainingMs: Math.max(0, expiresAt - now),
    };
  };
  const holders = holdersOf(record).filter(({ status }) => status !== "RELEASED");
  return {
    key: record.key,
    ...describe(record),
    updatedAt: write(record.updatedAt),
    ...(record.status === "SEMAPHORE" && { holders: holders.map(describe) }),
  };
};

/** The last instant of a `Date`. */
const MAX_EPOCH_MS = 8.64e15;

/** Writes an epoch in ms as `2026-11-21T10:30:00.000+01:00`. */
const timeWriter = (timeZone: string): ((epochMs: number) => string) => {
  const format = formatOf(timeZone) as Intl.DateTimeFormat; // its name has been checked
  return (epochMs) => {
    if (!(Math.abs(epochMs) <= MAX_EPOCH_MS)) return String(epochMs); // not from a clock: something else wrote it
    // It ends in "GMT" or "GMT+01:00".
    const [, offset = "+00:00"] = /GMT([+-]\d+:\d+)/.exec(format.format(epochMs)) ?? [];
    const [hours, minutes] = offset.split(":") as [string, string];
    const offsetMs = (Number(hours) * 60 + Number(`${offset[0]}${minutes}`)) * 60_000;
    return new Date(epochMs + offsetMs).toISOString().replace("Z", offset);
  };
};
