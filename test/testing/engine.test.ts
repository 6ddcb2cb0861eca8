/** What the engine in memory answers, in DynamoDB's own words. */
import { describe, expect, it } from "vitest";
import { memoryDynamoDB } from "../../src/testing.ts";

const TableName = "orders";
const setUp = async (item: object = {}) => {
  const memory = memoryDynamoDB({
    tables: { orders: "id", readings: { key: "sensor", sortKey: { name: "at", type: "N" } } },
  });
  await memory.request("PutItem", { TableName, Item: { id: { S: "a" }, ...item } });
  const update = (UpdateExpression: string, values?: object, more: object = {}) =>
    memory.request("UpdateItem", {
      TableName,
      Key: { id: { S: "a" } },
      UpdateExpression,
      ...(values && { ExpressionAttributeValues: values }),
      ...more,
    });
  const holds = async (ConditionExpression: string, values?: object) =>
    memory
      .request("UpdateItem", {
        TableName,
        Key: { id: { S: "a" } },
        ConditionExpression,
        ...(values && { ExpressionAttributeValues: values }),
      })
      .then(
        () => true,
        (error: Error) => (error.name === "ConditionalCheckFailedException" ? false : Promise.reject(error)),
      );
  return { memory, update, holds, item: () => memory.items(TableName)[0] };
};

const ITEM = {
  n: { N: "10" },
  s: { S: "hello" },
  m: { M: { x: { N: "1" } } },
  l: { L: [{ S: "a" }, { N: "2" }] },
  nothing: { L: [] },
  ss: { SS: ["a", "b"] },
  b: { B: Uint8Array.of(1, 2, 3) },
};

