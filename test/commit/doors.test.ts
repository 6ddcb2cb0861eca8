/** Exactly once in one request: what a handler that commits, or doesn't, leaves behind, and what repeats get. */
import { beforeAll, describe, expect, it, vi } from "vitest";
import { LockClient, LockHeldError, PayloadMismatchError } from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { type Committing, commitDoors, countersIn } from "../support/commits.ts";
import { lockTable } from "../support/dynamodb.ts";
import { deferred, failRequests, finished, reportDay, type Table } from "../support/middy.ts";
import { noise } from "../support/process.ts";

let table: Table;
let counters: ReturnType<typeof countersIn>;
beforeAll(async () => {
  table = await lockTable();
  counters = countersIn(await lockTable());
});

const response = { statusCode: 201 };
const committing = (then: () => unknown = () => response, result: unknown = response) =>
  vi.fn<Committing>(async ({ date }, { commit }) => {
    await commit([counters.add(date)], { result });
    return then();
  });

describe.each(commitDoors)("$name", ({ wrap }) => {
  it("a run is one request, and nothing is sent before it; a repeat is another, and gets the response", async () => {
    const day = reportDay(table);
    const handler = vi.fn<Committing>(async ({ date }, { commit }) => {
      expect(day.sent).toEqual([]);
      return commit([counters.add(date)], { result: response });
    });
    const invoke = wrap(handler, day.options);
    expect(await invoke(day.event)).toEqual(response);
    expect([day.sent, await day.item()]).toEqual([["TransactWriteItems"], expect.objectContaining(finished(response))]);
    handler.mockImplementation(async ({ date }, { commit }) => commit([counters.add(date)], { result: "other" }));
    expect(await invoke(day.event)).toEqual(response);
    expect([handler.mock.calls.length, day.sent.length, await counters.total(day.event.date)]).toEqual([2, 2, 1]);
    expect(day.types()).toEqual(["finished", "replayed"]);
  });

  it("of twenty at once one commits, and all answers are the winner's", async () => {
    const day = reportDay(table);
    let runs = 0;
    const all = deferred();
    const handler: Committing = async ({ date }, { commit }) => {
      const number = ++runs;
      if (runs === 20) all.resolve();
      await all.promise; // all of them have read and computed
      return commit([counters.add(date)], { result: { number } });
    };
    const answers = await Promise.all(Array.from({ length: 20 }, () => wrap(handler, day.options)(day.event)));
    expect([new Set(answers.map((answer) => JSON.stringify(answer))).size, runs]).toEqual([1, 20]);
    expect(await counters.total(day.event.date)).toBe(1);
  });

  it("a crash before the commit leaves nothing: the next run commits at once", async () => {
    const day = reportDay(table);
    void wrap(() => new Promise(() => {}), day.options)(day.event); // never comes back
    await new Promise(setImmediate);
    expect(await day.item()).toBeUndefined();
    expect(await wrap(committing(), day.options)(day.event)).toEqual(response);
  });

  it("a handler that fails before it commits leaves nothing, and its error is its own", async () => {
    const day = reportDay(table);
    const error = new Error("no paper");
    await expect(wrap(() => Promise.reject(error), day.options)(day.event)).rejects.toBe(error);
    expect([day.sent, await day.item()]).toEqual([[], undefined]);
  });

  it("a handler that fails after its commit fails, and a repeat gets the response", async () => {
    const day = reportDay(table);
    const failing = committing(() => {
      throw new Error("after the commit");
    });
    await expect(wrap(failing, day.options)(day.event)).rejects.toThrow("after the commit");
    expect(await wrap(failing, day.options)(day.event)).toEqual(response);
    expect(await counters.total(day.event.date)).toBe(1);
  });

  it.each([
    ["returns something else", () => "other"],
    ["returns nothing", () => undefined],
    [
      "throws another error",
      () => {
        throw new Error("other");
      },
    ],
  ])("refused, whatever the handler does: it %s", async (_what, then) => {
    const day = reportDay(table);
    await wrap(committing(), day.options)(day.event);
    const seen: unknown[] = [];
    const repeat: Committing = async ({ date }, { commit }) => {
      for (let n = 0; n < 2; n++) seen.push(await commit([counters.add(date)]).catch((error: unknown) => error));
      return then();
    };
    expect(await wrap(repeat, day.options)(day.event)).toEqual(response);
    expect([seen[0], seen[1] === seen[0]]).toEqual([expect.any(LockHeldError), true]);
    expect([day.sent.length, await counters.total(day.event.date)]).toEqual([2, 1]); // the second call was not sent
  });

  it("the answer undefined is the winner's too; Middy has only null for it after an error", async () => {
    const day = reportDay(table);
    await wrap(({ date }, { commit }) => commit([counters.add(date)], { result: undefined }), day.options)(day.event);
    const isMiddy = wrap !== commitDoors[2]?.wrap;
    const thrown = await wrap(committing(), day.options)(day.event);
    expect(thrown).toBe(isMiddy ? null : undefined);
    const caught = wrap(async ({ date }, { commit }) => commit([counters.add(date)]).catch(() => "mine"), day.options);
    expect(await caught(day.event)).toBeUndefined();
  });

  it("another payload is a PayloadMismatchError, also if the handler has caught it", async () => {
    const day = reportDay(table);
    const options = { ...day.options, fingerprint: ({ region }: { region?: string }) => region };
    await wrap(committing(), options)(day.event);
    const other = { ...day.event, region: "eu" };
    await expect(wrap(committing(), options)(other)).rejects.toThrow(PayloadMismatchError);
    const catching: Committing = async ({ date }, { commit }) => commit([counters.add(date)]).catch(() => "caught");
    await expect(wrap(catching, options)(other)).rejects.toThrow(PayloadMismatchError);
    expect([await counters.total(day.event.date), day.types()]).toEqual([
      1,
      ["finished", "payload-mismatch", "payload-mismatch"],
    ]);
  });

  it("a key that a lock holds is a LockHeldError, and nothing is written; the lock's own commit counts", async () => {
    const day = reportDay(table);
    const lock = await day.takenByAnother();
    await expect(wrap(committing(), day.options)(day.event)).rejects.toThrow(LockHeldError);
    await lock.commit([counters.add(day.event.date)], { result: "under a lock" });
    expect(await wrap(committing(), day.options)(day.event)).toBe("under a lock");
    expect([await counters.total(day.event.date), day.types()]).toEqual([1, ["held", "replayed"]]);
  });

  it("duplicateResponse answers what would be replayed, and what is held", async () => {
    const day = reportDay(table);
    const options = { ...day.options, duplicateResponse: { statusCode: 208 } };
    const lock = await day.takenByAnother();
    expect(await wrap(committing(), options)(day.event)).toEqual({ statusCode: 208 });
    await lock.release();
    expect(await wrap(committing(), options)(day.event)).toEqual(response);
    expect(await wrap(committing(), options)(day.event)).toEqual({ statusCode: 208 });
    const telling = { ...day.options, duplicateResponse: (record: { status: string }) => record.status };
    expect(await wrap(committing(), telling)(day.event)).toBe("FINISHED");
  });

  it("a large response is one item more of the transaction, and is answered from there", async () => {
    const day = reportDay(table);
    const body = noise(20_000, day.event.date);
    const invoke = wrap(
      committing(() => body, body),
      day.options,
    );
    expect([await invoke(day.event), await invoke(day.event)]).toEqual([body, body]);
    expect(day.sent).toEqual(["TransactWriteItems", "TransactWriteItems", "GetItem"]);
  });

  it("a run commits once: a second commit is refused unsent, and says why", async () => {
    const day = reportDay(table);
    const twice: Committing = async ({ date }, { commit }) => {
      await commit([counters.add(date)], { result: 1 });
      await commit([counters.add(date)], { result: 2 });
    };
    await expect(wrap(twice, day.options)(day.event)).rejects.toThrow("this run has committed already");
    expect([day.sent.length, await counters.total(day.event.date)]).toEqual([1, 1]);
    const atOnce = reportDay(table);
    const both: Committing = ({ date }, { commit }) =>
      Promise.allSettled([commit([counters.add(date)]), commit([counters.add(date)])]).then((all) =>
        all.map(({ status }) => status),
      );
    expect(await wrap(both, atOnce.options)(atOnce.event)).toEqual(["fulfilled", "rejected"]);
    expect(await counters.total(atOnce.event.date)).toBe(1);
  });

  it("a commit that nobody awaits is waited for, and its failure is the handler's", async () => {
    const day = reportDay(table);
    const careless: Committing = ({ date }, { commit }) => {
      void commit([counters.add(date)], { result: response });
      return response;
    };
    expect(await wrap(careless, day.options)(day.event)).toEqual(response);
    expect([await counters.total(day.event.date), day.sent]).toEqual([1, ["TransactWriteItems"]]);
    const failing = reportDay(table);
    const wrong: Committing = (_event, { commit }) => void commit([counters.add("x", "attribute_exists(nothing)")]);
    await expect(wrap(wrong, failing.options)(failing.event)).rejects.toMatchObject({
      name: "TransactionCanceledException",
    });
    expect(await failing.item()).toBeUndefined();
    const repeated = (await wrap(careless, day.options)(day.event)) as unknown;
    expect(repeated).toEqual(response);
    expect(await counters.total(day.event.date)).toBe(1);
  });

  it("without a key: LockKeyError, or with onMissingKey 'run' the items are written alone", async () => {
    const day = reportDay(table);
    const options = { ...day.options, key: () => undefined };
    await expect(wrap(committing(), options)(day.event)).rejects.toMatchObject({ code: "LOCK_KEY" });
    const running = wrap(committing(), { ...options, onMissingKey: "run" });
    expect([await running(day.event), await running(day.event)]).toEqual([response, response]);
    expect([await counters.total(day.event.date), day.sent]).toEqual([2, ["TransactWriteItems", "TransactWriteItems"]]);
    const plain = wrap(() => "read only", { ...options, onMissingKey: "run" });
    expect([await plain(day.event), day.sent.length]).toEqual(["read only", 2]);
  });

  it("of a list of keys is an error that names the option, and the handler doesn't run", async () => {
    const day = reportDay(table);
    const handler = committing();
    const invoke = wrap(handler, { ...day.options, key: (() => ["a", "b"]) as never });
    await expect(invoke(day.event)).rejects.toThrow(/: key must give one key, got \[Array\]/);
    expect(handler).not.toHaveBeenCalled();
  });

  it("disabled, it writes the items and nothing else", async () => {
    const day = reportDay(table);
    const invoke = wrap(committing(), { ...day.options, disabled: true });
    expect([await invoke(day.event), await invoke(day.event)]).toEqual([response, response]);
    expect([await counters.total(day.event.date), await day.item(), day.types()]).toEqual([2, undefined, []]);
  });

  it("a client with expiry 'observed' is taken, and then no clock ends a lease", async () => {
    const day = reportDay(table);
    const clock = manualClock();
    await day.takenByAnother(); // and crashes
    clock.advance(3 * 24 * 3_600_000); // by the clock its lease is over
    const observing = wrap(committing(), day.clockedOptions(clock, { expiry: "observed" }));
    await expect(observing(day.event)).rejects.toThrow(LockHeldError); // seen for the first time
    clock.advance(20_000);
    expect(await observing(day.event)).toEqual(response);
  });
});

