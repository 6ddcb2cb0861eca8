/** What a repeat's caller sees that the first one saw, and what not. */
import { runInNewContext } from "node:vm";
import httpCors from "@middy/http-cors";
import httpErrorHandler from "@middy/http-error-handler";
import { beforeAll, describe, expect, it, vi } from "vitest";
import {
  dynamoLock,
  LockClient,
  LockHeldError,
  LockOptionsError,
  type LockRecord,
  ReplayedError,
  withLock,
} from "../../src/index.ts";
import {
  chain,
  type Handler,
  type Invoke,
  invoker,
  type ReportEvent,
  reportDay,
  type Table,
  tableOfLocks,
  versions,
  wrappers,
} from "../support/middy.ts";

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
  it("as a value is a copy for each repeat, whatever is done to the others, or to the value", async () => {
    const day = reportDay(table);
    const duplicateResponse = {
      statusCode: 409,
      headers: {} as Record<string, string>,
      at: new Date(0),
      tags: [["a"]],
    };
    const asItWas = structuredClone(duplicateResponse);
    const invoke = wrap(async () => "report", { ...day.options, duplicateResponse });
    await invoke(day.event);
    duplicateResponse.headers.changed = "after construction";
    for (let n = 0; n < 3; n++) {
      const answer = (await invoke(day.event)) as typeof duplicateResponse;
      expect(answer).toEqual(asItWas);
      answer.headers["set-cookie"] = "session=1";
      answer.tags[0]?.push("mine");
      answer.at.setFullYear(2000);
    }
  });

  it("also of a held key, and for answers that are there at once", async () => {
    const day = reportDay(table);
    await day.takenByAnother();
    const invoke = wrap(async () => "report", { ...day.options, duplicateResponse: { headers: {} } });
    const [one, other] = (await Promise.all([invoke(day.event), invoke(day.event)])) as object[];
    expect(one).toEqual(other);
    expect(one).not.toBe(other);
    expect((one as { headers: object }).headers).not.toBe((other as { headers: object }).headers);
  });

  class Answer {
    statusCode = 409;
  }
  const circular: Record<string, unknown> = {};
  circular.itself = circular;
  it.each<[string, object]>([
    ["with a function", { toJSON: () => ({}) }],
    ["of a class", new Answer()],
    ["with an instance of a class within", { answers: [new Answer()] }],
    ["of the web", new Response("seen")],
    ["with bytes that would become others", { body: Buffer.from("seen") }],
    ["that refers to itself", circular],
    ["with a symbol", { id: Symbol("id") }],
    ["that is a Promise", Promise.resolve({})],
  ])("a value %s is refused at construction, because a copy would be another", (_name, duplicateResponse) => {
    const { options } = reportDay(table);
    const construct = () => wrap(async () => "report", { ...options, duplicateResponse });
    expect(construct).toThrow(LockOptionsError);
    expect(construct).toThrow(/duplicateResponse must be plain data, .*: give a function/);
  });

  it.each<[string, object]>([
    ["without prototypes", Object.assign(Object.create(null), { headers: Object.create(null) })],
    ["of another realm", runInNewContext("({ headers: { a: ['1'] }, at: new Date(0) })")],
    ["with its own constructor property", { constructor: "acme", headers: { constructor: { name: "x" } } }],
    ["with a Map and a Set", { map: new Map([["a", 1]]), set: new Set([1]) }],
  ])("a value %s is data", async (_name, duplicateResponse) => {
    const day = reportDay(table);
    const invoke = wrap(async () => "report", { ...day.options, duplicateResponse });
    await invoke(day.event);
    const answer = (await invoke(day.event)) as object;
    expect(JSON.stringify(answer)).toBe(JSON.stringify(duplicateResponse));
    expect(answer).not.toBe(duplicateResponse);
  });

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

