/** Handlers under a semaphore: by `dynamoSemaphore` on both Middys as by `withSemaphore`. */
import type { Context } from "aws-lambda";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { type DynamoSemaphoreOptions, dynamoSemaphore, LockHeldError, withSemaphore } from "../../src/index.ts";
import { lambdaContext } from "../support/lambda.ts";
import {
  chain,
  deferred,
  failing,
  type Handler,
  type Invoke,
  invoker,
  type Middy,
  type ReportEvent,
  reportDay,
  succeeding,
  type Table,
  tableOfLocks,
  versions,
} from "../support/middy.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});

type Options = DynamoSemaphoreOptions<ReportEvent>;
const ways: { name: string; wrap: (handler: Handler, options: Options) => Invoke }[] = [
  ...versions.map(({ name, middy }: { name: string; middy: Middy }) => ({
    name: `dynamoSemaphore on ${name}`,
    wrap: (handler: Handler, options: Options) => chain(middy, [dynamoSemaphore<ReportEvent>(options)], handler),
  })),
  {
    name: "withSemaphore",
    wrap: (handler, options) => invoker(withSemaphore(handler, options)),
  },
];

describe.each(ways)("$name", ({ wrap }) => {
  const setUp = () => {
    const day = reportDay(table);
    const options: Options = { ...day.options, permits: 2 };
    /** Two handlers that run until the gate is open. */
    const full = async () => {
      const gate = deferred();
      let running = 0;
      const invoke = wrap(async () => {
        running++;
        await gate.promise;
        return "done";
      }, options);
      const runs = [invoke(day.event), invoke(day.event)];
      await vi.waitFor(() => expect(running).toBe(2));
      return { gate, runs };
    };
    return { day, options, full };
  };

  it("lets as many run at once as it permits, refuses the next, and gives the permits back", async () => {
    const { day, options, full } = setUp();
    const { gate, runs } = await full();
    const handler = succeeding();
    const refused = wrap(handler, options);
    await expect(refused(day.event)).rejects.toBeInstanceOf(LockHeldError);
    expect(handler).not.toHaveBeenCalled();
    gate.resolve();
    expect(await Promise.all(runs)).toEqual(["done", "done"]);
    expect(await refused(day.event)).toBe("report");
    expect(await refused(day.event)).toBe("report"); // it is never finished
  });

  it("a full one is answered with duplicateResponse, or waited for", async () => {
    const { day, options, full } = setUp();
    const { gate, runs } = await full();
    const busy = wrap(succeeding(), { ...options, duplicateResponse: { statusCode: 429 } });
    expect(await busy(day.event)).toEqual({ statusCode: 429 });
    const waiting = wrap(succeeding(), { ...options, waitMs: 10_000 })(day.event);
    gate.resolve();
    expect(await waiting).toBe("report");
    await Promise.all(runs);
  });

  it("a handler that fails gives its permit back, unless it is to be kept", async () => {
    const { day, options } = setUp();
    const one = { ...options, permits: 1 };
    await expect(wrap(failing(new Error("no")), one)(day.event)).rejects.toThrow("no");
    await expect(wrap(failing(new Error("no")), { ...one, onError: "keep" })(day.event)).rejects.toThrow("no");
    await expect(wrap(succeeding(), one)(day.event)).rejects.toBeInstanceOf(LockHeldError);
  });

  it("the handler finds its permit in the context, and can't finish it", async () => {
    const { day, options } = setUp();
    const handler = async (_event: ReportEvent, context: Context & { lock: { finish(): Promise<void> } }) => {
      await context.lock.finish();
    };
    await expect(wrap(handler as Handler, options)(day.event)).rejects.toThrow("a semaphore can only be released");
  });

  it("several keys, and a durable execution, are refused: nothing runs", async () => {
    const { day, options } = setUp();
    const handler = succeeding();
    const pair = wrap(handler, { ...options, key: (() => ["a", "b"]) as never });
    await expect(pair(day.event)).rejects.toThrow("a semaphore has one key");
    const durable = { ...lambdaContext(), executionContext: { durableExecutionArn: "arn" } };
    await expect(wrap(handler, options)(day.event, durable)).rejects.toThrow("durable execution");
    expect(handler).not.toHaveBeenCalled();
  });

  it("without a key it runs without a permit, if that is asked for", async () => {
    const { day, options } = setUp();
    const free = wrap(succeeding(), { ...options, key: () => undefined, onMissingKey: "run" });
    expect(await free(day.event)).toBe("report");
  });

  it.each([0, 101, 1.5, "2", undefined])("permits of %s are refused with bounds and value", (permits) => {
    const { options } = setUp();
    expect(() => wrap(succeeding(), { ...options, permits } as never)).toThrow(
      /permits must be a whole number from 1 to 100, got /,
    );
  });

  it.each(["fingerprint", "rememberMs", "onSuccess", "storeResponse", "replayedHeader", "expiry"])(
    "%s is unknown: a semaphore is never finished, and ends by the clock",
    (name) => {
      const { options } = setUp();
      expect(() => wrap(succeeding(), { ...options, [name]: 1 } as never)).toThrow(`unknown option '${name}'`);
    },
  );
});
