/** `break`, `forget`, `finish` and `purge`: what an operator changes. */
import { breakLock, finishLock, forgetLock, type LockRecord, type OperatorResult, purgeLocks } from "../index.ts";
import type { CommandCall } from "./call.ts";
import { CommandEnd, EXIT } from "./exit.ts";
import { inOneLine, liveHolders, toJson } from "./records.ts";
import { printable, quote } from "./terminal.ts";
import { showDuration } from "./time.ts";

export interface FenceOptions {
  readonly fence?: number;
  readonly token?: string;
  readonly why?: string;
}

export interface FinishCommandOptions extends FenceOptions {
  readonly status?: string;
  readonly result?: string;
  readonly remember?: number;
}

type Verb = "break" | "forget" | "finish";

/** The command to repeat, with what is missing in it. */
const commandOf = (call: CommandCall, verb: Verb, key: string, fence: number, { why }: FenceOptions): string => {
  const { table, region, profile, endpoint } = call.options;
  const place = Object.entries({ table, region, profile, endpoint }).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, quote(value)],
  );
  const reason = why === undefined ? [] : ["--why", quote(why)];
  return ["dynamo-lock", ...place, verb, quote(key), "--fence", fence, ...reason].join(" ");
};

/** The acquisitions that a verb could be meant for. */
const candidates = (record: LockRecord): readonly { readonly owner: string; readonly fencingToken: number }[] =>
  record.permits !== undefined ? liveHolders(record) : record.status === "RELEASED" ? [] : [record];

/** The verb that may be meant instead, where the state is not one that this verb is for. */
const hint = (call: CommandCall, verb: Verb, { key, status, fencingToken }: LockRecord): string | undefined => {
  const other = status === "FINISHED" ? "forget" : status === "IN_PROGRESS" ? "break" : undefined;
  if (other === undefined || other === verb || (verb === "finish" && other === "break")) return undefined;
  const [state, effect] = other === "forget" ? ["finished", "its next delivery runs"] : ["held", "it is free"];
  return `It is ${state}. If that is the one you mean, ${effect} after\n  ${commandOf(call, other, key, fencingToken, {})}`;
};

/** The fencing token of what is to be changed. Without one, shows the record and how to go on. */
const guardOf = (call: CommandCall, verb: Verb, record: LockRecord, options: FenceOptions): number => {
  const { fence, token } = options;
  if (fence !== undefined) return fence;
  const seen = [record, ...liveHolders(record)].find((holder) => holder.token === token);
  if (seen) return seen.fencingToken;
  call.data(call.options.json ? toJson(record) : inOneLine(record, call.time));
  if (token !== undefined) {
    throw new CommandEnd(EXIT.changed, `${printable(record.key)} has another token. Nothing was written`);
  }
  const found = candidates(record);
  if (found.length === 0) throw new CommandEnd(EXIT.nothing, "It is free already. Nothing was written");
  const other = hint(call, verb, record);
  call.say(other ?? "If that is the one you mean, repeat with its fencing token:");
  for (const { owner, fencingToken } of other ? [] : found) {
    const comment = found.length > 1 ? `   # ${printable(owner)}` : "";
    call.say(`  ${commandOf(call, verb, record.key, fencingToken, options)}${comment}`);
  }
  throw new CommandEnd(EXIT.refused, `${verb} needs --fence. Nothing was written`);
};

const DONE = { break: "broken", forget: "forgotten", finish: "finished" } as const;

const tell = (call: CommandCall, verb: Verb, result: OperatorResult): number => {
  const { json } = call.options;
  const { outcome, key, record } = result;
  if (json) call.data(JSON.stringify({ outcome, key, ...(record && { record: JSON.parse(toJson(record)) }) }));
  const name = printable(key);
  if (outcome === "absent") throw new CommandEnd(EXIT.nothing, `${name}: no such key in table ${call.tableName}`);
  const line = inOneLine(record, call.time);
  if (outcome === "free") {
    throw new CommandEnd(EXIT.nothing, `${line}\nIt is free already. Nothing was written`);
  }
  if (outcome === "changed") {
    if (!json) call.data(line);
    const other = hint(call, verb, record);
    if (other) call.say(other);
    throw new CommandEnd(EXIT.changed, `${name} is not as you saw it. Nothing was written`);
  }
  if (!json) call.data(`${DONE[verb]}: ${line}`);
  return EXIT.done;
};

export const changeCommand = async (
  call: CommandCall,
  verb: Verb,
  asked: string,
  options: FinishCommandOptions,
): Promise<number> => {
  const { why, status, remember } = options;
  let result: { result?: unknown } = {};
  if (options.result !== undefined) {
    try {
      result = { result: JSON.parse(options.result) };
    } catch (error) {
      throw new CommandEnd(EXIT.usage, `--result must be JSON: ${(error as Error).message}`);
    }
  }
  const { key, record } = await call.lookUp(asked);
  if (!record) return tell(call, verb, { outcome: "absent", key });
  const fencingToken = guardOf(call, verb, record, options);
  const guard = { fencingToken, by: call.by, why };
  if (verb === "finish") {
    const finish = { ...guard, status, rememberMs: remember, ...result };
    return tell(call, verb, await finishLock(call.whole, key, finish));
  }
  return tell(call, verb, await (verb === "break" ? breakLock : forgetLock)(call.whole, key, guard));
};

export interface PurgeCommandOptions {
  readonly older?: number;
  readonly finished?: boolean;
  readonly prefix?: string;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

export const purgeCommand = async (
  call: CommandCall,
  { older, finished, prefix, dryRun, yes }: PurgeCommandOptions,
): Promise<number> => {
  let cost = "";
  const keys = await purgeLocks(call.locks, {
    olderThanMs: older,
    finished,
    keyPrefix: prefix || undefined,
    dryRun: dryRun || !yes,
    onPage({ scanned, readUnits }) {
      cost = `${scanned} items looked at, ${readUnits} read units`;
      call.progress(`${call.tableName}: ${cost}`);
    },
  });
  for (const key of keys.toSorted()) call.data(call.options.json ? JSON.stringify({ key }) : printable(key));
  call.say(`${call.tableName}: ${cost}`);
  if (keys.length === 0) {
    call.say("There is nothing to delete");
    return EXIT.nothing;
  }
  const age = older === undefined ? "" : `, whatever has not been written for ${showDuration(older)} among them`;
  if (dryRun) call.say(`${keys.length} records would be deleted${age}`);
  else if (yes) call.say(`${keys.length} records are deleted${age}`);
  else
    throw new CommandEnd(
      EXIT.refused,
      `${keys.length} records would be deleted${age}. Repeat with --yes. Nothing was deleted`,
    );
  return EXIT.done;
};
