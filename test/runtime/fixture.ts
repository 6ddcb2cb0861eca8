/** The `test` of the stories about locks in Lambda: it deploys the bundled handlers, whose runs the test directs. */
import { randomUUID } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { test as base, expect, inject, vi } from "vitest";
import { LockClient, type LockRecord } from "../../src/index.ts";
import { lockTable } from "../support/dynamodb.ts";
import { bundle } from "./bundle.ts";
import type * as handlers from "./handlers.ts";
import type { Answer, Began, Job, LockOptions, Step } from "./handlers.ts";
import { type InvokeOptions, type Outcome, Sandbox } from "./sandbox.ts";

const FUNCTION_NAME = "report";

/** Long enough for any run that is meant to end by itself, on a busy machine too. */
const TIMEOUT_MS = 10_000;

/** A sandbox of which every invocation is checked for warnings and unhandled rejections. */
export interface CheckedSandbox {
  invoke(job: Job, options?: InvokeOptions): Promise<Outcome>;
  /** Invokes again and again, as an event source does, until the answer is not that the key is held, or for 10 s. */
  retry(job: Job, options?: InvokeOptions): Promise<{ outcome: Outcome; refusals: number }>;
  kill(): Promise<void>;
}

/** What a file of tests shares: the bundled functions, and their table. */
async function deploy() {
  const taskRoot = await bundle("handlers.ts");
  const { client, tableName } = await lockTable();
  const locks = new LockClient({ client, tableName, namespace: FUNCTION_NAME });
  const remove = () => {
    client.destroy();
    rmSync(taskRoot, { recursive: true });
  };
  return { taskRoot, tableName, locks, remove };
}

/** What one test has to itself: sandboxes of the deployed functions, and keys to lock. */
class Lambda {
  readonly #deployment: Awaited<ReturnType<typeof deploy>>;
  readonly #sandboxes: Sandbox[] = [];
  readonly #tasks: Task[] = [];

  constructor(deployment: Awaited<ReturnType<typeof deploy>>) {
    this.#deployment = deployment;
  }

  sandbox(handler: keyof typeof handlers, options: LockOptions = {}): CheckedSandbox {
    const { taskRoot, tableName } = this.#deployment;
    const sandbox = new Sandbox({
      taskRoot,
      handler: `index.${handler}`,
      functionName: FUNCTION_NAME,
      timeoutMs: TIMEOUT_MS,
      env: {
        AWS_ENDPOINT_URL_DYNAMODB: inject("endpoint"),
        DYNAMO_LOCK_TABLE: tableName,
        LOCK_OPTIONS: JSON.stringify(options),
      },
    });
    this.#sandboxes.push(sandbox);
    const invoke = async (job: Job, invokeOptions?: InvokeOptions) => {
      const outcome = await sandbox.invoke(job, invokeOptions);
      // What Lambda's runtime logs goes to stdout, Node's warnings too. Node itself says why it ends a process.
      expect(outcome.stdout).not.toMatch(/\(node:\d+\)/);
      expect(outcome.stderr).toBe("");
      return outcome;
    };
    const retry = async (job: Job, invokeOptions?: InvokeOptions) => {
      const patience = Date.now() + TIMEOUT_MS;
      for (let refusals = 0; ; refusals++) {
        const outcome = await invoke(job, invokeOptions);
        if (!isHeld(outcome) || Date.now() > patience) return { outcome, refusals };
        await sleep(30);
      }
    };
    return { invoke, retry, kill: () => sandbox.kill() };
  }

  /** A sandbox that has run once: a short timeout is spent on the story, not on the first connection. */
  async warmSandbox(...[handler, options]: Parameters<Lambda["sandbox"]>): Promise<CheckedSandbox> {
    const sandbox = this.sandbox(handler, options);
    expect(await sandbox.invoke(this.task().job())).toMatchObject({ type: "response" });
    return sandbox;
  }

  task(): Task {
    const task = new Task();
    this.#tasks.push(task);
    return task;
  }

  record(task: Task): Promise<LockRecord | undefined> {
    return this.#deployment.locks.get(task.key);
  }

  async clear(): Promise<void> {
    await Promise.all(this.#sandboxes.map((sandbox) => sandbox.stop()));
    for (const task of this.#tasks) task.remove();
  }
}

export type { Lambda };

/** `lambda` and what is on it are made for each test, so that tests may run at the same time. */
export const test = base
  // biome-ignore lint/correctness/noEmptyPattern: Vitest reads from the pattern which fixtures are needed.
  .extend("deployment", { scope: "file" }, async ({}, { onCleanup }) => {
    const deployment = await deploy();
    onCleanup(deployment.remove);
    return deployment;
  })
  .extend("lambda", ({ deployment }, { onCleanup }) => {
    const lambda = new Lambda(deployment);
    onCleanup(() => lambda.clear());
    return lambda;
  });

/** One key to lock, and the runs that locked it. */
export class Task {
  readonly key = randomUUID();
  readonly #directory = mkdtempSync(join(tmpdir(), "task-"));
  readonly #journal = join(this.#directory, "journal");

  /** The event of an invocation. A run behind a gate goes on until the gate is opened. */
  job({ gate, ends }: { gate?: string; ends?: NonNullable<Job["ends"]> } = {}): Job {
    return {
      key: this.key,
      journal: this.#journal,
      ...(gate !== undefined && { gate: join(this.#directory, gate) }),
      ...(ends && { ends }),
    };
  }

  open(gate: string): void {
    writeFileSync(join(this.#directory, gate), "");
  }

  /** What the runs did, in the order in which they did it, in whatever process. */
  get steps(): Step[] {
    if (!existsSync(this.#journal)) return [];
    return readFileSync(this.#journal, "utf8")
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Step);
  }

  /** The runs of the handler; an invocation that was answered or refused is none. */
  get runs(): Began[] {
    return this.steps.filter((step) => step.step === "began");
  }

  /** Waits for a step of a run. */
  async has(step: Step["step"], requestId?: string): Promise<void> {
    await eventually(() =>
      expect(this.steps).toContainEqual(expect.objectContaining({ step, ...(requestId && { requestId }) })),
    );
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true });
  }
}

/** Waits until what is asserted holds. */
export const eventually = (assertion: () => void | Promise<void>): Promise<void> =>
  vi.waitFor(assertion, { timeout: TIMEOUT_MS });

export const answerOf = (requestId: string) => ({ type: "response", payload: { ranBy: requestId } satisfies Answer });

/** As Lambda reports it. */
export const HELD = { type: "error", errorType: "LockHeldError", errorMessage: expect.stringContaining("is held by") };

export const isHeld = (outcome: Outcome): boolean => outcome.type === "error" && outcome.errorType === "LockHeldError";
