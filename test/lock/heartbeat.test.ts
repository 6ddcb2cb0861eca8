import { getEventListeners } from "node:events";
import { beforeAll, describe, expect, it, vi } from "vitest";
import {
  type AcquireOptions,
  type Lock,
  LockClient,
  type LockEvent,
  LockLostError,
  LockTimeoutError,
} from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { countingClient, followRequests, lockTable } from "../support/dynamodb.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

let keys = 0;

/** A holder on a clock that the test moves, with a network that it can cut. */
const setUp = async (options: AcquireOptions = {}) => {
  const clock = manualClock();
  const { client, sent } = countingClient({ maxAttempts: 1 });
  const network = { cut: false, delay: undefined as Promise<unknown> | undefined };
  followRequests(clock, client);
  client.middlewareStack.add(
    (next) => async (args) => {
      if (network.cut) throw Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
      const { delay } = network; // of this request, whatever is set meanwhile
      const output = await next(args);
      await delay;
      return output;
    },
    { step: "finalizeRequest", name: "network" },
  );
  const events: LockEvent[] = [];
  const onEvent = (event: LockEvent) => events.push(event);
  const locks = new LockClient({ client, tableName: table.tableName, clock, leaseMs: 9_000, clockSkewMs: 0, onEvent });
  const lock = await locks.acquire(`key-${++keys}`, options);
  const { client: otherClient } = countingClient();
  const others = new LockClient({
    client: otherClient,
    tableName: table.tableName,
    clock,
    clockSkewMs: 0,
    heartbeatMs: false,
  });
  return { clock, network, locks, lock, others, sent, types: () => events.map(({ type }) => type), events };
};

const reasonOf = (lock: Lock) => (lock.signal.reason as LockLostError | undefined)?.reason;

