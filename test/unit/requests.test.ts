import { describe, expect, it } from "vitest";
import { acquireRequest, settleRequest, type TableLayout } from "../../src/requests.ts";

const layout: TableLayout = { tableName: "t", keyAttribute: "lock_id", ttlAttribute: "ttl", retentionMs: 1_000 };
const claim = { key: "k", owner: "o", token: "t1", leaseMs: 10_000, clockSkewMs: 1_000 };
const held = { key: "k", token: "t1" };
const now = 1_700_000_000_000;

const requests = {
  acquire: acquireRequest(layout, claim, now),
  reenter: acquireRequest(layout, { ...claim, reenter: true }, now),
  release: settleRequest(layout, held, { status: "RELEASED" }, now),
  finish: settleRequest(layout, held, { status: "FINISHED", rememberMs: 1, result: { json: "1" } }, now),
  fail: settleRequest(layout, held, { status: "FINISHED", rememberMs: 1, failure: { name: "E", message: "m" } }, now),
};

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
  for (const request of [requests.release, requests.finish, requests.fail]) {
    expect(request.ConditionExpression).toBe("#token = :token AND #status = :inProgress");
    expect(request.ExpressionAttributeValues?.[":token"]).toEqual({ S: "t1" });
  }
});

it("an acquisition drops what the run before it left", () => {
  expect(requests.acquire.UpdateExpression).toMatch(/REMOVE #result, #failure$/);
});
