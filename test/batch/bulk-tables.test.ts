/** Tables whose names can and can't be quoted in the statements of `bulk`. */
import { beforeAll, describe, expect, it } from "vitest";
import { createLockTable, LockClient, LockTableError } from "../../src/index.ts";
import { consumer, failures, queue, shop } from "../support/batches.ts";
import { BULK, bulkShop } from "../support/bulk.ts";
import { lockTable } from "../support/dynamodb.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

const THREE = queue("a", "b", "c");

describe("a table", () => {
  it("that is missing is a LockTableError, as it is without", async () => {
    const { options } = bulkShop(table);
    await expect(consumer({ ...options, tableName: "none" }).invoke(THREE)).rejects.toThrow(LockTableError);
  });

  it.each([["it's the key"], ['a "key"'], ["a.b"], ["schlüssel"]])(
    "whose key is called %s has a request for each key",
    async (keyAttribute) => {
      const {
        client,
        sent,
        namespace,
        options: { key },
      } = shop(table);
      const tableName = `bulk-${Math.random().toString(36).slice(2)}`;
      await createLockTable(table.client, { tableName, keyAttribute });
      const locks = new LockClient({ client, tableName, keyAttribute, namespace });
      expect(await consumer({ key, locks, bulk: true }).invoke(THREE)).toEqual(failures());
      expect(sent).toEqual(Array(6).fill("UpdateItem"));
    },
  );

  it.each([
    ["a number", { attribute: "sort-key", value: 7 }],
    ["text", { attribute: "sort", value: "lock" }],
  ])(
    "with a sort key that is %s, a dash in its names and a dot in its own is served by few requests",
    async (_kind, sortKey) => {
      const {
        client,
        sent,
        namespace,
        options: { key },
      } = shop(table);
      const tableName = `bulk.${Math.random().toString(36).slice(2)}`;
      const type = typeof sortKey.value === "number" ? ("N" as const) : ("S" as const);
      const names = { tableName, keyAttribute: "lock-id", ttlAttribute: "ends-at" };
      await createLockTable(table.client, { ...names, sortKey: { attribute: sortKey.attribute, type } });
      const locks = new LockClient({ client, ...names, sortKey, namespace });
      const { invoke, given } = consumer({ key, locks, bulk: true });
      expect(await invoke(THREE)).toEqual(failures());
      expect(await invoke(THREE)).toEqual(failures());
      expect(given()).toHaveLength(1);
      expect(sent).toEqual([BULK, BULK, BULK, "BatchGetItem"]);
    },
  );

  it("that is named by its ARN has a request for each key", async () => {
    const { options, sent } = bulkShop(table, async ({ input, send }) => {
      Object.assign(input, { TableName: table.tableName });
      return send();
    });
    const tableName = `arn:aws:dynamodb:eu-west-1:123456789012:table/${table.tableName}`;
    expect(await consumer({ ...options, tableName }).invoke(THREE)).toEqual(failures());
    expect(sent).toEqual(Array(6).fill("UpdateItem"));
  });
});
