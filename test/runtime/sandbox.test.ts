import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { describeRuntime } from "./describe-runtime.ts";
import { Sandbox, type SandboxOptions } from "./sandbox.ts";

const HANDLERS = `
  let invocations = 0;
  let ticks = 0;
  export async function echo(event, context) {
    console.log("running", event.name);
    return {
      event,
      requestId: context.awsRequestId,
      remainingMs: context.getRemainingTimeInMillis(),
      functionName: context.functionName,
      home: process.env.HOME,
      region: process.env.AWS_REGION,
      greeting: process.env.GREETING,
      pid: process.pid,
      invocations: ++invocations,
    };
  }
  export async function nothing() {}
  export async function fail(event) { throw new RangeError(event.message); }
  export function hang() { return new Promise((resolve) => setTimeout(resolve, 60_000)); }
  export async function spin(event) { while (event.forever); return process.pid; }
  export async function exit(event) { if (event.code) process.exit(event.code); return process.pid; }
  export async function tick() { if (ticks === 0) setInterval(() => ticks++, 5); return ticks++; }
  export async function meet(event) {
    const { existsSync, writeFileSync } = await import("node:fs");
    writeFileSync(event.mine, "");
    while (!existsSync(event.other)) await new Promise((resolve) => setTimeout(resolve, 5));
    return "met";
  }
`;

let taskRoot: string;
beforeAll(() => {
  taskRoot = mkdtempSync(join(tmpdir(), "task-"));
  writeFileSync(join(taskRoot, "index.mjs"), HANDLERS);
  writeFileSync(join(taskRoot, "broken.mjs"), `throw new TypeError("no configuration");`);
});
afterAll(() => rmSync(taskRoot, { recursive: true }));

const sandboxes: Sandbox[] = [];
afterEach(async () => {
  for (const sandbox of sandboxes.splice(0)) await sandbox.stop();
});

function sandboxOf(handler: string, options: Partial<SandboxOptions> = {}): Sandbox {
  const sandbox = new Sandbox({ taskRoot, handler, ...options });
  sandboxes.push(sandbox);
  return sandbox;
}

