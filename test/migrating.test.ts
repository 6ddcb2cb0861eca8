/** Every "after" of docs/migrating.md is a module in `migrating/`, to the letter, and does here what the page says it does. */
import { setTimeout as sleep } from "node:timers/promises";
import { DescribeTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import type { Context } from "aws-lambda";
import { afterAll, beforeEach, describe, expect, it, vi } from "vitest";
import { LockClient, type LockError, type LockRecord, semaphore } from "../src/index.ts";
import { localConfig } from "./support/dynamodb.ts";
import { expectExamples, runExamples } from "./support/examples.ts";
import { freeKey } from "./support/free.ts";
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

/** Waits until somebody who has been refused reads whether the key is free by now. */
const somebodyWaits = async (): Promise<void> => {
  const send = vi.spyOn(DynamoDBClient.prototype, "send");
  const sent = () => send.mock.calls.map(([command]) => command.constructor.name);
  await expect.poll(sent, { timeout: 10_000 }).toContain("GetItemCommand");
  send.mockRestore();
};

/** Work that has begun, and ends when the test says so. */
const heldUp = () => {
  const end = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const work = async () => {
    begun.resolve();
    await end.promise;
  };
  return { work, begun: begun.promise, end };
};

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

  it("tells the application that an operator broke the lock", async () => {
    domain.updateCustomer.mockImplementationOnce(async () => {
      await freeKey(new LockClient(), "customer-xyz");
    });
    await run("python-dynamodb-lock");
    expect(domain.rollBack).toHaveBeenCalledExactlyOnceWith("broken");
  });
});

