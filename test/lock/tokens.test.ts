/** The token proves ownership: it can be read, but nothing that is printed or answered shows it. */
import { inspect } from "node:util";
import { Logger } from "@aws-lambda-powertools/logger";
import { afterEach, beforeAll, beforeEach, describe, expect, it, type MockInstance, vi } from "vitest";
import {
  type Lock,
  LockClient,
  type LockEvent,
  type LockHeldError,
  type LockLogger,
  type LockRecord,
  listLocks,
} from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { countingClient } from "../support/dynamodb.ts";
import { freeKey } from "../support/free.ts";
import { takes } from "../support/locks.ts";
import { reportDay, reporter, type Table, tableOfLocks, wrappers } from "../support/middy.ts";
import { noise } from "../support/process.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});

let count = 0;
const freshKey = () => `token-${++count}`;
const setUp = (options: { logger?: LockLogger; onEvent?: (event: LockEvent) => void } = {}) => {
  const clock = manualClock();
  const { client } = countingClient();
  return {
    clock,
    locks: new LockClient({ client, tableName: table.tableName, clock, heartbeatMs: false, ...options }),
  };
};

const levels = ["log", "debug", "info", "warn", "error"] as const;
let consoleMethods: MockInstance[];
beforeEach(() => {
  vi.stubEnv("POWERTOOLS_DEV", "true"); // to the global console, which can be watched
  consoleMethods = levels.map((level) => vi.spyOn(console, level).mockImplementation(() => {}));
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

/** In all the ways in which a value becomes text: what Powertools' Logger prints, and a response's body. */
const texts = (value: unknown): string[] => {
  const logger = new Logger({ logLevel: "DEBUG" });
  logger.info("seen", { value } as never);
  logger.info("seen", value as never);
  logger.error("seen", value as Error);
  logger.appendKeys({ value } as never);
  logger.info("with keys");
  const lines = consoleMethods.flatMap((method) => method.mock.calls.flat().map(String));
  return [
    ...lines,
    JSON.stringify(value) ?? "",
    inspect(value, { depth: 9 }),
    JSON.stringify({ ...(value as object) }),
    String(value),
  ];
};
const expectHidden = (value: unknown, ...tokens: (string | undefined)[]) => {
  const shown = texts(value).join("\n");
  for (const token of tokens) {
    expect(token).toMatch(/^[\w-]{20,}$/);
    expect(shown).not.toContain(token);
  }
};

describe("a lock", () => {
  it.each([1, 2])("shows what it is, and no token, with %s permits", async (permits) => {
    const { locks, clock } = setUp();
    const key = freshKey();
    const crashed = await takes(locks, key, permits).acquire({ data: { secret: "number" } });
    clock.advance(3_600_000);
    const lock = await takes(locks, key, permits).acquire();
    expectHidden(lock, lock.token, crashed.token);
    expectHidden({ locks: [lock] }, lock.token, crashed.token);
    expect(JSON.parse(JSON.stringify(lock))).toEqual({
      keys: [key],
      owner: lock.owner,
      fencingToken: lock.fencingToken,
      acquiredAt: lock.acquiredAt,
      expiresAt: lock.expiresAt,
      status: "held",
    });
    expect(inspect(lock)).toMatch(/^Lock \{/);
    expect(JSON.stringify(lock) + inspect(lock)).not.toContain("secret");
    if (permits === 1) expect(lock.previous?.token).toBe(crashed.token);
    await lock.release();
    expectHidden(lock, lock.token);
  });

  it.each([1, 2])(
    "found held shows no token in its error, with %s permits, though the record has it",
    async (permits) => {
      const { locks } = setUp();
      const key = freshKey();
      const held: Lock[] = [];
      for (let n = 0; n < permits; n++) held.push(await takes(locks, key, permits).acquire());
      const tokens = held.map(({ token }) => token);
      for (const options of [{}, { waitMs: 10 }]) {
        const error = (await takes(locks, key, permits)
          .acquire({ ...options })
          .catch((e: unknown) => e)) as LockHeldError;
        expectHidden(error, ...tokens);
        expectHidden(error.record, ...tokens);
        expect(tokens).toContain(error.record.token);
        if (permits > 1) expect(error.record.holders?.map(({ token }) => token).sort()).toEqual(tokens.sort());
      }
    },
  );

  it("with another payload shows no token in its error", async () => {
    const { locks } = setUp();
    const key = freshKey();
    await locks.once(key, () => 1, { fingerprint: "a" });
    const error: unknown = await locks.once(key, () => 1, { fingerprint: "b" }).catch((e: unknown) => e);
    expectHidden(error, (await locks.get(key))?.token);
  });
});

describe("a record", () => {
  it("that is read, listed or broken shows no token", async () => {
    const { locks } = setUp();
    const key = freshKey();
    const { token } = await locks.acquire(key);
    const read = await locks.get(key);
    const listed: LockRecord[] = [];
    for await (const record of listLocks(locks, { keyPrefix: key })) listed.push(record);
    const broken = await freeKey(locks, key);
    for (const record of [read, listed[0], broken]) {
      expectHidden(record, token);
      expect(record?.token).toBe(token);
    }
  });

  it("of a large response shows no token in the name of the item that has it", async () => {
    const { locks } = setUp();
    const key = freshKey();
    const lock = await locks.acquire(key);
    await lock.finish({ result: noise(8_000, key) });
    const record = await locks.get(key);
    expectHidden(record, lock.token);
    expect([record?.resultKey, record?.result?.value]).toEqual([
      expect.stringContaining(lock.token),
      expect.any(String),
    ]);
  });
});

describe("events", () => {
  it("show no token, in the log or where onEvent prints them, though they have it", async () => {
    const events: LockEvent[] = [];
    const { locks } = setUp({ logger: new Logger({ logLevel: "DEBUG" }), onEvent: (event) => events.push(event) });
    const key = freshKey();
    const lock = await locks.acquire(key);
    await locks.tryAcquire(key);
    await lock.extend(60_000);
    await lock.finish({ result: 1 });
    await locks.once(key, () => 2);
    expect(events.map(({ type }) => type)).toEqual(["acquired", "held", "renewed", "finished", "replayed"]);
    expectHidden(events, lock.token);
    for (const event of events) expect((event as { token?: string }).token).toBe(lock.token);
  });
});

describe.each(wrappers)("$name", ({ wrap }) => {
  it("duplicateResponse may answer with the record: no token leaves the function", async () => {
    const day = reportDay(table);
    const holder = await day.takenByAnother();
    const invoke = wrap(reporter().handler, {
      ...day.options,
      duplicateResponse: (record) => ({
        statusCode: 409,
        body: JSON.stringify({ record, token: typeof record.token }),
      }),
    });
    const { body } = (await invoke(day.event)) as { body: string };
    expect(JSON.parse(body)).toMatchObject({ record: { key: day.key, owner: holder.owner }, token: "string" });
    expect(body).not.toContain(holder.token);
  });
});
