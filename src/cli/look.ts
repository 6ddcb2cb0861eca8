/** `list`, `show` and `wait`: what only looks. */
import { setTimeout as sleep } from "node:timers/promises";
import { type ListLocksFilter, type LockRecord, listLocks } from "../index.ts";
import type { CommandCall } from "./call.ts";
import { CommandEnd, EXIT } from "./exit.ts";
import { inLines, inOneLine, liveHolders, type RecordState, stateOf, toJson } from "./records.ts";
import { printable, table } from "./terminal.ts";
import { showDuration } from "./time.ts";

export interface ListOptions {
  readonly held?: boolean;
  readonly stale?: boolean;
  readonly finished?: boolean;
  readonly released?: boolean;
  readonly owner?: string;
  readonly prefix?: string;
  readonly older?: number;
  readonly watch?: boolean;
}

const wantedStates = ({ held, stale, finished, released }: ListOptions): readonly RecordState[] => [
  ...(held ? (["held"] as const) : []),
  ...(stale ? (["stale"] as const) : []),
  ...(finished ? (["finished", "forgotten"] as const) : []),
  ...(released ? (["released", "free"] as const) : []),
];

/** The filter of the scan itself. What it can't say, `select` does. */
const filterOf = (states: readonly RecordState[], { owner, prefix }: ListOptions): ListLocksFilter => ({
  owner,
  keyPrefix: prefix || undefined,
  ...(states.length === 2 && states[0] === "finished" && { status: "FINISHED" }),
});

/** The records that are asked for, with the progress of the scan on stderr. */
export async function* select(call: CommandCall, options: ListOptions): AsyncGenerator<LockRecord> {
  const { older } = options;
  const states = wantedStates(options);
  let cost = "";
  const onPage = ({ scanned, found, readUnits }: { scanned: number; found: number; readUnits: number }) => {
    cost = `${scanned} items looked at, ${found} locks, ${readUnits} read units`;
    call.progress(`${call.tableName}: ${cost}`);
  };
  for await (const record of listLocks(call.locks, { ...filterOf(states, options), onPage })) {
    if (states.length > 0 && !states.includes(stateOf(record))) continue;
    if (older !== undefined && record.acquiredAt > Date.now() - older) continue;
    yield record;
  }
  call.say(`${call.tableName}: ${cost}`);
}

const rowOf = (record: LockRecord, { time }: CommandCall, now: number): string[] => {
  const { key, owner, fencingToken, acquiredAt, updatedAt, expiresAt, permits } = record;
  const state = stateOf(record, now);
  const end = Math.max(expiresAt, ...liveHolders(record).map((holder) => holder.expiresAt));
  const isOn = state === "held" || state === "stale";
  return [
    key,
    permits === undefined ? state : `${state} ${liveHolders(record).length}/${permits}`,
    permits === undefined
      ? owner || "?"
      : liveHolders(record)
          .map((holder) => holder.owner)
          .join(","),
    String(fencingToken),
    time(acquiredAt),
    showDuration(Math.max(0, (isOn ? now : updatedAt) - acquiredAt)),
    end === 0 ? "-" : end > now ? `in ${showDuration(end - now)}` : `${showDuration(now - end)} ago`,
  ].map(printable);
};

/** From one list to the next, with `--watch`. */
const WATCH_MS = 2_000;

export const listCommand = async (call: CommandCall, options: ListOptions): Promise<number> => {
  while (options.watch) {
    if (call.isLive && !call.options.json) call.clear();
    await listOnce(call, options);
    await sleep(WATCH_MS);
  }
  return listOnce(call, options);
};

const listOnce = async (call: CommandCall, options: ListOptions): Promise<number> => {
  const records: LockRecord[] = [];
  for await (const record of select(call, options)) {
    if (call.options.json) call.data(toJson(record));
    records.push(record);
  }
  if (records.length === 0) {
    call.say("No lock matches");
    return EXIT.nothing;
  }
  if (call.options.json) return EXIT.done;
  const now = Date.now();
  records.sort((a, b) => (a.key < b.key ? -1 : 1));
  const head = ["KEY", "STATE", "OWNER", "FENCE", "SINCE", "FOR", "ENDS"];
  const [first = "", ...rows] = table([head, ...records.map((record) => rowOf(record, call, now))]);
  call.data(call.paint("bold", first));
  for (const row of rows) call.data(row);
  return EXIT.done;
};

export const showCommand = async (
  call: CommandCall,
  key: string,
  { result = false }: { readonly result?: boolean },
): Promise<number> => {
  const { key: stored, record } = await call.lookUp(key);
  if (!record) throw new CommandEnd(EXIT.nothing, `${stored}: no such key in table ${call.tableName}`);
  if (call.options.json) {
    const { result: value, ...rest } = record;
    call.data(toJson(result && value ? { ...rest, result: value } : rest));
  } else for (const line of inLines(record, call.time, result)) call.data(line);
  return EXIT.done;
};

const LOOK_MS = 500;

/** Waits until nobody holds the keys. */
export const waitCommand = async (
  call: CommandCall,
  keys: readonly string[],
  { timeout = 300_000 }: { readonly timeout?: number },
): Promise<number> => {
  const looked = await Promise.all(keys.map((key) => call.lookUp(key)));
  const stored = looked.map(({ key }) => key);
  for (const { record } of looked) {
    if (record && (stateOf(record) === "held" || stateOf(record) === "stale")) call.say(inOneLine(record, call.time));
  }
  const pending = await call.whole.waitUntilFinished(stored, { timeoutMs: timeout, intervalMs: LOOK_MS });
  for (const key of pending.map(String)) call.data(call.options.json ? JSON.stringify({ key }) : printable(key));
  if (pending.length === 0) return EXIT.done;
  throw new CommandEnd(
    EXIT.timeout,
    `${pending.length} of ${stored.length} keys are still held after ${showDuration(timeout)}`,
  );
};
