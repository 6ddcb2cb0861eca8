/** The doors of `middy-dynamo-lock/lean`, on a real engine, and the examples of docs/lean.md, each a module in `without-sdk/`. */
import { randomUUID } from "node:crypto";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient } from "@aws-sdk/lib-dynamodb";
import middy from "@middy/core";
import { beforeAll, describe, expect, it, vi } from "vitest";
import * as main from "../src/index.ts";
import * as lean from "../src/lean.ts";
import { localConfig, lockTable } from "./support/dynamodb.ts";
import { expectExamples, runExamples } from "./support/examples.ts";
import { lambdaContext } from "./support/lambda.ts";

const domain = {
  makeReport: vi.fn(async () => ({ lines: 3 })),
  assumeRole: vi.fn(async () => ({
    accessKeyId: "a",
    secretAccessKey: "b",
    sessionToken: "c",
    expiration: new Date(),
  })),
};
runExamples(domain);

let table: Awaited<ReturnType<typeof lockTable>>;
let tableName: string;
beforeAll(async () => {
  table = await lockTable();
  tableName = table.tableName;
});

const options = () => ({ tableName, clientConfig: localConfig(), namespace: randomUUID() });
interface Day {
  readonly date: string;
}
const event: Day = { date: "2026-11-21" };

/** A handler is called as Lambda does: what its middlewares add to the context is not there yet. */
const invoke = (handler: unknown, given: unknown = event): Promise<unknown> =>
  (handler as (event: unknown, context: object) => Promise<unknown>)(given, lambdaContext());

describe("Without the AWS SDK", () => {
  it("dynamoLock runs a handler once, and replays its response", async () => {
    let runs = 0;
    const handler = middy<Day>()
      .use(lean.dynamoLock<Day>({ key: ({ date }) => date, ...options() }))
      .handler(async (_event, { lock }) => ({ run: ++runs, isHeld: lock.remainingMs > 0 }));
    const first = await invoke(handler);
    expect(first).toEqual({ run: 1, isHeld: true });
    expect(await invoke(handler)).toEqual(first);
  });

  it("a large response, compressed beside the record, comes back as it was", async () => {
    const response = { text: Array.from({ length: 2_000 }, () => randomUUID()).join() };
    const handler = lean.withLock(async (_event: Day) => response, { key: ({ date }) => date, ...options() });
    await invoke(handler);
    expect(await invoke(handler)).toEqual(response);
  });

  it("dynamoLockBatch and withLockBatch give back the records that another run holds", async () => {
    const own = options();
    const holder = new lean.LockClient(own);
    await holder.acquire("held");
    const Records = ["held", "free"].map((messageId) => ({ messageId, eventSource: "aws:sqs" }));
    const seen: unknown[] = [];
    const work = async ({ Records: given }: { Records: { messageId: string }[] }) => {
      seen.push(...given.map(({ messageId }) => messageId));
      return { batchItemFailures: [] };
    };
    const key = ({ messageId }: { messageId: string }) => messageId;
    const failures = { batchItemFailures: [{ itemIdentifier: "held" }] };
    const wrapped = lean.withLockBatch(work, { key, ...own });
    expect(await invoke(wrapped, { Records })).toEqual(failures);
    const chain = middy()
      .use(lean.dynamoLockBatch({ key, ...own }))
      .handler(work as (event: unknown) => Promise<unknown>);
    expect(await invoke(chain, { Records })).toEqual(failures);
    expect(seen).toEqual(["free"]);
    await holder.close();
  });

  it("dynamoSemaphore and withSemaphore share their permits with the main entry point", async () => {
    const own = options();
    const taken = await main.semaphore(new main.LockClient(own), "api", { permits: 1 }).acquire();
    const key = () => "api";
    const wrapped = lean.withSemaphore(async () => "called", { key, permits: 1, ...own });
    const chain = middy()
      .use(lean.dynamoSemaphore({ key, permits: 1, ...own }))
      .handler(async () => "called");
    await expect(invoke(wrapped)).rejects.toThrow(main.LockHeldError);
    await expect(invoke(chain)).rejects.toThrow(main.LockHeldError);
    await taken.release();
    expect(await invoke(wrapped)).toBe("called");
    expect(await invoke(chain)).toBe("called");
  });

  it("a lock excludes those over the SDK, commits with others' items, and is shown to operators", async () => {
    const own = options();
    await using locks = { client: new lean.LockClient(own), [Symbol.asyncDispose]: () => locks.client.close() };
    const lock = await locks.client.acquire("a");
    expect(await new main.LockClient(own).tryAcquire("a")).toBeUndefined();
    const Item = { lock_id: { S: `${own.namespace}-effect` }, bytes: { B: Buffer.from([1, 2]) } };
    await lock.commit([{ Put: { TableName: tableName, Item } }], { result: { done: true } });
    expect(await table.item(`${own.namespace}-effect`)).toMatchObject({ bytes: { B: new Uint8Array([1, 2]) } });
    expect(await locks.client.get("a")).toMatchObject({ status: "FINISHED", result: { value: { done: true } } });
    const listed: string[] = [];
    for await (const { key } of lean.listLocks(locks.client)) listed.push(key);
    expect(listed.filter((key) => key.startsWith(own.namespace))).toEqual([`${own.namespace}#a`]);
  });

  it("a missing table is made, and named in the error where it may not be", async () => {
    const missing = { ...options(), tableName: `missing-${randomUUID()}` };
    const refused = new lean.LockClient(missing).acquire("a");
    await expect(refused).rejects.toThrow(`Table ${missing.tableName} does not exist in eu-west-1`);
    const lock = await new lean.LockClient({ ...missing, ensureTable: true }).acquire("a");
    expect(lock.status).toBe("held");
    const description = await lean.createLockTable(localConfig(), { tableName: missing.tableName });
    expect(description).toMatchObject({ TableStatus: "ACTIVE", CreationDateTime: expect.any(Date) });
  });
});