describe("dynamo-dlm", () => {
  it("counts its holders, and waits when there are as many as it permits", async () => {
    await run("dynamo-dlm");
    expect(console.log).toHaveBeenCalledWith(1);

    const others = new LockClient();
    const [first] = await Promise.all(
      [1, 2].map(() => semaphore(others, "printer", { permits: 2 }).acquire({ waitMs: 1_000 })),
    );
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

describe("dyndb-mutex", () => {
  const others = new LockClient({ tableName: "mutexes", clientConfig: localConfig() });
  afterAll(() => others.close());

  it("makes its table, restarts under the lock, and doesn't when another holds it", async () => {
    await run("dyndb-mutex");
    expect(domain.restart).toHaveBeenCalledExactlyOnceWith("i-8abd832c32");

    await using lock = await others.acquire("i-8abd832c32");
    expect(lock.fencingToken).toBeGreaterThan(0);
    vi.resetModules();
    await run("dyndb-mutex");
    expect(domain.restart).toHaveBeenCalledTimes(1);
  });

  it("throws what the work throws, and frees the key", async () => {
    domain.restart.mockRejectedValueOnce(new Error("no such instance"));
    await expect(run("dyndb-mutex")).rejects.toThrow("no such instance");
    expect(await others.get("i-8abd832c32")).toMatchObject({ status: "RELEASED" });
  });

  it("throws what the work throws, also when another has taken the lock meanwhile", async () => {
    domain.restart.mockImplementationOnce(async () => {
      await freeKey(others, "i-8abd832c32");
      throw new Error("no such instance");
    });
    await expect(run("dyndb-mutex")).rejects.toThrow("no such instance");
  });
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

  it("throws what the work throws, and releases the lock", async () => {
    domain.doSomethingExclusive.mockRejectedValueOnce(new Error("not today"));
    await expect(run("dynamodblock")).rejects.toThrow("not today");
    expect(await recordOf("my-task-lock")).toMatchObject({ status: "RELEASED" });
  });

  it("several that wait: each gets its turn, and none fails", async () => {
    let inside = 0;
    domain.doSomethingExclusive.mockImplementation(async () => {
      expect(++inside).toBe(1);
      await sleep(1);
      inside--;
    });
    const holder = await new LockClient().acquire("my-task-lock");
    const runs: Promise<unknown>[] = [];
    for (const _ of [1, 2, 3]) {
      vi.resetModules();
      runs.push(run("dynamodblock"));
      await somebodyWaits();
    }
    await holder.release();
    await Promise.all(runs);
    expect(domain.doSomethingExclusive).toHaveBeenCalledTimes(3);
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

  describe("while another instance is at it", () => {
    /** Two instances: the second waits for the first, whose work is `first`. */
    const two = async (first: () => Promise<unknown>) => {
      const { work, begun, end } = heldUp();
      domain.runEtl.mockImplementationOnce(() => work().then(first));
      const runs = [run("atomic-execution-control")];
      await begun;
      vi.resetModules();
      runs.push(run("atomic-execution-control"));
      await somebodyWaits();
      end.resolve();
      return Promise.allSettled(runs);
    };
    beforeEach(() => freeKey(new LockClient(), "2023-01-01"));

    it("it waits for it, and doesn't run the work again", async () => {
      const outcomes = await two(async () => "done");
      expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled"]);
      expect(domain.runEtl).toHaveBeenCalledTimes(1);
    });

    it("and that one fails: the work is done by the one that waited", async () => {
      const outcomes = await two(async () => {
        throw new Error("no data");
      });
      expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
      expect(domain.runEtl).toHaveBeenCalledTimes(2);
      expect(await recordOf("2023-01-01")).toMatchObject({ status: "FINISHED" });
    });

    it("and that one crashes: the work is done when its lease ends", async () => {
      await new LockClient({ leaseMs: 200, heartbeatMs: false, owner: "crashed" }).acquire("2023-01-01");
      await run("atomic-execution-control");
      expect(domain.runEtl).toHaveBeenCalledTimes(1);
      expect(await recordOf("2023-01-01")).toMatchObject({ status: "FINISHED" });
    });
  });

  describe("in a Lambda, a concurrent run", () => {
    const two = async (date: string, first: () => Promise<unknown>) => {
      const { handler } = await run("atomic-execution-control-lambda");
      const { work, begun, end } = heldUp();
      domain.runEtl.mockImplementationOnce(() => work().then(first));
      const runs = [handler({ date }, lambdaContext())];
      await begun;
      runs.push(handler({ date }, lambdaContext()));
      await somebodyWaits();
      end.resolve();
      return Promise.allSettled(runs);
    };

    it("waits and gets the first one's response", async () => {
      const outcomes = await two("2023-01-02", async () => ({ rows: 7 }));
      const fulfilled = { status: "fulfilled", value: { rows: 7 } };
      expect(outcomes).toEqual([fulfilled, fulfilled]);
      expect(domain.runEtl).toHaveBeenCalledTimes(1);
    });

    it("does the work if the first one fails", async () => {
      domain.runEtl.mockReset();
      const outcomes = await two("2023-01-03", async () => {
        domain.runEtl.mockResolvedValueOnce({ rows: 8 });
        throw new Error("no data");
      });
      expect(outcomes).toMatchObject([{ status: "rejected" }, { status: "fulfilled", value: { rows: 8 } }]);
      expect(domain.runEtl).toHaveBeenCalledTimes(2);
    });
  });
});

describe("AWS Java lock client", () => {
  it("leads while it holds the lock", async () => {
    domain.lead.mockImplementationOnce(async (signal) => {
      expect(signal.aborted).toBe(false);
      expect(await recordOf("leader")).toMatchObject({ status: "IN_PROGRESS", leaseMs: 10_000, data: { host: "a" } });
    });
    await run("java-lock-client");
    expect(domain.lead).toHaveBeenCalledTimes(1);
    expect(await recordOf("leader")).toMatchObject({ status: "RELEASED" });
  });

  it("throws what the work throws, and gives the lead back", async () => {
    domain.lead.mockRejectedValueOnce(new Error("no followers"));
    await expect(run("java-lock-client")).rejects.toThrow("no followers");
    expect(await recordOf("leader")).toMatchObject({ status: "RELEASED" });
  });

  it("takes the lead from a crashed process after having watched its lease", async () => {
    await new LockClient({ leaseMs: 1_000, heartbeatMs: false }).acquire("leader");
    await run("java-lock-client");
    expect(domain.lead).toHaveBeenCalledTimes(1);
  });
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
