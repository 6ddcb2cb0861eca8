/** Requests to acquire that the network delivers late, or once more: they must not take the key from a later run. */
import { beforeAll, describe, expect, it } from "vitest";
import { type Lock, type LockContext, semaphore, withLock } from "../../src/index.ts";
import { lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";
import { aProcess, losing, lost, turn } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});
let keys = 0;
const freshKey = () => `late-${++keys}`;
type Process = ReturnType<typeof aProcess>;

/** A network that delivers every write of a process again when it is told to; the first time too, if that is to be lost. */
const delayWrites = (late: Process, isLost: (n: number) => boolean = () => false) => {
  const copies: (() => Promise<unknown>)[] = [];
  late.state.wire = async ({ name, send }) => {
    if (name === "GetItem") return send();
    copies.push(send);
    if (isLost(copies.length)) throw lost();
    return send();
  };
  return async () => {
    for (const copy of copies) await copy().catch(() => {});
  };
};

/** What a later run has made of the key: the record must stay as it is. */
const laterRuns: Record<string, (key: string) => Promise<unknown>> = {
  "is held": (key) => aProcess(table.tableName).locks.acquire(key),
  "has finished": (key) => aProcess(table.tableName).locks.once(key, () => "paid"),
  "has committed": async (key) => (await aProcess(table.tableName).locks.acquire(key)).commit([], { result: "paid" }),
  "was itself forced": (key) => aProcess(table.tableName).locks.acquire(key, { force: true }),
  "holds a permit": (key) => semaphore(aProcess(table.tableName).locks, key, { permits: 2 }).acquire(),
};
/** What the forced acquisition finds. */
const victims: Record<string, (key: string) => Promise<unknown>> = {
  "a held key": (key) => aProcess(table.tableName).locks.acquire(key),
  "a finished key": (key) => aProcess(table.tableName).locks.once(key, () => "first"),
  "a semaphore": (key) => semaphore(aProcess(table.tableName).locks, key, { permits: 2 }).acquire(),
  "a free key": async (key) => (await aProcess(table.tableName).locks.acquire(key)).release(),
  "no record": async () => {},
};

describe.each(Object.entries(victims))("a late request with force, for %s", (_victim, makeVictim) => {
  it.each(Object.entries(laterRuns))("a later run that %s keeps the key", async (_later, makeLater) => {
    for (const isList of [false, true]) {
      const key = freshKey();
      await makeVictim(key);
      const late = aProcess(table.tableName);
      const deliverAgain = delayWrites(late);
      const lock = await late.locks.acquire(isList ? [key, freshKey()] : key, { force: true });
      await lock.release();
      await makeLater(key);
      const before = await table.item(key);
      await deliverAgain();
      expect(await table.item(key)).toEqual(before);
    }
  });

  it("a request that only arrives when its caller has given up", async () => {
    const key = freshKey();
    await makeVictim(key);
    const late = aProcess(table.tableName);
    const deliver = delayWrites(late, () => true);
    await expect(late.locks.acquire(key, { force: true })).rejects.toThrow("socket hang up");
    await turn();
    await aProcess(table.tableName).locks.acquire(key, { force: true });
    const before = await table.item(key);
    await deliver();
    expect(await table.item(key)).toEqual(before);
  });
});