describe("a condition", () => {
  it.each<[expected: boolean, condition: string, values?: object]>([
    [true, "n = :v", { ":v": { N: "10.0" } }],
    [false, "n = :v", { ":v": { S: "10" } }],
    [true, "n > :v", { ":v": { N: "9" } }],
    [false, "s > :v", { ":v": { N: "9" } }],
    [false, "absent < :v", { ":v": { N: "9" } }],
    [true, "NOT absent < :v", { ":v": { N: "9" } }],
    [true, "absent <> :v", { ":v": { N: "9" } }],
    [false, "absent = nowhere"],
    [true, "n BETWEEN :low AND :high", { ":low": { N: "9" }, ":high": { N: "1e1" } }],
    [true, "s IN (:v, :w)", { ":v": { S: "x" }, ":w": { S: "hello" } }],
    [true, "size(s) = :v AND size(l) < :v", { ":v": { N: "5" } }],
    [true, "begins_with(s, :v)", { ":v": { S: "he" } }],
    [false, "begins_with(l, nothing)"],
    [true, "contains(s, :v) and contains(ss, :w) and contains(l, :w)", { ":v": { S: "ell" }, ":w": { S: "a" } }],
    [true, "attribute_type(m, :v)", { ":v": { S: "M" } }],
    [true, "attribute_exists(m.x) AND attribute_not_exists(m.y) AND attribute_exists(l[1])"],
    [true, "b = :v", { ":v": { B: Uint8Array.of(1, 2, 3) } }],
    [true, "ss = :v", { ":v": { SS: ["b", "a"] } }],
    // AND binds before OR, and NOT before both.
    [true, "attribute_exists(id) OR attribute_exists(x) AND attribute_exists(y)"],
    [false, "(attribute_exists(id) OR attribute_exists(x)) AND attribute_exists(y)"],
    [true, "NOT attribute_exists(x) AND attribute_exists(id)"],
  ])("%s: %s", async (expected, condition, values) => {
    const { holds } = await setUp(ITEM);
    expect(await holds(condition, values)).toBe(expected);
  });

  it.each<[condition: string, message: string, values?: object]>([
    ["status = :v", "Attribute name is a reserved keyword; reserved keyword: status", { ":v": { N: "1" } }],
    [
      "n = :v",
      "Value provided in ExpressionAttributeValues unused in expressions: keys: {:w}",
      { ":v": { N: "1" }, ":w": { N: "1" } },
    ],
    ["n = :v", "An expression attribute value used in expression is not defined; attribute value: :v"],
    ["#n = m", "An expression attribute name used in the document path is not defined; attribute name: #n"],
    ["n == :v", 'Syntax error; token: "=", near: "== :v"', { ":v": { N: "1" } }],
    ["(n = m", 'Syntax error; token: "<EOF>", near: "m"'],
    ["((n = m))", "The expression has redundant parentheses"],
    ["n = n", "The first operand must be distinct from the remaining operands"],
    ["foo(n)", "Invalid function name; function: foo"],
    ["size(n)", "The function is not allowed to be used this way in an expression; function: size"],
    [
      "n < :v",
      "Incorrect operand type for operator or function; operator or function: <, operand type: BOOL",
      { ":v": { BOOL: true } },
    ],
    [
      "n BETWEEN :v AND :w",
      "The BETWEEN operator requires upper bound to be greater",
      { ":v": { N: "2" }, ":w": { N: "1" } },
    ],
    ["", "The expression can not be empty"],
  ])("%s is refused: %s", async (condition, message, values) => {
    const { holds } = await setUp();
    await expect(holds(condition, values)).rejects.toThrow(message);
  });

  it("may have parentheses beside each other", async () => {
    const { holds } = await setUp(ITEM);
    expect(await holds("((n = m) OR (s = m)) AND (n = s)")).toBe(false);
  });

  it("that fails shows the item, if that is asked for", async () => {
    const { update } = await setUp({ n: { N: "1" } });
    const write = (more: object) =>
      update("SET n = :v", { ":v": { N: "2" } }, { ConditionExpression: "n > :v", ...more });
    const failure = { name: "ConditionalCheckFailedException", message: "The conditional request failed" };
    await expect(write({})).rejects.toMatchObject({ ...failure, $metadata: { httpStatusCode: 400 } });
    await expect(write({ ReturnValuesOnConditionCheckFailure: "ALL_OLD" })).rejects.toMatchObject({
      ...failure,
      Item: { id: { S: "a" }, n: { N: "1" } },
    });
  });
});

