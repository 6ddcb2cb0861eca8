/** Records that would be acknowledged though nobody did them, or done again behind what came after them. */
import type { SQSEvent } from "aws-lambda";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { LockBatchError, LockClient, PayloadMismatchError, withLockBatch } from "../../src/index.ts";
import {
  consumer,
  failing,
  failures,
  fifo,
  type OrderEvent,
  type OrderHandler,
  type OrderRecord,
  orderOf,
  queue,
  shop,
} from "../support/batches.ts";
import { lockTable } from "../support/dynamodb.ts";
import { freeKey } from "../support/free.ts";
import { lambdaContext } from "../support/lambda.ts";
import { aProcess, lost, turn } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

describe("the same key with another payload, in one batch", () => {
  type Amount = readonly [order: string, amount: number];
  const withAmounts = ({ Records }: SQSEvent, amounts: readonly Amount[]): SQSEvent => ({
    Records: Records.map((record, index) => {
      const [order, amount] = amounts[index] as Amount;
      return { ...record, body: JSON.stringify({ order, amount }) };
    }),
  });
  const amounts = (...all: Amount[]) => withAmounts(queue(...all.map(([order]) => order)), all);
  const inOneGroup = (...all: Amount[]) => withAmounts(fifo(...all.map(([order]) => ["red", order] as const)), all);
  const amountOf = (record: OrderRecord) => ("body" in record ? JSON.parse(record.body).amount : undefined);
  const byAmount = (...more: Parameters<typeof shop>) => {
    const { options, ...rest } = shop(...more);
    return { options: { ...options, fingerprint: amountOf }, ...rest };
  };

  it("comes back, rather than being acknowledged as a repeat of what it isn't; so do its own repeats", async () => {
    const { options, events } = byAmount(table);
    const { invoke, run } = consumer(options);
    expect(await invoke(amounts(["a", 10], ["a", 99], ["a", 10], ["a", 99]))).toEqual(failures("m2", "m4"));
    expect(run.mock.calls.map(([{ Records }]) => Records.map(amountOf))).toEqual([[10]]);
    expect(events).toContainEqual(expect.objectContaining({ type: "payload-mismatch", status: "IN_PROGRESS" }));
    const error = expect.any(PayloadMismatchError);
    expect(events).toContainEqual({ type: "record-failed", identifier: "m2", error });
  });

  it("comes back too behind a repeat that is finished", async () => {
    const { options, events } = byAmount(table);
    const { invoke } = consumer(options);
    expect(await invoke(amounts(["a", 10]))).toEqual(failures());
    expect(await invoke(amounts(["a", 10], ["a", 99]))).toEqual(failures("m2"));
    expect(events).toContainEqual(expect.objectContaining({ type: "payload-mismatch", status: "FINISHED" }));
  });

  it("is not the one that has the key, however slow the reply about the first is", async () => {
    const { options, client } = byAmount(table);
    let requests = 0;
    client.middlewareStack.add(
      (next) => async (args) => (++requests === 1 ? turn(50) : turn(0)).then(() => next(args)),
      {
        step: "finalizeRequest",
        name: "slow",
      },
    );
    const { invoke, run } = consumer(options);
    expect(await invoke(amounts(["a", 10], ["a", 99]))).toEqual(failures("m2"));
    expect(run.mock.calls[0]?.[0].Records.map(amountOf)).toEqual([10]);
  });

  it("stops its group, and what stands behind it is given back", async () => {
    const { options, statuses } = byAmount(table);
    const { invoke, given } = consumer(options);
    const event = inOneGroup(["a", 10], ["a", 99], ["b", 10], ["a", 10]);
    expect(await invoke(event)).toEqual(failures("m2", "m3", "m4"));
    expect(given()).toEqual([["a"]]);
    expect((await statuses("b"))[0]).not.toBe("IN_PROGRESS");
  });

  it("that is held by another run: none of them runs", async () => {
    const { options, heldByAnother } = byAmount(table);
    await heldByAnother("a");
    const { invoke, run } = consumer(options);
    expect(await invoke(amounts(["a", 10], ["a", 99]))).toEqual(failures("m1", "m2"));
    expect(run).not.toHaveBeenCalled();
  });
});

