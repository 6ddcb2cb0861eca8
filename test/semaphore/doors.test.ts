/** What `semaphore` gives: how its calls wait, run and end, and what it refuses before anything is sent. */
import { beforeAll, describe, expect, it } from "vitest";
import { LockClient, type LockClientOptions, LockHeldError, LockTimeoutError, semaphore } from "../../src/index.ts";
import { lockTable } from "../support/dynamodb.ts";
import { aProcess, turn } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

let count = 0;
const setUp = (options: LockClientOptions = {}) => {
  const key = `door-${++count}`;
  const it = aProcess(table.tableName, options as never);
  return { ...it, key, two: semaphore(it.locks, key, { permits: 2 }) };
};
const WRONG_LEASE = "must be a whole number of milliseconds from 1 to 2592000000, got 2592000001";

describe("acquire", () => {
  it("waits for a permit, and takes it when one is released", async () => {
    const { locks, key, two } = setUp({ clock: undefined });
    const [first] = [await two.acquire(), await two.acquire()];
    const waiting = two.acquire({ waitMs: 10_000, backoff: { minMs: 1, maxMs: 10 } });
    await first.release();
    expect((await waiting).status).toBe("held");
    expect(await locks.count(key)).toBe(2);
  });

  it("in vain, throws a LockTimeoutError with the holders; without waitMs a LockHeldError", async () => {
    const { two, types } = setUp();
    await Promise.all([two.acquire(), two.acquire()]);
    const error = await two.acquire({ waitMs: 500 }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(LockTimeoutError);
    expect((error as LockTimeoutError).record?.holders).toHaveLength(2);
    await expect(two.acquire()).rejects.toBeInstanceOf(LockHeldError);
    expect(types()).toEqual(["acquired", "acquired", "held", "held"]);
  });

  it("gives up with the reason of its signal", async () => {
    const { two } = setUp();
    await Promise.all([two.acquire(), two.acquire()]);
    const signal = AbortSignal.abort(new Error("no longer wanted"));
    await expect(two.acquire({ waitMs: 500, signal })).rejects.toThrow("no longer wanted");
  });
});

describe("run", () => {
  it("gives what the work gives, and releases the permit after it", async () => {
    const { locks, key, two } = setUp();
    expect(await two.run(({ status }) => status)).toBe("held");
    expect(await locks.count(key)).toBe(0);
  });

  it("throws what the work throws, and releases the permit", async () => {
    const { locks, key, two } = setUp();
    const failure = new Error("no paper");
    await expect(two.run(() => Promise.reject(failure))).rejects.toBe(failure);
    expect(await locks.count(key)).toBe(0);
  });

  it("doesn't run the work without a permit", async () => {
    const { two } = setUp();
    await Promise.all([two.acquire(), two.acquire()]);
    let runs = 0;
    await expect(two.run(() => ++runs)).rejects.toBeInstanceOf(LockHeldError);
    expect(runs).toBe(0);
  });

  it("ends after timeoutMs: the signal is aborted, and the permit released when the work ends after all", async () => {
    const { clock, locks, key, two } = setUp();
    const end = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<AbortSignal>();
    const running = two.run(
      ({ signal }) => {
        begun.resolve(signal);
        return end.promise;
      },
      { timeoutMs: 1_000 },
    );
    const outcome = running.catch((e: unknown) => e);
    const signal = await begun.promise;
    clock.advance(1_000);
    expect(await outcome).toBeInstanceOf(LockTimeoutError);
    expect(await outcome).toMatchObject({ message: "The work under the lock took more than 1000 ms" });
    expect([signal.aborted, await locks.count(key)]).toEqual([true, 1]); // others must not run beside it yet
    end.resolve();
    await turn();
    await expect.poll(() => locks.count(key)).toBe(0);
  });

  it("shows the options of acquire when it is given wrong ones", async () => {
    const { two, state } = setUp();
    const wrong = (value: unknown) => value as never;
    await expect(two.run(wrong("work"))).rejects.toThrow(
      "run: work, the first argument, must be a function, got 'work'",
    );
    await expect(two.run(() => 1, wrong(null))).rejects.toThrow("run: options must be an object, got null");
    await expect(two.run(() => 1, wrong({ timeout: 5 }))).rejects.toThrow(/did you mean timeoutMs, in milliseconds\?$/);
    expect(state.sent).toEqual([]);
  });
});

describe("a permit", () => {
  it("is in the client's namespace, and of its owner unless another is named", async () => {
    const { locks, key, two } = setUp({ namespace: "shop", owner: "me" });
    expect(await two.acquire()).toMatchObject({ key: `shop#${key}`, owner: "me" });
    expect(await two.acquire({ owner: "you" })).toMatchObject({ owner: "you" });
    expect(await locks.count(key)).toBe(2);
  });

  it("is released when the client is closed, which then gives no more", async () => {
    const { locks, key, two } = setUp();
    const permit = await two.acquire();
    await locks.close();
    expect(permit.status).toBe("released");
    await expect(two.tryAcquire()).rejects.toMatchObject({ code: "LOCK_CLOSED" });
    expect(await new LockClient({ client: table.client, tableName: table.tableName }).count(key)).toBe(0);
  });

  it("has a lease of 30 days at most, also where the client's is longer", async () => {
    const { two, state } = setUp();
    await expect(two.acquire({ leaseMs: 2_592_000_001 })).rejects.toThrow(`acquire: leaseMs ${WRONG_LEASE}`);
    const patient = setUp({ leaseMs: 2_592_000_001 });
    await expect(patient.two.acquire({ waitMs: 10 })).rejects.toThrow(WRONG_LEASE);
    expect([...state.sent, ...patient.state.sent]).toEqual([]);
    expect(await patient.two.acquire({ leaseMs: 2_592_000_000 })).toMatchObject({ status: "held" });
  });

  it("is renewed in time, with the client's heartbeat too", async () => {
    const { two } = setUp({ heartbeatMs: 4_000 });
    await expect(two.acquire({ leaseMs: 5_000 })).rejects.toThrow(
      "acquire: heartbeatMs (4000) must be at most half of leaseMs (5000)",
    );
  });
});

describe("what is refused at once", () => {
  const wrong = (value: unknown) => value as never;
  const locks = new LockClient({ clientConfig: { region: "eu-west-1" } });

  it.each<[string, unknown, string]>([
    ["nothing", undefined, "got undefined"],
    ["an imitation", { attempt: () => {}, held: new Set() }, "got "],
    ["a proxy around a client", new Proxy(locks, {}), "got LockClient {}"],
    ["what answers to every name", new Proxy({}, { get: () => () => {} }), "got "],
    ["the class", LockClient, "got [class LockClient extends LockClientOver]"],
  ])("in place of a LockClient %s", (_name, imitation, got) => {
    const make = () => semaphore(wrong(imitation), "k", { permits: 2 });
    expect(make).toThrow("semaphore: locks, the first argument, must be a LockClient, ");
    expect(make).toThrow(got);
  });

  it("a client that trusts no clock, because permits end by it", () => {
    const observing = new LockClient({ expiry: "observed", clientConfig: { region: "eu-west-1" } });
    expect(() => semaphore(observing, "k", { permits: 2 })).toThrow(
      "semaphore: locks must not have expiry 'observed': permits end by the clock",
    );
  });

  it("no key, several keys, and no options", () => {
    expect(() => semaphore(locks, "", { permits: 2 })).toThrow("key is missing");
    expect(() => semaphore(locks, wrong(["a", "b"]), { permits: 2 })).toThrow("key must be a string");
    expect(() => semaphore(locks, "k", wrong(undefined))).toThrow(
      "semaphore: options must be an object, got undefined",
    );
    expect(() => semaphore(locks, "k", wrong({ concurrency: 2 }))).toThrow(/did you mean permits\?$/);
  });
});
