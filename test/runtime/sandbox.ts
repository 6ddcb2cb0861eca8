/**
 * One Lambda execution environment: the runtime client that Lambda itself runs, with a bundled handler, in a process
 * that is frozen between invocations, killed at the deadline, and replaced after a crash.
 * https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { end, hasEnded, killWithParent } from "../../scripts/child.ts";
import { type Report, RuntimeApi } from "./runtime-api.ts";

const client = fileURLToPath(
  new URL("../../.cache/aws-lambda-ric/node_modules/aws-lambda-ric/index.mjs", import.meta.url),
);

/** Whether `scripts/fetch-lambda-ric.ts` has built the runtime client: its native part is there only then. */
export const runtimeIsBuilt = existsSync(join(dirname(client), "rapid-client.node"));

/** "The Init phase is limited to 10 seconds." */
const INIT_TIMEOUT_MS = 10_000;
const REGION = "eu-west-1";

export interface SandboxOptions {
  /** Directory of the bundled handler: Lambda's /var/task. */
  taskRoot: string;
  /** File and export, as in `index.handler`. */
  handler: string;
  functionName?: string;
  /** The function's timeout. Default 3,000, as Lambda's. */
  timeoutMs?: number;
  /** The function's own environment variables. Nothing else is inherited but PATH. */
  env?: Record<string, string>;
}

export interface InvokeOptions {
  /** Lambda repeats it when it delivers an asynchronous event again. Default: a new one. */
  requestId?: string;
  timeoutMs?: number;
  /** How long after the deadline Lambda gets round to killing the process. Default 0. */
  graceMs?: number;
}

export type Result =
  | Report
  | { type: "timeout" }
  | { type: "crash"; exitCode: number | null; signal: NodeJS.Signals | null };

export type Outcome = Result & {
  requestId: string;
  /** Without the cold start. */
  durationMs: number;
  /** What the process wrote since the last invocation. */
  stdout: string;
  stderr: string;
};

type Progress = Result | { type: "idle" };

/** Starts nothing yet: as in Lambda, the first invocation is the cold start. */
export class Sandbox {
  readonly #options: SandboxOptions;
  #runtime: Runtime | undefined;
  #busy = false;

  constructor(options: SandboxOptions) {
    this.#options = options;
  }

