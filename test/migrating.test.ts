/** Every "after" of docs/migrating.md is a module in `migrating/`, to the letter, and does here what the page says it does. */
import { setTimeout as sleep } from "node:timers/promises";
import { DescribeTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import type { Context } from "aws-lambda";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { forceRelease, LockClient, type LockError, type LockRecord } from "../src/index.ts";
import { localConfig } from "./support/dynamodb.ts";
import { expectExamples, runExamples } from "./support/examples.ts";
import { lambdaContext } from "./support/lambda.ts";

const domain = {
  updateCustomer: vi.fn(async (_id: string, _options: { signal: AbortSignal }) => {}),
  hurry: vi.fn(),
  rollBack: vi.fn(),
  printReport: vi.fn(async () => {}),
  restart: vi.fn(async () => {}),
  doSomethingExclusive: vi.fn(async () => {}),
  runEtl: vi.fn(async (_date: string): Promise<unknown> => undefined),
  lead: vi.fn(async (_signal: AbortSignal) => {}),
  createOrder: vi.fn(async () => ({ statusCode: 201, body: `order ${domain.createOrder.mock.calls.length}` })),
};
runExamples(domain);
beforeEach(() => {
  vi.resetModules(); // each import runs the example again
  for (const method of ["log", "debug"] as const) vi.spyOn(console, method).mockImplementation(() => {});
});

const run = (name: string) => import(`./migrating/${name}.ts`);
const recordOf = async (key: string): Promise<LockRecord | undefined> => new LockClient().get(key);

it("has each example, and no other", () => expectExamples("docs/migrating.md", "migrating"));

describe("python_dynamodb_lock", () => {
  it("holds the lock with its data while it works, and releases it", async () => {
    domain.updateCustomer.mockImplementationOnce(async () => {
      expect(await recordOf("customer-xyz")).toMatchObject({
        status: "IN_PROGRESS",
        leaseMs: 30_000,
        data: { job: "billing" },
      });
    });
    await run("python-dynamodb-lock");
    expect(domain.updateCustomer).toHaveBeenCalledWith("xyz", { signal: expect.any(AbortSignal) });
    expect(await recordOf("customer-xyz")).toMatchObject({ status: "RELEASED", data: { job: "billing" } });
  });

  it("throws what the work throws, and releases the lock", async () => {
    domain.updateCustomer.mockRejectedValueOnce(new Error("no such customer"));
    await expect(run("python-dynamodb-lock")).rejects.toThrow("no such customer");
    expect(await recordOf("customer-xyz")).toMatchObject({ status: "RELEASED" });
  });

  it("tells the application that the lock was stolen", async () => {
    domain.updateCustomer.mockImplementationOnce(async () => {
      await forceRelease(new LockClient(), "customer-xyz");
    });
    await run("python-dynamodb-lock");
    expect(domain.rollBack).toHaveBeenCalledExactlyOnceWith("stolen");
  });
});

describe("dynamo-dlm", () => {
  it("counts its holders, and waits when there are as many as it permits", async () => {
    await run("dynamo-dlm");
    expect(console.log).toHaveBeenCalledWith(1);

    const others = new LockClient();
    const [first] = await Promise.all([1, 2].map(() => others.acquire("printer", { permits: 2, waitMs: 1_000 })));
    vi.resetModules();
    const third = run("dynamo-dlm");
    await sleep(100);
    expect(domain.printReport).toHaveBeenCalledTimes(1);
    await first?.release();
    await third;
    expect(domain.printReport).toHaveBeenCalledTimes(2);
    await others.close();
  });
});

it("dyndb-mutex: makes its table, restarts under the lock, and doesn't when another holds it", async () => {
  await run("dyndb-mutex");
  expect(domain.restart).toHaveBeenCalledExactlyOnceWith("i-8abd832c32");

  const others = new LockClient({ tableName: "Mutex" });
  const lock = await others.acquire("i-8abd832c32");
  expect(lock.fencingToken).toBeGreaterThan(0);
  vi.resetModules();
  await run("dyndb-mutex");
  expect(domain.restart).toHaveBeenCalledTimes(1);
  await others.close();
});

describe("dynamodblock", () => {
  it("warms up, runs under the lock, and leaves nothing held", async () => {
    domain.doSomethingExclusive.mockImplementationOnce(async () => {
      expect(await recordOf("my-task-lock")).toMatchObject({ status: "IN_PROGRESS", owner: "worker-1" });
    });
    await run("dynamodblock");
    expect(domain.doSomethingExclusive).toHaveBeenCalledTimes(1);
    expect(await recordOf("my-task-lock")).toMatchObject({ status: "RELEASED" });
  });

  it("shows who holds what, in a time zone of choice, and breaks it", async () => {
    const others = new LockClient({ owner: "somebody" });
    await Promise.all(["my-task-lock", "another"].map((key) => others.acquire(key)));
    await run("dynamodblock-admin");
    const shown = vi.mocked(console.log).mock.calls.map(([description]) => description);
    expect(shown.map(({ key }) => key).toSorted()).toEqual(["another", "my-task-lock"]);
    expect(shown[0]).toMatchObject({ owner: "somebody", expiresAt: expect.stringMatching(/-03:00$/) });
    for (const key of ["my-task-lock", "another"]) expect(await recordOf(key)).toMatchObject({ status: "RELEASED" });
  });

  it("makes the table", async () => {
    await run("dynamodblock-table");
    const client = new DynamoDBClient(localConfig());
    const { Table } = await client.send(new DescribeTableCommand({ TableName: "my_lock_table" }));
    expect(Table).toMatchObject({
      TableStatus: "ACTIVE",
      ProvisionedThroughput: { ReadCapacityUnits: 5, WriteCapacityUnits: 5 },
      StreamSpecification: { StreamEnabled: true },
    });
  });
});

describe("AtomicExecutionControl", () => {
  it("runs and finishes; later it forgets that and runs again", async () => {
    await run("atomic-execution-control");
    expect(domain.runEtl).toHaveBeenCalledExactlyOnceWith("2023-01-01");
    expect(await recordOf("2023-01-01")).toMatchObject({ status: "FINISHED" });

    vi.resetModules();
    await run("atomic-execution-control"); // within a second: too fresh to be deleted
    expect(domain.runEtl).toHaveBeenCalledTimes(1);

    await sleep(1_100);
    vi.resetModules();
    await run("atomic-execution-control");
    expect(domain.runEtl).toHaveBeenCalledTimes(2);
  });

  it("frees the key when the work fails", async () => {
    await sleep(1_100);
    domain.runEtl.mockRejectedValueOnce(new Error("no data"));
    await expect(run("atomic-execution-control")).rejects.toThrow("no data");
    expect(await recordOf("2023-01-01")).toMatchObject({ status: "RELEASED" });
  });

  it("in a Lambda: a concurrent run waits and gets the first one's response", async () => {
    const { handler } = await run("atomic-execution-control-lambda");
    const started = Promise.withResolvers<void>();
    const finish = Promise.withResolvers<void>();
    domain.runEtl.mockImplementationOnce(async () => {
      started.resolve();
      await finish.promise;
      return { rows: 7 };
    });
    const first = handler({ date: "2023-01-02" }, lambdaContext());
    await started.promise;
    const second = handler({ date: "2023-01-02" }, lambdaContext());
    await sleep(100);
    finish.resolve();
    expect(await Promise.all([first, second])).toEqual([{ rows: 7 }, { rows: 7 }]);
    expect(domain.runEtl).toHaveBeenCalledTimes(1);
  });
});

it("AWS Java lock client: leads while it holds the lock", async () => {
  domain.lead.mockImplementationOnce(async (signal) => {
    expect(signal.aborted).toBe(false);
    expect(await recordOf("leader")).toMatchObject({ status: "IN_PROGRESS", leaseMs: 10_000, data: { host: "a" } });
  });
  await run("java-lock-client");
  expect(domain.lead).toHaveBeenCalledTimes(1);
  expect(await recordOf("leader")).toMatchObject({ status: "RELEASED" });
});

it("Powertools idempotency: a repeat gets the first response, a concurrent one an error, and one without a key runs", async () => {
  const { handler } = (await run("powertools-idempotency")) as {
    handler: (event: unknown, context: Context) => Promise<unknown>;
  };
  const order = (headers: Record<string, string>) => handler({ headers, body: "{}" }, lambdaContext());
  const created = { statusCode: 201, body: "order 1" };
  const first = order({ "idempotency-key": "k" });
  await expect.poll(() => domain.createOrder.mock.calls.length).toBe(1);
  expect(await first).toEqual(created);
  expect(await order({ "idempotency-key": "k" })).toEqual(created);
  expect(domain.createOrder).toHaveBeenCalledTimes(1);

  await order({});
  await order({});
  expect(domain.createOrder).toHaveBeenCalledTimes(3);

  const finish = Promise.withResolvers<{ statusCode: number; body: string }>();
  domain.createOrder.mockImplementationOnce(() => finish.promise);
  const slow = order({ "idempotency-key": "slow" });
  await expect.poll(() => domain.createOrder.mock.calls.length).toBe(4);
  const refusal = (await order({ "idempotency-key": "slow" }).catch((error: unknown) => error)) as LockError;
  expect(refusal).toMatchObject({ code: "LOCK_HELD", statusCode: 409 });
  finish.resolve(created);
  await slow;
});
