/** PartiQL's statements that write (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.html). */
import { beforeEach, describe, expect, it } from "vitest";
import { memoryDynamoDB } from "../../src/testing.ts";

const memory = memoryDynamoDB({ tables: { orders: "id" } });

const run = async (Statement: string, Parameters?: object[], more: object = {}) => {
  const Statements = [{ Statement, ...(Parameters && { Parameters }), ...more }];
  const { Responses } = (await memory.request("BatchExecuteStatement", { Statements })) as { Responses: object[] };
  return Responses[0];
};
const DONE = { TableName: "orders" };

beforeEach(async () => {
  memory.reset();
  await run(`INSERT INTO "orders" VALUE {'id': ?, 'n': ?}`, [{ S: "a" }, { N: "1" }]);
});

describe("a statement", () => {
  it("inserts an item, unless one is there", async () => {
    expect(memory.items("orders")).toEqual([{ id: { S: "a" }, n: { N: "1" } }]);
    expect(await run(`INSERT INTO "orders" VALUE {'id': 'a'}`)).toEqual({
      ...DONE,
      Error: { Code: "DuplicateItem", Message: "Duplicate primary key exists in table" },
    });
  });

  it.each<[statement: string, parameters: object[], item: object]>([
    [
      `UPDATE "orders" SET "n"=?, "status"=? WHERE "id"=?`,
      [{ N: "2" }, { S: "x" }, { S: "a" }],
      { n: { N: "2" }, status: { S: "x" } },
    ],
    [
      `UPDATE orders SET n=n+1 SET m={'x': [1, true, NULL]} REMOVE absent WHERE id='a'`,
      [],
      { n: { N: "2" }, m: { M: { x: { L: [{ N: "1" }, { BOOL: true }, { NULL: true }] } } } },
    ],
    [
      `UPDATE "orders" SET t='it''s' WHERE id=? AND (n=1 OR n>5) AND n IN [1,2] AND t IS MISSING AND n BETWEEN 1 AND 2 AND NOT n < 1`,
      [{ S: "a" }],
      { n: { N: "1" }, t: { S: "it's" } },
    ],
    [`UPDATE "orders" REMOVE "n" WHERE "id"=? AND begins_with("id", 'a')`, [{ S: "a" }], {}],
  ])("%s", async (statement, parameters, item) => {
    expect(await run(statement, parameters)).toEqual(DONE);
    expect(memory.items("orders")).toEqual([{ id: { S: "a" }, ...item }]);
  });

  it("deletes", async () => {
    expect(await run(`DELETE FROM "orders" WHERE "id"=? AND "n"=?`, [{ S: "a" }, { N: "1" }])).toEqual(DONE);
    expect(memory.items("orders")).toEqual([]);
  });

  it.each(["a", "absent"])(
    "is refused where its condition fails, and shows the item if that is asked for: %s",
    async (id) => {
      const refused = { Code: "ConditionalCheckFailed", Message: "The conditional request failed" };
      const statement = `UPDATE "orders" SET "n"=5 WHERE "id"=? AND "n"=7`;
      expect(await run(statement, [{ S: id }])).toEqual({ ...DONE, Error: refused });
      const Item = id === "a" ? { Item: { id: { S: "a" }, n: { N: "1" } } } : {};
      expect(await run(statement, [{ S: id }], { ReturnValuesOnConditionCheckFailure: "ALL_OLD" })).toEqual({
        ...DONE,
        Error: { ...refused, ...Item },
      });
    },
  );

  it.each<[statement: string, code: string, message: string]>([
    [
      `UPDATE "orders" SET n=1 WHERE n=2`,
      "ValidationError",
      "Where clause does not contain a mandatory equality on all key attributes",
    ],
    [
      `UPDATE "orders" SET n=1 WHERE id='a' OR n=2`,
      "ValidationError",
      "Where clause does not contain a mandatory equality",
    ],
    [
      `UPDATE "orders" SET n=? WHERE id='a'`,
      "ValidationError",
      "Number of parameters in request and statement don't match",
    ],
    [`UPDAT "orders" SET n=1 WHERE id='a'`, "ValidationError", "Statement wasn't well formed, can't be processed"],
    [`UPDATE "orders" SET id='b' WHERE id='a'`, "ValidationError", "Cannot update attribute id"],
    [`UPDATE "missing" SET n=1 WHERE id='a'`, "ResourceNotFound", "Requested resource not found"],
  ])("%s: %s", async (statement, Code, message) => {
    expect(await run(statement)).toMatchObject({ Error: { Code, Message: expect.stringContaining(message) } });
  });

  it("that it doesn't know is an error of the whole request", async () => {
    await expect(run(`SELECT * FROM "orders"`)).rejects.toThrow("does not support SELECT statements of PartiQL");
    await expect(run(`UPDATE "orders" SET n=1 WHERE id='a' RETURNING ALL OLD *`)).rejects.toThrow(
      "does not support RETURNING",
    );
  });
});

it("a batch has each item once, and at most 25 statements", async () => {
  const statements = (...ids: unknown[]) => ({
    Statements: ids.map((id) => ({ Statement: `UPDATE "orders" SET n=1 WHERE id='${id}'` })),
  });
  const send = (...ids: unknown[]) => memory.request("BatchExecuteStatement", statements(...ids));
  await expect(send(...Array(26).keys())).rejects.toThrow("less than or equal to 25");
  await expect(send("a", "b", "a")).rejects.toThrow("Provided list of item keys contains duplicates");
});
