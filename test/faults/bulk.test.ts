/** Requests that carry several keys when they are refused, hang, or can not be made. */
import { beforeAll, describe, expect, it, vi } from "vitest";
import { type Lock, LockClient, LockTableError } from "../../src/index.ts";
import { consumer, failures, kinesis, queue, shop } from "../support/batches.ts";
import { BULK, bulkShop, named, onTheWire, reported, type Sent } from "../support/bulk.ts";
import { lockTable } from "../support/dynamodb.ts";
import { clockedContext, lambdaContext } from "../support/lambda.ts";
import { aProcess, lost } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

const THREE = queue("a", "b", "c");

describe("a permission that is missing", () => {
  const kinds: Record<string, (call: Sent) => Promise<unknown>> = {
    "on the request": async (call) => {
      if (call.operation === BULK) throw named("AccessDeniedException");
      return call.send();
    },
    "on statements": async (call) =>
      call.operation === BULK ? reported("AccessDenied", false, () => true, call) : call.send(),
    "on the look at repeats": async (call) => {
      if (call.operation === "BatchGetItem") throw named("AccessDeniedException");
      return call.send();
    },
  };

  it.each(Object.keys(kinds))(
    "%s: is reported once, and each key has requests of its own from then on",
    async (where) => {
      const { options, sent, events, finishedBefore } = bulkShop(table, kinds[where]);
      await finishedBefore("a", "b", "c");
      const { invoke, given } = consumer(options);
      expect(await invoke(THREE)).toEqual(failures());
      const denied = events.filter(({ type }) => type === "bulk-denied");
      const operation = where === "on the look at repeats" ? "BatchGetItem" : BULK;
      expect(denied).toEqual([{ type: "bulk-denied", operation, error: expect.any(Error) }]);
      sent.splice(0);
      expect(await invoke(queue("d", "e", "f"))).toEqual(failures());
      expect(given()).toEqual([["d", "e", "f"]]);
      expect(sent).toEqual(Array(6).fill("UpdateItem"));
      expect(events.filter(({ type }) => type === "bulk-denied")).toHaveLength(1);
    },
  );

  it("is printed where nobody listens, with what to do", async () => {
    const { options } = bulkShop(table, kinds["on the request"]);
    const { onEvent: _nobody, ...unheard } = options;
    const print = vi.spyOn(console, "warn").mockImplementation(() => {});
    await consumer(unheard).invoke(THREE);
    expect(print.mock.calls).toEqual([
      [expect.stringMatching(/BatchExecuteStatement is not allowed.*allow dynamodb:PartiQLInsert, .*AccessDenied/s)],
    ]);
    print.mockRestore();
  });
});

describe("a request that DynamoDB refuses as a whole", () => {
  it("is not sent again for a while, and each key has requests of its own", async () => {
    const {
      namespace,
      options: { key },
    } = shop(table);
    const { locks, clock, state, client } = aProcess(table.tableName, { namespace });
    let asked = 0;
    onTheWire(client, async ({ operation, send }) => {
      if (operation !== BULK) return send();
      asked++;
      throw named("ValidationException");
    });
    const { invoke } = consumer({ key, locks, bulk: true });
    const context = () => clockedContext(clock, 30_000);
    expect(await invoke(THREE, context())).toEqual(failures());
    expect(asked).toBe(1);
    expect(state.sent).toEqual(Array(6).fill("UpdateItem"));
    clock.advance(10_000);
    expect(await invoke(queue("d", "e"), context())).toEqual(failures());
    expect(asked).toBe(2);
  });
});

describe("the look at repeats", () => {
  it.each<[string, (call: Sent) => Promise<unknown>]>([
    ["fails", () => Promise.reject(named("ProvisionedThroughputExceededException"))],
    [
      "leaves keys unread",
      async ({ input, send }) => {
        const reply = await send();
        return {
          ...reply,
          output: { Responses: {}, UnprocessedKeys: input.RequestItems },
        };
      },
    ],
  ])("%s: each repeat is found by its own refused write", async (_how, act) => {
    const { options, finishedBefore, types, sent } = bulkShop(table, (call) =>
      call.operation === "BatchGetItem" ? act(call) : call.send(),
    );
    await finishedBefore("a", "b", "c");
    const { invoke, run } = consumer(options);
    expect(await invoke(THREE)).toEqual(failures());
    expect(run).not.toHaveBeenCalled();
    expect(types()).toEqual(["dropped", "dropped", "dropped"]);
    expect(sent.filter((name) => name === "UpdateItem")).toHaveLength(3);
  });

  it("is strongly consistent, and what it leaves unread is not taken for absent", async () => {
    const looks: unknown[] = [];
    const { options, finishedBefore, sent } = bulkShop(table, async ({ operation, input, send }) => {
      const reply = await send();
      if (operation !== "BatchGetItem") return reply;
      looks.push(...Object.values(input.RequestItems ?? {}));
      return { ...reply, output: { Responses: {}, UnprocessedKeys: input.RequestItems } };
    });
    await finishedBefore("a", "b", "c");
    const { invoke } = consumer(options);
    for (let times = 0; times < 4; times++) await invoke(THREE);
    sent.splice(0);
    await invoke(THREE); // by now repeats are what comes
    expect(sent).toEqual(["BatchGetItem", ...Array(3).fill("UpdateItem")]);
    expect(looks).toEqual(looks.map(() => expect.objectContaining({ ConsistentRead: true })));
  });

  it("a finished record whose time is over runs again, as it does without", async () => {
    const {
      namespace,
      options: { key },
    } = shop(table);
    const { locks, clock } = aProcess(table.tableName, { namespace });
    const { invoke, given } = consumer({ key, locks, bulk: true, rememberMs: 12_345 });
    for (const ms of [0, 12_900, 450]) {
      clock.advance(ms);
      expect(await invoke(THREE, clockedContext(clock, 30_000))).toEqual(failures());
    }
    expect(given()).toEqual([
      ["a", "b", "c"],
      ["a", "b", "c"], // clockSkewMs after its end, and not before
    ]);
  });

  it("an item that is no lock fails its record alone, as it does without", async () => {
    const { options, namespace, events } = bulkShop(table);
    await table.put({ lock_id: { S: `${namespace}#b` }, name: { S: "somebody else's" } });
    expect(await consumer(options).invoke(THREE)).toEqual(failures("m2"));
    expect(events).toContainEqual({ type: "record-failed", identifier: "m2", error: expect.any(LockTableError) });
  });
});

