/** A handler with a callback is still at work when it has returned: it is refused before anything is written. */
import middy7 from "@middy/core";
import middy6 from "middy-core-6";
import { beforeAll, expect, it } from "vitest";
import { dynamoLock, LockOptionsError, withLock, withLockBatch } from "../../src/index.ts";
import { chain, finished, invoker, reportDay, type Table, tableOfLocks, versions } from "../support/middy.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});

type Callback = (error: unknown, result?: unknown) => void;
const streamified = Object.assign(async (_event: unknown, _stream: unknown, _context: unknown) => {}, {
  [Symbol.for("aws.lambda.runtime.handler.streaming")]: "response",
});

it.each<[string, unknown]>([
  ["a callback", (_event: unknown, _context: unknown, callback: Callback) => callback(null, "report")],
  [
    "a callback that an async handler doesn't use",
    async (_event: unknown, _context: unknown, _callback: Callback) => {},
  ],
  ["a response stream", streamified],
  [
    "Middy's third parameter, which withLock doesn't hand on",
    async (_e: unknown, _c: unknown, { signal }: RequestInit) => signal,
  ],
])("%s is refused at construction", (_name, handler) => {
  for (const door of [withLock, withLockBatch] as const) {
    const wrap = () => (door as typeof withLock)(handler as never, { key: () => "key" });
    expect(wrap).toThrow(LockOptionsError);
    expect(wrap).toThrow(
      `${door.name}: the handler must have at most 2 parameters, (event, context), and return a Promise, got 3`,
    );
  }
});

it.each<[string, unknown]>([
  ["no parameters", async () => "report"],
  ["an event", async (_event: unknown) => "report"],
  ["rest parameters", async (..._all: unknown[]) => "report"],
  ["a handler that is not async", () => "report"],
  ["Middy 7's", middy7().handler(async () => "report")],
  ["Middy 6's", middy6().handler(async () => "report")],
])("%s is a handler", async (_name, handler) => {
  const day = reportDay(table);
  expect(await invoker(withLock(handler as never, day.options))(day.event)).toBe("report");
  expect(await day.item()).toMatchObject(finished("report"));
});

it.each(versions)("$name's third parameter is no callback: dynamoLock takes the handler", async ({ middy }) => {
  const day = reportDay(table);
  const handler = async (_event: unknown, _context: unknown, { signal }: { signal: AbortSignal }) => signal.aborted;
  expect(await chain(middy, [dynamoLock(day.options)], handler as never)(day.event)).toBe(false);
  expect(await day.item()).toMatchObject(finished(false));
});
