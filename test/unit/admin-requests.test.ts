import { describe, expect, it } from "vitest";
import type { LockRecord } from "../../src/index.ts";
import { forceReleaseRequest, removeRequest, scanRequest } from "../../src/protocol/admin-requests.ts";
import type { TableLayout } from "../../src/protocol/requests.ts";

const layout: TableLayout = { tableName: "t", keyAttribute: "lock_id", ttlAttribute: "ttl", retentionMs: 1_000 };
const sorted: TableLayout = { ...layout, sortKey: { attribute: "sk", value: 1 } };
const now = 1_700_000_000_000;
const seen: LockRecord = {
  key: "k",
  status: "IN_PROGRESS",
  owner: "o",
  token: "t1",
  fencingToken: 7,
  leaseMs: 10_000,
  acquiredAt: now,
  updatedAt: now,
  expiresAt: now + 10_000,
};
const everything = { keyPrefix: "a#", status: "FINISHED", owner: "o", ended: { over: true, by: now } } as const;
const holder = { ...seen, status: "IN_PROGRESS" } as const;
const semaphore: LockRecord = { ...seen, status: "SEMAPHORE", holders: [0, 12].map((slot) => ({ ...holder, slot })) };

const requests: Record<string, ReturnType<typeof forceReleaseRequest | typeof removeRequest | typeof scanRequest>> = {
  remove: removeRequest(layout, seen),
  "force-release": forceReleaseRequest(layout, seen, "t2", now),
  "force-release of a semaphore": forceReleaseRequest(layout, semaphore, "t2", now),
  "scan of all": scanRequest(layout, {}, {}),
  "scan with every filter": scanRequest(layout, everything, {}),
  "scan of a table with a sort key": scanRequest(sorted, everything, {}),
};

describe.each(Object.entries(requests))("%s", (_name, request) => {
  const expressions = ["ConditionExpression", "UpdateExpression", "FilterExpression"]
    .map((name) => Object(request)[name] ?? "")
    .join(" ");

  it("names no attribute directly: several are reserved words", () => {
    const words = expressions.match(/(?<![#:\w])[a-z]\w*/g) ?? [];
    expect(words.filter((word) => word !== "begins_with")).toEqual([]);
  });

  it("defines each name and value that it uses, and no other", () => {
    const used = (sigil: string) => [...new Set(expressions.match(new RegExp(`${sigil}\\w+`, "g")))].sort();
    expect(Object.keys(request.ExpressionAttributeNames ?? {}).sort()).toEqual(used("#"));
    expect(Object.keys(request.ExpressionAttributeValues ?? {}).sort()).toEqual(used(":"));
    expect(Object.values(request.ExpressionAttributeNames ?? {})).not.toContain(undefined);
    expect(Object.values(request.ExpressionAttributeValues ?? {})).not.toContain(undefined);
  });
});

it("a delete needs the record to be as it was seen", () => {
  expect(requests.remove).toMatchObject({
    ConditionExpression:
      "#token = :token AND #status = :status AND #expiresAt = :expiresAt AND #updatedAt = :updatedAt AND #fence = :fence",
    ReturnValuesOnConditionCheckFailure: "ALL_OLD",
  });
});

it("a forced release needs the acquisition that was seen, and takes every slot of a semaphore", () => {
  expect(requests["force-release"]).toMatchObject({
    ConditionExpression: "#token = :seenToken AND #status = :seenStatus",
    ReturnValuesOnConditionCheckFailure: "ALL_OLD",
  });
  const { ExpressionAttributeNames: names } = requests["force-release of a semaphore"] ?? {};
  expect(Object.values(names ?? {})).toEqual(
    expect.arrayContaining(["permits", "slot_0", "slot_0_fence", "slot_12", "slot_12_fence", "result", "failure"]),
  );
});