describe("In place of DynamoDB", () => {
  it("an engine answers, and no client is made", async () => {
    const requests: [operation: string, input: object][] = [];
    const engine = {
      request: async (operation: string, input: object) => {
        requests.push([operation, input]);
        return {};
      },
    };
    const handler = lean.withLock(async () => 42, { key: () => "a", client: engine });
    expect(await invoke(handler)).toBe(42);
    expect(requests.map(([operation]) => operation)).toEqual(["UpdateItem", "UpdateItem"]);
    const lock = await new lean.LockClient({ client: engine }).acquire(["a", "b"]);
    expect(requests.at(-1)).toMatchObject(["TransactWriteItems", { ClientRequestToken: expect.any(String) }]);
    await lock.release();
  });

  it("an engine's refusal is one of DynamoDB's", async () => {
    const held = { lock_id: { S: "a" }, status: { S: "IN_PROGRESS" }, token: { S: "t" } };
    const refusal = Object.assign(new Error("no"), { name: "ConditionalCheckFailedException", Item: held });
    const engine = { request: async () => Promise.reject(refusal) };
    await expect(new lean.LockClient({ client: engine }).acquire("a")).rejects.toThrow(main.LockError);
  });

  it.each([
    ["a DynamoDBClient", () => new DynamoDBClient({ region: "eu-west-1" })],
    ["a DynamoDBDocumentClient", () => DynamoDBDocumentClient.from(new DynamoDBClient({ region: "eu-west-1" }))],
  ])("%s is refused, with what to do", (_what, make) => {
    const client = make() as never;
    const told =
      /client: middy-dynamo-lock\/lean sends its requests without the AWS SDK.* import from middy-dynamo-lock/;
    expect(() => new lean.LockClient({ client })).toThrow(main.LockOptionsError);
    expect(() => new lean.LockClient({ client })).toThrow(told);
    expect(() => lean.dynamoLock({ key: () => "a", client })).toThrow(told);
  });

  it("an engine without send is refused by the main entry point, which names the other", () => {
    const client = { request: async () => ({}) } as never;
    expect(() => new main.LockClient({ client })).toThrow("needs middy-dynamo-lock/lean");
  });

  it("client and clientConfig contradict each other here, too", () => {
    const client = { request: async () => ({}) };
    expect(() => new lean.LockClient({ client, clientConfig: {} })).toThrow(
      "client and clientConfig contradict each other",
    );
  });
});

describe("docs/lean.md", () => {
  it("has each example, and no other", () => expectExamples("docs/lean.md", "without-sdk"));

  it("report: runs once a day, with nothing but the environment of a Lambda", async () => {
    const { handler } = await import("./without-sdk/report.ts");
    const day = { time: "2026-11-23T06:00:00Z" };
    expect(await invoke(handler, day)).toEqual({ lines: 3 });
    expect(await invoke(handler, day)).toEqual({ lines: 3 });
    expect(domain.makeReport).toHaveBeenCalledOnce();
  });

  it("role: asks for credentials when they are needed, and again when they have expired", async () => {
    const { locks } = await import("./without-sdk/role.ts");
    expect(domain.assumeRole).not.toHaveBeenCalled();
    await locks.run("a", () => {});
    expect(domain.assumeRole.mock.calls).toEqual([["locks"], ["locks"]]);
    await locks.close();
  });
});
