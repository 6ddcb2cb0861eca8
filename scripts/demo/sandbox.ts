/** A Lambda sandbox of the demo: a process of its own, for one invocation of one bundled function. */
import { type ChildProcess, fork } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { SQSBatchResponse, SQSEvent } from "aws-lambda";
import { end, killWithParent } from "../child.ts";
import type { SamFunction } from "../sam-template.ts";
import type { Invoke, Result } from "./runtime.ts";

/** What became of an invocation. */
export type Fate = "ran" | "took over" | "replayed" | "refused" | "bad request" | "threw" | "killed" | "failed";

/** The library's default: how long after its lease a key is still taken, because clocks may differ. */
export const CLOCK_SKEW_MS = 1_000;

type Outcome = Result | { startedAt: number; endedAt: number; type: "killed" };

/** A line of the handler's log, as CloudWatch would have it. */
interface LogLine {
  level: string;
  message: string;
  timestamp: string;
  order?: { orderId: string };
}

/** A piece of work, from its INFO line "... begun" to "... done", if it got there. */
export interface Run {
  /** Of a batch, the order; otherwise there is one. */
  work: string | undefined;
  from: number;
  to: number;
  done: boolean;
}

const runtime = fileURLToPath(new URL("runtime.ts", import.meta.url));

export class Sandbox {
  readonly requestId = randomUUID();
  readonly label: string;
  readonly timeoutMs: number;
  readonly #child: ChildProcess;
  readonly #release: () => void;
  readonly #closed: Promise<unknown>;
  readonly #log: LogLine[] = [];
  /** Resolves when the handler has begun to work, or the invocation ended without. */
  readonly begun: Promise<void>;
  /** Called when the invocation has ended. */
  onEnded: ((words: string) => void) | undefined;
  #onBegun = () => {};
  #outcome: Outcome | undefined;
  /** Of the batch that it is given. */
  records = 0;

  private constructor(label: string, timeoutMs: number, child: ChildProcess) {
    this.label = label;
    this.timeoutMs = timeoutMs;
    this.#child = child;
    this.#release = killWithParent(child);
    this.#closed = once(child, "close");
    this.begun = new Promise((resolve) => {
      this.#onBegun = resolve;
    });
    for (const stream of [child.stdout, child.stderr]) {
      if (stream) createInterface(stream).on("line", (line) => this.#read(line));
    }
  }

  /** Starts the process and loads the handler: Lambda's init phase. */
  static async start(
    label: string,
    { name, timeoutMs }: SamFunction,
    file: string,
    environment: Record<string, string>,
  ): Promise<Sandbox> {
    const child = fork(runtime, {
      // Nothing of ours: a sandbox has the variables that Lambda and template.yaml give it.
      env: { ...environment, AWS_LAMBDA_FUNCTION_NAME: name, HANDLER_FILE: file },
      execArgv: [],
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    const sandbox = new Sandbox(label, timeoutMs, child);
    if ((await sandbox.#nextMessage()) !== "ready") {
      await sandbox.stop();
      throw new Error(`A sandbox of ${name} did not start: its error is above`);
    }
    return sandbox;
  }

  async invoke(event: unknown): Promise<void> {
    this.records = (event as Partial<SQSEvent>).Records?.length ?? 0;
    const invoke: Invoke = { requestId: this.requestId, event, timeoutMs: this.timeoutMs };
    const startedAt = Date.now();
    this.#child.send(invoke);
    const result = (await this.#nextMessage()) as Result | undefined;
    this.#outcome = result ?? { startedAt, endedAt: Date.now(), type: "killed" };
    this.#onBegun();
    this.onEnded?.(inWords(this.#outcome));
  }

  /** The machine fails: no code of the handler runs any more. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  async stop(): Promise<void> {
    await end(this.#child);
    await this.#closed; // until then, lines of the log may be under way
    this.#release();
  }

  get outcome(): Outcome {
    if (!this.#outcome) throw new Error(`${this.label} was not invoked`);
    return this.#outcome;
  }

  /** What the handler worked on, by its own log: it writes one INFO line when it begins and one when it is done. */
  get runs(): Run[] {
    const lines = this.#log.filter(({ level }) => level === "INFO");
    const begun = lines.filter(({ message }) => message.endsWith("begun"));
    return begun.map((line) => {
      const work = line.order?.orderId;
      const done = lines.find(({ message, order }) => message.endsWith("done") && order?.orderId === work);
      const to = done ? Date.parse(done.timestamp) : this.outcome.endedAt;
      return { work, from: Date.parse(line.timestamp), to, done: done !== undefined };
    });
  }

  /** The messages of a batch that go back to the queue. */
  get returned(): string[] {
    const { response } = this.outcome as { response?: SQSBatchResponse };
    return response?.batchItemFailures?.map(({ itemIdentifier }) => itemIdentifier) ?? [];
  }

  logged(message: string): boolean {
    return this.#log.some((line) => line.message === message);
  }

  /** Nothing, if the process ends before it sends one. */
  async #nextMessage(): Promise<unknown> {
    const message = once(this.#child, "message").then(([value]) => value as unknown);
    return Promise.race([message, this.#closed.then(() => undefined)]);
  }

  #read(line: string): void {
    if (!line.startsWith("{")) {
      console.error(`${this.label}: ${line}`); // not the logger's: Node itself has something to say
      return;
    }
    const entry = JSON.parse(line) as LogLine;
    this.#log.push(entry);
    if (entry.level === "INFO") this.#onBegun();
  }
}

/** By its outcome alone: lines of its log may still be under way. */
const inWords = (outcome: Outcome): string => {
  if (outcome.type === "killed") return "was killed";
  const seconds = `${((outcome.endedAt - outcome.startedAt) / 1_000).toFixed(1)} s`;
  return outcome.type === "error" ? `ended with ${outcome.name} after ${seconds}` : `answered after ${seconds}`;
};

export function fateOf(sandbox: Sandbox): Fate {
  const { outcome, returned } = sandbox;
  const ran = sandbox.runs.length > 0;
  if (outcome.type === "killed") return "killed";
  if (outcome.type === "error") return ran ? "threw" : outcome.name === "LockHeldError" ? "refused" : "failed";
  if (ran) return sandbox.logged("Lock taken-over") ? "took over" : "ran";
  if (returned.length > 0) return "refused";
  const { statusCode = 200 } = Object(outcome.response);
  if (statusCode === 409) return "refused";
  if (statusCode === 400) return "bad request";
  return statusCode < 400 ? "replayed" : "failed";
}
