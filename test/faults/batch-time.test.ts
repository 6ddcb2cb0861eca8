/** Time that one record, or a DynamoDB that hangs, must not take from all others of a batch. */
import { beforeAll, describe, expect, it, vi } from "vitest";
import { consumer, failures, fifo, kinesis, queue, shop } from "../support/batches.ts";
import { lockTable } from "../support/dynamodb.ts";
import { clockedContext, lambdaContext } from "../support/lambda.ts";
import { aProcess, turn } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

/** A shop whose time passes as fast as it waits. */
const clockedShop = () => {
  const { namespace, options } = shop(table);
  const { locks, clock, client, types } = aProcess(table.tableName);
  const { key } = options;
  const others = aProcess(table.tableName, { namespace, leaseMs: 60_000 });
  return {
    options: { key, namespace, locks },
    client,
    types,
    heldByAnother: (order: string) => others.locks.acquire(order),
    context: (timeoutMs: number) => clockedContext(clock, timeoutMs),
  };
};

describe("waiting for one held record, up to the reserve as the documentation's stream does", () => {
  it("what stands before it in the shard runs", async () => {
    const { options, heldByAnother, context } = clockedShop();
    await heldByAnother("b");
    const { invoke, given } = consumer({ ...options, waitMs: 60_000, reserveMs: 500 });
    expect(await invoke(kinesis("a", "b", "c"), context(1_200))).toEqual(failures("1002"));
    expect(given()).toEqual([["a"]]);
  });

  it("the others of a queue's batch run, rather than using up their receives", async () => {
    const { options, heldByAnother, types, context } = clockedShop();
    await heldByAnother("b");
    const { invoke, given } = consumer({ ...options, waitMs: 60_000, reserveMs: 500, concurrency: 1 });
    expect(await invoke(queue("a", "b", "c"), context(1_200))).toEqual(failures("m2"));
    expect(given()).toEqual([["a", "c"]]);
    expect(types()).toEqual(["acquired", "held", "acquired", "finished", "finished"]);
  });

  it("the handler has its reserve", async () => {
    const { options, heldByAnother, context } = clockedShop();
    await heldByAnother("b");
    const { getRemainingTimeInMillis, ...rest } = context(1_200);
    let leftMs = 0;
    const { invoke } = consumer({ ...options, waitMs: 60_000, reserveMs: 500 }, () => {
      leftMs = getRemainingTimeInMillis();
    });
    await invoke(kinesis("a", "b"), { ...rest, getRemainingTimeInMillis });
    expect(leftMs).toBeGreaterThanOrEqual(500);
    expect(leftMs).toBeLessThan(1_200);
  });

  it("two deliveries that have what the other waits for: each does its own, rather than neither anything", async () => {
    const { options, client, context } = clockedShop();
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
    const bothRun = Promise.withResolvers<void>();
    let running = 0;
    const handler = async () => {
      if (++running === 2) bothRun.resolve();
      await bothRun.promise;
    };
    const waiting = { ...options, concurrency: 1, waitMs: 60_000, reserveMs: 500 };
    const [one, other] = [consumer(waiting, handler), consumer(waiting, handler)];
    const answers = await Promise.all([
      one.invoke(queue("a", "b"), context(1_200)),
      other.invoke(queue("b", "a"), context(1_200)),
    ]);
    expect([one.given(), other.given()]).toEqual([[["a"]], [["b"]]]);
    // Who looks a last time after the other has finished knows that it has.
    for (const answer of answers) expect([failures("m2"), failures()]).toContainEqual({ ...(answer as object) });
  });
});

