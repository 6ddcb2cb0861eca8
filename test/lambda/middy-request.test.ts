/** Several requests, several locks in one chain, and what a handler may do to its request, on both majors of Middy. */
import { beforeAll, describe, expect, it, vi } from "vitest";
import { dynamoLock, type Lock, type LockEvent, LockHeldError, withLock } from "../../src/index.ts";
import { manualClock } from "../support/clock.ts";
import {
  chain,
  deferred,
  finished,
  inProgress,
  type Middleware,
  oneRun,
  type ReportEvent,
  released,
  reportDay,
  reporter,
  type Table,
  tableOfLocks,
  versions,
} from "../support/middy.ts";

let table: Table;
beforeAll(async () => {
  table = await tableOfLocks();
});

const skew = 1_000;

describe.each(versions)("$name", ({ middy }) => {
  describe("requests don't get into each other's way", () => {
    it("with an `internal` of the user's, which Middy 6 shares between concurrent requests", async () => {
      const days = [reportDay(table), reportDay(table), reportDay(table)];
      const gates = days.map(() => deferred());
      const locks = new Map<string, Lock>();
      const options = {
        ...days[0]?.options,
        key: (event: ReportEvent) => event.date,
      };
      const invoke = chain(
        middy,
        [dynamoLock(options)],
        async ({ date }, { lock }) => {
          locks.set(date, lock);
          await gates[days.findIndex(({ event }) => event.date === date)]?.promise;
          if (date === days[1]?.event.date) throw new Error("no data");
          return date;
        },
        { internal: { config: "shared" } },
      );
      const invocations = days.map(({ event }) => invoke(event));
      await vi.waitFor(() => expect(locks.size).toBe(3));

      gates[2]?.resolve();
      expect(await invocations[2]).toBe(days[2]?.event.date);
      expect(await days[2]?.item()).toMatchObject(finished(days[2]?.event.date));
      expect(await days[0]?.item()).toMatchObject(inProgress(locks.get(String(days[0]?.event.date))));
      expect(await days[1]?.item()).toMatchObject(inProgress(locks.get(String(days[1]?.event.date))));

      gates[1]?.resolve();
      await expect(invocations[1]).rejects.toThrow("no data");
      expect(await days[1]?.item()).toMatchObject(released);
      expect(await days[0]?.item()).toMatchObject(inProgress(locks.get(String(days[0]?.event.date))));

      gates[0]?.resolve();
      expect(await invocations[0]).toBe(days[0]?.event.date);
      expect(await days[0]?.item()).toMatchObject(finished(days[0]?.event.date));
    });

    it("with one `internal` for a run and its refused repeat at the same time", async () => {
      const day = reportDay(table);
      const gate = deferred();
      const { handler, locks } = reporter();
      const invoke = chain(
        middy,
        [dynamoLock(day.options)],
        async (event, context) => {
          const report = await handler(event, context);
          await gate.promise;
          return report;
        },
        { internal: {} },
      );
      const run = invoke(day.event);
      await vi.waitFor(() => expect(locks).toHaveLength(1));
      await expect(invoke(day.event)).rejects.toBeInstanceOf(LockHeldError);
      expect(await day.item()).toMatchObject(inProgress(locks[0]));
      gate.resolve();
      expect(await run).toBe("report");
      expect(await day.item()).toMatchObject(finished("report"));
      expect(day.types()).toEqual(["acquired", "held", "finished"]);
    });

    it("with one middleware in two chains", async () => {
      const day = reportDay(table);
      const other = reportDay(table);
      const lock = dynamoLock(day.options);
      const ends = chain(middy, [lock], async () => "report");
      const fails = chain(middy, [lock], async () => {
        throw new Error("no data");
      });
      await Promise.allSettled([ends(day.event), fails(other.event)]);
      expect(await day.item()).toMatchObject(finished("report"));
      expect(await other.item()).toMatchObject(released);
    });
  });

  describe("two instances in one chain", () => {
    const twoLocks = () => {
      const day = reportDay(table);
      const region = `eu-${day.event.date}`;
      const byRegion = { ...day.options, key: (event: ReportEvent) => event.region };
      return {
        day,
        event: { ...day.event, region },
        both: [dynamoLock(day.options), dynamoLock(byRegion)],
        regionKey: `report#${region}`,
        regionItem: () => table.item(`report#${region}`),
      };
    };

    it("both finish, and the handler sees the inner lock", async () => {
      const { day, event, both, regionKey, regionItem } = twoLocks();
      const { handler, locks } = reporter();
      const invoke = chain(middy, both, handler);
      expect(await invoke(event)).toBe("report");
      expect(locks.map(({ key }) => key)).toEqual([regionKey]);
      expect(day.sent).toEqual([...oneRun, ...oneRun]);
      expect(await day.item()).toMatchObject(finished("report"));
      expect(await regionItem()).toMatchObject(finished("report"));
      expect(await invoke(event)).toBe("report");
      expect(handler).toHaveBeenCalledTimes(1);
    });

    it("both are released when the handler fails", async () => {
      const { day, event, both, regionItem } = twoLocks();
      const invoke = chain(middy, both, async () => {
        throw new Error("no data");
      });
      await expect(invoke(event)).rejects.toThrow("no data");
      expect(day.sent).toEqual([...oneRun, ...oneRun]);
      expect(await day.item()).toMatchObject(released);
      expect(await regionItem()).toMatchObject(released);
    });

    it("when the inner one refuses, the outer one is released and the other run's key is left alone", async () => {
      const { day, event, both, regionKey, regionItem } = twoLocks();
      const { handler } = reporter();
      await table.put({ ...(await heldItem(regionKey)) });
      const asItWas = await regionItem();
      await expect(chain(middy, both, handler)(event)).rejects.toBeInstanceOf(LockHeldError);
      expect(handler).not.toHaveBeenCalled();
      expect(await day.item()).toMatchObject(released);
      expect(await regionItem()).toEqual(asItWas);
    });

    it("when the inner one answers a repeat, the outer one's key is not left taken", async () => {
      const { day, event, both } = twoLocks();
      const another = reportDay(table);
      const { handler } = reporter();
      const invoke = chain(middy, both, handler);
      await invoke({ ...event, date: another.event.date }); // finishes the region
      expect(await invoke(event)).toBe("report");
      expect(handler).toHaveBeenCalledTimes(1);
      expect((await day.item())?.status).not.toEqual({ S: "IN_PROGRESS" });
    });

    it("one instance used twice refuses itself, and leaves the key free", async () => {
      const day = reportDay(table);
      const { handler } = reporter();
      const lock = dynamoLock(day.options);
      await expect(chain(middy, [lock, lock], handler)(day.event)).rejects.toBeInstanceOf(LockHeldError);
      expect(handler).not.toHaveBeenCalled();
      expect(await day.item()).toMatchObject(released);
    });

    it("withLock inside dynamoLock, by another key, works too", async () => {
      const day = reportDay(table);
      const region = `eu-${day.event.date}`;
      const { handler } = reporter();
      const inner = withLock(handler, { ...day.options, key: (event: ReportEvent) => event.region });
      expect(await chain(middy, [dynamoLock(day.options)], inner)({ ...day.event, region })).toBe("report");
      expect(await day.item()).toMatchObject(finished("report"));
      expect(await table.item(`report#${region}`)).toMatchObject(finished("report"));
    });
  });

  describe("what the handler does to the request", () => {
    it("the key was fixed in before: an event that the handler changes settles the key it began with", async () => {
      const day = reportDay(table);
      const other = reportDay(table);
      const invoke = chain(middy, [dynamoLock(day.options)], async (event) => {
        event.date = other.event.date;
        return "report";
      });
      await invoke({ ...day.event });
      expect(await day.item()).toMatchObject(finished("report"));
      expect(await other.item()).toBeUndefined();
    });

    it("nor does an event that an inner before changes", async () => {
      const day = reportDay(table);
      const other = reportDay(table);
      const before: Middleware["before"] = (request) => {
        request.event = { date: other.event.date };
      };
      await chain(middy, [dynamoLock(day.options), { before }], async () => "report")({ ...day.event });
      expect(await day.item()).toMatchObject(finished("report"));
      expect(await other.item()).toBeUndefined();
    });

    it("a context.lock that something replaces is not the one that is settled", async () => {
      const day = reportDay(table);
      const other = reportDay(table);
      const foreign = await other.takenByAnother();
      const invoke = chain(middy, [dynamoLock(day.options)], async (_event, context) => {
        Object.assign(context, { lock: foreign });
        return "report";
      });
      await invoke(day.event);
      expect(await day.item()).toMatchObject(finished("report"));
      expect(await other.item()).toMatchObject(inProgress(foreign));
    });

    it("a handler that finished the key itself is not finished again", async () => {
      const day = reportDay(table);
      const invoke = chain(middy, [dynamoLock(day.options)], async (_event, { lock }) => {
        await lock.finish({ result: "for repeats" });
        return "for the first";
      });
      expect(await invoke(day.event)).toBe("for the first");
      expect(day.sent).toEqual(oneRun);
      expect(await invoke(day.event)).toBe("for repeats");
      expect(day.types()).toEqual(["acquired", "finished", "replayed"]);
    });

    it("a handler that finished the key itself and then fails leaves it finished", async () => {
      const day = reportDay(table);
      const invoke = chain(middy, [dynamoLock(day.options)], async (_event, { lock }) => {
        await lock.finish({ result: "for repeats" });
        throw new Error("afterwards");
      });
      await expect(invoke(day.event)).rejects.toThrow("afterwards");
      expect(day.sent).toEqual(oneRun);
      expect(await day.item()).toMatchObject(finished("for repeats"));
    });

    it("a handler that released the key itself doesn't finish the next run's", async () => {
      const day = reportDay(table);
      const taken = deferred<Lock>();
      const invoke = chain(middy, [dynamoLock(day.options)], async (_event, { lock }) => {
        await lock.release();
        taken.resolve(day.takenByAnother());
        await taken.promise;
        return "report";
      });
      expect(await invoke(day.event)).toBe("report");
      expect(await day.item()).toMatchObject(inProgress(await taken.promise));
    });

    it("a run that lost its key succeeds for its caller, changes nothing, and reports the loss", async () => {
      const day = reportDay(table);
      const clock = manualClock();
      const options = day.clockedOptions(clock);
      const gate = deferred();
      const { handler, locks } = reporter();
      const slow = chain(
        middy,
        [dynamoLock({ ...options, leaseMs: 50, heartbeatMs: false })],
        async (event, context) => {
          const report = await handler(event, context);
          await gate.promise;
          return report;
        },
      );
      const first = slow(day.event);
      await vi.waitFor(() => expect(locks).toHaveLength(1));
      clock.advance(50 + skew);
      const next = reporter("the next report");
      expect(await chain(middy, [dynamoLock(options)], next.handler)(day.event)).toBe("the next report");
      const asItWas = await day.item();

      gate.resolve();
      expect(await first).toBe("report");
      expect(await day.item()).toEqual(asItWas);
      expect(asItWas).toMatchObject(finished("the next report"));
      expect(day.types()).toEqual(["acquired", "lost", "taken-over", "finished", "lost"]);
      expect(day.events.at(-1)).toMatchObject({ type: "lost", reason: "stolen", token: locks[0]?.token });
      expect(locks[0]?.signal.aborted).toBe(true);
      // By time first, before anybody could take it.
      expect(locks[0]?.signal.reason).toMatchObject({ code: "LOCK_LOST", reason: "expired" });
    });

    it("a run that lost its key and fails throws its own error, and changes nothing", async () => {
      const day = reportDay(table);
      const clock = manualClock();
      const options = day.clockedOptions(clock);
      let asItWas: unknown;
      const invoke = chain(middy, [dynamoLock({ ...options, leaseMs: 50, heartbeatMs: false })], async () => {
        clock.advance(50 + skew);
        await chain(middy, [dynamoLock(options)], async () => "the next report")(day.event);
        asItWas = await day.item();
        throw new Error("no data");
      });
      await expect(invoke(day.event)).rejects.toThrow("no data");
      expect(asItWas).toMatchObject(finished("the next report"));
      expect(await day.item()).toEqual(asItWas);
      expect(day.types()).toContain("lost" satisfies LockEvent["type"]);
    });
  });
});

/** A record that another run holds, under a key of any name. */
const heldItem = async (key: string) => {
  const day = reportDay(table);
  await day.takenByAnother();
  const item = await day.item();
  return { ...item, lock_id: { S: key } };
};
