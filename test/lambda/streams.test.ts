/** Response streaming: the body goes on after Middy's hooks have run, so no lock can cover it. */
import { PassThrough, Readable, Writable } from "node:stream";
import { ReadableStream } from "node:stream/web";
import { executionModeStreamifyResponse } from "@middy/core/StreamifyResponse";
import type { Context } from "aws-lambda";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { dynamoLock, type Lock, LockError, LockHeldError, withLock, withLockBatch } from "../../src/index.ts";
import { lambdaContext } from "../support/lambda.ts";
import {
  finished,
  type Handler,
  inProgress,
  oneRun,
  type ReportEvent,
  reportDay,
  type Table,
  tableOfLocks,
  versions,
} from "../support/middy.ts";

/** What Lambda gives a streaming handler to write to. */
class ResponseStream extends Writable {
  text = "";
  prelude: unknown;
  override _write(chunk: Buffer, _encoding: string, done: () => void) {
    this.text += chunk.toString();
    done();
  }
}

type StreamingHandler = (event: ReportEvent, stream: ResponseStream, context: Context) => Promise<unknown>;

/** As Lambda's runtime defines it (aws-lambda-nodejs-runtime-interface-client, UserFunction.js and HttpResponseStream.js). */
const awslambda = {
  streamifyResponse: (handler: StreamingHandler) =>
    Object.assign(handler, { [Symbol.for("aws.lambda.runtime.handler.streaming")]: "response" }),
  HttpResponseStream: {
    from: (stream: ResponseStream, prelude: unknown) => Object.assign(stream, { prelude }),
  },
};

let table: Table;
beforeAll(async () => {
  vi.stubGlobal("awslambda", awslambda);
  table = await tableOfLocks();
});
afterAll(() => {
  vi.unstubAllGlobals();
});

const bodies: { what: string; response: () => unknown }[] = [
  { what: "a Node stream", response: () => Readable.from(["re", "port"]) },
  { what: "a web stream", response: () => new ReadableStream() },
  { what: "an HTTP response with a stream", response: () => ({ statusCode: 200, body: Readable.from(["report"]) }) },
  { what: "an HTTP response with a web stream", response: () => ({ statusCode: 200, body: new ReadableStream() }) },
];

const plugins = {
  "Middy 7": { executionMode: executionModeStreamifyResponse },
  "Middy 6": { streamifyResponse: true },
};