it("a client that makes its table makes it for a commit, too", async () => {
  const day = reportDay(table);
  const tableName = `${table.tableName}-made`;
  const locks = new LockClient({ client: day.client, tableName, ensureTable: true });
  const invoke = commitDoors[2]?.wrap(committing(), { key: ({ date }) => date, locks });
  expect(await invoke?.(day.event)).toEqual(response);
  expect([await counters.total(day.event.date), day.sent.includes("CreateTable")]).toEqual([1, true]);
});

describe.each(commitDoors)("$name, without a commit", ({ wrap }) => {
  it("the response is finished in one conditional write, and repeats get it", async () => {
    const day = reportDay(table);
    let runs = 0;
    const invoke = wrap(() => ({ run: ++runs }), day.options);
    expect([await invoke(day.event), await invoke(day.event)]).toEqual([{ run: 1 }, { run: 1 }]);
    expect([day.sent, runs]).toEqual([["UpdateItem", "UpdateItem"], 2]);
    expect(day.types()).toEqual(["finished", "replayed"]);
  });

  it("of several at once the first to write wins, and all get its response", async () => {
    const day = reportDay(table);
    let runs = 0;
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => wrap(async () => ({ run: ++runs }), day.options)(day.event)),
    );
    expect([new Set(answers.map((answer) => JSON.stringify(answer))).size, runs]).toEqual([1, 10]);
  });

  it("a run that decides against its commit finishes with its decision: a later one can't commit", async () => {
    const day = reportDay(table);
    const rejecting: Committing = async ({ date }, { commit }) =>
      commit([counters.add(date, "attribute_exists(nothing)")], { result: response }).catch(() => "rejected");
    expect(await wrap(rejecting, day.options)(day.event)).toBe("rejected");
    expect(await wrap(committing(), day.options)(day.event)).toBe("rejected");
    expect([day.sent, await counters.total(day.event.date)]).toEqual([
      ["TransactWriteItems", "GetItem", "UpdateItem", "TransactWriteItems"],
      0,
    ]);
  });

  it("a response that can't be finished doesn't go out: another run may have another", async () => {
    const day = reportDay(table);
    failRequests(day.client, () => true);
    const invoke = wrap(() => "mine", { ...day.options, settleMs: 0 });
    await expect(invoke(day.event)).rejects.toMatchObject({ code: "LOCK_REQUEST", statusCode: 503 });
    expect(day.types()).toEqual(["failed"]);
  });

  it("a report of failed records is no response to remember", async () => {
    const day = reportDay(table);
    const report = { batchItemFailures: [{ itemIdentifier: "m1" }] };
    expect(await wrap(() => report, day.options)(day.event)).toEqual(report);
    expect([day.sent, await day.item()]).toEqual([[], undefined]);
  });

  it("a response that JSON can't carry is not stored, which is reported", async () => {
    const day = reportDay(table);
    expect(await wrap(() => ({ big: 1n }), day.options)(day.event)).toEqual({ big: 1n });
    expect(day.types()).toEqual(["response-not-stored", "finished"]);
  });
});

