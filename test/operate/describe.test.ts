import { describe, expect, it } from "vitest";
import { describeLock, LockOptionsError, type LockRecord } from "../../src/index.ts";

const at = Date.parse("2026-11-21T09:30:00.250Z");
const record: LockRecord = {
  key: "reports#2026-11-21",
  status: "IN_PROGRESS",
  owner: "request-1",
  token: "t",
  fencingToken: 7,
  leaseMs: 60_000,
  acquiredAt: at,
  updatedAt: at + 20_000,
  expiresAt: at + 80_000,
};

describe("describeLock", () => {
  it("says since when a lock is held and how long it still will be", () => {
    expect(describeLock(record, { now: at + 30_000 })).toEqual({
      key: "reports#2026-11-21",
      status: "IN_PROGRESS",
      owner: "request-1",
      fencingToken: 7,
      acquiredAt: "2026-11-21T09:30:00.250+00:00",
      updatedAt: "2026-11-21T09:30:20.250+00:00",
      expiresAt: "2026-11-21T09:31:20.250+00:00",
      elapsedMs: 30_000,
      remainingMs: 50_000,
    });
    expect(describeLock(record, { now: at + 90_000 })).toMatchObject({ elapsedMs: 90_000, remainingMs: 0 });
    expect(describeLock(record, { now: at - 5 })).toMatchObject({ elapsedMs: 0 });
  });

  it("says how long it was held, when it is settled", () => {
    const released = { ...record, status: "RELEASED", expiresAt: 0 } as const;
    expect(describeLock(released, { now: at + 90_000 })).toMatchObject({ elapsedMs: 20_000, remainingMs: 0 });
    expect(describeLock(released)).not.toHaveProperty("expiresAt");
    const finished = { ...record, status: "FINISHED" } as const;
    expect(describeLock(finished, { now: at + 30_000 })).toMatchObject({ elapsedMs: 20_000, remainingMs: 50_000 });
  });

  it.each([
    ["Europe/Berlin", "2026-11-21T10:30:00.250+01:00"],
    ["America/Sao_Paulo", "2026-11-21T06:30:00.250-03:00"],
    ["Asia/Kolkata", "2026-11-21T15:00:00.250+05:30"],
    ["America/St_Johns", "2026-11-21T06:00:00.250-03:30"],
    ["Pacific/Kiritimati", "2026-11-21T23:30:00.250+14:00"],
    ["UTC", "2026-11-21T09:30:00.250+00:00"],
  ])("writes times in %s", (timeZone, acquiredAt) => {
    const written = describeLock(record, { timeZone }).acquiredAt;
    expect(written).toBe(acquiredAt);
    expect(Date.parse(written)).toBe(at); // whatever the zone, the same moment
  });

  it("with the offset of the season", () => {
    const summer = { ...record, acquiredAt: Date.parse("2026-07-01T00:00:00Z") };
    expect(describeLock(summer, { timeZone: "Europe/Berlin" }).acquiredAt).toBe("2026-07-01T02:00:00.000+02:00");
  });

  it.each(["Mars/Olympus", "Berlin", ""])("a name that is no time zone is an error: %o", (timeZone) => {
    expect(() => describeLock(record, { timeZone })).toThrow(LockOptionsError);
    expect(() => describeLock(record, { timeZone })).toThrow("describeLock: timeZone must be");
  });
});
