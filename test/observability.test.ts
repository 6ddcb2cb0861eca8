/** Every example of docs/observability.md is a module in `observability/`, to the letter, and does here what the page says it does. */
import type { Context } from "aws-lambda";
import { describe, expect, it, vi } from "vitest";
import type { LockClient } from "../src/index.ts";
import { expectExamples, runExamples } from "./support/examples.ts";
import { freeKey } from "./support/free.ts";
import { lambdaContext } from "./support/lambda.ts";

const domain = { makeReport: vi.fn(async () => ({ lines: 3 })), page: vi.fn() };
runExamples(domain);

type Handler = (event: unknown, context: Context) => Promise<unknown>;
const load = async (name: string): Promise<{ handler: Handler; locks: LockClient }> =>
  import(`./observability/${name}.ts`);

it("has each example, and no other", () => expectExamples("docs/observability.md", "observability"));

describe("the examples of observability", () => {
  it("metrics: one line of EMF for a run, and one for a replay", async () => {
    vi.stubEnv("POWERTOOLS_DEV", "true"); // to the global console
    vi.stubEnv("POWERTOOLS_METRICS_DISABLED", "false");
    const log = vi.spyOn(console, "log").mockImplementation(() => {});
    const { handler } = await load("metrics");
    const event = { time: "2026-11-23T06:00:00Z" };
    await handler(event, lambdaContext());
    await handler(event, lambdaContext());
    const names = log.mock.calls.map(([line]) => Object.keys(JSON.parse(line)).filter((name) => /^Lock/.test(name)));
    expect(names).toEqual([["LockAcquired", "LockWaitTime", "LockFinished", "LockHoldTime"], ["LockReplayed"]]);
    log.mockRestore();
    vi.unstubAllEnvs();
  });

  it("on-event: pages for a lock that is lost, and for nothing else", async () => {
    const { locks } = await load("on-event");
    await locks.run("report", () => {});
    expect(domain.page).not.toHaveBeenCalled();
    const lock = await locks.acquire("report");
    await freeKey(locks, "report");
    await expect(lock.finish()).rejects.toThrow("an operator has ended it");
    expect(domain.page.mock.calls).toEqual([[expect.stringMatching(/^report: lost \(broken\) after \d+ ms$/)]]);
    await locks.close();
  });
});