describe.each(versions)("$name", ({ name, middy }) => {
  const streaming = (middlewares: unknown[], handler: Handler) => {
    const chained = middy(plugins[name as keyof typeof plugins]);
    for (const middleware of middlewares) chained.use(middleware);
    chained.handler(handler);
    return async (event: ReportEvent) => {
      const stream = new ResponseStream();
      await (chained as unknown as StreamingHandler)(event, stream, lambdaContext());
      return stream;
    };
  };

  it.each(bodies)("$what as the response is refused, and the key is left to its lease", async ({ response }) => {
    const day = reportDay(table);
    let lock: Lock | undefined;
    const invoke = streaming([dynamoLock(day.options)], async (_event, context) => {
      lock = context.lock;
      return response();
    });
    const error = await invoke(day.event).catch((refusal: unknown) => refusal);
    expect(error).toBeInstanceOf(LockError);
    expect(error).toMatchObject({
      code: "LOCK_STREAMING",
      message: expect.stringMatching(/streamed response can't be locked.*Return the body as a string/),
    });
    expect(day.sent).toEqual(["UpdateItem"]);
    expect(await day.item()).toMatchObject(inProgress(lock));
    expect(day.types()).toEqual(["acquired", "kept"]);
    expect(day.events[1]).toMatchObject({ reason: "streaming" });
    expect(lock?.signal.aborted).toBe(true);
  });

  it.each(["finish", "release"] as const)("a stream is refused with onError: '%s' too", async (onError) => {
    const day = reportDay(table);
    let lock: Lock | undefined;
    const invoke = streaming([dynamoLock({ ...day.options, onError })], async (_event, context) => {
      lock = context.lock;
      return Readable.from(["report"]);
    });
    await expect(invoke(day.event)).rejects.toMatchObject({ code: "LOCK_STREAMING" });
    expect(await day.item()).toMatchObject(inProgress(lock));
  });

  it.each([
    { what: "a string", response: "report", text: "report", prelude: undefined },
    {
      what: "an HTTP response with a string",
      response: { statusCode: 200, headers: { "x-total": "42" }, body: "report" },
      text: "report",
      prelude: { statusCode: 200, headers: { "x-total": "42" } },
    },
    { what: "a long string", response: "report".repeat(100), text: "report".repeat(100), prelude: undefined },
  ])("$what works, and a repeat gets it without running", async ({ response, text, prelude }) => {
    const day = reportDay(table);
    const handler = vi.fn<Handler>(async () => response);
    const invoke = streaming([dynamoLock(day.options)], handler);
    expect(await invoke(day.event)).toMatchObject({ text, prelude });
    expect(day.sent).toEqual(oneRun);
    expect(await day.item()).toMatchObject(finished(response));
    expect(await invoke(day.event)).toMatchObject({ text, prelude });
    expect(handler).toHaveBeenCalledTimes(1);
    expect(day.types()).toEqual(["acquired", "finished", "replayed"]);
  });

  it("a refused run writes nothing to the stream and touches nothing", async () => {
    const day = reportDay(table);
    await day.takenByAnother();
    const asItWas = await day.item();
    const handler = vi.fn<Handler>(async () => "report");
    await expect(streaming([dynamoLock(day.options)], handler)(day.event)).rejects.toBeInstanceOf(LockHeldError);
    expect(handler).not.toHaveBeenCalled();
    expect(await day.item()).toEqual(asItWas);
  });

  it("withLock inside Middy refuses a stream too", async () => {
    const day = reportDay(table);
    const invoke = streaming(
      [],
      withLock(async () => Readable.from(["report"]), day.options),
    );
    await expect(invoke(day.event)).rejects.toMatchObject({ code: "LOCK_STREAMING" });
    expect(day.types()).toEqual(["acquired", "kept"]);
  });
});

it("a stream that a handler returns without streaming is refused as well: it can't be a response", async () => {
  const day = reportDay(table);
  const handler = withLock(async () => Readable.from(["report"]), day.options);
  await expect(handler(day.event, lambdaContext())).rejects.toMatchObject({ code: "LOCK_STREAMING" });
});

it("withLock around a handler for streamifyResponse is refused before anything is sent", async () => {
  const day = reportDay(table);
  const handler = vi.fn(async () => "report");
  const streamed = awslambda.streamifyResponse(withLock(handler, day.options) as unknown as StreamingHandler);
  await expect(streamed(day.event, new ResponseStream(), lambdaContext())).rejects.toMatchObject({
    code: "LOCK_STREAMING",
  });
  expect(handler).not.toHaveBeenCalled();
  expect(day.sent).toEqual([]);
  expect(await day.item()).toBeUndefined();
});

it.each<[string, () => object]>([
  ["Lambda's response stream", () => awslambda.HttpResponseStream.from(new ResponseStream(), { statusCode: 200 })],
  ["a stream that can be written", () => new Writable()],
  ["one that can be read, too", () => new PassThrough()],
  ["a web stream", () => new ReadableStream()],
])("%s in the place of a context is refused before anything is sent", async (_name, stream) => {
  const day = reportDay(table);
  const handler = vi.fn(async () => "report");
  for (const wrapped of [withLock(handler, day.options), withLockBatch(handler as never, day.options as never)]) {
    const invoke = wrapped as unknown as (event: object, stream: object) => Promise<unknown>;
    await expect(invoke({ ...day.event, Records: [] }, stream())).rejects.toMatchObject({ code: "LOCK_STREAMING" });
  }
  expect(handler).not.toHaveBeenCalled();
  expect(day.sent).toEqual([]);
});