describe("a forced acquisition", () => {
  it("costs one request if the key is free, and two if it is not", async () => {
    for (const isList of [false, true]) {
      const { locks, state } = aProcess(table.tableName);
      const key = isList ? [freshKey(), freshKey()] : freshKey();
      const lock = await locks.acquire(key, { force: true });
      expect(state.sent).toHaveLength(1);
      const forced = await locks.acquire(key, { force: true });
      expect(state.sent).toHaveLength(3);
      expect(forced.fencingToken).toBeGreaterThan(lock.fencingToken);
      await expect(lock.finish()).rejects.toMatchObject({ reason: "stolen" });
    }
  });

  it("goes on from what it finds if the key changes hands meanwhile, and says from whom it took it", async () => {
    const key = freshKey();
    const first = await aProcess(table.tableName).locks.acquire(key);
    const { locks, state, events } = aProcess(table.tableName);
    state.wire = async ({ n, send }) => {
      if (n === 2) await first.release();
      if (n === 2) await aProcess(table.tableName).locks.acquire(key, { owner: "second" });
      return send();
    };
    const lock = await locks.acquire(key, { force: true });
    expect(lock.previous?.owner).toBe("second");
    expect(events.at(-1)).toMatchObject({ type: "forced", previousOwner: "second" });
    expect(state.sent).toHaveLength(3);
  });

  it("several keys of which one changes hands meanwhile", async () => {
    const list = [freshKey(), freshKey(), freshKey()];
    const held: Lock[] = [];
    for (const key of list) held.push(await aProcess(table.tableName).locks.acquire(key));
    const { locks, state } = aProcess(table.tableName);
    state.wire = async ({ n, send }) => {
      if (n === 2) await held[1]?.release();
      if (n === 2) await aProcess(table.tableName).locks.acquire(list[1] as string);
      return send();
    };
    const lock = await locks.acquire(list, { force: true });
    expect(lock.status).toBe("held");
    for (const key of list) expect((await locks.get(key))?.token).toBe(lock.token);
  });

  it("takes the key from a holder that renews meanwhile: it is the same lock", async () => {
    const first = await aProcess(table.tableName).locks.acquire(freshKey());
    const { locks, state } = aProcess(table.tableName);
    state.wire = async ({ n, send }) => {
      if (n === 2) await first.extend(60_000);
      return send();
    };
    expect((await locks.acquire(first.key, { force: true })).previous?.token).toBe(first.token);
    expect(state.sent).toHaveLength(2);
  });

  it("gives up on a key that changes hands all the time", async () => {
    const key = freshKey();
    const held = await aProcess(table.tableName).locks.acquire(key);
    const { locks, state } = aProcess(table.tableName);
    let last = held;
    state.wire = async ({ send }) => {
      last = await aProcess(table.tableName).locks.acquire(key, { force: true });
      return send();
    };
    await expect(locks.acquire(key, { force: true })).rejects.toMatchObject({ code: "LOCK_HELD" });
    expect(state.sent.length).toBeLessThan(10);
    expect((await locks.get(key))?.token).toBe(last.token);
  });

  it.each([1, 2])("whose reply %i is lost is recognised by the SDK's retry", async (n) => {
    const { locks, state } = aProcess(table.tableName, { config: { maxAttempts: 3 } });
    const key = freshKey();
    if (n === 2) await aProcess(table.tableName).locks.acquire(key);
    state.wire = losing(n);
    const lock = await locks.acquire(key, { force: true });
    expect((await table.item(key))?.token?.S).toBe(lock.token);
    await lock.finish();
  });

  it("whose reply is lost for good is recognised by the next attempt within the wait", async () => {
    const { locks, state } = aProcess(table.tableName);
    const key = freshKey();
    await aProcess(table.tableName).locks.acquire(key);
    state.wire = losing(2);
    const lock = await locks.acquire(key, { force: true, waitMs: 5_000 });
    expect((await table.item(key))?.token?.S).toBe(lock.token);
  });
});

describe("a durable execution", () => {
  const durable = (arn: string) => ({
    executionContext: { durableExecutionArn: arn },
    lambdaContext: lambdaContext(),
  });
  /** Resumes the execution: the handler runs until it suspends, which is for ever as far as this process sees. */
  const resume = async (process: Process, key: string, arn = "arn:execution") => {
    let end = (_result: string) => {};
    const ended = new Promise<string>((resolve) => {
      end = resolve;
    });
    let taken = (_token: string) => {};
    const token = new Promise<string>((resolve) => {
      taken = resolve;
    });
    const handler = withLock(
      (_event: object, { lock }: LockContext) => {
        taken(lock.token);
        return ended;
      },
      { key: () => key, namespace: false, locks: process.locks, leaseMs: 3_600_000 },
    );
    const run = handler({}, durable(arn) as never);
    await Promise.race([token, run]);
    return { token: await token, end, run };
  };

  it("takes its key back when it is resumed: one request if it is free, two if it holds it", async () => {
    const key = freshKey();
    const [first, second] = [aProcess(table.tableName), aProcess(table.tableName)];
    const one = await resume(first, key);
    expect(first.state.sent).toHaveLength(1);
    const two = await resume(second, key);
    expect(second.state.sent).toHaveLength(2);
    expect(two.token).not.toBe(one.token);
    expect(second.types()).toEqual(["acquired"]);
    await expect(resume(aProcess(table.tableName), key, "arn:another")).rejects.toMatchObject({ code: "LOCK_HELD" });
  });

  it("a late request of one resumption doesn't take the key from the next, held or finished", async () => {
    const key = freshKey();
    await resume(aProcess(table.tableName), key);
    const second = aProcess(table.tableName);
    const deliver = delayWrites(second, (n) => n >= 2);
    await expect(resume(second, key)).rejects.toThrow("socket hang up");
    const third = await resume(aProcess(table.tableName), key);
    await deliver();
    expect((await table.item(key))?.token?.S).toBe(third.token);
    third.end("approved");
    expect(await third.run).toBe("approved");
    await deliver();
    expect(await table.item(key)).toMatchObject({ status: { S: "FINISHED" }, token: { S: third.token } });
  });

  it("nor does a copy of a request that was answered", async () => {
    const key = freshKey();
    const first = aProcess(table.tableName);
    const deliverFirst = delayWrites(first);
    await resume(first, key);
    const second = aProcess(table.tableName);
    const deliverSecond = delayWrites(second);
    await resume(second, key);
    const third = await resume(aProcess(table.tableName), key);
    await deliverFirst();
    await deliverSecond();
    expect((await table.item(key))?.token?.S).toBe(third.token);
  });
});
