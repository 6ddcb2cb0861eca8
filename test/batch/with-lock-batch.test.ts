/** `dynamoLockBatch` without Middy's control flow: nothing returns past it. */
import { Readable } from "node:stream";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { withLockBatch } from "../../src/index.ts";
import { failing, failures, fifo, type OrderHandler, orderOf, queue, shop } from "../support/batches.ts";
import { lambdaContext } from "../support/lambda.ts";
import { chain, type Table, tableOfLocks, versions } from "../support/middy.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});

const around = (handler: OrderHandler, options: ReturnType<typeof shop>["options"]) => {
  const run = vi.fn(handler);
  const invoke = withLockBatch(run as never, options) as (event: unknown, context: unknown) => Promise<unknown>;
  return { run, invoke: (event: unknown) => invoke(event, lambdaContext()) };
};

describe("withLockBatch", () => {
  it("gives the handler what is free; what failed and what another holds comes back; repeats are acknowledged", async () => {
    const { options, finishedBefore, heldByAnother, statuses } = shop(table);
    await finishedBefore("a");
    await heldByAnother("b");
    const { run, invoke } = around(failing("c"), options);
    expect(await invoke(queue("a", "b", "c", "d"))).toMatchObject(failures("m2", "m3"));
    expect(run.mock.calls[0]?.[0].Records.map(orderOf)).toEqual(["c", "d"]);
    expect(await statuses("a", "b", "c", "d")).toEqual(["FINISHED", "IN_PROGRESS", "RELEASED", "FINISHED"]);
  });

  it("keeps the order of a message group, doesn't run for nothing, and leaves the caller's event as it is", async () => {
    const { options, heldByAnother } = shop(table);
    await heldByAnother("a");
    const { run, invoke } = around(async () => undefined, options);
    const event = fifo(["red", "a"], ["red", "b"]);
    const asItWas = structuredClone(event);
    expect(await invoke(event)).toMatchObject(failures("m1", "m2"));
    expect([run.mock.calls.length, event]).toEqual([0, asItWas]);
  });

  it("releases everything when the handler throws, returns a stream, or says nothing that can be understood", async () => {
    for (const handler of [
      () => Promise.reject(new Error("no")),
      async () => "done",
      async () => failures("m9"),
    ] as OrderHandler[]) {
      const { options, statuses } = shop(table);
      await expect(around(handler, options).invoke(queue("a", "b"))).rejects.toThrow();
      expect(await statuses("a", "b")).toEqual(["RELEASED", "RELEASED"]);
    }
    const { options } = shop(table);
    const streaming = around(async () => Readable.from(["a"]), options);
    await expect(streaming.invoke(queue("a"))).rejects.toMatchObject({ code: "LOCK_STREAMING" });
  });

  it("names itself in the errors of its options", () => {
    expect(() => withLockBatch(() => undefined, { key: 1 } as never)).toThrow("withLockBatch: key must be a function");
  });

  it.each(versions)(
    "around $name: a middleware that answers early loses nothing that another holds",
    async ({ middy }) => {
      const { options, heldByAnother } = shop(table);
      await heldByAnother("a");
      const inner = chain(middy, [{ before: () => ({ batchItemFailures: [] }) }], () => "never");
      const { invoke } = around(inner as never, options);
      expect(await invoke(queue("a", "b"))).toMatchObject(failures("m1"));
    },
  );
});
