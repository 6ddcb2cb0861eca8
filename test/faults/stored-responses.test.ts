/** Responses in a companion item, fingerprints and headers: what a repeat gets, and what it costs. */
import { DeleteItemCommand, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { createLockTable, type LockContext, PayloadMismatchError, withLock } from "../../src/index.ts";
import { attemptLock } from "../../src/lock/attempt.ts";
import { lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";
import { locksOf } from "../support/locks.ts";
import { aProcess, losing, lost, noise } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

let count = 0;
const freshKey = () => `stored-${++count}`;
/** Doesn't compress. */
const big = (seed: string) => noise(8_000, seed);

const metered = (tableName: string, options: Parameters<typeof aProcess>[1] = {}) => {
  const process = aProcess(tableName, options);
  const consumed: [string, number][] = [];
  process.client.middlewareStack.add(
    (next, context) => async (args) => {
      Object.assign(args.input, { ReturnConsumedCapacity: "TOTAL" });
      const result = await next(args);
      const { ConsumedCapacity } = result.output as { ConsumedCapacity?: { CapacityUnits: number } };
      consumed.push([String(context.commandName).replace("Command", ""), ConsumedCapacity?.CapacityUnits ?? 0]);
      return result;
    },
    { step: "initialize", name: "meter" },
  );
  return { ...process, consumed };
};

describe("a response that is stored a second time", () => {
  it("after a commit whose reply was lost, doesn't replace the committed one", async () => {
    const { locks, state } = aProcess(table.tableName);
    const key = freshKey();
    const lock = await locks.acquire(key);
    state.wire = async ({ name, send }) => {
      const reply = await send();
      if (name === "TransactWriteItems") throw lost();
      return reply;
    };
    await lock.commit([], { result: big("committed") }).catch(() => {});
    state.wire = async ({ send }) => send();
    await lock.finish({ result: big("of the middleware") });
    expect(await locks.once(key, () => "again")).toBe(big("committed"));
  });

  it("doesn't make it go before the record: TTL", async () => {
    const { locks, state } = aProcess(table.tableName, { retentionMs: 2_000 });
    const key = freshKey();
    const lock = await locks.acquire(key);
    state.wire = losing(3);
    await lock.finish({ result: big("a"), rememberMs: 30 * 24 * 3_600_000 }).catch(() => {});
    await lock.finish({ result: big("a"), rememberMs: 60_000 });
    const [record, companion] = [await table.item(key), await table.item(`${key}#result#${lock.token}`)];
    expect(Number(companion?.ttl?.N)).toBeGreaterThanOrEqual(Number(record?.ttl?.N));
  });
});

describe("get", () => {
  it("of a record that is over, and whose response TTL has deleted already, gives the record", async () => {
    const { locks, clock, client } = aProcess(table.tableName, { retentionMs: 2_000 });
    const key = freshKey();
    await locks.once(key, () => big("x"), { rememberMs: 60_000 });
    const resultKey = (await locks.get(key))?.resultKey as string;
    clock.advance(3 * 3_600_000); // TTL deletes within days of the time, in no order
    await client.send(new DeleteItemCommand({ TableName: table.tableName, Key: { lock_id: { S: resultKey } } }));
    expect(await locks.get(key).catch((error: Error) => error.message)).toMatchObject({ status: "FINISHED" });
  });
});

describe("a response that can't be decompressed", () => {
  it("is a LockError", async () => {
    const { locks, client } = aProcess(table.tableName);
    const key = freshKey();
    await locks.once(key, () => big("x"));
    const resultKey = (await locks.get(key))?.resultKey as string;
    await client.send(
      new UpdateItemCommand({
        TableName: table.tableName,
        Key: { lock_id: { S: resultKey } },
        UpdateExpression: "SET #r = :r",
        ExpressionAttributeNames: { "#r": "result" },
        ExpressionAttributeValues: { ":r": { B: Buffer.from("broken") } },
      }),
    );
    await expect(locks.once(key, () => "again")).rejects.toMatchObject({ code: expect.stringMatching(/^LOCK_/) });
  });
});

describe("a record has at most 4 kB, and one that has its response beside it at most 1 kB", () => {
  it("for every mix of key, owner, data, status, payload and response", async () => {
    const text = (maxLength: number) => fc.string({ unit: "grapheme", minLength: 1, maxLength });
    await fc.assert(
      fc.asyncProperty(
        text(60),
        text(60),
        fc.option(fc.jsonValue({ maxDepth: 1 }), { nil: undefined }),
        fc.option(text(60), { nil: undefined }),
        fc.boolean(),
        fc.integer({ min: 0, max: 7_000 }),
        async (key, owner, data, status, hasFingerprint, bytes) => {
          fc.pre((JSON.stringify(data)?.length ?? 0) < 300);
          const { locks, consumed } = metered(table.tableName, { owner });
          const name = `${freshKey()}${key}`;
          const lock = await attemptLock(locksOf(locks), [name], {
            data,
            ...(hasFingerprint && { fingerprint: "f".repeat(43) }),
          });
          if (!("finish" in lock)) throw new Error("taken");
          await lock.finish({ result: noise(bytes, name), ...(status !== undefined && { status }) });
          const units = consumed.at(-1)?.[1] as number;
          expect(consumed[0]).toEqual(["UpdateItem", 1]);
          expect(units).toBeLessThanOrEqual(consumed.length === 2 ? 4 : 1);
        },
      ),
      { numRuns: 150 },
    );
  });

  const atEverySize = async (run: (bytes: number) => Promise<number>) => {
    const units: number[] = [];
    for (let bytes = 300; bytes <= 6_000; bytes += 100) units.push(await run(bytes));
    return Math.max(...units);
  };

  it("in a table with a sort key", async () => {
    const tableName = `${table.tableName}-sorted`;
    const sortKey = { attribute: "sort_key_of_the_table", value: "LOCK#".padEnd(150, "v") };
    await createLockTable(table.client, { tableName, sortKey: { attribute: sortKey.attribute, type: "S" } });
    const worst = await atEverySize(async (bytes) => {
      const { locks, consumed } = metered(tableName, { sortKey });
      await locks.once(freshKey(), () => noise(bytes, "s"));
      return consumed.at(-1)?.[1] ?? 0;
    });
    expect(worst).toBe(4);
  });

  it("of a final failure, whose message is in another language", async () => {
    const { locks, consumed } = metered(table.tableName);
    const lock = await locks.acquire(freshKey());
    await lock.finish({ error: new Error("在庫が不足しています。".repeat(50)) });
    expect(consumed.at(-1)).toEqual(["UpdateItem", 1]);
  });
});

describe("a fingerprint", () => {
  it("is not compared with a record that is long gone: an eventually consistent read", async () => {
    const [ours, theirs] = [aProcess(table.tableName), aProcess(table.tableName)];
    const key = freshKey();
    const before = await attemptLock(locksOf(theirs.locks), [key], { fingerprint: "of another payload" });
    const stale = await table.item(key);
    if (!("release" in before)) throw new Error("taken");
    await before.release();
    const work = () => attemptLock(locksOf(theirs.locks), [key], { fingerprint: "ours" });
    const holder = await work();
    if (!("finish" in holder)) throw new Error("taken");
    let reads = 0;
    ours.state.wire = async ({ name, send }) => {
      const reply = (await send()) as { output: { Item?: unknown } };
      // The replica that is read lags behind once.
      if (name === "GetItem" && ++reads === 1) {
        reply.output.Item = stale;
        await holder.finish({ result: "paid" });
      }
      return reply;
    };
    const waiting = attemptLock(locksOf(ours.locks), [key], { fingerprint: "ours", waitMs: 60_000 });
    const attempt = await waiting.catch((error: unknown) => error);
    expect(attempt).not.toBeInstanceOf(PayloadMismatchError);
  });

  it("of a payload nested deeper than the stack is an error of ours, before anything is taken", async () => {
    const { locks, state } = aProcess(table.tableName);
    const key = freshKey();
    const handler = withLock(() => "paid", {
      key: () => key,
      namespace: false,
      locks,
      fingerprint: (event: { body: string }) => JSON.parse(event.body),
    });
    const body = `${"[".repeat(50_000)}${"]".repeat(50_000)}`;
    const error = await handler({ body }, lambdaContext()).catch((e: unknown) => e);
    expect(state.sent).toEqual([]);
    expect(error).toMatchObject({ code: expect.stringMatching(/^LOCK_/) });
  });

  it("that is undefined is not set, as with every option", async () => {
    const { locks } = aProcess(table.tableName);
    const key = freshKey();
    await locks.once(key, () => 1, { fingerprint: { amount: 7 } });
    expect(await locks.once(key, () => 2, { fingerprint: undefined })).toBe(1);
  });
});

describe("replayedHeader", () => {
  const replayed = async (response: object) => {
    const { locks } = aProcess(table.tableName);
    const key = freshKey();
    const handler = withLock((_event: object, _context: LockContext) => response, {
      key: () => key,
      namespace: false,
      locks,
      replayedHeader: true,
    });
    await handler({}, lambdaContext() as never);
    return (await handler({}, lambdaContext() as never)) as Record<string, Record<string, unknown>>;
  };

  it("replaces a header of this name that is there already, in whatever case", async () => {
    const { headers = {} } = await replayed({ statusCode: 200, headers: { "idempotent-replayed": "false" } });
    expect(Object.values(headers)).toEqual(["true"]);
  });

  it("is where the client sees it: beside multiValueHeaders a load balancer reads no headers", async () => {
    const response = await replayed({ statusCode: 200, multiValueHeaders: { "Content-Type": ["text/plain"] } });
    expect(response.multiValueHeaders).toMatchObject({ "Idempotent-Replayed": ["true"] });
  });

  it("marks a response whose statusCode is a text", async () => {
    const { headers } = await replayed({ statusCode: "200", body: "" });
    expect(headers).toEqual({ "Idempotent-Replayed": "true" });
  });
});
