/** Requests that carry several keys, of which nobody knows at first what became of them. */
import { beforeAll, describe, expect, it } from "vitest";
import { consumer, failures, type OrderRecord, queue, shop } from "../support/batches.ts";
import { BULK, bulkShop, named, onTheWire, reported } from "../support/bulk.ts";
import { lockTable } from "../support/dynamodb.ts";
import { lost } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

const THREE = queue("a", "b", "c");
const FINISHED = ["FINISHED", "FINISHED", "FINISHED"];

describe("a request for many keys whose reply is lost", () => {
  it("that took them: each is recognised by its token, and runs", async () => {
    const { options, sent, statuses, types } = bulkShop(table, async ({ operation, n, send }) => {
      const reply = await send();
      if (operation === BULK && n === 1) throw lost();
      return reply;
    });
    const fences: unknown[] = [];
    const { invoke, given } = consumer(options, (event, { locks }) => {
      for (const record of event.Records) fences.push(locks.get(record).fencingToken - locks.get(record).acquiredAt);
    });
    expect(await invoke(THREE)).toEqual(failures());
    expect(given()).toEqual([["a", "b", "c"]]);
    expect(fences).toEqual([1, 1, 1]); // of the INSERT, not one more
    expect(sent).toEqual([BULK, ...Array(3).fill("UpdateItem"), BULK]);
    expect(await statuses("a", "b", "c")).toEqual(FINISHED);
    expect(types()).not.toContain("record-failed");
  });

  it("and that the SDK sends again: what it finds there is its own", async () => {
    const { options, client, statuses, types } = shop(table, { maxAttempts: 2 });
    let n = 0;
    client.middlewareStack.add(
      (next) => async (args) => {
        const reply = await next(args);
        if (++n === 1) throw lost();
        return reply;
      },
      { step: "finalizeRequest", priority: "low", name: "lose-first" },
    );
    const { invoke, given } = consumer({ ...options, bulk: true });
    expect(await invoke(THREE)).toEqual(failures());
    expect(given()).toEqual([["a", "b", "c"]]);
    expect(await statuses("a", "b", "c")).toEqual(FINISHED);
    expect(types()).not.toContain("record-failed");
  });

  it("that finished them: each is found finished", async () => {
    const { options, sent, statuses, types } = bulkShop(table, async ({ operation, n, send }) => {
      const reply = await send();
      if (operation === BULK && n === 2) throw lost();
      return reply;
    });
    expect(await consumer(options).invoke(THREE)).toEqual(failures());
    expect(sent).toEqual([BULK, BULK, ...Array(3).fill("UpdateItem")]);
    expect(await statuses("a", "b", "c")).toEqual(FINISHED);
    expect(types().filter((type) => type === "finished")).toHaveLength(3);
    expect(types().filter((type) => type === "retrying")).toHaveLength(3);
  });

  it("that never arrived: each key has a request of its own", async () => {
    const { options, sent, statuses } = bulkShop(table, async ({ operation, send }) => {
      if (operation === BULK) throw named("InternalServerError", 500);
      return send();
    });
    expect(await consumer(options).invoke(THREE)).toEqual(failures());
    expect(sent).toEqual(Array(6).fill("UpdateItem"));
    expect(await statuses("a", "b", "c")).toEqual(FINISHED);
  });
});