describe("a request that hangs", () => {
  const hanging = (config = {}) => {
    const {
      namespace,
      options: { key },
    } = shop(table);
    const process = aProcess(table.tableName, { namespace, settleMs: 10_000, config });
    const hung = { isHung: true };
    process.state.wire = ({ name, send }) => (name === BULK && hung.isHung ? new Promise(() => {}) : send());
    const { invoke, given } = consumer({ key, locks: process.locks, bulk: true });
    const timed = async (event: unknown) => {
      const begunAt = process.clock.monotonic();
      let isOver = false;
      const answer = invoke(event, clockedContext(process.clock, 30_000)).finally(() => {
        isOver = true;
      });
      for (let turns = 0; !isOver && turns < 200; turns++) await process.clock.pass(50);
      return { answer: await answer, ms: process.clock.monotonic() - begunAt };
    };
    return { ...process, hung, timed, given, invoke };
  };

  it("is waited for at most a second, and then not tried again for ten", async () => {
    const { timed, given, state, hung, clock } = hanging();
    const first = await timed(THREE);
    expect(first.answer).toEqual(failures());
    expect(first.ms).toBeLessThan(1_300);
    expect(given()).toEqual([["a", "b", "c"]]);
    expect(state.sent).toEqual([BULK, ...Array(6).fill("UpdateItem")]);
    state.sent.splice(0);
    expect((await timed(queue("d", "e"))).answer).toEqual(failures());
    expect(state.sent).toEqual(Array(4).fill("UpdateItem"));
    clock.advance(10_000);
    hung.isHung = false;
    state.sent.splice(0);
    expect((await timed(queue("f", "g"))).answer).toEqual(failures());
    expect(state.sent).toEqual([BULK, BULK]);
  });

  it("is waited for no longer where the client would wait longer", async () => {
    const { timed, state } = hanging({ requestHandler: { requestTimeout: 8_000 } });
    await new Promise((resolve) => setTimeout(resolve, 20)); // the client's configuration is read
    expect((await timed(THREE)).ms).toBeLessThan(1_300);
    expect(state.sent).toEqual([BULK, ...Array(6).fill("UpdateItem")]);
  });

  it("ends at once when the client is closed", async () => {
    const { invoke, locks, clock, state, hung } = hanging();
    const answer = invoke(THREE, clockedContext(clock, 30_000));
    await vi.waitFor(() => expect(state.sent).toEqual([BULK]));
    hung.isHung = false;
    // No clock moves.
    await Promise.all([expect(answer).rejects.toMatchObject({ code: "LOCK_CLOSED" }), locks.close()]);
    expect(state.sent[1]).toBe(BULK); // what may have been taken is given back
  });

  it("leaves nothing on its way when the time for the batch is over", async () => {
    const { options, client, types } = shop(table);
    const signals: (AbortSignal | undefined)[] = [];
    client.send = ((_command: unknown, more?: { abortSignal?: AbortSignal }) => {
      signals.push(more?.abortSignal);
      return new Promise((_, reject) => more?.abortSignal?.addEventListener("abort", () => reject(lost())));
    }) as typeof client.send;
    const answered = consumer({ ...options, bulk: true });
    expect(await answered.invoke(kinesis("a", "b", "c"), lambdaContext({ timeoutMs: 1_500 }))).toEqual(
      failures("1001"),
    );
    expect(types()).toContain("not-started");
    expect(signals.length).toBeGreaterThan(0);
    expect(signals.map((signal) => signal?.aborted)).toEqual(signals.map(() => true));
  });
});

it("a lock that another run has taken over meanwhile is not finished, and what was told is as without", async () => {
  for (const bulk of [true, false]) {
    const { options, namespace, types, statuses } = shop(table);
    const operator = new LockClient({ client: table.client, tableName: table.tableName, namespace });
    let taken: Lock | undefined;
    const { invoke } = consumer({ ...options, bulk }, async () => {
      taken = await operator.acquire("b", { force: true });
    });
    expect(await invoke(THREE)).toEqual(failures());
    expect(types().toSorted()).toEqual(["acquired", "acquired", "acquired", "finished", "finished", "lost"]);
    expect(await statuses("a", "b", "c")).toEqual(["FINISHED", "IN_PROGRESS", "FINISHED"]);
    await taken?.release();
  }
});
