/** Finished records in memory: they must say what the table says. */
import { beforeAll, describe, expect, it } from "vitest";
import { forceRelease, type LockContext, LockHeldError, purgeLocks, withLock } from "../../src/index.ts";
import { lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";
import { aProcess, losing, lost } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

let count = 0;
const freshKey = () => `cache-${++count}`;
const replays = async (locks: ReturnType<typeof aProcess>["locks"], key: string) =>
  locks.once(key, () => "ran again" as unknown).catch((error: Error) => error.name);

describe("a finish that finds the key finished by an earlier write, whose reply was lost", () => {
  const [here, elsewhere] = [() => aProcess(table.tableName, { cacheSize: 10 }), () => aProcess(table.tableName)];

  it("remembers what stands in the record, not what it would have written: after a finish", async () => {
    const [ours, theirs] = [here(), elsewhere()];
    const key = freshKey();
    const lock = await ours.locks.acquire(key);
    ours.state.wire = losing(2);
    await lock.finish({ result: "first" }).catch(() => {});
    await lock.finish({ result: "second" });
    expect(await replays(ours.locks, key)).toBe(await replays(theirs.locks, key));
  });

  it("nor its time: no answer comes after the stored window", async () => {
    const ours = here();
    const key = freshKey();
    const lock = await ours.locks.acquire(key);
    ours.state.wire = losing(2);
    await lock.finish({ result: 1, rememberMs: 5_000 }).catch(() => {});
    await lock.finish({ result: 1, rememberMs: 3_600_000 });
    ours.clock.advance(6_001);
    expect(await replays(ours.locks, key)).toBe("ran again");
  });

  it("after a commit that the handler took for failed: the middleware's response is not the stored one", async () => {
    const [ours, theirs] = [here(), elsewhere()];
    const key = freshKey();
    ours.state.wire = async ({ name, send }) => {
      const reply = await send();
      if (name === "TransactWriteItems") throw lost();
      return reply;
    };
    const handler = withLock(
      async (_event: object, { lock }: LockContext) => {
        const sure = await lock.commit([], { result: { statusCode: 201 } }).catch(() => "unsure");
        return sure ? { statusCode: 202 } : { statusCode: 201 };
      },
      { key: () => key, namespace: false, locks: ours.locks },
    );
    await handler({}, lambdaContext() as never);
    expect(await replays(ours.locks, key)).toEqual(await replays(theirs.locks, key));
  });

  it("after a commit that the handler rethrew, with onError 'finish': repeats don't fail here and succeed elsewhere", async () => {
    const [ours, theirs] = [here(), elsewhere()];
    const key = freshKey();
    ours.state.wire = async ({ name, send }) => {
      const reply = await send();
      if (name === "TransactWriteItems") throw lost();
      return reply;
    };
    const handler = withLock((_event: object, { lock }: LockContext) => lock.commit([], { result: "paid" }), {
      key: () => key,
      namespace: false,
      locks: ours.locks,
      onError: "finish",
    });
    await handler({}, lambdaContext() as never).catch(() => {});
    expect(await replays(ours.locks, key)).toEqual(await replays(theirs.locks, key));
  });
});

describe("a key that this very process has taken back", () => {
  it("by force, while the reply to a finish is on its way: is held, not finished", async () => {
    const { locks, state } = aProcess(table.tableName, { cacheSize: 10 });
    const key = freshKey();
    const lock = await locks.acquire(key);
    state.wire = async ({ n, send }) => {
      const reply = await send();
      if (n === 2) await locks.acquire(key, { force: true });
      return reply;
    };
    await lock.finish({ result: 1 });
    await expect(locks.once(key, () => "ran again")).rejects.toBeInstanceOf(LockHeldError);
  });

  it("by forceRelease of the same LockClient: can run again", async () => {
    const { locks } = aProcess(table.tableName, { cacheSize: 10 });
    const key = freshKey();
    await locks.once(key, () => "first");
    await forceRelease(locks, key);
    expect(await replays(locks, key)).toBe("ran again");
  });

  it("by purgeLocks of the same LockClient: can run again", async () => {
    const { locks, clock } = aProcess(table.tableName, { cacheSize: 10 });
    const key = freshKey();
    await locks.once(key, () => "first");
    clock.advance(5_000);
    expect(await purgeLocks(locks, { keys: [key], finished: true })).toEqual([key]);
    expect(await replays(locks, key)).toBe("ran again");
  });
});

describe("data that a handler changes for itself", () => {
  it("is not what duplicateResponse is shown from memory", async () => {
    const [ours, theirs] = [aProcess(table.tableName, { cacheSize: 10 }), aProcess(table.tableName)];
    const key = freshKey();
    const lock = await ours.locks.acquire(key, { data: { step: 1, note: undefined } });
    Object.assign(lock.data as object, { step: 2 });
    await lock.finish();
    const shown = (locks: typeof ours.locks) =>
      withLock(() => "never" as unknown, {
        key: () => key,
        namespace: false,
        locks,
        duplicateResponse: ({ data }) => data,
      })({}, lambdaContext());
    expect(await shown(ours.locks)).toStrictEqual(await shown(theirs.locks));
  });
});