describe("the heartbeat", () => {
  it("renews at a third of the lease, so that the lock outlives it", async () => {
    const { clock, lock, others, sent } = await setUp();
    await clock.pass(30_000);
    expect(lock.status).toBe("held");
    expect(await others.tryAcquire(lock.key)).toBeUndefined();
    expect(sent).toHaveLength(1 + 10);
    expect(lock.expiresAt).toBeGreaterThan(clock.now() + 5_000);
    expect(getEventListeners(lock.signal, "abort")).toEqual([]);
    await lock.release();
    await clock.pass(10_000);
    expect(sent).toHaveLength(1 + 10 + 1); // none after the release
    expect(clock.timers).toBe(0);
  });

  it("heartbeatMs sets its pace, false stops it", async () => {
    const fast = await setUp({ heartbeatMs: 1_000 });
    await fast.clock.pass(5_000);
    expect(fast.sent).toHaveLength(1 + 5);
    const none = await setUp({ heartbeatMs: false });
    await none.clock.pass(9_000);
    expect([none.sent.length, none.lock.status]).toEqual([1, "expired"]);
  });

  it("one failure means nothing: it is tried again, and goes on", async () => {
    const { clock, network, lock, types } = await setUp();
    network.cut = true;
    await clock.pass(5_000);
    network.cut = false;
    await clock.pass(60_000);
    expect(lock.status).toBe("held");
    expect(types()).toContain("failed");
    expect(types()).not.toContain("lost");
  });

  it("no failure ends the lease early, and none prolongs it: unreachable until its end, and then lost", async () => {
    const { clock, network, lock, types } = await setUp();
    const lost: string[] = [];
    lock.signal.addEventListener("abort", () => lost.push(`${clock.monotonic()}`));
    network.cut = true;
    await clock.pass(8_900);
    expect([lock.status, lock.signal.aborted]).toEqual(["held", false]);
    await clock.pass(100);
    expect([lock.status, reasonOf(lock)]).toEqual(["expired", "unreachable"]);
    expect(lost).toEqual(["9000"]);
    network.cut = false;
    const sent = types().length;
    await clock.pass(20_000);
    expect(types()).toHaveLength(sent); // a lease that is over is never revived
  });

  it("another token is proof: the lock is stolen", async () => {
    const { clock, lock, others } = await setUp();
    await others.acquire(lock.key, { force: true });
    await clock.pass(3_100);
    expect([lock.status, reasonOf(lock)]).toEqual(["lost", "stolen"]);
    await expect(lock.finish()).rejects.toMatchObject({ reason: "stolen" });
  });

  it("after a freeze past the lease nothing is renewed: the lock is lost before anything else happens", async () => {
    const { clock, lock, others, sent } = await setUp();
    clock.freeze(9_500);
    const taken = await others.acquire(lock.key);
    await clock.pass(1);
    expect([lock.status, reasonOf(lock), sent.length]).toEqual(["expired", "expired", 1]);
    await expect(lock.extend(9_000)).rejects.toMatchObject({ reason: "expired" });
    await expect(lock.release()).rejects.toMatchObject({ reason: "stolen" });
    expect((await others.get(lock.key))?.token).toBe(taken.token);
  });

  it("a wall clock that jumps ahead ends the lease too, at the next look", async () => {
    const { clock, lock } = await setUp();
    clock.advanceWall(9_000);
    expect(lock.status).toBe("expired");
    await clock.pass(3_100);
    expect(reasonOf(lock)).toBe("expired");
  });

  it("a renewal in flight is awaited before a release, which then is the last word", async () => {
    const { clock, network, lock, others, sent } = await setUp();
    let arrive = () => {};
    network.delay = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    clock.advance(3_000);
    await vi.waitFor(() => expect(sent).toHaveLength(2));
    const release = lock.release();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(sent).toHaveLength(2);
    network.delay = undefined;
    arrive();
    await release;
    expect((await others.get(lock.key))?.status).toBe("RELEASED");
    expect(await others.tryAcquire(lock.key)).toBeDefined();
  });

  it("a renewal whose reply comes after the end of the lease doesn't bring it back", async () => {
    const { clock, network, lock } = await setUp();
    let arrive = () => {};
    network.delay = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    await clock.pass(9_000);
    expect(lock.status).toBe("expired");
    arrive();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([lock.status, lock.signal.aborted, clock.timers]).toEqual(["expired", true, 0]);
  });

  it("one slow renewal delays no other lock", async () => {
    const { clock, network, locks, lock } = await setUp();
    network.delay = new Promise(() => {});
    clock.advance(3_000); // the first lock's renewal hangs from here on
    await new Promise((resolve) => setTimeout(resolve, 20));
    network.delay = undefined;
    const second = await locks.acquire(`key-${++keys}`);
    await clock.pass(12_000);
    expect([lock.status, second.status]).toEqual(["held", "held"]); // the slow one was given up, and sent again
    await second.release();
  });

  it("a failing release stops it: a lock that nobody holds is not renewed for ever", async () => {
    const { clock, network, lock, others } = await setUp();
    network.cut = true;
    await lock[Symbol.asyncDispose]();
    network.cut = false;
    await clock.pass(9_000);
    expect(await others.tryAcquire(lock.key)).toBeDefined();
    expect(clock.timers).toBe(1); // the other's
  });
});

describe("extend", () => {
  it("prolongs the lease by hand", async () => {
    const { clock, lock, others } = await setUp({ heartbeatMs: false });
    await clock.pass(8_000);
    await lock.extend(20_000);
    expect(lock.remainingMs).toBe(20_000);
    await clock.pass(19_000);
    expect(await others.tryAcquire(lock.key)).toBeUndefined();
    expect((await others.get(lock.key))?.leaseMs).toBe(20_000);
    await expect(lock.extend(0)).rejects.toThrow("extend: ms must be a whole number of milliseconds");
    await expect((lock.extend as () => Promise<void>)()).rejects.toThrow("got undefined");
  });

  it("after a release it is refused, and revives nothing", async () => {
    const { lock, others } = await setUp();
    await lock.release();
    await expect(lock.extend(1_000)).rejects.toMatchObject({ code: "LOCK_LOST", reason: "released" });
    expect((await others.get(lock.key))?.status).toBe("RELEASED");
  });
});

