/** Batches: records that are acknowledged though nobody did them, and time that runs out for all because of one. */
import type { SQSEvent } from "aws-lambda";
import { beforeAll, describe, expect, it, vi } from "vitest";
import {
  consumer,
  failing,
  failures,
  fifo,
  kinesis,
  type OrderRecord,
  orderOf,
  queue,
  shop,
} from "../support/batches.ts";
import { lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";
import { aProcess, lost, turn } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

/** Messages about one order each, with an amount that the fingerprint sees. */
const amounts = (...bodies: [order: string, amount: number][]): SQSEvent => {
  const { Records } = queue(...bodies.map(([order]) => order));
  return {
    Records: Records.map((record, index) => ({
      ...record,
      body: JSON.stringify({ order: bodies[index]?.[0], amount: bodies[index]?.[1] }),
    })),
  };
};
const amountOf = (record: OrderRecord) => ("body" in record ? JSON.parse(record.body).amount : undefined);

/** Resolves to what the invocation answered, or to "timed out" when Lambda would have ended it. */
const withinDeadline = async (invoked: Promise<unknown>, timeoutMs: number) =>
  Promise.race([invoked, new Promise((resolve) => setTimeout(resolve, timeoutMs, "timed out").unref())]);

describe("the same key with another payload, in one batch", () => {
  it("comes back, rather than being acknowledged as a repeat of what it isn't", async () => {
    const { options, events } = shop(table);
    const { invoke, run } = consumer({ ...options, fingerprint: amountOf });
    expect(await invoke(amounts(["a", 10], ["a", 99]))).toEqual(failures("m2"));
    expect(run).toHaveBeenCalledOnce();
    expect(events.map(({ type }) => type)).not.toContain("dropped");
  });

  it("comes back too behind a repeat that is finished", async () => {
    const { options } = shop(table);
    const { invoke } = consumer({ ...options, fingerprint: amountOf });
    expect(await invoke(amounts(["a", 10]))).toEqual(failures());
    expect(await invoke(amounts(["a", 10], ["a", 99]))).toEqual(failures("m2"));
  });
});

describe("a handler that puts event.Records in another order", () => {
  it("and returns results in that order: what failed comes back, and is not finished", async () => {
    const { options, statuses } = shop(table);
    const { invoke } = consumer(options, async (event, context) => {
      event.Records.reverse();
      return failing("c")(event, context);
    });
    expect(await invoke(queue("a", "b", "c"))).toEqual(failures("m3"));
    expect(await statuses("a", "b", "c")).toEqual(["FINISHED", "FINISHED", "RELEASED"]);
  });
});

describe("waiting for one held record, up to the reserve as the documentation's stream does", () => {
  it("what stands before it in the shard runs", async () => {
    const { options, heldByAnother } = shop(table);
    await heldByAnother("b");
    const { invoke, given } = consumer({ ...options, waitMs: 60_000, reserveMs: 500 });
    expect(await invoke(kinesis("a", "b", "c"), lambdaContext({ timeoutMs: 1_200 }))).toEqual(failures("1002"));
    expect(given()).toEqual([["a"]]);
  });

  it("the others of a queue's batch run, rather than using up their receives", async () => {
    const { options, heldByAnother } = shop(table);
    await heldByAnother("b");
    const { invoke, given } = consumer({ ...options, waitMs: 60_000, reserveMs: 500 });
    expect(await invoke(queue("a", "b", "c"), lambdaContext({ timeoutMs: 1_200 }))).toEqual(failures("m2"));
    expect(given()).toEqual([["a", "c"]]);
  });

  it("two deliveries that have what the other waits for: each does its own, rather than neither anything", async () => {
    const { options, client } = shop(table);
    const both = Promise.withResolvers<void>();
    let acquired = 0;
    client.middlewareStack.add(
      (next) => async (args) => {
        const reply = await next(args);
        if (++acquired === 2) both.resolve();
        if (acquired <= 2) await both.promise;
        return reply;
      },
      { step: "initialize", name: "both-begin" },
    );
    const waiting = { ...options, concurrency: 1, waitMs: 60_000, reserveMs: 500 };
    const [one, other] = [consumer(waiting), consumer(waiting)];
    const context = () => lambdaContext({ timeoutMs: 1_200 });
    const answers = await Promise.all([
      one.invoke(queue("a", "b"), context()),
      other.invoke(queue("b", "a"), context()),
    ]);
    expect([one.given(), other.given()]).toEqual([[["a"]], [["b"]]]);
    expect(answers).toEqual([failures("m2"), failures("m2")]);
  });
});

describe("a DynamoDB that hangs", () => {
  const hanging = (client: ReturnType<typeof shop>["client"], isHung: (n: number) => boolean) => {
    let n = 0;
    client.middlewareStack.add((next) => (args) => (isHung(++n) ? new Promise(() => {}) : next(args)), {
      step: "initialize",
      name: "hang",
    });
  };

  it("after the handler: the response is there before the deadline, or all that was done is done again", async () => {
    const { options, client } = shop(table);
    hanging(client, (n) => n > 2);
    const { invoke } = consumer(options, async () => failures("m2"));
    const answer = await withinDeadline(invoke(queue("a", "b"), lambdaContext({ timeoutMs: 1_500 })), 1_500);
    expect(answer).toEqual(failures("m2"));
  });

  it("before the handler: records that can't be begun in time are returned, and the response is there before the deadline", async () => {
    const { options, client } = shop(table);
    hanging(client, (n) => n === 2);
    const { invoke } = consumer(options);
    const answer = await withinDeadline(invoke(queue("a", "b"), lambdaContext({ timeoutMs: 1_500 })), 1_500);
    expect(answer).not.toBe("timed out");
  });

  it("when what was taken behind a held record is given back: what stands before that one runs in time", async () => {
    const { options, client, heldByAnother } = shop(table);
    await heldByAnother("b");
    let aboutC = 0;
    client.middlewareStack.add(
      (next) => (args) => {
        const { Key } = args.input as { Key?: { lock_id?: { S?: string } } };
        return Key?.lock_id?.S?.endsWith("#c") && ++aboutC === 2 ? new Promise(() => {}) : next(args); // its release
      },
      { step: "initialize", name: "hang" },
    );
    const { invoke, given } = consumer({ ...options, concurrency: 3 });
    const answer = await withinDeadline(invoke(kinesis("a", "b", "c"), lambdaContext({ timeoutMs: 1_500 })), 1_500);
    expect(aboutC, "c was taken, and given back").toBe(2);
    expect(answer).toEqual(failures("1002"));
    expect(given()).toEqual([["a"]]);
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
  it("ends the group's: when the batch comes again, nothing runs behind what was finished after it", async () => {
    const { namespace } = shop(table);
    const { locks, clock, state } = aProcess(table.tableName, { namespace });
    const remaining = { getRemainingTimeInMillis: () => 10_000 };
    const outerFails = { after: () => Promise.reject(new Error("outer")) };
    const event = fifo(["red", "r1"], ["red", "r2"]);
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
    clock.advance(11_000);
    state.wire = async ({ send }) => send();
    const again = consumer({ key: orderOf, locks });
    expect(await again.invoke(event, lambdaContext(remaining))).toEqual(failures());
    expect(again.given()).toEqual([["r1", "r2"]]); // not r1 alone, after r2 was done for good
  });
});

describe("concurrency", () => {
  it("bounds what is on its way while the handler runs, too: heartbeats of a batch don't all come at once", async () => {
    const { options, client } = shop(table);
    let now = 0;
    let most = 0;
    client.middlewareStack.add(
      (next) => async (args) => {
        most = Math.max(most, ++now);
        await turn(10);
        return next(args).finally(() => now--);
      },
      { step: "initialize", name: "on-the-way" },
    );
    const { invoke } = consumer({ ...options, concurrency: 5, leaseMs: 1_200 }, () => turn(700));
    expect(await invoke(queue(...Array.from({ length: 100 }, (_, n) => `o${n}`)))).toEqual(failures());
    expect(most).toBeLessThanOrEqual(5);
  });
});

describe("an async key function", () => {
  it("fails its records, and not the process when it rejects", async () => {
    const { options } = shop(table);
    const unhandled: unknown[] = [];
    const listener = (error: unknown) => unhandled.push(error);
    process.on("unhandledRejection", listener);
    const { invoke } = consumer({ ...options, key: (async () => JSON.parse("{")) as never });
    expect(await invoke(queue("a"))).toEqual(failures("m1"));
    await turn();
    process.off("unhandledRejection", listener);
    expect(unhandled).toEqual([]);
  });
});