describe("an update", () => {
  it.each<[expression: string, item: object, values?: object]>([
    [
      "SET n = n + :v, m.y = :v",
      { ...ITEM, n: { N: "11" }, m: { M: { x: { N: "1" }, y: { N: "1" } } } },
      { ":v": { N: "1" } },
    ],
    ["SET n = if_not_exists(absent, :v) - :v", { ...ITEM, n: { N: "0" } }, { ":v": { N: "1" } }],
    ["SET l[7] = :v, l[0] = :v", { ...ITEM, l: { L: [{ N: "1" }, { N: "2" }, { N: "1" }] } }, { ":v": { N: "1" } }],
    [
      "SET l = list_append(:v, l)",
      { ...ITEM, l: { L: [{ N: "1" }, { S: "a" }, { N: "2" }] } },
      { ":v": { L: [{ N: "1" }] } },
    ],
    ["REMOVE l[0], l[1], m.x, absent", { ...ITEM, l: { L: [] }, m: { M: {} } }],
    ["ADD n :v, more :v", { ...ITEM, n: { N: "10.5" }, more: { N: "0.5" } }, { ":v": { N: "0.5" } }],
    ["ADD ss :v", { ...ITEM, ss: { SS: ["a", "b", "c"] } }, { ":v": { SS: ["b", "c"] } }],
    ["DELETE ss :v", { ...ITEM, ss: undefined }, { ":v": { SS: ["a", "b"] } }],
    ["SET n = s, s = n", { ...ITEM, n: ITEM.s, s: ITEM.n }],
  ])("%s", async (expression, item, values) => {
    const { update, ...table } = await setUp(ITEM);
    await update(expression, values);
    expect(table.item()).toEqual({ id: { S: "a" }, ...item });
  });

  it.each<[expression: string, message: string, values?: object]>([
    ["SET id = :v", "Cannot update attribute id. This attribute is part of the key", { ":v": { S: "b" } }],
    ["SET m.x = :v, m = :v", "Two document paths overlap with each other", { ":v": { N: "1" } }],
    ["SET m.x = :v, m[0] = :v", "Two document paths conflict with each other", { ":v": { N: "1" } }],
    ["SET n = :v SET s = :v", 'The "SET" section can only be used once', { ":v": { N: "1" } }],
    [
      "SET absent.x = :v",
      "The document path provided in the update expression is invalid for update",
      { ":v": { N: "1" } },
    ],
    ["SET n = absent", "The provided expression refers to an attribute that does not exist in the item"],
    ["SET n = s + :v", "An operand in the update expression has an incorrect data type", { ":v": { N: "1" } }],
    ["SET n = :v + n", "operator or function: +, operand type: S", { ":v": { S: "1" } }],
    ["SET s = :v", "Item size to update has exceeded the maximum allowed size", { ":v": { S: "x".repeat(409_600) } }],
  ])("%s is refused: %s", async (expression, message, values) => {
    const { update, ...table } = await setUp(ITEM);
    await expect(update(expression, values)).rejects.toThrow(message);
    expect(table.item()).toEqual({ id: { S: "a" }, ...ITEM });
  });

  it("gives back what it is asked for", async () => {
    const { update } = await setUp({ n: { N: "1" }, s: { S: "x" } });
    const add = (ReturnValues: string) => update("SET n = n + :v", { ":v": { N: "1" } }, { ReturnValues });
    expect(await add("UPDATED_NEW")).toEqual({ Attributes: { n: { N: "2" } } });
    expect(await add("UPDATED_OLD")).toEqual({ Attributes: { n: { N: "2" } } });
    expect(await add("ALL_OLD")).toEqual({ Attributes: { id: { S: "a" }, n: { N: "3" }, s: { S: "x" } } });
    expect(await add("NONE")).toEqual({});
  });
});

describe("a value", () => {
  it.each<[value: object, stored: string | object]>([
    [{ N: "0010.50" }, { N: "10.5" }],
    [{ N: "-1e3" }, { N: "-1000" }],
    [{ N: "1e-3" }, { N: "0.001" }],
    [{ N: "-0" }, { N: "0" }],
    [{ N: "x" }, "The parameter cannot be converted to a numeric value: x"],
    [{ N: "1".repeat(39) }, "Attempting to store more than 38 significant digits in a Number"],
    [{ N: "1e126" }, "Number overflow"],
    [{ N: "1e-131" }, "Number underflow"],
    [{ SS: [] }, "may not be empty"],
    [{ SS: ["a", "a"] }, "contains duplicates"],
    [{ NULL: false }, "Null attribute value types must have the value of true"],
    [{}, "Supplied AttributeValue is empty"],
    [{ S: "a", N: "1" }, "Supplied AttributeValue has more than one datatypes set"],
    [{ S: 5 }, "NUMBER_VALUE cannot be converted to String"],
  ])("%j", async (value, stored) => {
    const { memory, item } = await setUp();
    const write = memory.request("PutItem", { TableName, Item: { id: { S: "a" }, value } });
    if (typeof stored === "string") await expect(write).rejects.toThrow(stored);
    else {
      await write;
      expect(item()?.value).toEqual(stored);
    }
  });

  it("is a copy: what the caller does with its own, or with what it got, changes nothing", async () => {
    const { memory, item } = await setUp();
    const list = { L: [{ S: "x" }] };
    await memory.request("PutItem", { TableName, Item: { id: { S: "a" }, list } });
    list.L.push({ S: "y" });
    item()?.list?.L?.push({ S: "z" });
    expect(item()?.list).toEqual({ L: [{ S: "x" }] });
  });
});

