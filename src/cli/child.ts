/** The process of a command that runs under a lock: how it starts, and how it is made to end. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Lock, LockLostError } from "../index.ts";
import type { CommandCall } from "./call.ts";
import { EXIT } from "./exit.ts";
import { describeLoss } from "./records.ts";
import { showDuration } from "./time.ts";

export interface ChildOptions {
  /** How long the command may take, in ms. */
  readonly timeout?: number;
  /** From TERM to KILL, in ms. */
  readonly killAfter?: number;
}

export interface ChildEnd {
  /** `ended`: by itself, or by a signal that was forwarded. */
  readonly why: "ended" | "lost" | "timeout";
  readonly exitCode: number;
}

const isWindows = process.platform === "win32";
/** The signals that are passed on. */
const SIGNALS: readonly NodeJS.Signals[] = isWindows
  ? ["SIGINT", "SIGTERM"]
  : ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"];
const KILL_AFTER_MS = 5_000;
const GROUP_LOOK_MS = 20;

/** Signals the child and all that it has started, which are a process group of their own. */
const signalGroup = ({ pid }: ChildProcess, signal: NodeJS.Signals | 0): boolean => {
  try {
    return pid !== undefined && process.kill(isWindows ? pid : -pid, signal);
  } catch {
    return false; // it is gone
  }
};

/** A file for the token: environments are shown by `ps` and by `/proc`. */
const writeToken = (token: string) => {
  const directory = mkdtempSync(join(tmpdir(), "dynamo-lock-")); // for its user alone
  const file = join(directory, "token");
  writeFileSync(file, token, { mode: 0o600 });
  return { file, remove: () => rmSync(directory, { recursive: true, force: true }) };
};

const environmentOf = (lock: Lock, tokenFile: string): NodeJS.ProcessEnv => ({
  ...process.env,
  DYNAMO_LOCK_KEY: lock.key,
  DYNAMO_LOCK_KEYS: JSON.stringify(lock.keys),
  DYNAMO_LOCK_FENCING_TOKEN: String(lock.fencingToken),
  DYNAMO_LOCK_TOKEN_FILE: tokenFile,
});

/** Runs the command until it has ended. What it has started is ended with it if the lock is lost. */
export const runChild = async (
  call: CommandCall,
  lock: Lock,
  [program, ...args]: readonly string[],
  { timeout, killAfter = KILL_AFTER_MS }: ChildOptions,
): Promise<ChildEnd> => {
  const token = writeToken(lock.token);
  const child = spawn(program as string, args, {
    stdio: "inherit",
    detached: !isWindows,
    env: environmentOf(lock, token.file),
  });
  const state: { why: ChildEnd["why"]; killAt: number } = { why: "ended", killAt: Number.POSITIVE_INFINITY };
  const timers: NodeJS.Timeout[] = [];
  const end = (reason: ChildEnd["why"], text: string) => {
    if (state.why !== "ended") return;
    state.why = reason;
    call.say(`${text}: TERM to the command, and KILL after ${showDuration(killAfter)}`);
    state.killAt = performance.now() + killAfter;
    signalGroup(child, "SIGTERM");
    timers.push(setTimeout(() => signalGroup(child, "SIGKILL"), killAfter));
  };
  const forward = (signal: NodeJS.Signals) => signalGroup(child, signal);
  const onLost = () => end("lost", describeLoss(lock.signal.reason as LockLostError));
  for (const signal of SIGNALS) process.on(signal, forward);
  if (timeout !== undefined) {
    timers.push(setTimeout(() => end("timeout", `The command has not ended within ${showDuration(timeout)}`), timeout));
  }
  lock.signal.addEventListener("abort", onLost);
  try {
    const exitCode = await exitOf(call, child, program as string);
    for (const timer of timers) clearTimeout(timer);
    const { why, killAt } = state;
    // The others of its group may need the time that is left to them.
    while (why !== "ended" && signalGroup(child, 0)) {
      if (performance.now() >= killAt) signalGroup(child, "SIGKILL");
      await sleep(GROUP_LOOK_MS);
    }
    return { why, exitCode: why === "timeout" ? EXIT.timeout : exitCode };
  } finally {
    lock.signal.removeEventListener("abort", onLost);
    for (const signal of SIGNALS) process.off(signal, forward);
    token.remove();
  }
};

/** The exit code of the child, as a shell gives it. */
const exitOf = (call: CommandCall, child: ChildProcess, program: string): Promise<number> =>
  new Promise((resolve) => {
    child.once("error", (error: NodeJS.ErrnoException) => {
      call.say(`${program}: ${error.code === "ENOENT" ? "command not found" : error.message}`);
      resolve(error.code === "ENOENT" ? EXIT.notFound : EXIT.notExecutable);
    });
    child.once("exit", (code, signal) => resolve(code ?? EXIT.signal + (signal ? constants.signals[signal] : 0)));
  });
