/**
 * A DynamoDB that is throttled, fails or doesn't answer for some seconds: what is left of the time is used. The clock
 * passes as fast as it is waited for.
 */
import type { Context } from "aws-lambda";
import { beforeAll, describe, expect, it, vi } from "vitest";
import {
  dynamoLock,
  LockClient,
  type LockContext,
  LockError,
  LockTableError,
  withLock,
  withLockBatch,
} from "../../src/index.ts";
import { orderOf, queue } from "../support/batches.ts";
import { lockTable } from "../support/dynamodb.ts";
import { clockedContext, lambdaContext } from "../support/lambda.ts";
import { chain, versions } from "../support/middy.ts";
import { aProcess, turn } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
let effects: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  [table, effects] = await Promise.all([lockTable(), lockTable()]);
});

let count = 0;
const freshKey = () => `outage-${++count}`;
const named = (name: string, httpStatusCode: number) =>
  Object.assign(new Error(name), { name, $metadata: { httpStatusCode, attempts: 1 } });

/** How DynamoDB is away. The request is not applied, or its reply never comes. */
const kinds = {
  throttled: async () => {
    throw named("ProvisionedThroughputExceededException", 400);
  },
  failing: async () => {
    throw named("InternalServerError", 500);
  },
  "hung before it": () => new Promise<never>(() => {}),
  "hung after it": async (send: () => Promise<unknown>) => {
    await send().catch(() => {});
    return new Promise<never>(() => {});
  },
};
type Kind = keyof typeof kinds;

/** A process whose DynamoDB is away for `ms` from when `begin` is called. */
const setUp = (kind: Kind, ms: number, options: object = {}) => {
  const process = aProcess(table.tableName, { settleMs: 10_000, ...options });
  const { clock, state, locks } = process;
  let until = 0;
  state.wire = async ({ send }) => (clock.monotonic() < until ? kinds[kind](send) : send());
  const begin = () => {
    until = clock.monotonic() + ms;
  };
  /** Resolves with what became of the work, and how long it took, in ms. */
  const timed = async <T>(work: Promise<T>) => {
    const begunAt = clock.monotonic();
    let isOver = false;
    const outcome = work
      .then(
        (value) => ({ value, error: undefined as LockError | undefined }),
        (error: LockError) => ({ value: undefined, error }),
      )
      .finally(() => {
        isOver = true;
      });
    for (let turns = 0; !isOver && turns < 600; turns++) await clock.pass(50);
    return { ...(await outcome), ms: clock.monotonic() - begunAt };
  };
  const invocation = (timeoutMs = 15_000): Context => clockedContext(clock, timeoutMs);
  return { ...process, locks, begin, timed, invocation };
};
type Scene = ReturnType<typeof setUp>;

const outages = (Object.keys(kinds) as Kind[]).flatMap((kind) =>
  [1_000, 2_000, 4_000, 6_000].map((ms) => [kind, ms] as const),
);

/** Runs once under a lock, during which the outage begins; and once more. Gives how often the handler ran. */
const doors: Record<string, (scene: Scene, key: string) => Promise<unknown>> = Object.fromEntries(
  [
    ...versions.map(({ name, middy }) => ({
      name: `dynamoLock on ${name}`,
      wrap: (run: () => unknown, options: Parameters<typeof withLock>[1]) =>
        chain(middy as never, [dynamoLock(options)], run as never) as never,
    })),
    { name: "withLock", wrap: withLock },
  ]
    .map(({ name, wrap }) => [
      name,
      async ({ locks, begin, invocation }: Scene, key: string) => {
        const run = async () => {
          begin();
          return "paid";
        };
        const handler = wrap(run, { key: () => key, namespace: false, locks, settleMs: 10_000 } as never) as (
          event: object,
          context: Context,
        ) => Promise<unknown>;
        return handler({}, invocation());
      },
    ])
    .concat([
      ...[false, true].map((bulk) => [
        `withLockBatch${bulk ? " with bulk" : ""}`,
        async ({ locks, begin, invocation }: Scene, key: string) => {
          const handler = withLockBatch(async () => void begin(), {
            key: (record: unknown) => orderOf(record as never),
            namespace: false,
            locks,
            bulk,
            settleMs: 10_000,
          } as never) as (event: object, context: Context) => Promise<unknown>;
          return handler(queue(key, `${key}-b`, `${key}-c`), invocation());
        },
      ]),
      [
        "once",
        async ({ locks, begin }: Scene, key: string) =>
          locks.once(key, () => {
            begin();
            return "paid";
          }),
      ],
      [
        "commit",
        async ({ locks, begin }: Scene, key: string) =>
          locks.once(key, async (lock) => {
            begin();
            const Item = { lock_id: { S: key }, once: { S: lock.token } };
            await lock.commit([{ Put: { TableName: effects.tableName, Item } }], { result: "paid" });
          }),
      ],
    ]) as never,
);