describe("a key", () => {
  it.each<[operation: string, input: object, message: string]>([
    ["GetItem", { Key: { nr: { S: "a" } } }, "The provided key element does not match the schema"],
    ["GetItem", { Key: { id: { N: "1" } } }, "The provided key element does not match the schema"],
    ["GetItem", { Key: { id: { S: "" } } }, "cannot contain an empty string value. Key: id"],
    [
      "GetItem",
      { Key: { id: { S: "x".repeat(2049) } } },
      "Size of hashkey has exceeded the maximum size limit of2048 bytes",
    ],
    ["PutItem", { Item: { nr: { S: "a" } } }, "Missing the key id in the item"],
    ["PutItem", { Item: { id: { N: "1" } } }, "Type mismatch for key id expected: S actual: N"],
  ])("%s %j is refused: %s", async (operation, input, message) => {
    const { memory } = await setUp();
    await expect(memory.request(operation, { TableName, ...input })).rejects.toThrow(message);
  });

  it("may have a second attribute, and be a number", async () => {
    const { memory } = await setUp();
    const Key = { sensor: { S: "s" }, at: { N: "1.0" } };
    await memory.request("PutItem", { TableName: "readings", Item: { ...Key, value: { N: "5" } } });
    expect(await memory.request("GetItem", { TableName: "readings", Key: { ...Key, at: { N: "1" } } })).toEqual({
      Item: { sensor: { S: "s" }, at: { N: "1" }, value: { N: "5" } },
    });
  });
});

describe("a transaction", () => {
  const put = (id: string, more: object = {}) => ({ Put: { TableName, Item: { id: { S: id } }, ...more } });

  it("writes all or nothing, and says which parts were refused", async () => {
    const { memory } = await setUp();
    const refused = put("a", {
      ConditionExpression: "attribute_not_exists(id)",
      ReturnValuesOnConditionCheckFailure: "ALL_OLD",
    });
    await expect(memory.request("TransactWriteItems", { TransactItems: [put("b"), refused] })).rejects.toMatchObject({
      name: "TransactionCanceledException",
      message:
        "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed]",
      CancellationReasons: [{ Code: "None" }, { Code: "ConditionalCheckFailed", Item: { id: { S: "a" } } }],
    });
    expect(memory.items(TableName)).toHaveLength(1);
    await memory.request("TransactWriteItems", { TransactItems: [put("b"), put("c")] });
    expect(memory.items(TableName)).toHaveLength(3);
  });

  it("is applied once per token, for ten minutes", async () => {
    let now = Date.now();
    const memory = memoryDynamoDB({ tables: { orders: "id" }, clock: { now: () => now } });
    const add = {
      Update: {
        TableName,
        Key: { id: { S: "a" } },
        UpdateExpression: "ADD n :v",
        ExpressionAttributeValues: { ":v": { N: "1" } },
      },
    };
    const send = (part: object) =>
      memory.request("TransactWriteItems", { ClientRequestToken: "t", TransactItems: [part] });
    await send(add);
    await send(add);
    expect(memory.items(TableName)).toEqual([{ id: { S: "a" }, n: { N: "1" } }]);
    await expect(send(put("b"))).rejects.toMatchObject({ name: "IdempotentParameterMismatchException" });
    now += 600_000;
    await send(add);
    expect(memory.items(TableName)).toEqual([{ id: { S: "a" }, n: { N: "2" } }]);
  });

  it("has each item once", async () => {
    const { memory } = await setUp();
    await expect(memory.request("TransactWriteItems", { TransactItems: [put("b"), put("b")] })).rejects.toThrow(
      "Transaction request cannot include multiple operations on one item",
    );
  });
});

