/**
 * An inner `withLock`'s response goes to its caller, not through Lambda: it is the same for all of
 * them.
 */
import { Readable } from "node:stream";
import { beforeAll, describe, expect, it } from "vitest";
import { withLock } from "../../src/index.ts";
import { lambdaContext } from "../support/lambda.ts";
import { chain, invoker, reportDay, type Table, tableOfLocks, versions } from "../support/middy.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});

const EPOCH = "1970-01-01T00:00:00.000Z";
const report = () => ({ at: new Date(0), none: undefined, lines: new Map([[1, "a"]]) });
const json = { at: EPOCH, lines: {} };

describe("the response of withLock", () => {
  it("is JSON for its first caller too", async () => {
    const day = reportDay(table);
    const handler = withLock(async () => report(), day.options);
    for (let n = 0; n < 2; n++) expect(await handler(day.event, lambdaContext())).toStrictEqual(json);
    const { at }: { at: string } = await handler(day.event, lambdaContext());
    expect(at.slice(0, 4)).toBe("1970");
  });

  it.each([{ onSuccess: "release" as const }, { storeResponse: false as const }])(
    "with %o is the handler's own",
    async (options) => {
      const day = reportDay(table);
      const response = report();
      const handler = withLock(async () => response, { ...day.options, ...options });
      expect(await handler(day.event, lambdaContext())).toBe(response);
    },
  );

  it("is the handler's own where JSON can't carry it, which is reported", async () => {
    const day = reportDay(table);
    const response = { id: 1n, at: new Date(0) };
    const handler = invoker(withLock(async () => response, day.options));
    expect(await handler(day.event)).toBe(response);
    expect(day.types()).toEqual(["acquired", "response-not-stored", "finished"]);
    expect(await handler(day.event)).toBeUndefined();
  });

  it("is JSON without a key too, and with locks that are disabled", async () => {
    const day = reportDay(table);
    const missing = withLock(async () => report(), { ...day.options, key: () => undefined, onMissingKey: "run" });
    expect(await missing(day.event, lambdaContext())).toStrictEqual(json);
    const stream = Readable.from(["report"]);
    const streaming = withLock(async () => stream, { ...day.options, key: () => undefined, onMissingKey: "run" });
    expect(await streaming(day.event, lambdaContext())).toBe(stream);
    const disabled = withLock(async () => report(), { ...day.options, disabled: true });
    expect(await disabled(day.event, lambdaContext())).toStrictEqual(json);
    expect(day.sent).toEqual([]);
  });

  it("is JSON where its finish failed: it may have been written", async () => {
    const day = reportDay(table);
    const handler = withLock(async () => {
      day.client.middlewareStack.add(() => async () => Promise.reject(new Error("no")), { step: "finalizeRequest" });
      return report();
    }, day.options);
    expect(await handler(day.event, lambdaContext())).toStrictEqual(json);
    expect(day.types()).toEqual(["acquired", "failed"]);
  });

  it("is JSON where the handler has finished the key itself", async () => {
    const day = reportDay(table);
    const handler = withLock(async (_event, context) => {
      await context.lock.finish({ result: report() });
      return report();
    }, day.options);
    for (let n = 0; n < 2; n++) expect(await handler(day.event, lambdaContext())).toStrictEqual(json);
  });
});

describe.each(versions)("$name: the response of an inner withLock", ({ middy }) => {
  it("is the same for the handlers and middlewares around it, first or repeat", async () => {
    const day = reportDay(table);
    const seen: unknown[] = [];
    const after = (request: { response: unknown }) => void seen.push(structuredClone(request.response));
    const invoke = chain(middy, [{ after }], withLock(async () => report(), day.options) as never);
    for (let n = 0; n < 2; n++) await invoke(day.event);
    expect(seen).toEqual([json, json]);
  });
});