describe.each(Object.keys(doors))("%s: DynamoDB is away from the handler's end", (name) => {
  const door = doors[name] as (typeof doors)[string];

  it.each(outages)("%s for %i ms, with 15 s left: the key is finished, and nothing runs twice", async (kind, ms) => {
    const scene = setUp(kind, ms);
    const key = freshKey();
    const { error } = await scene.timed(door(scene, key));
    expect(error).toBeUndefined();
    expect((await table.item(key))?.status?.S).toBe("FINISHED");
    expect(scene.types()).toContain("retrying");
    expect(scene.types()).not.toContain("failed");
    await expect(aProcess(table.tableName).locks.once(key, () => "ran twice")).resolves.not.toBe("ran twice");
  });
});

describe("DynamoDB is away when a key is to be freed", () => {
  it.each(outages)("%s for %i ms: run, release and close wait it out", async (kind, ms) => {
    const scene = setUp(kind, ms);
    const { locks, begin, timed } = scene;
    const [one, two, three] = [freshKey(), freshKey(), freshKey()];
    await timed(locks.run(one, async () => begin()));
    const lock = await locks.acquire(two);
    begin();
    await timed(lock.release());
    await locks.acquire(three);
    begin();
    expect((await timed(locks.close())).error).toBeUndefined();
    const statuses = await Promise.all([one, two, three].map(async (key) => (await table.item(key))?.status?.S));
    expect(statuses).toEqual(["RELEASED", "RELEASED", "RELEASED"]);
  });

  it("close has a bound of its own", async () => {
    const { locks, begin, timed } = setUp("throttled", 60_000);
    await locks.acquire(freshKey());
    begin();
    const closed = await timed(locks.close({ settleMs: 2_000 }));
    expect(closed.error).toBeInstanceOf(AggregateError);
    expect(closed.ms).toBeLessThan(2_100);
  });

  it.each(["throttled", "hung before it", "hung after it"] as const)("%s: an extension waits it out", async (kind) => {
    const { locks, begin, timed } = setUp(kind, 4_000);
    const lock = await locks.acquire(freshKey());
    begin();
    expect((await timed(lock.extend(60_000))).error).toBeUndefined();
    expect(lock.remainingMs).toBeGreaterThan(50_000);
  });

  it("but no longer than the lease lasts", async () => {
    const { locks, begin, timed } = setUp("throttled", 60_000, { leaseMs: 3_000 });
    const lock = await locks.acquire(freshKey());
    begin();
    const { error, ms } = await timed(lock.extend(60_000));
    expect([error?.code, ms < 3_100]).toEqual(["LOCK_REQUEST", true]);
  });

  it.each(["hung before it", "hung after it"] as const)(
    "%s: a renewal is given up in time for the next, and the lease goes on",
    async (kind) => {
      const { locks, clock, begin, types } = setUp(kind, 4_000, { leaseMs: 9_000, heartbeatMs: 3_000 });
      const lock = await locks.acquire(freshKey());
      await clock.pass(2_500);
      begin();
      await clock.pass(20_000);
      expect([lock.status, types().includes("lost")]).toEqual(["held", false]);
      await lock.release();
    },
  );

  it("a renewal that hangs doesn't hold up the finish", async () => {
    const { locks, clock, state, timed } = setUp("throttled", 0, { leaseMs: 9_000, heartbeatMs: 3_000 });
    const lock = await locks.acquire(freshKey());
    state.wire = async ({ n, send }) => (n === 2 ? new Promise(() => {}) : send());
    clock.advance(3_000);
    await turn();
    const { error, ms } = await timed(lock.finish());
    expect([error, ms < 600, lock.status]).toEqual([undefined, true, "finished"]);
  });
});

