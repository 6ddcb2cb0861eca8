/** What a repeat's caller sees that the first one saw, and what not. */
import httpCors from "@middy/http-cors";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { dynamoLock, LockHeldError, type LockRecord, withLock } from "../../src/index.ts";
import {
  chain,
  type Handler,
  type Invoke,
  invoker,
  reportDay,
  type Table,
  tableOfLocks,
  versions,
  wrappers,
} from "./setup.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});

describe.each(wrappers)("replayedHeader on $name", ({ wrap }) => {
  it.each<[string, unknown, unknown]>([
    [
      "an HTTP response",
      { statusCode: 201, body: "b" },
      { statusCode: 201, body: "b", headers: { "Idempotent-Replayed": "true" } },
    ],
    [
      "with headers",
      { statusCode: 201, headers: { a: "1" } },
      { statusCode: 201, headers: { a: "1", "Idempotent-Replayed": "true" } },
    ],
    ["a text", "report", "report"],
    ["an object of the application's own", { headers: {} }, { headers: {} }],
    ["nothing", undefined, undefined],
  ])("%s", async (_name, response, replayed) => {
    const day = reportDay(table);
    const invoke = wrap(
      vi.fn<Handler>(async () => response),
      { ...day.options, replayedHeader: true },
    );
    expect(await invoke(day.event)).toEqual(response);
    for (let n = 0; n < 2; n++) expect(await invoke(day.event)).toEqual(replayed);
  });
});

describe.each(wrappers)("duplicateResponse on $name", ({ wrap }) => {
  it("changes a stored response, and leaves a held key an error, where it says so", async () => {
    const day = reportDay(table);
    const duplicateResponse = (record: LockRecord) => {
      if (record.status !== "FINISHED") throw new LockHeldError(record);
      return { ...(record.result?.value as object), again: true };
    };
    const invoke: Invoke = wrap(
      async (event) => {
        await expect(invoke(event)).rejects.toBeInstanceOf(LockHeldError);
        return { lines: 3 };
      },
      { ...day.options, duplicateResponse },
    );
    expect(await invoke(day.event)).toEqual({ lines: 3 });
    expect(await invoke(day.event)).toEqual({ lines: 3, again: true });
  });
});

describe.each(versions)("$name: what middlewares before the lock add to a response", ({ middy }) => {
  const response = { statusCode: 200, headers: {} };
  const cors = () => httpCors({ origins: ["https://shop.example"] });

  it("is not on a replay of dynamoLock, because an early response skips every after", async () => {
    const day = reportDay(table);
    const invoke = chain(middy, [cors(), dynamoLock(day.options)], async () => structuredClone(response));
    const event = { ...day.event, httpMethod: "GET", headers: { Origin: "https://shop.example" } };
    expect(await invoke(event)).toHaveProperty("headers.Access-Control-Allow-Origin");
    expect(await invoke(event)).toEqual(response);
  });

  it("is on both, where withLock stands around the whole of Middy's handler", async () => {
    const day = reportDay(table);
    const inner = chain(middy, [cors()], async () => structuredClone(response));
    const invoke = invoker(withLock(inner as never, day.options));
    const event = { ...day.event, httpMethod: "GET", headers: { Origin: "https://shop.example" } };
    const first = await invoke(event);
    expect(first).toHaveProperty("headers.Access-Control-Allow-Origin");
    expect(await invoke(event)).toEqual(first);
  });
});