describe("a DynamoDB that hangs", () => {
  /** Requests that are on their way until `goOn` is called: for ever, as a rule. */
  const hanging = (
    client: ReturnType<typeof shop>["client"],
    isHung: (order: string, n: number) => boolean,
    hangs: "request" | "reply" = "request",
  ) => {
    const { promise, resolve: goOn } = Promise.withResolvers<void>();
    let n = 0;
    client.middlewareStack.add(
      (next) => async (args) => {
        const { Key } = args.input as { Key?: { lock_id?: { S?: string } } };
        if (!isHung(Key?.lock_id?.S?.split("#")[1] ?? "", ++n)) return next(args);
        if (hangs === "request") await promise;
        const reply = await next(args);
        await promise;
        return reply;
      },
      { step: "initialize", name: "hang" },
    );
    return { goOn };
  };
  /** Resolves to what the invocation answered, or to "timed out" when Lambda would have ended it. */
  const withinDeadline = async ({ invoke }: ReturnType<typeof consumer>, event: unknown, timeoutMs = 1_500) => {
    const timedOut = new Promise((resolve) => setTimeout(resolve, timeoutMs, "timed out").unref());
    return Promise.race([invoke(event, lambdaContext({ timeoutMs })), timedOut]);
  };

  it.each([
    {
      source: "a queue",
      event: queue("a", "b", "c"),
      comesBack: failures("m2"),
    },
    {
      source: "a message group",
      event: fifo(["red", "a"], ["red", "b"], ["red", "c"]),
      comesBack: failures("m2", "m3"),
    },
  ])(
    "after the handler, of $source: the response is there before the deadline, or all that was done is done again",
    async ({ event, comesBack }) => {
      const { options, client, types, statuses } = shop(table);
      const { goOn } = hanging(client, (_order, n) => n > 3);
      const answered = consumer({ ...options, timeoutEarlyMs: 0 }, async () => failures("m2"));
      expect(await withinDeadline(answered, event)).toEqual(comesBack);
      const ends = types().filter((type) => type === "failed" || type === "kept");
      expect(ends).toHaveLength(3); // the leases end them
      goOn(); // the process goes on, in the next invocation, and no request of this one does
      await turn(100);
      expect(await statuses("a", "b", "c")).toEqual(["IN_PROGRESS", "IN_PROGRESS", "IN_PROGRESS"]);
    },
  );

  it("after a handler that throws: its error is there before the deadline", async () => {
    const { options, client } = shop(table);
    hanging(client, (_order, n) => n > 2);
    const failed = consumer(options, () => Promise.reject(new Error("no connection")));
    await expect(withinDeadline(failed, queue("a", "b"))).rejects.toThrow("no connection");
  });

  it.each([
    ["request", undefined],
    ["reply", "RELEASED"],
  ] as const)(
    "before the handler, the %s of one: what is answered runs in time, that one comes back, and is given back",
    async (hangs, status) => {
      const { options, client, statuses, events } = shop(table);
      hanging(client, (_order, n) => n === 2, hangs);
      const answered = consumer(options);
      expect(await withinDeadline(answered, queue("a", "b", "c"))).toEqual(failures("m2"));
      expect(answered.given()).toEqual([["a", "c"]]);
      expect(events).toContainEqual({ type: "not-started", records: 1, reason: "time" });
      expect(await statuses("a", "b", "c")).toEqual(["FINISHED", status, "FINISHED"]);
    },
  );

  it("from the first request on: everything comes back before the deadline", async () => {
    const { options, client, events } = shop(table);
    hanging(client, () => true);
    const answered = consumer({ ...options, concurrency: 2 });
    expect(await withinDeadline(answered, kinesis("a", "b", "c"))).toEqual(failures("1001"));
    expect(events.filter(({ type }) => type !== "retrying")).toEqual([
      { type: "not-started", records: 3, reason: "time" },
    ]);
  });

  it("about the first of two payloads of one key: neither runs, and the second is not sent", async () => {
    const { options, client, sent } = shop(table);
    let payload = 0;
    const { goOn } = hanging(client, () => true);
    const answered = consumer({ ...options, fingerprint: () => ++payload });
    expect(await withinDeadline(answered, queue("a", "a"))).toEqual(failures("m1", "m2"));
    goOn();
    await vi.waitFor(() => expect(sent).toEqual(["UpdateItem", "UpdateItem"])); // taken, and given back
    await turn();
    expect(sent).toHaveLength(2);
  });

  it("when what was taken behind a held record is given back: what stands before that one runs in time", async () => {
    const { options, client, heldByAnother } = shop(table);
    await heldByAnother("b");
    let aboutC = 0;
    hanging(client, (order) => order === "c" && ++aboutC === 2); // its release
    const answered = consumer({ ...options, concurrency: 3 });
    expect(await withinDeadline(answered, kinesis("a", "b", "c"))).toEqual(failures("1002"));
    expect(aboutC, "c was taken, and given back").toBe(2);
    expect(answered.given()).toEqual([["a"]]);
  });

  it("when it is given back one by one: one that hangs is left to its lease, the rest is given back", async () => {
    const { options, client, types } = shop(table);
    let aboutB = 0;
    hanging(client, (order) => order === "b" && ++aboutB === 2); // its release
    const answered = consumer({ ...options, concurrency: 1 });
    const event = fifo(["red", "a"], ["blue", "a"], ["blue", "b"], ["blue", "c"]);
    expect(await withinDeadline(answered, event)).toEqual(failures("m3", "m4"));
    expect(answered.given()).toEqual([["a"]]);
    expect(types()).toEqual(["acquired", "acquired", "acquired", "failed", "released", "finished", "dropped"]);
  });
});

describe("concurrency", () => {
  it("bounds heartbeats, too: those of a batch don't all come at once", async () => {
    const { options, client, types } = shop(table);
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
    const leased = { ...options, concurrency: 5, leaseMs: 3_000, heartbeatMs: 800 };
    const { invoke } = consumer(leased, async () => {
      most = 0;
      await turn(1_200);
      expect(most).toBeLessThanOrEqual(5);
    });
    expect(await invoke(queue(...Array.from({ length: 50 }, (_, n) => `o${n}`)))).toEqual(failures());
    const renewals = types().filter((type) => type === "renewed");
    expect(renewals.length).toBeGreaterThanOrEqual(50);
    expect(types()).not.toContain("lost");
  });
});