describe("DynamoDB is away for good", () => {
  it.each(Object.keys(kinds) as Kind[])(
    "%s: the answer comes before the last 300 ms of the invocation",
    async (kind) => {
      const scene = setUp(kind, 3_600_000);
      const { locks, begin, invocation, timed, state } = scene;
      const handler = withLock(async () => begin(), { key: freshKey, namespace: false, locks });
      const { error, ms } = await timed(handler({}, invocation(5_000) as never));
      expect(error).toBeUndefined(); // the handler has done its work
      expect(ms).toBeGreaterThan(4_000);
      expect(ms).toBeLessThanOrEqual(4_750);
      const sent = state.sent.length;
      await scene.clock.pass(10_000);
      expect(state.sent.length).toBe(sent);
    },
  );

  it.each(Object.keys(kinds) as Kind[])("%s: settleMs bounds how long a caller waits", async (kind) => {
    const { locks, begin, invocation, timed } = setUp(kind, 3_600_000);
    const handler = withLock(async () => begin(), { key: freshKey, namespace: false, locks, settleMs: 2_000 });
    expect((await timed(handler({}, invocation(60_000) as never))).ms).toBeLessThan(2_150);
  });

  it.each(Object.keys(kinds) as Kind[])("%s: settleMs is shared by the locks of a batch", async (kind) => {
    const { locks, begin, invocation, timed } = setUp(kind, 3_600_000);
    const options = { key: (record: unknown) => orderOf(record as never), namespace: false, locks, settleMs: 2_000 };
    const handler = withLockBatch(async () => void begin(), { ...options, concurrency: 2 } as never);
    const orders = Array.from({ length: 20 }, freshKey);
    expect((await timed(handler(queue(...orders) as never, invocation(60_000) as never))).ms).toBeLessThan(3_200);
  });

  it("settleMs 0: it is sent once", async () => {
    const { locks, begin, timed, state } = setUp("throttled", 3_600_000, { settleMs: 0 });
    const lock = await locks.acquire(freshKey());
    begin();
    expect((await timed(lock.finish())).error?.code).toBe("LOCK_REQUEST");
    expect(state.sent).toEqual(["UpdateItem", "UpdateItem"]);
  });
});