describe("a scan", () => {
  it("gives pages, and the parts of items that are asked for", async () => {
    const { memory } = await setUp();
    for (const id of ["b", "c", "d"]) {
      await memory.request("PutItem", { TableName, Item: { id: { S: id }, l: { L: [{ N: "1" }, { N: "2" }] } } });
    }
    const found: unknown[] = [];
    let ExclusiveStartKey: object | undefined;
    do {
      const page = (await memory.request("Scan", {
        TableName,
        Limit: 2,
        ExclusiveStartKey,
        FilterExpression: "id <> :b",
        ExpressionAttributeValues: { ":b": { S: "b" } },
        ProjectionExpression: "id, l[1]",
      })) as { Items: object[]; LastEvaluatedKey?: object };
      found.push(...page.Items);
      ExclusiveStartKey = page.LastEvaluatedKey;
    } while (ExclusiveStartKey);
    expect(found).toEqual([
      { id: { S: "a" } },
      { id: { S: "c" }, l: { L: [{ N: "2" }] } },
      { id: { S: "d" }, l: { L: [{ N: "2" }] } },
    ]);
  });
});

describe("a query", () => {
  const ask = async (KeyConditionExpression: string, values: object, more: object = {}) => {
    const { memory } = await setUp();
    const RequestItems = {
      readings: [10, 9, 1].map((at) => ({ PutRequest: { Item: { sensor: { S: "s" }, at: { N: `${at}` } } } })),
    };
    await memory.request("BatchWriteItem", { RequestItems });
    const { Items, LastEvaluatedKey } = (await memory.request("Query", {
      TableName: "readings",
      KeyConditionExpression,
      ExpressionAttributeNames: { "#at": "at" },
      ExpressionAttributeValues: { ":s": { S: "s" }, ...values },
      ...more,
    })) as { Items: { at: { N: string } }[]; LastEvaluatedKey?: object };
    return [Items.map(({ at }) => at.N).join(" "), LastEvaluatedKey];
  };

  it("gives the items of a partition in their order", async () => {
    expect(await ask("sensor = :s AND #at > :n", { ":n": { N: "1" } })).toEqual(["9 10", undefined]);
    expect(await ask("(sensor = :s) AND #at BETWEEN :n AND :n", { ":n": { N: "9" } })).toEqual(["9", undefined]);
    expect(await ask("sensor = :s AND #at >= :n", { ":n": { N: "0" } }, { ScanIndexForward: false, Limit: 2 })).toEqual(
      ["10 9", { sensor: { S: "s" }, at: { N: "9" } }],
    );
  });

  it("without its partition is refused", async () => {
    await expect(ask("#at = :n AND #at = :s", { ":n": { N: "1" } })).rejects.toThrow(
      "Query condition missed key schema element",
    );
  });
});

describe("what it doesn't know", () => {
  it.each<[operation: string, input: object, what: string]>([
    ["UpdateTable", { TableName }, "does not support UpdateTable. It has BatchExecuteStatement"],
    [
      "GetItem",
      { TableName, Key: { id: { S: "a" } }, AttributesToGet: ["id"] },
      "does not support AttributesToGet in GetItem",
    ],
    [
      "TransactWriteItems",
      { TransactItems: [{ Put: { TableName, Expected: {} } }] },
      "does not support Expected in Put of TransactItems",
    ],
    [
      "CreateTable",
      { TableName: "new", GlobalSecondaryIndexes: [] },
      "does not support GlobalSecondaryIndexes in CreateTable",
    ],
  ])("%s %j is refused, and not ignored", async (operation, input, what) => {
    const { memory } = await setUp();
    await expect(memory.request(operation, input)).rejects.toMatchObject({
      name: "NotSupportedInMemory",
      message: expect.stringContaining(what),
    });
  });

  it("a table that is not there", async () => {
    const { memory } = await setUp();
    await expect(memory.request("GetItem", { TableName: "missing", Key: { id: { S: "a" } } })).rejects.toMatchObject({
      name: "ResourceNotFoundException",
    });
  });
});
