/** Writes in PartiQL: the same condition and the same change, or none at all. */
import { describe, expect, it } from "vitest";
import { createStatements } from "../../src/dynamodb/statements.ts";
import type { TableLayout } from "../../src/protocol/expression.ts";
import { acquireSlot } from "../../src/protocol/semaphore.ts";
import { acquire, type Claim, holding, renew, settle, storeResponse } from "../../src/protocol/writes.ts";

const layout: TableLayout = {
  tableName: "locks",
  keyAttribute: "lock_id",
  ttlAttribute: "ttl",
  retentionMs: 172_800_000,
};
const toStatement = createStatements(layout);
const claim: Claim = { key: "orders#7", owner: "o", token: "t", leaseMs: 20_000, clockSkewMs: 1_000 };
const NOW = 1_795_240_800_000;

const S = (text: string) => ({ S: text });
const N = (number: number) => ({ N: String(number) });

describe("an acquisition", () => {
  it("is an INSERT of the item that it makes where there is none", () => {
    expect(toStatement(acquire(claim, NOW))).toEqual({
      kind: "insert",
      key: "orders#7",
      statement: {
        Statement:
          "INSERT INTO \"locks\" VALUE {'lock_id':?,'status':?,'owner_id':?,'token':?,'lease_ms':?,'expires_at':?,'acquired_at':?,'updated_at':?,'fence':?,'ttl':?}",
        Parameters: [
          S("orders#7"),
          S("IN_PROGRESS"),
          S("o"),
          S("t"),
          N(20_000),
          N(NOW + 20_000),
          N(NOW),
          N(NOW),
          N(NOW + 1),
          N(Math.ceil((NOW + 20_000 + 172_800_000) / 1_000)),
        ],
      },
    });
  });

  it("has its data, its fingerprint and a fencing token that is set", () => {
    const { statement } = toStatement(acquire({ ...claim, data: "{}", fingerprint: "f", fence: 42 }, NOW)) ?? {};
    expect(statement?.Statement).toMatch(/'fence':\?,'data':\?,'fingerprint':\?,'ttl':\?}$/);
    expect(statement?.Parameters.slice(-4, -1)).toEqual([N(42), S("{}"), S("f")]);
  });

  it.each<[string, Partial<Claim>]>([
    ["a record that was seen", { seen: { token: "other", status: "FINISHED" } }],
    ["a lease that was watched", { watched: { token: "other", expiresAt: 1, leaseMs: 1 } }],
  ])("from %s is no INSERT, which could only fail", (_what, more) => {
    expect(toStatement(acquire({ ...claim, ...more }, NOW))).toBeUndefined();
  });
});

describe("an end", () => {
  it("is an UPDATE under the same condition, with the same values", () => {
    const ending = { status: "FINISHED", rememberMs: 60_000, result: "1", data: undefined } as const;
    expect(toStatement(settle("orders#7", { token: "t" }, ending, NOW))).toEqual({
      kind: "update",
      key: "orders#7",
      statement: {
        Statement:
          'UPDATE "locks" SET "status"=?,"expires_at"=?,"updated_at"=?,"result"=?,"ttl"=? WHERE "lock_id"=? AND "token"=? AND "status"=?',
        Parameters: [
          S("FINISHED"),
          N(NOW + 60_000),
          N(NOW),
          S("1"),
          N(Math.ceil((NOW + 60_000 + 172_800_000) / 1_000)),
          S("orders#7"),
          S("t"),
          S("IN_PROGRESS"),
        ],
      },
    });
  });

  it.each([
    ["bytes", new Uint8Array([1, 2]), { B: new Uint8Array([1, 2]) }],
    ["nothing", null, { NULL: true }],
    ["a companion's number", 3, N(3)],
  ])("has a response that is %s", (_what, result, parameter) => {
    const ending = { status: "FINISHED", rememberMs: 1, result } as const;
    const { statement } = toStatement(settle("k", { token: "t" }, ending, NOW)) ?? {};
    expect(statement?.Parameters[3]).toEqual(parameter);
  });
});

it.each([
  ["a renewal, which compares numbers", renew("k", { token: "t" }, { leaseMs: 1, expiresAt: 2 }, NOW)],
  ["the end of a semaphore's slot, which is a path", settle("k", { token: "t", slot: 1 }, { status: "RELEASED" }, NOW)],
  ["a condition without a change", holding("k", { token: "t" })],
  ["a response beside the record, which has no condition", storeResponse("k", new Uint8Array(), 1, NOW)],
  [
    "a semaphore's slot of one that was seen",
    acquireSlot(claim, { slot: 0, permits: 2, seen: { fencingToken: 1, setPermits: false } }, NOW),
  ],
])("%s stays an UpdateItem", (_what, write) => {
  expect(toStatement(write)).toBeUndefined();
});

describe("names", () => {
  const withNames = (names: Partial<TableLayout>) => createStatements({ ...layout, ...names })(acquire(claim, NOW));

  it.each<Partial<TableLayout>>([
    { tableName: "my-locks.v1" },
    { keyAttribute: "lock-id" },
    { ttlAttribute: "EndsAt" },
    { sortKey: { attribute: "sort_key", value: 1 } },
  ])("that mean the same within quotes are used: %o", (names) => {
    expect(withNames(names)).toBeDefined();
  });

  it.each<Partial<TableLayout>>([
    { tableName: "arn:aws:dynamodb:eu-west-1:123456789012:table/locks" },
    { tableName: 'locks" --' },
    { keyAttribute: "it's" },
    { keyAttribute: 'a"b' },
    { ttlAttribute: "a.b" },
    { ttlAttribute: "a[0]" },
    { ttlAttribute: "back\\slash" },
    { sortKey: { attribute: "a b", value: 1 } },
  ])("that might not are left to UpdateItem: %o", (names) => {
    expect(withNames(names)).toBeUndefined();
  });

  it("that make a statement of more than 8,192 characters are left to UpdateItem", () => {
    const { length } = withNames({ ttlAttribute: "t" })?.statement.Statement ?? "";
    expect(withNames({ ttlAttribute: "t".repeat(8_192 - length + 1) })).toBeDefined();
    expect(withNames({ ttlAttribute: "t".repeat(8_192 - length + 2) })).toBeUndefined();
  });
});