describe.each(commitDoors)("$name, before the handler", ({ wrap }) => {
  it("lookFirst answers a repeat by one eventually consistent read, and the handler doesn't run", async () => {
    const day = reportDay(table);
    const inputs: unknown[] = [];
    day.client.middlewareStack.add(
      (next) => (args) => {
        inputs.push((args.input as { ConsistentRead?: boolean }).ConsistentRead);
        return next(args);
      },
      { step: "initialize", name: "inputs" },
    );
    const handler = committing();
    const invoke = wrap(handler, { ...day.options, lookFirst: true });
    expect([await invoke(day.event), await invoke(day.event)]).toEqual([response, response]);
    expect([day.sent, inputs]).toEqual([
      ["GetItem", "TransactWriteItems", "GetItem"],
      [false, undefined, false],
    ]);
    expect(handler).toHaveBeenCalledTimes(1);
  });

  it("lookFirst tells of another payload; of a lock that was held a moment ago only the commit tells", async () => {
    const day = reportDay(table);
    const handler = committing();
    const options = { ...day.options, lookFirst: true, fingerprint: ({ region }: { region?: string }) => region };
    const lock = await day.takenByAnother();
    await expect(wrap(handler, options)(day.event)).rejects.toThrow(LockHeldError);
    await lock.release();
    await wrap(handler, options)(day.event);
    await expect(wrap(handler, options)({ ...day.event, region: "eu" })).rejects.toThrow(PayloadMismatchError);
    expect(handler).toHaveBeenCalledTimes(2);
  });

  it("a look that fails for the moment is left to the commit", async () => {
    const day = reportDay(table);
    failRequests(day.client, (request) => request === 1);
    expect(await wrap(committing(), { ...day.options, lookFirst: true })(day.event)).toEqual(response);
    expect(day.types()).toEqual(["retrying", "finished"]);
  });

  it("cacheSize makes repeats free in the environment that has seen the key finished", async () => {
    const day = reportDay(table);
    const handler = committing();
    const invoke = wrap(handler, { ...day.options, cacheSize: 10 });
    for (let n = 0; n < 3; n++) expect(await invoke(day.event)).toEqual(response);
    const another = wrap(handler, { ...day.options, cacheSize: 10 });
    for (let n = 0; n < 3; n++) expect(await another(day.event)).toEqual(response);
    expect([day.sent.length, handler.mock.calls.length]).toEqual([2, 2]);
  });

  it("one key for a batch of several records is refused: what fails of it would be acknowledged", async () => {
    const day = reportDay(table);
    const Records = ["m1", "m2"].map((messageId) => ({ messageId, eventSource: "aws:sqs" }));
    const invoke = wrap(committing(), { ...day.options, key: () => "batch" });
    await expect(invoke({ Records } as never)).rejects.toMatchObject({
      code: "LOCK_BATCH",
      message: expect.stringContaining("Call a withCommit handler for each record"),
    });
    expect(day.sent).toEqual([]);
  });

  it("a durable execution is refused", async () => {
    const day = reportDay(table);
    const context = { executionContext: { durableExecutionArn: "arn:1" }, lambdaContext: {} };
    await expect(wrap(committing(), day.options)(day.event, context as never)).rejects.toThrow(
      "commit in a function of its own",
    );
  });
});