  async invoke(event: unknown, options: InvokeOptions = {}): Promise<Outcome> {
    if (this.#busy) throw new Error("A sandbox runs one invocation at a time: make another sandbox");
    this.#busy = true;
    try {
      if (this.#runtime?.hasEnded) await this.stop();
      this.#runtime ??= await Runtime.start(this.#options);
      return await this.#runtime.run(event, options);
    } finally {
      this.#busy = false;
    }
  }

  /** Kills the process, as when it runs out of memory. An invocation under way is a crash. */
  async kill(): Promise<void> {
    await this.#runtime?.kill();
  }

  async stop(): Promise<void> {
    await this.#runtime?.dispose();
    this.#runtime = undefined;
  }
}

/** One process of a sandbox, with a server of its own: nothing that a dead process sent can reach its successor. */
class Runtime {
  readonly #options: SandboxOptions;
  readonly #api = new RuntimeApi();
  readonly #directory = mkdtempSync(join(tmpdir(), "sandbox-"));
  readonly #read = { stdout: 0, stderr: 0 };
  #child!: ChildProcess;
  #exited!: Promise<Result>;
  #release!: () => void;

  static async start(options: SandboxOptions): Promise<Runtime> {
    const runtime = new Runtime(options);
    runtime.#spawn(await runtime.#api.listen());
    return runtime;
  }

  private constructor(options: SandboxOptions) {
    this.#options = options;
  }

  get hasEnded(): boolean {
    return hasEnded(this.#child);
  }

  async run(event: unknown, options: InvokeOptions): Promise<Outcome> {
    const requestId = options.requestId ?? randomUUID();
    const timeoutMs = options.timeoutMs ?? this.#options.timeoutMs ?? 3_000;
    const endMs = timeoutMs + (options.graceMs ?? 0);
    const ready = await within<Progress>(INIT_TIMEOUT_MS, this.#idle(), this.#exited);
    const startedAt = performance.now();
    const result = ready.type === "idle" ? await this.#handle(requestId, event, timeoutMs, endMs) : ready;
    const durationMs = Math.round(performance.now() - startedAt);

    // The runtime writes nothing after it asked for more, so what it wrote is complete.
    const left = endMs - durationMs;
    const after = isReport(result) ? await within<Progress>(left, this.#idle(), this.#exited) : result;
    if (after.type === "idle") this.#child.kill("SIGSTOP");
    else await this.kill();
    const failure = result.type === "crash" ? (this.#api.initError ?? result) : result;
    return {
      ...failure,
      requestId,
      durationMs,
      stdout: this.#output("stdout"),
      stderr: this.#output("stderr"),
    };
  }

  kill(): Promise<void> {
    return end(this.#child);
  }

  async dispose(): Promise<void> {
    await this.kill();
    this.#release();
    this.#api.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #spawn(runtimeApi: string): void {
    // Files, because a pipe may still hold output when the report of the same invocation has arrived.
    const stdout = openSync(join(this.#directory, "stdout"), "a");
    const stderr = openSync(join(this.#directory, "stderr"), "a");
    this.#child = spawn(process.execPath, [client], {
      cwd: this.#options.taskRoot,
      env: environment(this.#options, runtimeApi),
      stdio: ["ignore", stdout, stderr],
    });
    closeSync(stdout);
    closeSync(stderr);
    this.#release = killWithParent(this.#child);
    this.#exited = once(this.#child, "exit").then(([exitCode, signal]) => ({
      type: "crash",
      exitCode,
      signal,
    }));
  }

  #handle(requestId: string, event: unknown, timeoutMs: number, endMs: number): Promise<Result> {
    this.#child.kill("SIGCONT");
    const report = this.#api.deliver({
      requestId,
      event,
      deadlineMs: Date.now() + timeoutMs,
      functionArn: `arn:aws:lambda:${REGION}:123456789012:function:${functionName(this.#options)}`,
      traceId: `Root=1-${randomHex(8)}-${randomHex(24)};Parent=${randomHex(16)};Sampled=0`,
    });
    return within<Result>(endMs, report, this.#exited);
  }

  async #idle(): Promise<Progress> {
    await this.#api.idle();
    return { type: "idle" };
  }

  #output(name: "stdout" | "stderr"): string {
    const written = readFileSync(join(this.#directory, name));
    const fresh = written.subarray(this.#read[name]);
    this.#read[name] = written.length;
    return fresh.toString();
  }
}

/** https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime */
function environment(options: SandboxOptions, runtimeApi: string): NodeJS.ProcessEnv {
  const major = process.versions.node.split(".")[0];
  return {
    PATH: process.env.PATH,
    LANG: "en_US.UTF-8",
    TZ: ":UTC",
    _HANDLER: options.handler,
    LAMBDA_TASK_ROOT: options.taskRoot,
    LAMBDA_RUNTIME_DIR: dirname(client),
    AWS_REGION: REGION,
    AWS_DEFAULT_REGION: REGION,
    AWS_ACCESS_KEY_ID: "local",
    AWS_SECRET_ACCESS_KEY: "local",
    AWS_SESSION_TOKEN: "local",
    AWS_EXECUTION_ENV: `AWS_Lambda_nodejs${major}.x`,
    AWS_LAMBDA_RUNTIME_API: runtimeApi,
    AWS_LAMBDA_FUNCTION_NAME: functionName(options),
    AWS_LAMBDA_FUNCTION_VERSION: "$LATEST",
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: "128",
    AWS_LAMBDA_INITIALIZATION_TYPE: "on-demand",
    AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${functionName(options)}`,
    AWS_LAMBDA_LOG_STREAM_NAME: `2026/01/01/[$LATEST]${randomHex(32)}`,
    ...options.env,
  };
}

function functionName(options: SandboxOptions): string {
  return options.functionName ?? "function";
}

function isReport(result: Result): result is Report {
  return result.type === "response" || result.type === "error";
}

function randomHex(digits: number): string {
  return randomBytes(digits / 2).toString("hex");
}

/** The first of the promises, or a timeout when they take longer. */
async function within<T>(ms: number, ...promises: Promise<T>[]): Promise<T | { type: "timeout" }> {
  const timer = new AbortController();
  const timeout = sleep(Math.max(ms, 0), { type: "timeout" } as const, { signal: timer.signal });
  try {
    return await Promise.race([...promises, timeout]);
  } finally {
    timer.abort();
  }
}
