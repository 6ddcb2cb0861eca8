/** Work under a lock of a client, or on a record of a batch, that ends before what it began on its lock has ended. */
import type { TransactWriteItem } from "@aws-sdk/client-dynamodb";
import type { SQSEvent } from "aws-lambda";
import { beforeAll, describe, expect, it } from "vitest";
import { type Lock, LockClient, type LockEvent, withLockBatch } from "../../src/index.ts";
import { sqsRecord } from "../support/batches.ts";
import { countingClient, lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";
import { lost, turn } from "../support/process.ts";
import { expectAllHandled } from "../support/unhandled.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
let archive: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  [table, archive] = await Promise.all([lockTable(), lockTable()]);
});
expectAllHandled();

let count = 0;
const freshKey = () => `unawaited-${++count}`;
const toArchive = (id: string): TransactWriteItem => ({
  Put: {
    TableName: archive.tableName,
    Item: { lock_id: { S: id } },
    ConditionExpression: "attribute_not_exists(lock_id)",
  },
});
const isWritten = async (id: string) => (await archive.item(id)) !== undefined;
const settled = (promise: Promise<unknown>) =>
  promise.then(
    (value) => ({ value }),
    (error: { name: string; code?: string }) => ({ error: error.code ?? error.name }),
  );

/** A client whose transactions take a moment. */
const setUp = ({ fails = false } = {}) => {
  const { client, sent } = countingClient({ maxAttempts: 1 });
  client.middlewareStack.add(
    (next, context) => async (args) => {
      if (context.commandName !== "TransactWriteItemsCommand") return next(args);
      await turn();
      if (fails) throw lost();
      return next(args);
    },
    { step: "finalizeRequest", priority: "low", name: "slow" },
  );
  const events: LockEvent[] = [];
  const onEvent = (event: LockEvent) => events.push(event);
  const locks = new LockClient({ client, tableName: table.tableName, settleMs: 0, onEvent });
  return { client, sent, events, locks, types: () => events.map(({ type }) => type) };
};

const ways: [string, (locks: LockClient, key: string, work: (lock: Lock) => unknown) => Promise<unknown>][] = [
  ["once", (locks, key, work) => locks.once(key, work)],
  ["run", (locks, key, work) => locks.run(key, work)],
  ["run with a limit", (locks, key, work) => locks.run(key, work, { timeoutMs: 5_000 })],
  [
    "await using",
    async (locks, key, work) => {
      await using lock = await locks.acquire(key);
      return await work(lock);
    },
  ],
];

describe.each(ways)("%s", (name, under) => {
  it("waits for a commit that nobody awaited", async () => {
    const { locks, sent } = setUp();
    const key = freshKey();
    const work = (lock: Lock) => {
      lock.commit([toArchive(key)]);
      return "done";
    };
    expect(await under(locks, key, work)).toBe("done");
    expect([await isWritten(key), (await locks.get(key))?.status]).toEqual([true, "FINISHED"]);
    expect(sent.slice(0, -1)).toEqual(["UpdateItem", "TransactWriteItems"]);
  });

  it.each([
    ["is refused", (key: string) => [toArchive(key)], "TransactionCanceledException"],
    ["is of no items", () => [undefined] as never, "LOCK_OPTIONS"],
  ])("fails with a commit that nobody awaited, and that %s: the key is free", async (_name, items, error) => {
    const { locks } = setUp();
    const key = freshKey();
    await archive.put({ lock_id: { S: key } });
    const work = (lock: Lock) => {
      lock.commit(items(key));
      return "done";
    };
    expect(await settled(under(locks, key, work))).toEqual({ error });
    expect((await locks.get(key))?.status).toBe("RELEASED");
  });

  if (name !== "await using") {
    it("throws what the work throws, when a commit fails too", async () => {
      const { locks } = setUp();
      const key = freshKey();
      await archive.put({ lock_id: { S: key } });
      const work = (lock: Lock) => {
        lock.commit([toArchive(key)]);
        throw new Error("its own");
      };
      await expect(under(locks, key, work)).rejects.toThrow("its own");
      expect((await locks.get(key))?.status).toBe("RELEASED");
    });
  }

  it("takes a commit that the work caught for its own affair", async () => {
    const { locks } = setUp();
    const key = freshKey();
    await archive.put({ lock_id: { S: key } });
    const work = async (lock: Lock) => {
      await lock.commit([toArchive(key)]).catch(() => {});
      return "done";
    };
    expect(await under(locks, key, work)).toBe("done");
  });
});

describe("a lock that is entered twice", () => {
  it("the inner work fails with its commit", async () => {
    const { locks } = setUp();
    const key = freshKey();
    await archive.put({ lock_id: { S: key } });
    const outcomes: unknown[] = [];
    await locks.run(
      key,
      async () => {
        const inner = locks.run(key, (lock) => void lock.commit([toArchive(key)]), { reentrant: true });
        outcomes.push(await settled(inner));
      },
      { reentrant: true },
    );
    expect(outcomes).toEqual([{ error: "TransactionCanceledException" }]);
    expect((await locks.get(key))?.status).toBe("RELEASED");
  });
});

