import { randomUUID } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, it, vi } from "vitest";
import { LockClient } from "../../src/index.ts";
import { failures, kinesisRecord, sqsRecord } from "../support/batches.ts";
import { lockTable } from "../support/dynamodb.ts";
import type * as handlers from "./batch-handlers.ts";
import type { Order } from "./batch-handlers.ts";
import { bundle } from "./bundle.ts";
import { describeRuntime } from "./describe-runtime.ts";
import { type InvokeOptions, type Outcome, Sandbox } from "./sandbox.ts";

const FUNCTION_NAME = "orders";

describeRuntime("a consumer of batches in Lambda's runtime", () => {
  let taskRoot: string;
  let table: Awaited<ReturnType<typeof lockTable>>;
  let locks: LockClient;
  beforeAll(async () => {
    taskRoot = await bundle("batch-handlers.ts");
    table = await lockTable();
    locks = new LockClient({ client: table.client, tableName: table.tableName, namespace: FUNCTION_NAME });
  });
  afterAll(() => {
    rmSync(taskRoot, { recursive: true });
  });

  let directory: string;
  let day: string;
  const sandboxes: Sandbox[] = [];
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "orders-"));
    day = randomUUID();
  });
  afterEach(async () => {
    await Promise.all(sandboxes.splice(0).map((sandbox) => sandbox.stop()));
    rmSync(directory, { recursive: true });
  });

  const consumer = (handler: keyof typeof handlers) => {
    const sandbox = new Sandbox({
      taskRoot,
      handler: `index.${handler}`,
      functionName: FUNCTION_NAME,
      timeoutMs: 10_000,
      env: { AWS_ENDPOINT_URL_DYNAMODB: inject("endpoint"), DYNAMO_LOCK_TABLE: table.tableName },
    });
    sandboxes.push(sandbox);
    return async (event: unknown, options?: InvokeOptions): Promise<Outcome> => {
      const outcome = await sandbox.invoke(event, options);
      expect(outcome.stdout).not.toMatch(/\(node:\d+\)/); // no warning, no unhandled rejection
      expect(outcome.stderr).toBe("");
      return outcome;
    };
  };
  const orderOf = (name: string, more: Omit<Order, "order" | "journal"> = {}): string =>
    JSON.stringify({ order: `${day}-${name}`, journal: join(directory, "journal"), ...more } satisfies Order);
  const message = (name: string, more?: Omit<Order, "order" | "journal">) => ({
    ...sqsRecord(name, ""),
    body: orderOf(name, more),
  });
  const datum = (sequenceNumber: string, name: string, more?: Omit<Order, "order" | "journal">) => {
    const record = kinesisRecord(sequenceNumber, "");
    const data = Buffer.from(orderOf(name, more)).toString("base64");
    return { ...record, kinesis: { ...record.kinesis, data } };
  };
  const gate = () => join(directory, "gate");
  const journal = () => {
    const path = join(directory, "journal");
    return existsSync(path) ? readFileSync(path, "utf8").replaceAll(`${day}-`, "").trim().split("\n") : [];
  };
  const has = (line: string) => vi.waitFor(() => expect(journal()).toContain(line), { timeout: 10_000 });
  const statusOf = async (name: string) => (await locks.get(`${day}-${name}`))?.status;

  it("a batch with a repeat, one that fails, and one that another sandbox has: each gets its due, and so does the redelivery", async () => {
    const [first, second] = [consumer("queue"), consumer("queue")];
    expect(await first({ Records: [message("a")] })).toMatchObject({ type: "response", payload: failures() });
    const elsewhere = second({ Records: [message("b", { gate: gate() })] });
    await has("began b");

    const batch = (more?: Omit<Order, "order" | "journal">) => ({
      Records: [message("a"), message("b"), message("c", more), message("d")],
    });
    expect(await first(batch({ ends: "throwing" }))).toMatchObject({ payload: failures("b", "c") });
    writeFileSync(gate(), "");
    expect(await elsewhere).toMatchObject({ payload: failures() });
    expect(await first(batch())).toMatchObject({ payload: failures() });
    expect(
      journal()
        .filter((line) => line.startsWith("ended"))
        .toSorted(),
    ).toEqual(["ended a", "ended b", "ended c", "ended d"]);
  });

  it("a shard's batch stops at its first failure, and goes on from there", async () => {
    const invoke = consumer("stream");
    const batch = (more?: Omit<Order, "order" | "journal">) => [
      datum("1", "a"),
      datum("2", "b", more),
      datum("3", "c"),
    ];
    expect(await invoke({ Records: batch({ ends: "throwing" }) })).toMatchObject({ payload: failures("2") });
    expect(await Promise.all(["a", "b", "c"].map(statusOf))).toEqual(["FINISHED", "RELEASED", "RELEASED"]);
    expect(await invoke({ Records: batch().slice(1) })).toMatchObject({ payload: failures() });
    expect(journal().filter((line) => line.startsWith("ended"))).toEqual(["ended a", "ended b", "ended c"]);
  });

  it("after a crash nobody runs before the function's timeout would have passed; then all of it runs", async () => {
    const [first, second] = [consumer("queue"), consumer("queue")];
    await second({ Records: [message("warm")] });
    const crashed = first({ Records: [message("a", { ends: "exiting" }), message("b")] }, { timeoutMs: 1_500 });
    expect(await crashed).toMatchObject({ type: "crash", exitCode: 7 });
    expect(await second({ Records: [message("a"), message("b")] })).toMatchObject({ payload: failures("a", "b") });
    await vi.waitFor(
      async () =>
        expect(await second({ Records: [message("a"), message("b")] })).toMatchObject({ payload: failures() }),
      { timeout: 10_000, interval: 100 },
    );
    expect(
      journal()
        .filter((line) => line.startsWith("ended"))
        .toSorted(),
    ).toEqual(["ended a", "ended b", "ended warm"]);
  });

  it("an early timeout that answers returns everything, and frees nothing under the handler that still runs", async () => {
    const invoke = consumer("answersEarly");
    await invoke({ Records: [message("warm")] });
    const event = { Records: [message("a", { gate: gate() }), message("b")] };
    // Middy's timer leaves 5 ms to answer in: too few for a busy machine, so Lambda comes a little late.
    const outcome = await invoke(event, { timeoutMs: 1_000, graceMs: 3_000 });
    expect(outcome).toMatchObject({ type: "response", payload: failures("a", "b") });
    expect(await Promise.all(["a", "b"].map(statusOf))).toEqual(["IN_PROGRESS", "IN_PROGRESS"]);
  });
});
