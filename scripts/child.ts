/** Child processes that must not outlive us: the engines, and the sandboxes of the runtime tests. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";

/** Kills the child when this process ends, also by a signal, for which Node emits no "exit". Returns the undo. */
export function killWithParent(child: Pick<ChildProcess, "kill">): () => void {
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const kill = () => child.kill("SIGKILL");
  const onSignal = (signal: NodeJS.Signals) => {
    kill();
    release();
    // Our listener replaced the default action, which is to end. Restore it, unless someone else handles the signal.
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };
  const release = () => {
    process.off("exit", kill);
    for (const signal of signals) process.off(signal, onSignal);
  };
  process.on("exit", kill);
  for (const signal of signals) process.on(signal, onSignal);
  return release;
}

/** Asks the child to end, then makes it. */
export async function end(child: ChildProcess, { graceMs = 0 } = {}): Promise<void> {
  if (hasEnded(child)) return;
  const ended = once(child, "exit");
  if (graceMs > 0) child.kill("SIGTERM");
  const force = setTimeout(() => child.kill("SIGKILL"), graceMs);
  await ended;
  clearTimeout(force);
}

export function hasEnded(child: ChildProcess): boolean {
  // A child without a pid never started.
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}
