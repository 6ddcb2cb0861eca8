/** Keys in every state, for tests of what operators see and change. */
import { randomUUID } from "node:crypto";
import { expect } from "vitest";
import {
  type ListLocksFilter,
  LockClient,
  type LockClientOptions,
  type LockEvent,
  listLocks,
} from "../../src/index.ts";
import { manualClock } from "./clock.ts";
import { countingClient, lockTable } from "./dynamodb.ts";
import { locksOf } from "./locks.ts";

export const MINUTE = 60_000;

export const operatorsTable = async () => {
  const table = await lockTable();

  /** A client with a namespace of its own, so that it meets no other test's locks. */
  const setUp = (options: LockClientOptions = {}) => {
    const clock = manualClock();
    const { client, sent } = countingClient();
    const events: LockEvent[] = [];
    const locks = new LockClient({
      client,
      tableName: table.tableName,
      namespace: randomUUID(),
      clock,
      leaseMs: MINUTE,
      heartbeatMs: false,
      rememberMs: 10 * MINUTE,
      onEvent: (event) => events.push(event),
      ...options,
    });
    const { namespace } = locksOf(locks).options;
    return {
      locks,
      clock,
      client,
      sent,
      stored: (key: string) => `${namespace}#${key}`,
      eventsOf: (type: LockEvent["type"]) => events.filter((event) => event.type === type),
    };
  };

  /** One key in each state: `held`, `crashed` (its lease is over), `finished`, `forgotten` (its window is over) and `released`. */
  const oneOfEach = async (options: LockClientOptions = {}) => {
    const test = setUp(options);
    const { locks, clock } = test;
    await locks.acquire("crashed", { owner: "crasher" });
    await (await locks.acquire("forgotten")).finish({ rememberMs: MINUTE });
    clock.advance(2 * MINUTE);
    await locks.acquire("held", { owner: "holder" });
    await (await locks.acquire("finished")).finish({ result: 1 });
    await (await locks.acquire("released")).release();
    clock.advance(2_000); // past the clock skew, in which no record is purged
    return test;
  };

  return { table, setUp, oneOfEach };
};

export const keysOf = async (locks: LockClient, filter?: ListLocksFilter) => {
  const keys: string[] = [];
  for await (const { key } of listLocks(locks, filter)) keys.push(key.slice(key.indexOf("#") + 1));
  return keys.sort();
};

export const lostBecause = (reason: string) => expect.objectContaining({ name: "LockLostError", reason });
