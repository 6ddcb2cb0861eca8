/** Finished records in memory: they must say what the table says. */
import { beforeAll, describe, expect, it } from "vitest";
import { type LockContext, LockHeldError, purgeLocks, withLock, withLockBatch } from "../../src/index.ts";
import type { ManualClock } from "../support/clock.ts";
import { lockTable } from "../support/dynamodb.ts";
import { freeKey } from "../support/free.ts";
import { lambdaContext } from "../support/lambda.ts";
import { deferred } from "../support/middy.ts";
import { aProcess, losing, lost, noise } from "../support/process.ts";

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

  it("by freeKey of the same LockClient: can run again", async () => {
    const { locks } = aProcess(table.tableName, { cacheSize: 10 });
    const key = freshKey();
    await locks.once(key, () => "first");
    await freeKey(locks, key);
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

describe("a reply that is on its way while this very process takes the key back", () => {
  const LARGE = noise(20_000, "large");
  type Process = ReturnType<typeof aProcess<ManualClock>>;

  /** Lets everything through but the nth reply, which waits until it is asked for. */
  const holdReply = (ours: Process, which = 1) => {
    const arrived = deferred();
    const goOn = deferred();
    let n = 0;
    ours.state.wire = async ({ send }) => {
      const isIt = ++n === which;
      try {
        return await send();
      } finally {
        if (isIt) arrived.resolve();
        if (isIt) await goOn.promise;
      }
    };
    return { arrived: arrived.promise, goOn: () => goOn.resolve() };
  };

  /** What is asked of a key that is finished, and which of its requests has the late reply. */
  const questions: Record<string, { ask: (ours: Process, key: string) => Promise<unknown>; n?: number; large?: true }> =
    {
      "the refusal of tryAcquire": { ask: ({ locks }, key) => locks.tryAcquire(key) },
      "the refusal of once": { ask: ({ locks }, key) => locks.once(key, () => "never") },
      "the response beside the record": { ask: ({ locks }, key) => locks.once(key, () => "never"), n: 2, large: true },
      "the refusal of once, with a response beside the record": {
        ask: ({ locks }, key) => locks.once(key, () => "never"),
        large: true,
      },
      get: { ask: ({ locks }, key) => locks.get(key), large: true },
      "the response for get": { ask: ({ locks }, key) => locks.get(key), n: 2, large: true },
    };
  /** How the key becomes free meanwhile. */
  const takings: Record<string, (ours: Process, key: string) => Promise<unknown>> = {
    freeKey: ({ locks }, key) => freeKey(locks, key),
    purgeLocks: async ({ locks, clock }, key) => {
      clock.freeze(2_000); // no request is given up
      return purgeLocks(locks, { keys: [key], finished: true });
    },
    "purgeLocks, by a scan": async ({ locks, clock }) => {
      clock.freeze(2_000); // no request is given up
      return purgeLocks(locks, { finished: true });
    },
    "a forced acquisition": async ({ locks }, key) => (await locks.acquire(key, { force: true })).release(),
    "a forced acquisition of a list": async ({ locks }, key) =>
      (await locks.acquire([freshKey(), key], { force: true })).release(),
  };

  for (const [question, { ask, n = 1, large }] of Object.entries(questions)) {
    for (const [taking, take] of Object.entries(takings)) {
      it(`${question}, and ${taking}: the key can run again`, async () => {
        const ours = aProcess(table.tableName, { cacheSize: 10 });
        const key = freshKey();
        await aProcess(table.tableName).locks.once(key, () => (large ? LARGE : "first"));
        const late = holdReply(ours, n);
        const asked = ask(ours, key);
        await late.arrived;
        await take(ours, key);
        late.goOn();
        await asked.catch(() => {}); // that the response is gone by then is its own affair
        expect(await replays(ours.locks, key)).toBe("ran again");
      });
    }
  }

  it("the reply to our own finish", async () => {
    for (const take of Object.values(takings)) {
      const ours = aProcess(table.tableName, { cacheSize: 10 });
      const lock = await ours.locks.acquire(freshKey());
      const late = holdReply(ours);
      const finished = lock.finish({ result: "first" });
      await late.arrived;
      await take(ours, lock.key);
      late.goOn();
      await finished;
      expect(await replays(ours.locks, lock.key)).toBe("ran again");
    }
  });

  it("a break, a purge or a forced acquisition whose own reply is lost may have applied: the table is asked", async () => {
    for (const take of Object.values(takings)) {
      const ours = aProcess(table.tableName, { cacheSize: 10 });
      const key = freshKey();
      await ours.locks.once(key, () => "first");
      const { wire } = ours.state;
      ours.state.wire = async ({ name, send }) => {
        const reply = await send();
        if (/Update|Delete|Transact/.test(name)) throw lost();
        return reply;
      };
      await take(ours, key).catch(() => {});
      ours.state.wire = wire;
      await freeKey(aProcess(table.tableName).locks, key);
      expect(await replays(ours.locks, key)).toBe("ran again");
    }
  });

  it("other keys' replies are kept meanwhile: a warm repeat costs no request", async () => {
    const ours = aProcess(table.tableName, { cacheSize: 10 });
    const [key, another] = [freshKey(), freshKey()];
    for (const one of [key, another]) await aProcess(table.tableName).locks.once(one, () => "first");
    const late = holdReply(ours);
    const asked = ours.locks.once(key, () => "never");
    await late.arrived;
    await freeKey(ours.locks, another);
    late.goOn();
    expect(await asked).toBe("first");
    const before = ours.state.sent.length;
    expect(await replays(ours.locks, key)).toBe("first");
    expect(ours.state.sent.length).toBe(before);
  });

  it("a window that ends while the reply is on its way is over", async () => {
    const ours = aProcess(table.tableName, { cacheSize: 10, clockSkewMs: 0 });
    const key = freshKey();
    await aProcess(table.tableName, { clock: ours.clock }).locks.once(key, () => "first", { rememberMs: 1_000 });
    const late = holdReply(ours);
    const asked = ours.locks.once(key, () => "never");
    await late.arrived;
    ours.clock.freeze(1_000);
    late.goOn();
    expect(await asked).toBe("first");
    expect(await replays(ours.locks, key)).toBe("ran again");
  });

  it("a redelivered record of a batch runs", async () => {
    const ours = aProcess(table.tableName, { cacheSize: 10 });
    const key = freshKey();
    await aProcess(table.tableName).locks.once(key, () => "first");
    const ran: string[] = [];
    const handler = withLockBatch(
      async ({ Records }: { Records: { body: string }[] }) => {
        for (const { body } of Records) ran.push(body);
      },
      { key: ({ body }: { body: string }) => body, namespace: false, locks: ours.locks } as never,
    ) as (event: unknown, context: unknown) => Promise<unknown>;
    const event = () => ({ Records: [{ messageId: "m1", body: key, eventSource: "aws:sqs" }] });
    const late = holdReply(ours);
    const first = handler(event(), lambdaContext());
    await late.arrived;
    await freeKey(ours.locks, key);
    late.goOn();
    await first;
    await handler(event(), lambdaContext());
    expect(ran).toEqual([key]);
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
