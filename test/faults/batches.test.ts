/** Batches when requests fail, replies get lost, time runs out, and processes die between two records. */
import { setTimeout as sleep } from "node:timers/promises";
import type { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { type DynamoLockBatchOptions, LockClient, LockError, LockKeyError } from "../../src/index.ts";
import {
  consumer,
  failures,
  fifo,
  kinesis,
  kinesisRecord,
  type OrderRecord,
  orderOf,
  queue,
  shop,
} from "../support/batches.ts";
import { manualClock } from "../support/clock.ts";
import { lockTable, loseReplies } from "../support/dynamodb.ts";
import { freeKey } from "../support/free.ts";
import { lambdaContext } from "../support/lambda.ts";
import { aProcess, turn } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

/** Requests about some orders that DynamoDB doesn't serve; they are not sent. Gives how many there were. */
const throttle = (client: DynamoDBClient, isThrottled: (order: string, request: number) => boolean) => {
  const state = { throttled: 0, requests: 0 };
  client.middlewareStack.add(
    (next) => async (args) => {
      const { Key } = args.input as { Key?: { lock_id?: { S?: string } } };
      if (!isThrottled(Key?.lock_id?.S?.split("#")[1] ?? "", ++state.requests)) return next(args);
      state.throttled++;
      throw Object.assign(new Error("slow down"), { name: "ProvisionedThroughputExceededException" });
    },
    { step: "initialize", name: "throttle" },
  );
  return state;
};

const many = (count: number) => Array.from({ length: count }, (_, index) => `o${index}`);

describe("while the keys are taken", () => {
  it("a lost reply is not a lost lock", async () => {
    const { options, client, statuses, types } = shop(table, { maxAttempts: 2 });
    loseReplies(client, (request) => request <= 3);
    const { invoke, given } = consumer(options);
    expect(await invoke(queue("a", "b", "c"))).toEqual(failures());
    expect(given()).toEqual([["a", "b", "c"]]);
    expect(await statuses("a", "b", "c")).toEqual(["FINISHED", "FINISHED", "FINISHED"]);
    expect(types()).not.toContain("record-failed");
  });

  it("a record whose acquisition fails comes back alone, and is reported", async () => {
    const { options, client, events, statuses } = shop(table);
    throttle(client, (order) => order === "b");
    const { invoke, given } = consumer(options);
    expect(await invoke(queue("a", "b", "c"))).toEqual(failures("m2"));
    expect(given()).toEqual([["a", "c"]]);
    expect(await statuses("a", "b", "c")).toEqual(["FINISHED", undefined, "FINISHED"]);
    expect(events).toContainEqual({ type: "record-failed", identifier: "m2", error: expect.any(LockError) });
  });

  it("and stops its group, of which the rest is given back", async () => {
    const { options, client, statuses } = shop(table);
    throttle(client, (order) => order === "r2");
    const { invoke, given } = consumer(options);
    const event = fifo(["red", "r1"], ["red", "r2"], ["blue", "b1"], ["red", "r3"]);
    expect(await invoke(event)).toEqual(failures("m2", "m4"));
    expect(given()).toEqual([["r1", "b1"]]);
    expect(await statuses("r1", "b1", "r3")).toEqual(["FINISHED", "FINISHED", "RELEASED"]);
  });

  it.each<[string, (record: OrderRecord) => unknown, unknown]>([
    ["throws", (record) => JSON.parse(orderOf(record) === "b" ? "{" : '"a"'), expect.any(SyntaxError)],
    ["has nothing", (record) => (orderOf(record) === "b" ? undefined : orderOf(record)), expect.any(LockKeyError)],
    ["gives an object", (record) => (orderOf(record) === "b" ? {} : orderOf(record)), expect.any(LockKeyError)],
  ])("a record for which the key function %s comes back alone, and stops its shard", async (_name, key, error) => {
    const { options, events } = shop(table);
    const standard = consumer({ ...options, key: key as never });
    expect(await standard.invoke(queue("a", "b"))).toEqual(failures("m2"));
    expect(events).toContainEqual({ type: "record-failed", identifier: "m2", error });
    const { options: others, sent } = shop(table);
    const stream = consumer({ ...others, key: key as never });
    expect(await stream.invoke(kinesis("a", "b", "c"))).toEqual(failures("1002"));
    expect(stream.given()).toEqual([["a"]]);
    expect(sent).toHaveLength(2);
  });

  it.each<[string, object, RegExp]>([
    [
      "no key",
      { key: () => "" },
      /\(aws:sqs\) comes back, without having run: LockKeyError: key is missing.*\n {4}at /,
    ],
    [
      "a key function that throws",
      { key: (record: OrderRecord) => (record as unknown as { order: { id: string } }).order.id },
      /\(aws:sqs\) comes back, .*: TypeError: Cannot read .*\n {4}at .*batches\.test/,
    ],
    [
      "a key function that throws no error",
      {
        key: () => {
          throw Object.create(null);
        },
      },
      /\(aws:sqs\) comes back, .*\[Object: null prototype\]/,
    ],
    [
      "a fingerprint that throws",
      { fingerprint: () => JSON.parse("{") },
      /\(aws:sqs, key shop-.*#a\) comes back, .*: SyntaxError: .*\n {4}at /,
    ],
    ["an owner that is none", { owner: () => "" }, /\(aws:sqs, key shop-.*#a\) comes back, .*: owner must return/],
    ["a leaseMs that is none", { leaseMs: () => 0 }, /\(aws:sqs, key shop-.*#a\) comes back, .*: leaseMs must be/],
    [
      "another payload",
      { fingerprint: () => "another" },
      /\(aws:sqs, key shop-.*#a\) comes back, .*: PayloadMismatchError: .*\n {4}at /,
    ],
  ])("what is wrong with one record is printed where nobody listens: %s", async (_name, wrong, printed) => {
    const { options } = shop(table);
    const { onEvent: _nobody, ...unheard } = options;
    await consumer({ ...unheard, fingerprint: () => "payload" }).invoke(queue("a"));
    const print = vi.spyOn(console, "error").mockImplementation(() => {});
    const { invoke } = consumer({ ...unheard, ...wrong });
    expect(await invoke(queue("a"))).toEqual(failures("m1"));
    expect(print.mock.calls).toEqual([[expect.stringMatching(printed)]]);
    expect(print.mock.calls[0]?.[0]).toMatch(/Record m1 of a batch/);
    print.mockRestore();
  });

  it("a DynamoDB that answers nothing fails the batch, after five seconds and few requests", async () => {
    const { options, client } = shop(table);
    const state = throttle(client, () => true);
    const { invoke, run } = consumer({ ...options, concurrency: 5 });
    await expect(invoke(queue(...many(100)))).rejects.toMatchObject({ code: "LOCK_REQUEST" });
    expect(state.throttled).toBeLessThan(100);
    expect(run).not.toHaveBeenCalled();
  });

  it("a DynamoDB that stops answering: what is owned by then runs, the rest comes back untried", async () => {
    const { options, client, events } = shop(table);
    let isAway = true;
    const state = throttle(client, () => isAway && state.requests > 5);
    const { invoke, given } = consumer({ ...options, concurrency: 1 }, async () => {
      isAway = false;
    });
    expect(await invoke(queue(...many(50)))).toEqual(
      failures(
        ...many(50)
          .map((_, index) => `m${index + 1}`)
          .slice(5),
      ),
    );
    expect(given()).toEqual([many(5)]);
    expect(events.filter(({ type }) => type === "record-failed")).toHaveLength(1);
    expect(events).toContainEqual({ type: "not-started", records: 44, reason: "faults" });
  });

  const forC =
    <T>(wrong: T, right: T) =>
    (record: OrderRecord): T =>
      orderOf(record) === "c" ? wrong : right;
  it.each<[string, Partial<DynamoLockBatchOptions<OrderRecord>>, RegExp]>([
    ["an item under its key that is no lock", {}, /no lock record/],
    [
      "an owner function that gives nothing",
      { owner: forC("", "me") },
      /owner must return a non-empty string of whole characters, got ''/,
    ],
    ["a lease that is none", { leaseMs: forC(Number.NaN, 10_000) }, /dynamoLockBatch: leaseMs must be .*, got NaN/],
    [
      "a lease that is too short for its heartbeat",
      { leaseMs: forC(1_000, 5_000), heartbeatMs: 2_000 },
      /heartbeatMs \(2000\) must be at most half of leaseMs \(1000\)/,
    ],
    [
      "a lease that can't be watched to its end",
      { leaseMs: forC(5_000, 1_000), expiry: "observed", waitMs: 2_000 },
      /expiry 'observed' needs leaseMs \(5000\) and a longer waitMs \(2000\)/,
    ],
    ["a payload that is no JSON", { fingerprint: forC<unknown>(new Map(), "fine") }, /fingerprint must be a JSON/],
    [
      "a function of the user's that throws",
      {
        fingerprint: (record) => {
          if (orderOf(record) === "c") throw new RangeError("no fingerprint");
        },
      },
      /no fingerprint/,
    ],
  ])("a record with %s comes back alone, is reported, and stops its shard", async (_name, more, message) => {
    for (const batch of [queue, kinesis] as const) {
      const { options, namespace, events } = shop(table);
      if (Object.keys(more).length === 0) await table.put({ lock_id: { S: `${namespace}#c` }, price: { N: "7" } });
      const { invoke, given } = consumer({ ...options, ...more });
      const isQueue = batch === queue;
      expect(await invoke(batch("a", "b", "c", "d"))).toEqual(failures(isQueue ? "m3" : "1003"));
      expect(given()).toEqual([isQueue ? ["a", "b", "d"] : ["a", "b"]]);
      const error = expect.objectContaining({ message: expect.stringMatching(message) });
      const identifier = isQueue ? "m3" : "1003";
      expect(events.filter(({ type }) => type === "record-failed")).toEqual([
        { type: "record-failed", identifier, error },
      ]);
    }
  });

  it.each<[string, Partial<DynamoLockBatchOptions<OrderRecord>>]>([
    ["no owner", { owner: forC("", "me") }],
    ["too short a lease", { leaseMs: forC(1_000, 5_000), heartbeatMs: 2_000 }],
  ])("a record with %s says nothing of DynamoDB: one that answers nothing fails the batch", async (_name, more) => {
    const { options, client } = shop(table);
    throttle(client, () => true);
    const { invoke } = consumer({ ...options, ...more, concurrency: 1 });
    await expect(invoke(queue("a", "b", "c", "d"))).rejects.toMatchObject({ code: "LOCK_REQUEST" });
  });

  it.each(["key", "owner", "fingerprint", "leaseMs"])(
    "%s as an async function fails its records, and not the process when it rejects",
    async (name) => {
      const { options } = shop(table);
      const unhandled: unknown[] = [];
      const listener = (error: unknown) => unhandled.push(error);
      process.on("unhandledRejection", listener);
      const { invoke } = consumer({ ...options, [name]: async () => JSON.parse("{") });
      expect(await invoke(queue("a"))).toEqual(failures("m1"));
      await turn();
      process.off("unhandledRejection", listener);
      expect(unhandled).toEqual([]);
    },
  );

  it("a client that is closed fails the batch", async () => {
    const { options } = shop(table);
    const locks = new LockClient({ client: options.client, tableName: options.tableName, onEvent: () => {} });
    await locks.close();
    const { invoke } = consumer({ key: orderOf, locks });
    await expect(invoke(queue("a", "b"))).rejects.toMatchObject({ code: "LOCK_CLOSED" });
  });
});

describe("when time runs out", () => {
  const clockFor = (times: () => number) => lambdaContext({ getRemainingTimeInMillis: times });

  it("no record is begun with less than the reserve", async () => {
    const { options, sent, events } = shop(table);
    const { invoke, run } = consumer({ ...options, reserveMs: 2_000 });
    expect(
      await invoke(
        queue("a", "b"),
        clockFor(() => 1_999),
      ),
    ).toEqual(failures("m1", "m2"));
    expect(run).not.toHaveBeenCalled();
    expect(sent).toEqual([]);
    expect(events).toEqual([{ type: "not-started", records: 2, reason: "time" }]);
  });

  it("a handler that would begin with less gets nothing, and what was taken is given back; finished repeats are acknowledged", async () => {
    const { options, client, statuses, finishedBefore, events } = shop(table);
    await finishedBefore("b");
    let leftMs = 10_000;
    client.middlewareStack.add(
      (next) => async (args) => {
        const reply = await next(args);
        leftMs = 400;
        return reply;
      },
      { step: "initialize", name: "slow" },
    );
    const { invoke, run } = consumer(options);
    expect(
      await invoke(
        queue("a", "b", "c"),
        clockFor(() => leftMs),
      ),
    ).toEqual(failures("m1", "m3"));
    expect(run).not.toHaveBeenCalled();
    expect(await statuses("a", "c")).toEqual(["RELEASED", "RELEASED"]);
    expect(events).toContainEqual({ type: "not-started", records: 2, reason: "time" });
  });

  it("a wait for a held record ends at the reserve", async () => {
    const { options, heldByAnother } = shop(table);
    await heldByAnother("a");
    const { invoke, given } = consumer({ ...options, waitMs: 60_000, reserveMs: 1_200 });
    const context = lambdaContext({ timeoutMs: 1_500 });
    expect(await invoke(queue("a"), context)).toEqual(failures("m1"));
    expect(given()).toEqual([]);
    expect(context.getRemainingTimeInMillis()).toBeGreaterThan(500);
  });

  it("a record that becomes free while it is waited for runs; one that is finished meanwhile is acknowledged", async () => {
    const { options, heldByAnother } = shop(table);
    const [a, b] = await Promise.all([heldByAnother("a"), heldByAnother("b")]);
    const { invoke, given } = consumer({ ...options, waitMs: 5_000 });
    const invoked = invoke(kinesis("a", "b", "c"));
    await sleep(50);
    await a.release();
    await b.finish();
    expect(await invoked).toEqual(failures());
    expect(given()).toEqual([["a", "c"]]);
  });

  it("locks that can't be settled in time are left to their leases, and the response is returned", async () => {
    const { options, statuses, types } = shop(table);
    let leftMs = 10_000;
    const { invoke } = consumer({ ...options, timeoutEarlyMs: 0 }, async () => {
      leftMs = 40;
    });
    expect(
      await invoke(
        queue("a", "b"),
        clockFor(() => leftMs),
      ),
    ).toEqual(failures());
    expect(await statuses("a", "b")).toEqual(["IN_PROGRESS", "IN_PROGRESS"]);
    expect(types()).toEqual(["acquired", "acquired", "kept", "kept"]);
  });
});

describe("after the handler", () => {
  it("a lost reply to a finish or a release is recognised", async () => {
    const { options, client, statuses, types } = shop(table, { maxAttempts: 2 });
    const { invoke } = consumer(options, async () => {
      loseReplies(client, (request) => request <= 2);
      return failures("m2");
    });
    expect(await invoke(queue("a", "b"))).toEqual(failures("m2"));
    expect(await statuses("a", "b")).toEqual(["FINISHED", "RELEASED"]);
    expect(types()).not.toContain("failed");
  });

  it("a DynamoDB that doesn't answer any more is not asked for each record, and the response is what the handler did", async () => {
    const { options, client, events } = shop(table);
    let state = { throttled: 0 };
    const { invoke } = consumer({ ...options, concurrency: 5, settleMs: 1_000 }, async () => {
      state = throttle(client, () => true);
      return failures("m7");
    });
    expect(await invoke(queue(...many(100)))).toEqual(failures("m7"));
    expect(state.throttled).toBeLessThan(100);
    const failed = events.filter(({ type }) => type === "failed").length;
    expect(failed).toBeLessThan(20);
    expect(events.filter(({ type }) => type === "kept")).toHaveLength(100 - failed);
  });

  it("a lock that was lost meanwhile is reported; its record was done, and is acknowledged", async () => {
    const { options, namespace, types } = shop(table);
    const operator = new LockClient({ client: table.client, tableName: table.tableName });
    const { invoke } = consumer(options, async () => {
      await freeKey(operator, `${namespace}#a`);
    });
    expect(await invoke(queue("a", "b"))).toEqual(failures());
    expect(types().toSorted()).toEqual(["acquired", "acquired", "finished", "lost"]);
  });
});

describe("a process that dies between two records", () => {
  const lease = 10_000;
  const oneLease = () => lambdaContext({ getRemainingTimeInMillis: () => lease });
  const partition = (...orders: string[]) => ({
    Records: orders.map((order, index) => kinesisRecord(`${1001 + index}`, order, "one")),
  });

  it.each([0, 1, 2, 3])(
    "after %i of them were finished: the next delivery waits for the lease, and runs the rest in order",
    async (finished) => {
      const { namespace } = shop(table);
      const clock = manualClock();
      const dying = aProcess(table.tableName, { clock, namespace });
      const event = partition("a", "b", "c");
      const crashed = consumer({ key: orderOf, locks: dying.locks }, async () => {
        dying.state.wire = ({ n, send }) => (n <= 3 + finished ? send() : new Promise(() => {})); // nothing is sent any more
      });
      void crashed.invoke(event, oneLease());
      await vi.waitFor(() => expect(crashed.run).toHaveBeenCalled());
      await vi.waitFor(() => expect(dying.types().filter((type) => type === "finished")).toHaveLength(finished));

      const next = aProcess(table.tableName, { clock, namespace });
      const { invoke, given } = consumer({ key: orderOf, locks: next.locks });
      const held = finished === 3 ? failures() : failures(`${1001 + finished}`);
      expect(await invoke(event, oneLease())).toEqual(held);
      clock.advance(lease + 1_000);
      expect(await invoke(event, oneLease())).toEqual(failures());
      expect(given()).toEqual(finished === 3 ? [] : [["a", "b", "c"].slice(finished)]);
    },
  );

  it("while the handler runs: the next delivery takes over after the lease, and sees what was taken over", async () => {
    const { namespace } = shop(table);
    const clock = manualClock();
    const dying = aProcess(table.tableName, { clock, namespace });
    void consumer({ key: orderOf, locks: dying.locks }, () => new Promise(() => {})).invoke(
      queue("a", "b"),
      oneLease(),
    );
    await vi.waitFor(() => expect(dying.types()).toEqual(["acquired", "acquired"]));

    const next = aProcess(table.tableName, { clock, namespace });
    const previous: unknown[] = [];
    const { invoke } = consumer({ key: orderOf, locks: next.locks }, ({ Records }, { locks }) => {
      for (const record of Records) previous.push(locks.get(record).previous?.status);
    });
    expect(await invoke(queue("a", "b"), oneLease())).toEqual(failures("m1", "m2"));
    clock.advance(lease + 1_000);
    expect(await invoke(queue("a", "b"), oneLease())).toEqual(failures());
    expect(previous).toEqual(["IN_PROGRESS", "IN_PROGRESS"]);
  });
});

describe("while a held record is waited for", () => {
  const oneByOne = (...orders: string[]) => fifo(...orders.map((order) => ["red", order] as const));

  it("nothing behind it is held, and little of what is behind it was tried", async () => {
    const { options, heldByAnother, sent, statuses } = shop(table);
    const held = await heldByAnother("o5");
    const { invoke, given } = consumer({ ...options, waitMs: 5_000, concurrency: 4 });
    const invoked = invoke(kinesis(...many(100)));
    await vi.waitFor(() => expect(sent).toContain("GetItem"));
    expect(await statuses("o4", "o5", "o6", "o7")).not.toContain("FINISHED");
    expect((await statuses("o6", "o7", "o8")).filter((status) => status === "IN_PROGRESS")).toEqual([]);
    expect(sent.filter((name) => name === "UpdateItem").length).toBeLessThan(20);
    await held.release();
    expect(await invoked).toEqual(failures());
    expect(given()).toEqual([many(100)]);
  });

  it("two runs of the same batch don't wait for each other: one runs all of it, and the other acknowledges all", async () => {
    const { options } = shop(table);
    const orders = many(6);
    const runs = [1, 2, 3].map(() => consumer({ ...options, waitMs: 8_000, concurrency: 3 }));
    const startedAt = Date.now();
    const responses = await Promise.all(runs.map(({ invoke }) => invoke(oneByOne(...orders))));
    expect(responses).toEqual([failures(), failures(), failures()]);
    const ran = runs.flatMap(({ given }) => given().flat());
    expect(ran.toSorted()).toEqual(orders);
    expect(Date.now() - startedAt).toBeLessThan(6_000);
  });

  it("the batch waits once, however many are held; each that comes back is reported once", async () => {
    const { options, heldByAnother, events } = shop(table);
    for (const order of ["a", "b", "c"]) await heldByAnother(order);
    const startedAt = Date.now();
    const { invoke } = consumer({ ...options, waitMs: 300, concurrency: 1 });
    expect(await invoke(queue("a", "b", "c"))).toEqual(failures("m1", "m2", "m3"));
    expect(Date.now() - startedAt).toBeLessThan(800);
    expect(events.map(({ type }) => type)).toEqual(["held", "held", "held"]);
    const ordered = consumer({ ...options, waitMs: 300 });
    expect(await ordered.invoke(oneByOne("a", "d"))).toEqual(failures("m1", "m2"));
  });
});
