import { describe, expect, it } from "vitest";
import type { SemaphoreHolder } from "../../src/common/record.ts";
import { acquireRequest, renewRequest, settleRequest, type TableLayout } from "../../src/protocol/requests.ts";
import { acquireSlotRequest } from "../../src/protocol/semaphore-requests.ts";

const layout: TableLayout = { tableName: "t", keyAttribute: "lock_id", ttlAttribute: "ttl", retentionMs: 1_000 };
const claim = { key: "k", owner: "o", token: "t1", leaseMs: 10_000, clockSkewMs: 1_000 };
const hold = { token: "t1" };
const slot = { token: "t1", slot: 3 };
const now = 1_700_000_000_000;

const holder = {
  status: "RELEASED",
  owner: "o",
  token: "t0",
  fencingToken: 1,
  leaseMs: 1,
  expiresAt: 0,
  acquiredAt: 1,
};
const holders = [0, 7].map((slot) => ({ ...holder, slot }) as SemaphoreHolder);
const semaphore = { token: "t0", status: "SEMAPHORE", holders } as const;

const acquisitions = {
  acquire: acquireRequest(layout, claim, now),
  durable: acquireRequest(layout, { ...claim, execution: "arn" }, now),
  seen: acquireRequest(layout, { ...claim, seen: { token: "t0", status: "FINISHED" }, data: "1" }, now),
  observed: acquireRequest(
    layout,
    { ...claim, observedOnly: true, watched: { token: "t0", expiresAt: 1, leaseMs: 1 } },
    now,
  ),
  severalKeys: acquireRequest(layout, { ...claim, fence: now }, now),
  vacantSemaphore: acquireRequest(layout, { ...claim, seen: semaphore }, now),
  permit: acquireSlotRequest(layout, claim, { slot: 3, permits: 5 }, now),
  seenPermit: acquireSlotRequest(
    layout,
    claim,
    { slot: 3, permits: 5, seen: { fencingToken: 1, setPermits: false } },
    now,
  ),
};
const laterWrites = {
  renew: renewRequest(layout, "k", hold, { leaseMs: 1, expiresAt: now + 1 }, now),
  release: settleRequest(layout, "k", hold, { status: "RELEASED", data: "1" }, now),
  finish: settleRequest(layout, "k", hold, { status: "FINISHED", rememberMs: 1, result: { json: "1" } }, now),
  fail: settleRequest(
    layout,
    "k",
    hold,
    { status: "FINISHED", rememberMs: 1, failure: { name: "E", message: "m" } },
    now,
  ),
  renewSlot: renewRequest(layout, "k", slot, { leaseMs: 1, expiresAt: now + 1 }, now),
  releaseSlot: settleRequest(layout, "k", slot, { status: "RELEASED" }, now),
};
const requests = { ...acquisitions, ...laterWrites };

describe.each(Object.entries(requests))("%s", (_name, request) => {
  const expressions = `${request.ConditionExpression} ${request.UpdateExpression}`;

  it("names no attribute directly: several are reserved words", () => {
    const words = expressions.match(/(?<![#:\w])[a-z]\w*/g) ?? [];
    expect(words.filter((word) => !["attribute_not_exists", "attribute_type", "if_not_exists"].includes(word))).toEqual(
      [],
    );
  });

  it("defines each name and value that it uses, and no other", () => {
    const used = (sigil: string) => [...new Set(expressions.match(new RegExp(`${sigil}\\w+`, "g")))].sort();
    expect(Object.keys(request.ExpressionAttributeNames ?? {}).sort()).toEqual(used("#"));
    expect(Object.keys(request.ExpressionAttributeValues ?? {}).sort()).toEqual(used(":"));
  });

  it("is conditional, and asks for the item that refuses it", () => {
    expect(request.ConditionExpression).toBeTruthy();
    expect(request.ReturnValuesOnConditionCheckFailure).toBe("ALL_OLD");
  });
});

it("every write after the acquisition needs the token and IN_PROGRESS", () => {
  for (const [name, request] of Object.entries(laterWrites)) {
    const at = name.endsWith("Slot") ? "#slot." : "";
    const proof = `${at}#token = :token AND ${at}#status = :inProgress`;
    const known = {
      renew: " AND #expiresAt < :expiresAt",
      renewSlot: " AND #slot.#expiresAt < :expiresAt",
    }[name];
    expect(request.ConditionExpression).toBe(proof + (known ?? ""));
    expect(request.ExpressionAttributeValues?.[":token"]).toEqual({ S: "t1" });
  }
});

it("an acquisition drops what the run before it left", () => {
  for (const request of Object.values(acquisitions))
    expect(request.UpdateExpression).toMatch(/REMOVE #result, #failure/);
  expect(acquisitions.vacantSemaphore.ExpressionAttributeNames).toMatchObject({
    "#slot_7": "slot_7",
    "#slot_7_fence": "slot_7_fence",
  });
});
