/** A handler that commits: the effect and the end of the lock are one, and the middleware has nothing left to write. */
import type { TransactWriteItem } from "@aws-sdk/client-dynamodb";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { manualClock } from "../support/clock.ts";
import { lockTable } from "../support/dynamodb.ts";
import { failRequests, type Handler, reportDay, type Table, tableOfLocks, wrappers } from "../support/middy.ts";

let table: Table;
let archive: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  [table, archive] = await Promise.all([tableOfLocks(), lockTable()]);
});

const toArchive = (date: string): TransactWriteItem => ({
  Put: {
    TableName: archive.tableName,
    Item: { lock_id: { S: date } },
    ConditionExpression: "attribute_not_exists(lock_id)",
  },
});
const response = { statusCode: 201 };
const committing = (then: () => unknown = () => response) =>
  vi.fn<Handler>(async ({ date }, context) => {
    await context.lock.commit([toArchive(date)], { result: response });
    return then();
  });

describe.each(wrappers)("$name", ({ wrap }) => {
  it("two requests in all, and a repeat gets the response", async () => {
    const day = reportDay(table);
    const handler = committing();
    const invoke = wrap(handler, day.options);
    expect(await invoke(day.event)).toEqual(response);
    expect(day.sent).toEqual(["UpdateItem", "TransactWriteItems"]);
    expect(await invoke(day.event)).toEqual(response);
    expect([handler.mock.calls.length, await archive.item(day.event.date)]).toEqual([1, expect.anything()]);
    expect(day.types()).toEqual(["acquired", "finished", "replayed"]);
  });

  it.each([
    ["onSuccess: 'release'", { onSuccess: "release" }],
    ["onError: 'finish'", { onError: "finish" }],
    ["onError: 'keep'", { onError: "keep" }],
  ] as const)("is final with %s, whether the handler succeeds or fails after it", async (_name, options) => {
    for (const fails of [false, true]) {
      const day = reportDay(table);
      const invoke = wrap(
        committing(() => {
          if (fails) throw new Error("after the commit");
          return response;
        }),
        { ...day.options, ...options },
      );
      await invoke(day.event).catch(() => {});
      expect(await invoke(day.event)).toEqual(response);
      expect(day.sent).toEqual(["UpdateItem", "TransactWriteItems", "UpdateItem"]);
    }
  });

  it("a run that was superseded while it stalled: the handler fails with LockLostError, and nothing is written", async () => {
    const day = reportDay(table);
    const [slow, fast] = [manualClock(), manualClock()];
    const options = { leaseMs: 10_000, heartbeatMs: false } as const;
    const next = wrap(committing(), { ...day.clockedOptions(fast), ...options });
    const stalled = wrap(
      async (event, context) => {
        slow.freeze(60_000);
        fast.advance(60_000);
        await next(event);
        await context.lock.commit([{ Put: { TableName: archive.tableName, Item: { lock_id: { S: "late" } } } }]);
        return "late";
      },
      { ...day.clockedOptions(slow), ...options },
    );
    await expect(stalled(day.event)).rejects.toMatchObject({ code: "LOCK_LOST" });
    expect(await archive.item("late")).toBeUndefined();
    expect(await next(day.event)).toEqual(response);
  });

  it("a condition of the application that fails is the handler's error: the key is released, and a retry runs", async () => {
    const day = reportDay(table);
    await archive.put({ lock_id: { S: day.event.date } });
    const handler = committing();
    const invoke = wrap(handler, day.options);
    for (let n = 0; n < 2; n++)
      await expect(invoke(day.event)).rejects.toMatchObject({ name: "TransactionCanceledException" });
    expect([handler.mock.calls.length, day.types()]).toEqual([2, ["acquired", "released", "acquired", "released"]]);
  });

  it("whose fate is unknown is the handler's error; a retry finds out", async () => {
    const day = reportDay(table);
    failRequests(day.client, (request) => request === 2);
    const handler = committing();
    const invoke = wrap(handler, { ...day.options, settleMs: 0 });
    await expect(invoke(day.event)).rejects.toMatchObject({ code: "LOCK_REQUEST" });
    expect(await invoke(day.event)).toEqual(response);
    expect([handler.mock.calls.length, await archive.item(day.event.date)]).toEqual([2, expect.anything()]);
  });

  it("without locks (disabled) still writes what the application commits", async () => {
    const day = reportDay(table);
    const invoke = wrap(committing(), { ...day.options, disabled: true });
    expect(await invoke(day.event)).toEqual(response);
    expect([day.sent, await archive.item(day.event.date), await day.item()]).toEqual([
      ["TransactWriteItems"],
      expect.anything(),
      undefined,
    ]);
    await expect(invoke(day.event)).rejects.toMatchObject({ name: "TransactionCanceledException" });
  });
});