describe("what the holder is told", () => {
  it("onExpiring: safeMs before the end of a lease that is not renewed, and never after", async () => {
    const calls: [string, number][] = [];
    const told = (lock: Lock) => calls.push([lock.status, lock.remainingMs]);
    const { clock, network } = await setUp({ safeMs: 2_000, onExpiring: told });
    await clock.pass(20_000);
    expect(calls).toEqual([]);
    network.cut = true;
    await clock.pass(9_000);
    expect(calls).toEqual([["held", 2_000]]);

    const frozen = await setUp({ safeMs: 2_000, onExpiring: told, heartbeatMs: false });
    frozen.clock.freeze(9_500);
    await frozen.clock.pass(1);
    expect(calls).toHaveLength(1);
  });

  it("onLost: once, after the signal", async () => {
    const calls: unknown[] = [];
    const onLost = (lock: Lock, error: LockLostError) => calls.push([lock.signal.aborted, error.reason]);
    const { clock, lock, others } = await setUp({ heartbeatMs: false, onLost });
    await clock.pass(9_000);
    await others.acquire(lock.key);
    await expect(lock.release()).rejects.toThrow(LockLostError);
    expect(calls).toEqual([[true, "expired"]]);
  });

  it("a callback that throws breaks nothing", async () => {
    const printed = vi.spyOn(console, "error").mockImplementation(() => {});
    const { clock, lock } = await setUp({
      heartbeatMs: false,
      onLost: () => {
        throw new Error("callback broke");
      },
    });
    await clock.pass(9_000);
    expect(lock.status).toBe("expired");
    expect(printed).toHaveBeenCalledWith(
      expect.stringContaining("onLost failed, which changes nothing else: Error: callback"),
    );
    printed.mockRestore();
  });
});

describe("a limit on the work", () => {
  it("aborts the signal and fails with a clear error; work that stops has its lock released", async () => {
    const { clock, locks, others } = await setUp();
    const started = Promise.withResolvers<Lock>();
    const work = (lock: Lock) => {
      started.resolve(lock);
      return new Promise((_resolve, reject) => lock.signal.addEventListener("abort", () => reject(lock.signal.reason)));
    };
    const running = locks.run("limited", work, { timeoutMs: 2_000 });
    const failed = expect(running).rejects.toThrow("The work under the lock took more than 2000 ms");
    await started.promise;
    await clock.pass(2_000);
    await failed;
    await expect(running).rejects.toThrow(LockTimeoutError);
    await vi.waitFor(async () => expect((await others.get("limited"))?.status).toBe("RELEASED"));
  });

  it("work that can't be stopped leaves the key to its lease, which is not renewed any more", async () => {
    const { clock, locks, others } = await setUp();
    const started = Promise.withResolvers<Lock>();
    const work = (lock: Lock) => {
      started.resolve(lock);
      return new Promise(() => {});
    };
    const failed = expect(locks.run("stubborn", work, { timeoutMs: 2_000 })).rejects.toThrow(LockTimeoutError);
    await started.promise;
    await clock.pass(2_000);
    await failed;
    expect(await others.tryAcquire("stubborn")).toBeUndefined();
    await clock.pass(9_000);
    expect(await others.tryAcquire("stubborn")).toBeDefined();
  });

  it("work that ends in time is not bothered, and leaves no timer", async () => {
    const { clock, lock, locks } = await setUp();
    expect(await locks.run("quick", () => "done", { timeoutMs: 2_000 })).toBe("done");
    await lock.release();
    expect(clock.timers).toBe(0);
  });
});
