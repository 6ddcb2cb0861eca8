import { randomUUID } from "node:crypto";
import { CreateTableCommand } from "@aws-sdk/client-dynamodb";
import { describe, expect, it } from "vitest";
import { warmUp } from "../../src/client/warm-up.ts";
import { systemClock } from "../../src/common/clock.ts";
import { LockTableError } from "../../src/index.ts";
import { actBefore } from "../support/dynamodb.ts";
import { locksOf } from "../support/locks.ts";
import { keysOf, operatorsTable } from "../support/operators.ts";

const { table, setUp } = await operatorsTable();

describe("warmUp", () => {
  it("writes, reads and deletes a probe in the namespace, and says how long each took", async () => {
    const { locks, sent, eventsOf } = setUp();
    const { writeMs, readMs, deleteMs } = await warmUp(
      Object.assign(Object.create(locksOf(locks)), { clock: systemClock }),
    );
    expect(sent).toEqual(["UpdateItem", "GetItem", "DeleteItem"]);
    expect(Math.min(writeMs, readMs, deleteMs)).toBeGreaterThan(0);
    expect(await keysOf(locks)).toEqual([]);
    expect(eventsOf("acquired")).toEqual([]);
  });

  it("may run in many sandboxes at once", async () => {
    const { locks } = setUp();
    await Promise.all(Array.from({ length: 10 }, () => warmUp(locksOf(locks))));
    expect(await keysOf(locks)).toEqual([]);
  });

  it.each([
    ["UpdateItem", "write"],
    ["GetItem", "read"],
    ["DeleteItem", "delete"],
  ])("a failing %s is an error that says so", async (operation, step) => {
    const { locks, client } = setUp();
    const refusal = Object.assign(new Error("no"), { name: "AccessDeniedException" });
    actBefore(client, operation, () => Promise.reject(refusal));
    const error = await warmUp(locksOf(locks)).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(LockTableError);
    expect(error).toMatchObject({
      message: expect.stringMatching(
        `warmUp could not ${step} its probe: ${operation} on table .*AccessDenied.* Allow dynamodb:${operation} on table ${table.tableName} in the role`,
      ),
      cause: expect.objectContaining({ code: "LOCK_TABLE", cause: refusal }),
    });
  });

  it("shows a table with another key schema, and one that is missing", async () => {
    const tableName = `other-${randomUUID()}`;
    await table.client.send(
      new CreateTableCommand({
        TableName: tableName,
        KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
        AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
        BillingMode: "PAY_PER_REQUEST",
      }),
    );
    await expect(warmUp(locksOf(setUp({ tableName }).locks))).rejects.toThrow("has another key schema");
    await expect(warmUp(locksOf(setUp({ tableName: "none" }).locks))).rejects.toThrow("does not exist");
  });
});
