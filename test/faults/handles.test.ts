/** Two effective holders, made by the state machine of one handle. */
import { beforeAll, describe, expect, it } from "vitest";
import { semaphore } from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import { lockTable } from "../support/dynamodb.ts";
import { aProcess, losing, lost, turn } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});
let keys = 0;
const freshKey = () => `state-${++keys}`;

describe("extend", () => {
  it("a shortening whose reply is lost leaves two holders", async () => {
    const clock = manualClock();
    const a = aProcess(table.tableName, { clock });
    const b = aProcess(table.tableName, { clock });
    const lock = await a.locks.acquire(freshKey());
    a.state.wire = losing(2);
    await expect(lock.extend(1_000)).rejects.toMatchObject({ code: "LOCK_REQUEST" });
    clock.advance(2_001);
    const other = await b.locks.tryAcquire(lock.key);
    expect([lock.status, other?.status]).not.toEqual(["held", "held"]);
  });

  it("after a release whose reply was lost, extend says that the lock is held again", async () => {
    const clock = manualClock();
    const a = aProcess(table.tableName, { clock });
    const b = aProcess(table.tableName, { clock });
    const lock = await a.locks.acquire(freshKey());
    a.state.wire = losing(2);
    await expect(lock.release()).rejects.toMatchObject({ code: "LOCK_REQUEST" });
    const outcome = await lock.extend(10_000).then(
      () => "extended",
      () => "refused",
    );
    const other = await b.locks.tryAcquire(lock.key);
    expect(other?.status).toBe("held");
    expect([outcome, lock.status]).toEqual(["refused", expect.not.stringMatching("held")]);
  });

  it("after a release whose reply was lost, the handle still says held while another holds", async () => {
    const clock = manualClock();
    const a = aProcess(table.tableName, { clock });
    const b = aProcess(table.tableName, { clock });
    const lock = await a.locks.acquire(freshKey());
    a.state.wire = losing(2);
    await lock[Symbol.asyncDispose]();
    const other = await b.locks.tryAcquire(lock.key);
    expect([lock.status, other?.status]).not.toEqual(["held", "held"]);
  });

  it("to less than the time to the next heartbeat: the heartbeat lets the lock expire", async () => {
    const a = aProcess(table.tableName, { leaseMs: 9_000, heartbeatMs: 3_000 });
    const lock = await a.locks.acquire(freshKey());
    await lock.extend(2_000);
    await a.clock.pass(4_000);
    expect(lock.status).toBe("held");
    await lock.release();
  });
});

describe("re-entry", () => {
  it("while the release is in flight: the second holder has a lock that is then released", async () => {
    const clock = manualClock();
    const a = aProcess(table.tableName, { clock });
    const b = aProcess(table.tableName, { clock });
    const key = freshKey();
    const outer = await a.locks.acquire(key, { reentrant: true });
    const release = outer.release();
    await Promise.resolve();
    const again = await a.locks.tryAcquire(key, { reentrant: true });
    await release;
    const other = await b.locks.tryAcquire(key);
    // Either refused, or a lock that holds: not a handle that somebody else releases.
    expect(again === undefined || (again.status === "held" && other === undefined)).toBe(true);
  });

  it("after a release whose reply was lost: the free key is held by a stale handle, without a request", async () => {
    const clock = manualClock();
    const a = aProcess(table.tableName, { clock });
    const b = aProcess(table.tableName, { clock });
    const key = freshKey();
    const first = await a.locks.acquire(key, { reentrant: true });
    a.state.wire = losing(2);
    await first[Symbol.asyncDispose](); // reports it, throws nothing
    const other = await b.locks.acquire(key);
    const again = await a.locks.tryAcquire(key, { reentrant: true });
    expect([other.status, again?.status]).not.toEqual(["held", "held"]);
  });

  it("of a key 'a,b' is not that of the keys 'a' and 'b'", async () => {
    const a = aProcess(table.tableName);
    const prefix = freshKey();
    await a.locks.acquire([prefix, "b"], { reentrant: true });
    await a.locks.acquire(`${prefix},b`, { reentrant: true });
    expect((await a.locks.get(`${prefix},b`))?.status).toBe("IN_PROGRESS");
  });

  it("a permit is not an exclusive lock", async () => {
    const clock = manualClock();
    const a = aProcess(table.tableName, { clock });
    const b = aProcess(table.tableName, { clock });
    const key = freshKey();
    await semaphore(a.locks, key, { permits: 3 }).acquire();
    await semaphore(b.locks, key, { permits: 3 }).acquire();
    expect(await a.locks.tryAcquire(key, { reentrant: true })).toBeUndefined();
  });

  it("works again after one lock was lost", async () => {
    const a = aProcess(table.tableName, { clockSkewMs: 0 });
    const key = freshKey();
    const lostOne = await a.locks.acquire(key, { reentrant: true });
    a.clock.advance(10_000);
    expect(lostOne.status).toBe("expired");
    await a.locks.acquire(key, { reentrant: true });
    expect(await a.locks.tryAcquire(key, { reentrant: true })).toBeDefined();
  });

  it("a lock found stolen by its heartbeat is forgotten: close has nothing to release", async () => {
    const a = aProcess(table.tableName, { leaseMs: 9_000, heartbeatMs: 3_000 });
    const key = freshKey();
    const lock = await a.locks.acquire(key);
    await aProcess(table.tableName).locks.acquire(key, { force: true });
    await a.clock.pass(3_100);
    expect(lock.status).toBe("lost");
    await expect(lock.release()).rejects.toThrow();
    await a.locks.close();
  });
});

