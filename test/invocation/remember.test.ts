/** However a key is finished under a middleware, it is remembered as long as that says. */
import { beforeAll, describe, expect, it } from "vitest";
import { LockClient, withLockBatch } from "../../src/index.ts";
import { orderOf, queue, shop } from "../support/batches.ts";
import { lambdaContext } from "../support/lambda.ts";
import { type Handler, reportDay, type Table, tableOfLocks, wrappers } from "../support/middy.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});

const rememberMs = 15 * 24 * 3_600_000;
const windowOf = (item: Awaited<ReturnType<Table["item"]>>) =>
  Number(item?.expires_at?.N) - Number(item?.updated_at?.N);
const large = "long ".repeat(1_000);

const handlers: [string, Handler][] = [
  ["the handler returns", async () => "report"],
  ["the handler commits", async (_event, { lock }) => lock.commit([], { result: "report" })],
  ["the handler finishes", async (_event, { lock }) => lock.finish({ result: "report" })],
  ["the response is large", async () => large],
];

describe.each(wrappers)("rememberMs of $name", ({ wrap }) => {
  it.each(handlers)("counts when %s", async (_name, handler) => {
    const day = reportDay(table);
    await wrap(handler, { ...day.options, rememberMs })(day.event);
    expect(windowOf(await day.item())).toBe(rememberMs);
  });

  it("counts with a LockClient that says otherwise, and gives way to what the handler says", async () => {
    const locks = new LockClient({ client: table.client, tableName: table.tableName, rememberMs: 5_000 });
    const day = reportDay(table);
    const options = { key: day.options.key, locks, rememberMs };
    await wrap(async (_event, { lock }) => lock.commit([]), options)(day.event);
    expect(windowOf(await day.item())).toBe(rememberMs);
    const other = reportDay(table);
    await wrap(async (_event, { lock }) => lock.commit([], { rememberMs: 7_000 }), options)(other.event);
    expect(windowOf(await other.item())).toBe(7_000);
    const third = reportDay(table);
    await wrap(async (_event, { lock }) => lock.commit([]), { key: day.options.key, locks })(third.event);
    expect(windowOf(await third.item())).toBe(5_000);
  });

  it("counts when a final failure is remembered", async () => {
    const day = reportDay(table);
    const failing = wrap(
      async () => {
        throw new Error("final");
      },
      { ...day.options, onError: "finish", rememberMs },
    );
    await expect(failing(day.event)).rejects.toThrow("final");
    expect(windowOf(await day.item())).toBe(rememberMs);
  });
});

describe("rememberMs", () => {
  it("of a batch counts for what it finishes, and for what the handler commits and finishes", async () => {
    const { options, namespace } = shop(table);
    const handler = withLockBatch(
      async (event: ReturnType<typeof queue>, { locks }) => {
        for (const record of event.Records) {
          if (orderOf(record) === "b") await locks.get(record).commit([]);
          if (orderOf(record) === "c") await locks.get(record).finish();
        }
      },
      { ...options, rememberMs },
    );
    await handler(queue("a", "b", "c"), lambdaContext());
    for (const order of ["a", "b", "c"]) {
      expect([order, windowOf(await table.item(`${namespace}#${order}`))]).toEqual([order, rememberMs]);
    }
  });

  it("of once counts for what the work commits", async () => {
    const locks = new LockClient({ client: table.client, tableName: table.tableName });
    await locks.once("once-commit", (lock) => lock.commit([], { result: 1 }), { rememberMs });
    expect(windowOf(await table.item("once-commit"))).toBe(rememberMs);
  });
});