describe("DynamoDB is away when a key is wanted", () => {
  it.each(outages)("%s for %i ms: it is waited out for five seconds, also without waitMs", async (kind, ms) => {
    const { locks, begin, timed } = setUp(kind, ms);
    begin();
    const { value, error, ms: took } = await timed(locks.acquire(freshKey()));
    if (ms < 5_000) expect([value?.status, error]).toEqual(["held", undefined]);
    else expect(error).toMatchObject({ code: "LOCK_REQUEST", statusCode: 503 });
    expect(took).toBeLessThan(6_100);
  });

  it.each(Object.keys(kinds) as Kind[])("%s: waitMs is a bound", async (kind) => {
    const { locks, begin, timed } = setUp(kind, 3_600_000);
    begin();
    const { error, ms } = await timed(locks.acquire(freshKey(), { waitMs: 8_000 }));
    expect(error).toBeInstanceOf(LockError);
    expect(ms).toBeLessThan(8_450);
  });

  it.each(Object.keys(kinds) as Kind[])("%s: while a held key is waited for, too", async (kind) => {
    const { locks, begin, timed } = setUp(kind, 3_600_000);
    const key = freshKey();
    await aProcess(table.tableName, { leaseMs: 60_000 }).locks.acquire(key);
    setTimeout(begin, 30);
    const { error, ms } = await timed(locks.acquire(key, { waitMs: 8_000 }));
    expect(error).toBeInstanceOf(LockError);
    expect(ms).toBeLessThan(8_450);
  });

  it.each((Object.keys(kinds) as Kind[]).flatMap((kind) => [0, 60_000].map((waitMs) => [kind, waitMs] as const)))(
    "%s, waitMs %i: the reserve of an invocation is kept",
    async (kind, waitMs) => {
      const { locks, begin, timed, invocation } = setUp(kind, 3_600_000);
      begin();
      const run = vi.fn();
      const handler = withLock(run, { key: freshKey, namespace: false, locks, waitMs });
      const { error, ms } = await timed(handler({}, invocation(5_000) as never));
      expect(error).toBeInstanceOf(LockError);
      expect(ms).toBeLessThan(4_860);
      expect(run).not.toHaveBeenCalled();
    },
  );

  it("a signal ends it at once", async () => {
    const { locks, begin, timed, clock } = setUp("hung before it", 3_600_000);
    begin();
    const controller = new AbortController();
    const acquired = locks.acquire(freshKey(), { waitMs: 60_000, signal: controller.signal });
    await clock.pass(500);
    controller.abort(new Error("enough"));
    const { error, ms } = await timed(acquired);
    expect(error?.message).toBe("enough");
    expect(ms).toBeLessThan(1_100); // what it may have taken was to be given back
  });

  it("a key that was taken, and its reply hung until the end, is given back", async () => {
    const { locks, begin, timed, clock } = setUp("hung after it", 4_990);
    const key = freshKey();
    begin();
    const { error } = await timed(locks.acquire(key, { waitMs: 4_900 }));
    expect(error).toBeInstanceOf(LockError);
    await clock.pass(1_000);
    expect((await table.item(key))?.status?.S).toBe("RELEASED");
  });
});

describe("onUnavailable: 'run'", () => {
  const setUpRun = (kind: Kind) => {
    const scene = setUp(kind, 3_600_000);
    scene.begin();
    return scene;
  };

  it.each(Object.keys(kinds) as Kind[])("%s: the handler runs without a lock, and that is reported", async (kind) => {
    const { locks, timed, invocation, events } = setUpRun(kind);
    const run = vi.fn(async (_event: object, { lock }: Partial<LockContext>) => lock ?? "no lock");
    const key = freshKey();
    const handler = withLock(run, { key: () => key, namespace: false, locks, onUnavailable: "run" });
    expect(await timed(handler({}, invocation() as never))).toMatchObject({ value: "no lock" });
    expect(events).toContainEqual(expect.objectContaining({ type: "unavailable", key }));
  });

  it("for records of a batch", async () => {
    const { locks, timed, invocation, events } = setUpRun("throttled");
    const given: unknown[] = [];
    const handler = withLockBatch(
      async ({ Records }: { Records: unknown[] }, context: { locks: { get(record: unknown): unknown } }) => {
        for (const record of Records) given.push(context.locks.get(record));
      },
      { key: (record: unknown) => orderOf(record as never), namespace: false, locks, onUnavailable: "run" } as never,
    );
    const { value } = await timed(handler(queue(freshKey(), freshKey()) as never, invocation() as never));
    expect([value, given]).toEqual([{ batchItemFailures: [] }, [undefined, undefined]]);
    expect(events.filter(({ type }) => type === "unavailable")).toHaveLength(2);
  });

  it("but not when the table is missing, or a permission: that is no outage", async () => {
    const locks = new LockClient({ client: table.client, tableName: "no-such-table" });
    const run = vi.fn();
    const handler = withLock(run, { key: freshKey, namespace: false, locks, onUnavailable: "run" });
    await expect(handler({}, lambdaContext() as never)).rejects.toThrow(LockTableError);
    expect(run).not.toHaveBeenCalled();
  });

  it("nor when the key is held", async () => {
    const key = freshKey();
    await aProcess(table.tableName).locks.acquire(key);
    const { locks } = aProcess(table.tableName);
    const handler = withLock(vi.fn(), { key: () => key, namespace: false, locks, onUnavailable: "run" });
    await expect(handler({}, lambdaContext() as never)).rejects.toMatchObject({ code: "LOCK_HELD" });
  });
});
