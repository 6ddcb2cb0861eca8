/** Records, as people read them. */
import type { LockLostError, LockRecord, SemaphoreHolder } from "../index.ts";
import { printable } from "./terminal.ts";
import { showDuration } from "./time.ts";

/**
 * `held`; `stale`: held, but the lease is over; `finished`; `forgotten`: finished, and the time to
 * remember it is over; `released`. Of a semaphore, `held` if anybody holds it, else `free`.
 */
export type RecordState = "held" | "stale" | "finished" | "forgotten" | "released" | "free";

export const stateOf = (record: LockRecord, now = Date.now()): RecordState => {
  const { status, expiresAt } = record;
  if (status === "RELEASED") return "released";
  if (status === "FINISHED") return expiresAt > now ? "finished" : "forgotten";
  if (status === "IN_PROGRESS") return expiresAt > now ? "held" : "stale";
  const live = liveHolders(record);
  if (live.length === 0) return "free";
  return live.some((holder) => holder.expiresAt > now) ? "held" : "stale";
};

/** The holders of a semaphore that have not released, whether or not their lease is over. */
export const liveHolders = ({ holders = [] }: LockRecord): readonly SemaphoreHolder[] =>
  holders.filter(({ status }) => status === "IN_PROGRESS");

/** The record as JSON, with its state. Tokens are not in it. */
export const toJson = (record: LockRecord): string => JSON.stringify({ state: stateOf(record), ...record });

const until = (expiresAt: number, now: number): string =>
  expiresAt > now ? `${showDuration(expiresAt - now)} left` : `over for ${showDuration(now - expiresAt)}`;

/** `report#2026-11-21: held by i-0abc, fence 1764, since 2026-11-21 06:00:00 UTC, 12s left`. */
export const inOneLine = (record: LockRecord, time: (epochMs: number) => string, now = Date.now()): string => {
  const { key, owner, fencingToken, acquiredAt, expiresAt, permits } = record;
  const state = stateOf(record, now);
  const what =
    permits === undefined
      ? `${state}${state === "released" ? ", last" : ""} by ${owner || "?"}, fence ${fencingToken}`
      : `semaphore, ${liveHolders(record).length} of ${permits} permits held`;
  const end = expiresAt > 0 && permits === undefined ? `, ${until(expiresAt, now)}` : "";
  return printable(`${key}: ${what}, since ${time(acquiredAt)}${end}`);
};

const reason = (record: LockRecord, time: (epochMs: number) => string, now: number): string => {
  const { expiresAt, permits = 1 } = record;
  const held = liveHolders(record).filter((holder) => holder.expiresAt > now).length;
  const ends = `${time(expiresAt)}, ${until(expiresAt, now)}`;
  if (record.permits !== undefined) {
    return held < permits
      ? `Free: ${held} of ${permits} permits are held.`
      : `Not free: all ${permits} permits are held.`;
  }
  return {
    held: `Not free: it is held, and its lease ends ${ends}. A holder that is alive renews it before.`,
    stale: `Free for the next who asks: the lease ended ${ends}. Its holder has crashed, or can't reach DynamoDB, and may still finish.`,
    finished: `Not free: it is finished, and repeats don't run until ${ends}.`,
    forgotten: `Free: it was finished, and remembered until ${time(expiresAt)}.`,
    released: "Free: it was released.",
    free: "Free.",
  }[stateOf(record, now)];
};

/** All of a record, a line for each fact. */
export const inLines = (
  record: LockRecord,
  time: (epochMs: number) => string,
  showsResult: boolean,
  now = Date.now(),
): string[] => {
  const { intervention, failure, result } = record;
  const since = `${time(record.acquiredAt)}, ${showDuration(now - record.acquiredAt)} ago`;
  const facts: [string, string | undefined][] = [
    ["key", record.key],
    ["state", stateOf(record, now)],
    ["owner", record.owner || "?"],
    ["fence", String(record.fencingToken)],
    ["acquired", since],
    ["updated", time(record.updatedAt)],
    ["lease", record.status === "FINISHED" || record.permits ? undefined : showDuration(record.leaseMs)],
    ["keys", record.keyCount ? `taken together with ${record.keyCount - 1} more` : undefined],
    ["execution", record.execution],
    ["permits", record.permits === undefined ? undefined : String(record.permits)],
    ...liveHolders(record).map((holder): [string, string] => [
      `slot ${holder.slot}`,
      `${holder.owner || "?"}, fence ${holder.fencingToken}, since ${time(holder.acquiredAt)}, ${until(holder.expiresAt, now)}`,
    ]),
    ["status", record.finalStatus],
    ["failure", failure && `${failure.name}: ${failure.message}`],
    ["fingerprint", record.fingerprint],
    ["data", record.data === undefined ? undefined : JSON.stringify(record.data)],
    ["result", result && (showsResult ? (JSON.stringify(result.value) ?? "undefined") : "stored, shown with --result")],
    ["unreadable", record.unreadable?.join(", ")],
    [
      "operator",
      intervention &&
        `${intervention.did} fence ${intervention.fencingToken} at ${time(intervention.at)} by ${intervention.by ?? "?"}${intervention.why ? `: ${intervention.why}` : ""}`,
    ],
    ["free?", reason(record, time, now)],
  ];
  return facts.flatMap(([name, text]) => (text === undefined ? [] : `${name.padEnd(12)}${printable(text)}`));
};

/** The loss, with the operator who has ended the lock. */
export const describeLoss = ({ key, message, by, why }: LockLostError): string => {
  const who = [by && `by ${by}`, why].filter(Boolean).join(": ");
  return printable(`${key}: ${message}${who && ` (${who})`}`);
};
