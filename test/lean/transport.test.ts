/** The transport on a real engine: what it sends arrives, and what comes back is as from the AWS SDK. */
import {
  BatchExecuteStatementCommand,
  BatchGetItemCommand,
  DynamoDBClient,
  GetItemCommand,
  ScanCommand,
  TransactWriteItemsCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decode, encode } from "../../src/lean/json.ts";
import { connectLean } from "../../src/lean/transport.ts";
import { localConfig, lockTable } from "../support/dynamodb.ts";
import { json, startServer } from "../support/http-server.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
let TableName: string;
const transport = () => connectLean({ clientConfig: localConfig() });
const Key = { lock_id: { S: "bytes" } };
const bytes = (...values: number[]) => new Uint8Array(values);
/** Bytes at the top, in lists, maps and sets, and texts that look like bytes. */
const item = {
  ...Key,
  empty: { B: bytes() },
  whole: { B: bytes(0, 128, 255) },
  set: { BS: [bytes(1), bytes(2, 3)] },
  nested: { L: [{ M: { B: { B: bytes(4) }, BS: { S: "BS" } } }, { NULL: true }] },
  B: { S: "AAA=" },
  text: { S: '"B":"AAA="' },
};
beforeAll(async () => {
  table = await lockTable();
  TableName = table.tableName;
  await table.put(item);
});
afterAll(() => table.client.destroy());

/** What is read of a reply, or of an error. */
const partsOf = (reply: unknown) => {
  const { $metadata: _, name, Item, CancellationReasons, ...output } = reply as Record<string, unknown>;
  return reply instanceof Error ? { name, Item, CancellationReasons } : { Item, ...output };
};

describe("Bytes", () => {
  const read = () => ({ Statement: `SELECT * FROM "${TableName}" WHERE lock_id = ?`, Parameters: [Key.lock_id] });
  const again = () => ({
    Statement: `INSERT INTO "${TableName}" VALUE {'lock_id': ?, 'b': ?}`,
    Parameters: [Key.lock_id, { B: bytes(9) }],
    ReturnValuesOnConditionCheckFailure: "ALL_OLD" as const,
  });
  const refused = {
    Key,
    UpdateExpression: "SET x = :x",
    ConditionExpression: "attribute_not_exists(lock_id)",
    ExpressionAttributeValues: { ":x": { B: bytes(9) } },
    ReturnValuesOnConditionCheckFailure: "ALL_OLD" as const,
  };

  it.each([
    ["GetItem", GetItemCommand, () => ({ TableName, Key })],
    ["Scan", ScanCommand, () => ({ TableName })],
    ["BatchGetItem", BatchGetItemCommand, () => ({ RequestItems: { [TableName]: { Keys: [Key] } } })],
    [
      "UpdateItem",
      UpdateItemCommand,
      () => ({ TableName, Key, UpdateExpression: "SET n = n", ReturnValues: "ALL_OLD" }),
    ],
    ["BatchExecuteStatement", BatchExecuteStatementCommand, () => ({ Statements: [read()] })],
    ["BatchExecuteStatement", BatchExecuteStatementCommand, () => ({ Statements: [again()] })],
    ["UpdateItem", UpdateItemCommand, () => ({ TableName, ...refused })],
    [
      "TransactWriteItems",
      TransactWriteItemsCommand,
      () => ({ TransactItems: [{ Update: { TableName, ...refused } }] }),
    ],
  ] as const)("in the reply to %s are as from the AWS SDK", async (operation, Command, given) => {
    const ours = await transport()
      .send(operation, given())
      .catch((error: unknown) => error);
    const command = new (Command as new (input: object) => GetItemCommand)(given());
    const theirs: unknown = await new DynamoDBClient(localConfig()).send(command).catch((error: unknown) => error);
    expect(partsOf(ours)).toStrictEqual(partsOf(theirs));
  });

  it("arrive, of whatever kind they are", async () => {
    const { buffer } = bytes(7, 1, 2, 3, 8);
    const values = {
      ":a": { B: new Uint8Array(buffer, 1, 3) },
      ":b": { B: Buffer.from("hello") },
      ":c": { BS: [bytes(1)] },
    };
    const own = { lock_id: { S: "kinds" } };
    await transport().send("UpdateItem", {
      TableName,
      Key: own,
      UpdateExpression: "SET a = :a, b = :b, c = :c",
      ExpressionAttributeValues: values,
    });
    expect(await table.item("kinds")).toEqual({
      ...own,
      a: { B: bytes(1, 2, 3) },
      b: { B: new Uint8Array(Buffer.from("hello")) },
      c: { BS: [bytes(1)] },
    });
  });

  it("of any item survive the way out and back", () => {
    const leaf = fc.oneof(
      fc.uint8Array().map((B) => ({ B })),
      fc.array(fc.uint8Array(), { minLength: 1 }).map((BS) => ({ BS })),
      fc.string({ unit: "grapheme" }).map((S) => ({ S })),
      fc.constant({ NULL: true }),
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        leaf,
        fc.array(tie("value")).map((L) => ({ L })),
        tie("map"),
      ),
      map: fc
        .dictionary(fc.constantFrom("B", "BS", "M", "L", "a"), tie("value"), { noNullPrototype: true })
        .map((M) => ({ M })),
    }));
    fc.assert(
      fc.property(fc.dictionary(fc.string(), value, { noNullPrototype: true }), (any) => {
        const reply = { Item: any, Items: [any], CancellationReasons: [{ Item: any }, {}], Attributes: null };
        const statements = { Responses: [{ Item: any, TableName: "B" }, { Error: { Code: "B", Item: any } }, {}] };
        expect(decode(encode(statements))).toEqual(statements);
        const batch = { Responses: { B: [any] }, UnprocessedKeys: { B: { Keys: [any] }, L: {} } };
        expect(decode(encode(batch))).toEqual(batch);
        expect(decode(encode(reply))).toEqual(reply);
      }),
    );
  });
});

