/** A `LockClient` of another copy of this package: of a layer, of another bundle, or of an entry point of its own. */
import { beforeAll, describe, expect, it, vi } from "vitest";
import * as ours from "../../src/index.ts";
import { lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";

vi.resetModules();
const other: typeof ours = await import("../../src/index.ts");

let locks: ours.LockClient;
beforeAll(async () => {
  const { client, tableName } = await lockTable();
  locks = new other.LockClient({ client, tableName, namespace: "copies" });
});
let keys = 0;
const freshKey = () => `copy-${++keys}`;

it("is of another class", () => {
  expect(locks).not.toBeInstanceOf(ours.LockClient);
});

describe("its locks", () => {
  it("are taken, finished and replayed by withLock", async () => {
    const key = freshKey();
    let runs = 0;
    const handler = ours.withLock(() => ({ run: ++runs }), { key: () => key, locks });
    expect([await handler({}, lambdaContext()), await handler({}, lambdaContext())]).toEqual([{ run: 1 }, { run: 1 }]);
  });

  it("refuse a held key with an error that is ours, and answer with duplicateResponse", async () => {
    const key = freshKey();
    await locks.acquire(key);
    const refused = ours.withLock(() => "ran", { key: () => key, locks });
    await expect(refused({}, lambdaContext())).rejects.toBeInstanceOf(ours.LockHeldError);
    const answered = ours.withLock(() => "ran", { key: () => key, locks, waitMs: 20, duplicateResponse: "busy" });
    expect(await answered({}, lambdaContext())).toBe("busy");
  });

  it("are taken for the records of a batch, and refused", async () => {
    const [free, held] = [freshKey(), freshKey()];
    await locks.acquire(held);
    const ran: string[] = [];
    const consume = ours.withLockBatch(
      async ({ Records }: { Records: { messageId: string; body: string; eventSource: string }[] }) => {
        for (const { body } of Records) ran.push(body);
      },
      { key: ({ body }) => body, locks },
    );
    const Records = [free, held].map((body) => ({ messageId: body, body, eventSource: "aws:sqs" }));
    expect(await consume({ Records }, lambdaContext())).toEqual({ batchItemFailures: [{ itemIdentifier: held }] });
    expect(ran).toEqual([free]);
  });

  it("can be those of a semaphore", async () => {
    const permits = ours.semaphore(locks, freshKey(), { permits: 1 });
    const permit = await permits.acquire();
    expect(await permits.tryAcquire()).toBeUndefined();
    await expect(permits.acquire()).rejects.toBeInstanceOf(ours.LockHeldError);
    await permit.release();
    expect(await permits.run(() => "ran")).toBe("ran");
  });

  it("are seen by an operator", async () => {
    const key = freshKey();
    await locks.acquire(key);
    const seen: string[] = [];
    for await (const record of ours.listLocks(locks)) seen.push(record.key);
    expect(seen).toContain(`copies#${key}`);
    expect(await ours.breakLock(locks, key, { any: true })).toMatchObject({ outcome: "done", key: `copies#${key}` });
  });
});

it("an imitation, or a proxy around a client, is refused", () => {
  const imitations = [{ attempt: () => {} }, new Proxy(locks, {}), new Proxy({}, { get: () => () => {} })];
  for (const imitation of imitations) {
    expect(() => ours.withLock(() => 1, { key: () => "k", locks: imitation as never })).toThrow(
      "locks must be a LockClient",
    );
  }
});