describe("the heartbeat", () => {
  it("a lock whose acquisition was recognised late is renewed in time", async () => {
    const a = aProcess(table.tableName, { leaseMs: 9_000, heartbeatMs: 3_000, random: () => 0.1 });
    const key = freshKey();
    a.state.wire = async ({ n, send }) => {
      const reply = await send();
      if (n === 1) {
        a.clock.advance(7_000); // timeouts, retries
        throw lost();
      }
      return reply;
    };
    const lock = await a.locks.acquire(key, { waitMs: 60_000 });
    expect([lock.status, lock.remainingMs]).toEqual(["held", expect.closeTo(2_000, -2)]);
    await a.clock.pass(10_000);
    expect([lock.status, a.types()]).toEqual(["held", expect.not.arrayContaining(["lost"])]);
    await lock.release();
  });

  it("a reply that is handled first after a freeze doesn't revive a lease that was over", async () => {
    const a = aProcess(table.tableName, { leaseMs: 9_000, heartbeatMs: 3_000 });
    const lock = await a.locks.acquire(freshKey());
    const arrive = Promise.withResolvers<void>();
    a.state.wire = async ({ send }) => {
      const reply = await send();
      await arrive.promise;
      return reply;
    };
    a.clock.advance(3_000);
    await turn();
    a.clock.freeze(7_000); // 10 s: over; 12 s is the renewed end
    expect(lock.status).toBe("expired");
    arrive.resolve();
    await turn();
    expect(lock.status).toBe("expired");
  });

  it("a late duplicate of an older renewal must not shorten a lease", async () => {
    const clock = manualClock();
    const a = aProcess(table.tableName, { clock });
    const b = aProcess(table.tableName, { clock });
    const lock = await a.locks.acquire(freshKey());
    let zombie: (() => Promise<unknown>) | undefined;
    a.state.wire = async ({ n, send }) => {
      if (n === 2) {
        zombie = send; // still on its way when the client gives up on it
        throw lost();
      }
      return send();
    };
    await expect(lock.extend(10_000)).rejects.toThrow();
    clock.advance(9_000);
    await lock.extend(60_000);
    await zombie?.().catch(() => {});
    clock.advance(3_000); // 12 s: the zombie's lease ended at 10 s
    const other = await b.locks.tryAcquire(lock.key);
    expect([lock.status, other?.status]).not.toEqual(["held", "held"]);
  });

  it("a renewal that hangs doesn't keep a release from ending after the lease is over", async () => {
    const a = aProcess(table.tableName, { leaseMs: 9_000, heartbeatMs: 3_000 });
    const lock = await a.locks.acquire(freshKey());
    a.state.wire = () => new Promise(() => {});
    await a.clock.pass(10_000);
    expect(lock.status).toBe("expired");
    a.state.wire = async ({ send }) => send();
    const outcome = await Promise.race([lock.release().then(() => "released"), turn(500).then(() => "hangs")]);
    expect(outcome).toBe("released");
  });

  it("after a failed finish the signal still tells the end of the lease", async () => {
    const a = aProcess(table.tableName);
    const lock = await a.locks.acquire(freshKey());
    a.state.wire = async () => {
      throw lost();
    };
    await expect(lock.finish()).rejects.toThrow();
    await a.clock.pass(11_000);
    expect([lock.status, lock.signal.aborted]).toEqual(["expired", true]);
  });
});