describe("A request", () => {
  it("has the headers of DynamoDB's protocol, and a signature", async () => {
    await using server = await startServer((_request, response) => json(response, 200, {}));
    const credentials = { accessKeyId: "a", secretAccessKey: "b", sessionToken: "c" };
    const clientConfig = { region: "eu-west-1", endpoint: `${server.endpoint}/path`, credentials };
    await connectLean({ clientConfig }).send("GetItem", { TableName: "ключи" });
    expect(server.received).toMatchObject([
      {
        method: "POST",
        url: "/path/",
        body: '{"TableName":"ключи"}',
        headers: {
          host: new URL(server.endpoint).host,
          "content-type": "application/x-amz-json-1.0",
          "content-length": "26",
          "x-amz-target": "DynamoDB_20120810.GetItem",
          "x-amz-security-token": "c",
          "user-agent": "middy-dynamo-lock/lean",
          authorization: expect.stringMatching(
            /^AWS4-HMAC-SHA256 Credential=a\/\d{8}\/eu-west-1\/dynamodb\/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature=[0-9a-f]{64}$/,
          ),
        },
      },
    ]);
  });

  it("with a transaction has one token in all its attempts, unless it brings its own", async () => {
    await using server = await startServer((_request, response, n) => json(response, n % 2 ? 500 : 200, {}));
    const clientConfig = { ...localConfig(), endpoint: server.endpoint };
    const { send } = connectLean({ clientConfig });
    await send("TransactWriteItems", { TransactItems: [] });
    await send("TransactWriteItems", { TransactItems: [] });
    await send("TransactWriteItems", { TransactItems: [], ClientRequestToken: "mine" });
    const tokens = server.received.map(({ body }) => JSON.parse(body).ClientRequestToken as string);
    expect(tokens[0]).toMatch(/^[0-9a-f-]{36}$/);
    expect(tokens).toEqual([tokens[0], tokens[0], tokens[2], tokens[2], "mine", "mine"]);
    expect(tokens[0]).not.toBe(tokens[2]);
  });

  it("of a process with nothing else to do doesn't keep it awake once it is answered", async () => {
    const { execFile } = await import("node:child_process");
    const { promisify } = await import("node:util");
    const url = JSON.stringify(new URL("../../src/lean/transport.ts", import.meta.url).href);
    const config = JSON.stringify(localConfig());
    const script = `
      const { connectLean } = await import(${url});
      await connectLean({ clientConfig: ${config} }).send("GetItem", ${JSON.stringify({ TableName, Key })});
      const at = performance.now();
      process.on("exit", () => console.log(performance.now() - at));`;
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script]);
    expect(Number(stdout)).toBeLessThan(3_000);
  });
});

describe("Settings", () => {
  it.each([
    [{ profile: "mine" }, "clientConfig: unknown option 'profile'; options are region, endpoint, credentials,"],
    [{ region: 7 }, "clientConfig: region must be"],
    [{ endpoint: {} }, "clientConfig: endpoint must be"],
    [{ credentials: { accessKeyId: "a" } }, "clientConfig: credentials must be"],
    [{ maxAttempts: 0 }, "clientConfig: maxAttempts must be"],
    [{ requestHandler: { requestTimeout: "1s" } }, "clientConfig.requestHandler: requestTimeout must be"],
    [{ requestHandler: { proxy: "x" } }, "clientConfig.requestHandler: unknown option 'proxy'"],
    [{ useFipsEndpoint: "true" }, "clientConfig: useFipsEndpoint must be a boolean"],
  ])("%j is refused: %s", (clientConfig, message) => {
    expect(() => connectLean({ clientConfig: clientConfig as never })).toThrow(message);
  });
});