describeRuntime("a sandbox with Lambda's runtime client", () => {
  test("a handler gets its event and context, and its response comes back", async () => {
    const sandbox = sandboxOf("index.echo", { functionName: "report", env: { GREETING: "hello" } });
    const outcome = await sandbox.invoke({ name: "first" }, { requestId: "request-1", timeoutMs: 5_000 });
    expect(outcome).toMatchObject({
      type: "response",
      requestId: "request-1",
      payload: {
        event: { name: "first" },
        requestId: "request-1",
        functionName: "report",
        region: "eu-west-1",
        greeting: "hello",
      },
      stdout: expect.stringContaining("running first"),
      stderr: "",
    });
    const { remainingMs, home } = (outcome as { payload: { remainingMs: number; home?: string } }).payload;
    expect(remainingMs).toBeGreaterThan(3_000);
    expect(remainingMs).toBeLessThanOrEqual(5_000);
    expect(home).toBeUndefined();
  });

  test("a handler that returns nothing responds with null", async () => {
    expect(await sandboxOf("index.nothing").invoke({})).toMatchObject({ type: "response", payload: null });
  });

  test("a warm sandbox keeps its process; the same request id can come again", async () => {
    const sandbox = sandboxOf("index.echo");
    const first = await sandbox.invoke({ name: "first" }, { requestId: "request-1" });
    const again = await sandbox.invoke({ name: "again" }, { requestId: "request-1" });
    expect(first).toMatchObject({ payload: { invocations: 1, requestId: "request-1" } });
    expect(again).toMatchObject({ payload: { invocations: 2, requestId: "request-1" } });
    expect(again.stdout).toContain("running again");
    expect(again.stdout).not.toContain("running first");
  });

  test("a thrown error comes back with its name and message", async () => {
    const sandbox = sandboxOf("index.fail");
    const outcome = await sandbox.invoke({ message: "out of range" });
    expect(outcome).toMatchObject({ type: "error", errorType: "RangeError", errorMessage: "out of range" });
    expect(outcome.stdout).toContain("Invoke Error");
  });

  test("a handler that can't be loaded is an error, each time", async () => {
    const sandbox = sandboxOf("broken.handler");
    const failed = { type: "error", errorType: "TypeError", errorMessage: "no configuration" };
    expect(await sandbox.invoke({})).toMatchObject(failed);
    expect(await sandbox.invoke({})).toMatchObject(failed);
  });

  test("the process is killed at the deadline", async () => {
    const outcome = await sandboxOf("index.hang", { timeoutMs: 300 }).invoke({});
    expect(outcome.type).toBe("timeout");
    expect(outcome.durationMs).toBeGreaterThanOrEqual(299);
    expect(outcome.durationMs).toBeLessThan(3_000);
  });

  test("after a timeout, even of a handler that blocks its thread, the next invocation gets a new process", async () => {
    const sandbox = sandboxOf("index.spin");
    const before = await sandbox.invoke({});
    expect((await sandbox.invoke({ forever: true }, { timeoutMs: 300 })).type).toBe("timeout");
    const after = await sandbox.invoke({});
    expect(after.type).toBe("response");
    expect(after).not.toHaveProperty("payload", (before as { payload?: unknown }).payload);
  });

  test("a process that exits is a crash, and the next invocation gets a new one", async () => {
    const sandbox = sandboxOf("index.exit");
    const before = await sandbox.invoke({});
    expect(await sandbox.invoke({ code: 7 })).toMatchObject({ type: "crash", exitCode: 7, signal: null });
    const after = await sandbox.invoke({});
    expect(after.type).toBe("response");
    expect(after).not.toHaveProperty("payload", (before as { payload?: unknown }).payload);
  });

  test("a process that is killed from outside is a crash", async () => {
    const sandbox = sandboxOf("index.meet");
    const started = join(taskRoot, "started");
    const outcome = sandbox.invoke({ mine: started, other: join(taskRoot, "never") });
    await vi.waitFor(() => expect(existsSync(started)).toBe(true));
    await sandbox.kill();
    expect(await outcome).toMatchObject({ type: "crash", exitCode: null, signal: "SIGKILL" });
  });

  test("a process that is killed between invocations is replaced", async () => {
    const sandbox = sandboxOf("index.echo");
    await sandbox.invoke({ name: "first" });
    await sandbox.kill();
    expect(await sandbox.invoke({ name: "second" })).toMatchObject({ payload: { invocations: 1 } });
  });

  test("between invocations the process is frozen", async () => {
    const sandbox = sandboxOf("index.tick");
    await sandbox.invoke({});
    await sleep(400);
    const outcome = await sandbox.invoke({});
    expect(outcome.type).toBe("response");
    // Running on, the timer would have fired about 80 times.
    expect((outcome as { payload: number }).payload).toBeLessThan(20);
  });

  test("two sandboxes run at the same time", async () => {
    const files = [join(taskRoot, "a"), join(taskRoot, "b")];
    const [first, second] = [sandboxOf("index.meet"), sandboxOf("index.meet")];
    const outcomes = await Promise.all([
      first.invoke({ mine: files[0], other: files[1] }),
      second.invoke({ mine: files[1], other: files[0] }),
    ]);
    expect(outcomes).toMatchObject([{ payload: "met" }, { payload: "met" }]);
  });

  test("one sandbox refuses a second invocation at the same time", async () => {
    const sandbox = sandboxOf("index.echo");
    const first = sandbox.invoke({ name: "first" });
    await expect(sandbox.invoke({ name: "second" })).rejects.toThrow("one invocation at a time");
    expect((await first).type).toBe("response");
  });
});