describe("a handler that returns results, and has changed event.Records", () => {
  type Change = (event: { Records: OrderRecord[] }) => void;
  /** In Middy, and around a plain handler. */
  const both = (options: ReturnType<typeof shop>["options"], handler: OrderHandler) => [
    consumer(options, handler).invoke,
    (event: unknown) =>
      withLockBatch(handler as never, options)(event as { Records: OrderRecord[] }, lambdaContext() as never),
  ];

  it.each<[string, Change]>([
    ["reversed in place", ({ Records }) => Records.reverse()],
    [
      "set anew, in another order",
      (event) => {
        event.Records = event.Records.toReversed().map((record) => ({ ...record }));
      },
    ],
  ])("%s: what failed comes back, and is not finished", async (_name, change) => {
    for (const index of [0, 1]) {
      const { options, statuses } = shop(table);
      const handler: OrderHandler = async (event, context) => {
        change(event as { Records: OrderRecord[] });
        return failing("c")(event, context);
      };
      const invoke = both(options, handler)[index];
      expect(await invoke?.(queue("a", "b", "c"))).toMatchObject(failures("m3"));
      expect(await statuses("a", "b", "c")).toEqual(["FINISHED", "FINISHED", "RELEASED"]);
    }
  });

  it.each<[string, Change]>([
    ["emptied", ({ Records }) => Records.splice(0)],
    ["with one of them twice", ({ Records }) => Records.splice(0, 1, Records[1] as OrderRecord)],
    ["without identifiers", ({ Records }) => Records.splice(0, 3, ...(["a", "b", "c"] as never[]))],
  ])("%s: the batch fails, with every key released", async (_name, change) => {
    const { options, statuses } = shop(table);
    const handler: OrderHandler = async (event, context) => {
      const results = await failing("c")(event, context);
      change(event as { Records: OrderRecord[] });
      return results;
    };
    const error = await consumer(options, handler)
      .invoke(queue("a", "b", "c"))
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(LockBatchError);
    expect(error).toMatchObject({ message: expect.stringMatching(/nobody knows which of them is whose/) });
    expect(await statuses("a", "b", "c")).toEqual(["RELEASED", "RELEASED", "RELEASED"]);
  });

  it("that an inner middleware has replaced: results are in the order of what it gave the handler", async () => {
    const { options } = shop(table);
    const sorting = {
      before: (request: { event: OrderEvent }) => {
        request.event = { Records: request.event.Records.toReversed().map((record) => ({ ...record })) } as OrderEvent;
      },
    };
    const { invoke } = consumer(options, failing("c"), { behind: [sorting] });
    expect(await invoke(queue("a", "b", "c"))).toEqual(failures("m3"));
  });

  it("that an inner middleware made an array of payloads of: results are in the order of the batch", async () => {
    const { options } = shop(table);
    const unwrapping = {
      before: (request: { event: unknown }) => {
        request.event = (request.event as OrderEvent).Records.map((record) => orderOf(record));
      },
    };
    const handler = async (orders: unknown) =>
      Promise.allSettled((orders as string[]).map(async (order) => (order === "c" ? Promise.reject(order) : order)));
    const { invoke } = consumer(options, handler as OrderHandler, { behind: [unwrapping] });
    expect(await invoke(queue("a", "b", "c"))).toEqual(failures("m3"));
  });
});