describe.each(wrappers)("$name: what runs share", ({ wrap }) => {
  it.each([0, 10])("a replayed response is a repeat's own (cacheSize %i)", async (cacheSize) => {
    const day = reportDay(table);
    const response = { headers: {} as Record<string, string>, body: "x".repeat(5_000) };
    const invoke = wrap(async () => structuredClone(response), { ...day.options, cacheSize });
    for (let n = 0; n < 4; n++) {
      const answer = (await invoke(day.event)) as typeof response;
      expect(answer).toEqual(response);
      answer.headers["set-cookie"] = "session=1";
    }
  });

  it.each([0, 10])("so is the record that duplicateResponse is called with (cacheSize %i)", async (cacheSize) => {
    const day = reportDay(table);
    const seen: unknown[] = [];
    const duplicateResponse = (record: LockRecord) => {
      seen.push(structuredClone(record));
      Object.assign(record.result?.value as object, { session: 1 });
      Object.assign(record, { owner: "me" });
    };
    const invoke = wrap(async () => ({ lines: 3 }), { ...day.options, cacheSize, duplicateResponse });
    for (let n = 0; n < 3; n++) await invoke(day.event);
    expect(seen).toHaveLength(2);
    expect(seen[1]).toEqual(seen[0]);
  });

  it.each([0, 10])("and the record in an error (cacheSize %i)", async (cacheSize) => {
    const day = reportDay(table);
    const options = { ...day.options, cacheSize, fingerprint: ({ region }: ReportEvent) => region };
    const invoke = wrap(async () => "report", options);
    await invoke({ ...day.event, region: "eu" });
    for (let n = 0; n < 3; n++) {
      const error = await invoke({ ...day.event, region: "us" }).catch((mismatch: unknown) => mismatch);
      expect(error).toMatchObject({
        code: "LOCK_PAYLOAD_MISMATCH",
        record: { key: day.key, owner: expect.not.stringMatching("me") },
      });
      Object.assign((error as { record: object }).record, { owner: "me", key: "another" });
    }
  });
});

it("data that several acquisitions were given is each lock's own", async () => {
  const locks = new LockClient({ client: table.client, tableName: table.tableName });
  const data = { attempts: 0 };
  const [one, other] = await Promise.all([
    locks.acquire("data of one", { data }),
    locks.acquire("data of another", { data }),
  ]);
  (one?.data as typeof data).attempts++;
  expect([one?.data, other?.data, data]).toEqual([{ attempts: 1 }, { attempts: 0 }, { attempts: 0 }]);
});

describe.each(versions)("$name: replayedHeader of a failure", ({ middy }) => {
  const outOfStock = Object.assign(new Error("no paper"), { statusCode: 410 });
  const failing = async () => {
    throw outOfStock;
  };
  const header = { "Idempotent-Replayed": "true" };

  it("is in the response that @middy/http-error-handler makes of it, and not in the first one", async () => {
    for (const between of [[], [httpCors({ origins: ["*"] })]]) {
      const day = reportDay(table);
      const lock = dynamoLock({ ...day.options, onError: "finish", replayedHeader: true });
      const invoke = chain(middy, [httpErrorHandler({ logger: false }), ...between, lock], failing);
      const event = { ...day.event, httpMethod: "GET", headers: {} };
      const first = await invoke(event);
      expect(first).toMatchObject({ statusCode: 410, body: "no paper" });
      expect(first).not.toMatchObject({ headers: header });
      for (let n = 0; n < 2; n++) {
        const replayed = (await invoke(event)) as { headers: Record<string, string> };
        expect(replayed).toMatchObject({ statusCode: 410, body: "no paper", headers: header });
        expect(replayed.headers).not.toHaveProperty("changed");
        replayed.headers.changed = "1";
      }
    }
  });

  it.each([
    ["is on the error itself, for error handlers of your own", true, header],
    ["and not without the option", false, undefined],
  ])("%s", async (_name, replayedHeader, headers) => {
    for (const cacheSize of [0, 10]) {
      const day = reportDay(table);
      const options = { ...day.options, onError: "finish" as const, replayedHeader, cacheSize };
      const invokes = [chain(middy, [dynamoLock(options)], failing), invoker(withLock(failing, options))];
      for (const invoke of [...invokes, ...invokes]) {
        const error = (await invoke(day.event).catch((failure: unknown) => failure)) as ReplayedError;
        if (error === (outOfStock as unknown)) continue;
        expect(error).toBeInstanceOf(ReplayedError);
        expect(error.headers).toEqual(headers);
        if (!headers) expect(error).not.toHaveProperty("headers");
        Object.assign(error.headers ?? {}, { changed: "1" });
      }
    }
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
