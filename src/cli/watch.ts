/** `watch`: what becomes of locks, as it happens. */
import { setTimeout as sleep } from "node:timers/promises";
import { type LockRecord, listLocks } from "../index.ts";
import type { CommandCall } from "./call.ts";
import { type Change, changesBetween, type Snapshot } from "./changes.ts";
import { CommandEnd, EXIT } from "./exit.ts";
import { liveHolders, stateOf } from "./records.ts";
import { printable, table } from "./terminal.ts";
import { showDuration } from "./time.ts";

export interface WatchOptions {
  readonly prefix?: string;
  readonly until?: "free" | "finished";
  readonly timeout?: number;
  readonly interval?: number;
}

const INTERVAL_MS = 1_000;
/** How many changes stay on the screen. */
const SHOWN = 15;
const BAR = 20;

const look = async (call: CommandCall, key: string | undefined, prefix: string | undefined): Promise<Snapshot> => {
  const records: LockRecord[] = [];
  if (key !== undefined) {
    const { record } = await call.lookUp(key);
    if (record) records.push(record);
  } else for await (const record of listLocks(call.locks, { keyPrefix: prefix || undefined })) records.push(record);
  return { at: Date.now(), records: new Map(records.map((record) => [record.key, record])) };
};

const isReached = (until: WatchOptions["until"], records: readonly LockRecord[]): boolean => {
  const states = records.map((record) => stateOf(record));
  if (until === "free") return states.every((state) => state !== "held" && state !== "stale");
  return until === "finished" && states.length > 0 && states.every((state) => state === "finished");
};

export const watchCommand = async (
  call: CommandCall,
  key: string | undefined,
  { prefix, until, timeout, interval = INTERVAL_MS }: WatchOptions,
): Promise<number> => {
  if (key !== undefined && prefix !== undefined)
    throw new CommandEnd(EXIT.usage, "watch takes a key or --prefix, not both");
  if (timeout !== undefined && !until) throw new CommandEnd(EXIT.usage, "--timeout goes with --until");
  const deadline = performance.now() + (timeout ?? Number.POSITIVE_INFINITY);
  const isDrawn = call.isLive && !call.options.json;
  const timeline: Change[] = [];
  let before: Snapshot | undefined;
  for (;;) {
    const after = await look(call, key, prefix);
    const records = [...after.records.values()];
    // At first, only what is going on: of a single key, whatever it is.
    const isGoingOn = ({ type }: Change) => before || key !== undefined || type === "taken" || type === "stale";
    const changes = changesBetween(before, after).filter(isGoingOn);
    before = after;
    timeline.push(...changes);
    timeline.splice(0, Math.max(0, timeline.length - SHOWN));
    if (isDrawn) draw(call, records, timeline, after.at);
    else for (const change of changes) call.data(call.options.json ? JSON.stringify(change) : lineOf(call, change));
    if (isReached(until, records)) return EXIT.done;
    if (performance.now() >= deadline) {
      throw new CommandEnd(EXIT.timeout, `Not ${until} after ${showDuration(timeout as number)}`);
    }
    await sleep(Math.min(interval, deadline - performance.now()));
  }
};

const lineOf = ({ time }: CommandCall, { at, key, type, owner, fencingToken, detail }: Change): string =>
  printable(`${time(at)}  ${key}  ${type}  ${owner || "?"}, fence ${fencingToken}${detail ? `  ${detail}` : ""}`);

/** The part of a lease that is left. */
const barOf = (leftMs: number, leaseMs: number): string => {
  const full = Math.round(BAR * Math.min(1, Math.max(0, leftMs / Math.max(1, leaseMs))));
  return "█".repeat(full) + "░".repeat(BAR - full);
};

const draw = (call: CommandCall, records: readonly LockRecord[], timeline: readonly Change[], now: number): void => {
  const { paint, time, tableName } = call;
  const holders = records.flatMap((record) =>
    record.permits === undefined ? [record] : liveHolders(record).map((holder) => ({ ...record, ...holder })),
  );
  const rows = holders
    .filter(({ status }) => status === "IN_PROGRESS")
    .map(({ key, owner, fencingToken, acquiredAt, expiresAt, leaseMs }) => {
      const leftMs = expiresAt - now;
      const left = leftMs > 0 ? `${showDuration(leftMs)} left` : `over for ${showDuration(-leftMs)}`;
      return [
        key,
        owner || "?",
        String(fencingToken),
        showDuration(now - acquiredAt),
        barOf(leftMs, leaseMs),
        left,
      ].map(printable);
    });
  const [head = "", ...held] = table([["HELD KEY", "OWNER", "FENCE", "FOR", "LEASE", ""], ...rows]);
  const lines = [
    paint("bold", `${tableName}  ${time(now)}`),
    "",
    ...(rows.length > 0 ? [paint("bold", head), ...held] : ["Nothing is held"]),
    "",
    ...timeline.map((change) => paint(STYLE_OF[change.type] ?? "dim", lineOf(call, change))),
  ];
  call.clear();
  for (const line of lines) call.data(line);
};

const STYLE_OF: Readonly<Record<string, "green" | "red" | "yellow" | "cyan">> = {
  taken: "cyan",
  "taken over": "yellow",
  finished: "green",
  released: "green",
  stale: "red",
  broken: "red",
};