describe("a statement that is reported as failed, within a reply that succeeded", () => {
  it.each([
    ["ProvisionedThroughputExceeded", false],
    ["ThrottlingError", false],
    ["TransactionConflict", false],
    ["InternalServerError", false],
    ["InternalServerError", true],
    ["ThrottlingError", true],
    ["ValidationError", false],
    ["SomethingNew", true],
    ["DuplicateItem", true],
    ["ConditionalCheckFailed", true],
  ])("%s (applied: %s): it alone is written as ever, and nothing is lost or done twice", async (code, applied) => {
    const { options, statuses, types, client, sent } = shop(table);
    onTheWire(client, (call) =>
      call.operation === BULK ? reported(code, applied, (index) => index === 1, call) : call.send(),
    );
    const { invoke, given } = consumer({ ...options, bulk: true });
    expect(await invoke(THREE)).toEqual(failures());
    expect(given()).toEqual([["a", "b", "c"]]);
    expect(await statuses("a", "b", "c")).toEqual(FINISHED);
    expect(types().filter((type) => type === "acquired")).toHaveLength(3);
    expect(types().filter((type) => type === "finished")).toHaveLength(3);
    expect(sent.filter((name) => name === "UpdateItem")).toHaveLength(2);
  });

  it("a reply without responses says nothing: each is written as ever", async () => {
    const { options, statuses, sent } = bulkShop(table, async ({ operation, send }) => {
      const reply = await send();
      if (operation === BULK) delete reply.output.Responses;
      return reply;
    });
    expect(await consumer(options).invoke(THREE)).toEqual(failures());
    expect(await statuses("a", "b", "c")).toEqual(FINISHED);
    expect(sent.filter((name) => name === "UpdateItem")).toHaveLength(6);
  });
});

describe("doubt about a request wins over the certain failure behind it", () => {
  it("what may have been taken is given back", async () => {
    const { options, statuses, types } = bulkShop(table, async ({ operation, n, input, send }) => {
      if (operation === BULK && n === 1) {
        await send();
        throw lost();
      }
      const isOfB = input.Key?.lock_id?.S?.endsWith("#b");
      if (operation === "UpdateItem" && isOfB && n <= 3) throw named("ItemCollectionSizeLimitExceededException");
      return send();
    });
    const { invoke, given } = consumer(options);
    expect(await invoke(THREE)).toEqual(failures("m2"));
    expect(given()).toEqual([["a", "c"]]);
    expect(await statuses("a", "b", "c")).toEqual(["FINISHED", "RELEASED", "FINISHED"]);
    expect(types()).toContain("record-failed");
  });

  it.each(["InternalServerError", "SomethingNew"])("also of a statement alone, by its code %s", async (code) => {
    const { options, statuses } = bulkShop(table, async (call) => {
      if (call.operation === BULK && call.n === 1) return reported(code, true, (index) => index === 1, call);
      const isOfB = call.input.Key?.lock_id?.S?.endsWith("#b");
      if (isOfB && call.n === 1) throw named("ItemCollectionSizeLimitExceededException");
      return call.send();
    });
    expect(await consumer(options).invoke(THREE)).toEqual(failures("m2"));
    expect(await statuses("a", "b", "c")).toEqual(["FINISHED", "RELEASED", "FINISHED"]);
  });

  it("what may have been finished is not said to be unwritten", async () => {
    const { options, statuses } = bulkShop(table, async ({ operation, n, send }) => {
      if (operation === BULK && n === 2) {
        await send();
        throw lost();
      }
      if (operation === "UpdateItem") throw named("ItemCollectionSizeLimitExceededException");
      return send();
    });
    const outcomes: unknown[] = [];
    const { invoke } = consumer(options, async ({ Records }, { locks }) => {
      const ends = await Promise.allSettled(Records.map((record) => locks.get(record as OrderRecord).finish()));
      for (const end of ends) outcomes.push(end.status === "rejected" ? String(end.reason) : end.status);
    });
    await invoke(THREE);
    expect(outcomes).toEqual(Array(3).fill(expect.stringContaining("It is not known whether it was applied")));
    expect(await statuses("a", "b", "c")).toEqual(FINISHED);
  });

  it("without doubt, what failed is known to be unwritten", async () => {
    const { options, statuses, sent } = bulkShop(table, async (call) => {
      if (call.operation === BULK && call.n === 1) {
        return reported("ThrottlingError", false, (index) => index === 1, call);
      }
      const isOfB = call.input.Key?.lock_id?.S?.endsWith("#b");
      if (isOfB) throw named("ItemCollectionSizeLimitExceededException");
      return call.send();
    });
    expect(await consumer(options).invoke(THREE)).toEqual(failures("m2"));
    expect(await statuses("a", "b", "c")).toEqual(["FINISHED", undefined, "FINISHED"]);
    expect(sent).toEqual([BULK, BULK]); // nothing is given back
  });
});