describe("a lock that is lost before the handler begins", () => {
  it("is not the handler's: its record comes back", async () => {
    const { namespace } = shop(table);
    const ours = aProcess(table.tableName, { namespace });
    const others = aProcess(table.tableName, { namespace, clock: ours.clock });
    const b = await others.locks.acquire("b", { leaseMs: 60_000 });
    // While b is waited for, the lease of a ends, and another run takes it.
    let taken = false;
    ours.state.wire = async ({ name, send }) => {
      if (name === "GetItem" && !taken) {
        taken = true;
        await vi.waitFor(() => expect(ours.types()).toContain("acquired")); // a
        ours.clock.advance(5_000);
        await others.locks.acquire("a");
        await b.release();
      }
      return send();
    };
    const { invoke, given } = consumer({
      key: orderOf,
      locks: ours.locks,
      leaseMs: 2_000,
      heartbeatMs: false,
      waitMs: 8_000,
    });
    const context = lambdaContext({ getRemainingTimeInMillis: () => 100_000 });
    expect(await invoke(queue("a", "b"), context)).toEqual(failures("m1"));
    expect(given()).toEqual([["b"]]);
  });
});

describe("a finish that fails midway in a message group", () => {
  const remaining = { getRemainingTimeInMillis: () => 10_000 };
  const group = (...orders: string[]) => fifo(...orders.map((order) => ["red", order] as const));

  it("ends the group's: when the batch comes again, nothing runs behind what was finished after it", async () => {
    const { namespace } = shop(table);
    const { locks, clock, state, types } = aProcess(table.tableName, { namespace });
    const outerFails = { after: () => Promise.reject(new Error("outer")) };
    const event = group("r1", "r2");
    const first = consumer(
      { key: orderOf, locks },
      async () => {
        state.wire = async ({ n, send }) => {
          if (n === 3) throw lost(); // the finish of r1
          return send();
        };
      },
      { before: [outerFails] },
    );
    await expect(first.invoke(event, lambdaContext(remaining))).rejects.toThrow("outer"); // so it comes again
    expect(types()).toEqual(["acquired", "acquired", "failed", "kept"]);
    clock.advance(11_000);
    state.wire = async ({ send }) => send();
    const again = consumer({ key: orderOf, locks });
    expect(await again.invoke(event, lambdaContext(remaining))).toEqual(failures());
    expect(again.given()).toEqual([["r1", "r2"]]); // not r1 alone, after r2 was done for good
  });

  it("the response is what the handler did, and what failed behind it is free for its retry", async () => {
    const { namespace } = shop(table);
    const { locks, state } = aProcess(table.tableName, { namespace });
    const { invoke } = consumer({ key: orderOf, locks, settleMs: 0 }, async () => {
      state.wire = async ({ n, send }) => {
        if (n === 4) throw lost(); // the finish of r1
        return send();
      };
      return failures("m3");
    });
    expect(await invoke(group("r1", "r2", "r3"), lambdaContext(remaining))).toEqual(failures("m3"));
    const statusOf = async (order: string) => (await table.item(`${namespace}#${order}`))?.status?.S;
    expect(await Promise.all(["r2", "r3"].map(statusOf))).toEqual(["IN_PROGRESS", "RELEASED"]);
  });

  it("because the lock is another's by then: the others are finished", async () => {
    const { options, namespace, statuses } = shop(table);
    const operator = new LockClient({ client: table.client, tableName: table.tableName });
    const { invoke } = consumer(options, async () => {
      await freeKey(operator, `${namespace}#r1`);
    });
    expect(await invoke(group("r1", "r2"))).toEqual(failures());
    expect(await statuses("r1", "r2")).toEqual(["RELEASED", "FINISHED"]);
  });
});

it("a handler that releases a record's lock itself, and says success, acknowledges the repeats of it as well", async () => {
  const { options, statuses } = shop(table);
  const { invoke, given } = consumer(options, async ({ Records }, { locks }) => {
    await locks.get(Records[0] as OrderRecord).release();
  });
  expect(await invoke(queue("a", "a"))).toEqual(failures());
  expect(given()).toEqual([["a"]]);
  expect(await statuses("a")).toEqual(["RELEASED"]);
});
