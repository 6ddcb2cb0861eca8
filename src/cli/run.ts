/** `run`: a command of the operating system under a lock. */
import { type Lock, type LockClient, LockHeldError, LockLostError, LockTimeoutError, semaphore } from "../index.ts";
import type { CommandCall } from "./call.ts";
import { type ChildEnd, type ChildOptions, runChild } from "./child.ts";
import { CommandEnd, EXIT, endOf } from "./exit.ts";
import { describeLoss, inOneLine } from "./records.ts";
import { printable } from "./terminal.ts";
import { showDuration } from "./time.ts";

export interface RunCommandOptions extends ChildOptions {
  readonly wait?: number;
  readonly lease?: number;
  readonly permits?: number;
  readonly once?: boolean;
  readonly remember?: number;
  readonly why?: string;
  readonly conflictExitCode?: number;
  /** The command that comes after `--`. */
  readonly child?: readonly string[];
}

const check = (keys: readonly string[], options: RunCommandOptions): readonly string[] => {
  const { child = [], permits, once, remember, why } = options;
  const usage = (text: string) => new CommandEnd(EXIT.usage, text);
  if (child.length === 0) throw usage("run needs a command after --: dynamo-lock run KEY -- COMMAND...");
  if (permits !== undefined && once)
    throw usage("--permits and --once contradict each other: a semaphore is never finished");
  if (permits !== undefined && keys.length > 1) throw usage("--permits goes with one key");
  if (permits !== undefined && why !== undefined) throw usage("--why does not go with --permits");
  if (remember !== undefined && !once) throw usage("--remember goes with --once");
  return child;
};

export const runCommand = async (
  call: CommandCall,
  keys: readonly string[],
  options: RunCommandOptions,
): Promise<number> => {
  const command = check(keys, options);
  const locks = call.open({
    namespace: call.options.namespace,
    owner: `${call.by}:${process.pid}`,
    leaseMs: options.lease,
  });
  const stop = new AbortController();
  const onSignal = (signal: NodeJS.Signals) => stop.abort(signal);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, onSignal);
  let lock: Lock;
  try {
    lock = await take(call, locks, keys, options, stop.signal);
  } catch (error) {
    return refused(call, error, options);
  } finally {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, onSignal);
  }
  try {
    const ended = await runChild(call, lock, command, options);
    return await settle(call, lock, ended, options);
  } finally {
    await locks.close({ settleMs: 0 }).catch(() => {}); // it has been told, and the lease ends it
  }
};

/** Takes the keys. If they are held, says by whom before it waits. */
const take = async (
  call: CommandCall,
  locks: LockClient,
  keys: readonly string[],
  { permits, wait = 0, why }: RunCommandOptions,
  signal: AbortSignal,
): Promise<Lock> => {
  const [key] = keys as [string];
  const acquire = (waitMs: number) =>
    permits === undefined
      ? locks.acquire(keys, { waitMs, signal, ...(why !== undefined && { data: { why } }) })
      : semaphore(locks, key, { permits }).acquire({ waitMs, signal });
  if (wait === 0) return acquire(0);
  return acquire(0).catch((error: unknown) => {
    if (!(error instanceof LockHeldError) || error.record.status === "FINISHED") throw error;
    call.say(`waiting up to ${showDuration(wait)} for ${inOneLine(error.record, call.time)}`);
    return acquire(wait);
  });
};

/** No lock, no run. */
const refused = (call: CommandCall, error: unknown, { once, conflictExitCode }: RunCommandOptions): number => {
  if (error === "SIGINT") return EXIT.signal + 2;
  if (error === "SIGTERM") return EXIT.signal + 15;
  if (!(error instanceof LockHeldError || error instanceof LockTimeoutError)) throw error;
  const { record } = error;
  if (record) call.say(inOneLine(record, call.time));
  if (once && record?.status === "FINISHED") {
    call.say("It has been done already, and does not run again");
    return EXIT.done;
  }
  call.say(`The command did not run: ${error.message}`);
  return conflictExitCode ?? EXIT.held;
};

/** Finishes or releases, and gives the exit code of all. */
const settle = async (
  call: CommandCall,
  lock: Lock,
  { why, exitCode }: ChildEnd,
  { once, remember }: RunCommandOptions,
): Promise<number> => {
  if (why === "lost") return EXIT.lost; // its lease is over, or another has the key
  const isSuccess = why === "ended" && exitCode === 0;
  try {
    if (once && isSuccess) await lock.finish({ rememberMs: remember });
    else await lock.release();
    return exitCode;
  } catch (error) {
    const { message } = endOf(error);
    if (error instanceof LockLostError) {
      call.say(`${describeLoss(error)}. The command had ended with ${exitCode}`);
      return EXIT.lost;
    }
    call.say(`${printable(lock.key)}: ${message}. Its lease ends at ${call.time(lock.expiresAt)}`);
    return once && isSuccess ? EXIT.unavailable : exitCode;
  }
};