describe("a batch", () => {
  const consume = (
    locks: LockClient,
    ids: string[],
    work: (lock: Lock, id: string) => unknown,
    { fifo = false, timeoutMs = 10_000 } = {},
  ) => {
    const handler = withLockBatch(
      async (event: SQSEvent, context) => {
        for (const record of event.Records) {
          const id = JSON.parse(record.body).order as string;
          work(context.locks.get(record as never), id);
        }
      },
      { key: (record) => JSON.parse(record.body).order as string, namespace: false, locks },
    );
    const Records = ids.map((id) => sqsRecord(`m-${id}`, id, fifo ? { group: "one" } : {}));
    return handler({ Records } as never, lambdaContext({ timeoutMs }));
  };
  const failures = (...ids: string[]) => ({ batchItemFailures: ids.map((id) => ({ itemIdentifier: `m-${id}` })) });
  const statusOf = async (id: string) => (await table.item(id))?.status?.S;

  it("a record whose commit fails comes back, and the others are finished", async () => {
    const { locks } = setUp();
    const ids = [freshKey(), freshKey(), freshKey()] as [string, string, string];
    await archive.put({ lock_id: { S: ids[1] } });
    const response = await consume(locks, ids, (lock, id) => void lock.commit([toArchive(id)]));
    expect(response).toEqual(failures(ids[1]));
    expect(await Promise.all(ids.map(statusOf))).toEqual(["FINISHED", "RELEASED", "FINISHED"]);
  });

  it("for those who ask, the reason of the record is the error of its commit", async () => {
    const { locks } = setUp();
    const id = freshKey();
    const response = await consume(locks, [id], (lock) => void lock.commit([undefined] as never));
    expect(response).toEqual(failures(id));
    const [result] = Array.from({ length: 1 }, (_, index) => (response as unknown as Record<number, unknown>)[index]);
    expect(result).toMatchObject({ status: "rejected", reason: { code: "LOCK_OPTIONS" } });
  });

  it("of a FIFO group: nothing behind a record whose commit fails is acknowledged", async () => {
    const { locks } = setUp();
    const ids = [freshKey(), freshKey(), freshKey()] as [string, string, string];
    const work = (lock: Lock, id: string) => {
      if (id === ids[1]) lock.commit([{}] as never);
    };
    expect(await consume(locks, ids, work, { fifo: true })).toEqual(failures(ids[1], ids[2]));
    expect(await Promise.all(ids.map(statusOf))).toEqual(["FINISHED", "RELEASED", "RELEASED"]);
  });

  it("a record whose commit hangs comes back and is free, in time for the others, and is never written", async () => {
    const { client, locks, events } = setUp();
    const ids = [freshKey(), freshKey(), freshKey()] as [string, string, string];
    let arrive = () => {};
    const hanging = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    client.middlewareStack.add(
      (next, context) => async (args) => {
        if (context.commandName === "TransactWriteItemsCommand" && JSON.stringify(args.input).includes(`"${ids[1]}"`))
          await hanging;
        return next(args);
      },
      { step: "initialize", name: "hang" },
    );
    const begun = performance.now();
    const response = await consume(locks, ids, (lock, id) => void lock.commit([toArchive(id)]), { timeoutMs: 1_200 });
    expect(performance.now() - begun).toBeLessThan(1_150);
    expect(response).toEqual(failures(ids[1]));
    expect(await Promise.all(ids.map(statusOf))).toEqual(["FINISHED", "RELEASED", "FINISHED"]);
    expect(events.filter(({ type }) => type === "failed")).toMatchObject([{ operation: "commit", key: ids[1] }]);
    arrive();
    await turn(100);
    expect(await isWritten(ids[1])).toBe(false);
  });

  it("whose handler throws waits for them, and throws its error", async () => {
    const { locks } = setUp();
    const ids = [freshKey(), freshKey()];
    const work = (lock: Lock, id: string) => {
      lock.commit([toArchive(id)]);
      if (id === ids[1]) throw new Error("its own");
    };
    await expect(consume(locks, ids, work)).rejects.toThrow("its own");
    expect(await Promise.all(ids.map(statusOf))).toEqual(["FINISHED", "FINISHED"]);
  });

  it("finish, release and extend that fail are reported, and settled", async () => {
    const { client, locks, events } = setUp();
    const ids = [freshKey(), freshKey()];
    let requests = 0;
    client.middlewareStack.add(
      (next) => async (args) => {
        if (++requests === 3 || requests === 4) throw lost();
        return next(args);
      },
      { step: "finalizeRequest", priority: "low", name: "fail" },
    );
    const work = (lock: Lock, id: string) => void (id === ids[0] ? lock.extend(60_000) : lock.finish());
    expect(await consume(locks, ids, work)).toEqual(failures());
    expect(await Promise.all(ids.map(statusOf))).toEqual(["FINISHED", "FINISHED"]);
    expect(events.filter(({ type }) => type === "failed")).toHaveLength(2);
  });
});
