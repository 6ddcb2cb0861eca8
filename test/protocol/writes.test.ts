import { describe, expect, it } from "vitest";
import type { LockRecord, SemaphoreHolder } from "../../src/common/record.ts";
import { createRequests, type TableLayout } from "../../src/protocol/expression.ts";
import { FIELDS } from "../../src/protocol/fields.ts";
import { finishFree } from "../../src/protocol/finish-free.ts";
import { asSeen, endHolder, endSeen, toFilter } from "../../src/protocol/operate.ts";
import { acquireSlot } from "../../src/protocol/semaphore.ts";
import { acquire, holding, renew, settle, storeResponse, type Write } from "../../src/protocol/writes.ts";

const layout: TableLayout = { tableName: "t", keyAttribute: "date", ttlAttribute: "ttl", retentionMs: 1_000 };
const sortKey = { attribute: "sort-key", value: 1 };
const claim = { key: "k", owner: "o", token: "t1", leaseMs: 10_000, clockSkewMs: 1_000 };
const proof = { token: "t1" };
const slot = { token: "t1", slot: 3 };
const now = 1_700_000_000_000;

const lastHolder: Omit<SemaphoreHolder, "slot"> = {
  status: "RELEASED",
  owner: "o",
  token: "t0",
  fencingToken: 1,
  leaseMs: 1,
  expiresAt: 0,
  acquiredAt: 1,
};
const holders = [0, 12].map((slot) => ({ ...lastHolder, slot }));
const [, holder] = holders as [SemaphoreHolder, SemaphoreHolder];
const operation = { did: "broken", fencingToken: 1, at: now, by: "ann", token: "t2" } as const;
const seen: LockRecord = { ...lastHolder, key: "k", updatedAt: now, status: "IN_PROGRESS" };
const semaphore: LockRecord = { ...seen, status: "SEMAPHORE", holders };
const filter = { keyPrefix: "a#", status: "FINISHED", owner: "o", ended: { over: true, by: now } } as const;

const acquisitions: Record<string, Write> = {
  acquire: acquire(claim, now),
  "acquire for a durable execution": acquire({ ...claim, execution: "arn" }, now),
  "acquire from what was seen": acquire({ ...claim, seen: { token: "t0", status: "FINISHED" }, data: "1" }, now),
  "acquire what was watched": acquire(
    { ...claim, expiry: "observed", watched: { token: "t0", expiresAt: 1, leaseMs: 1 } },
    now,
  ),
  "acquire several keys": acquire({ ...claim, fence: now }, now),
  "acquire from a vacant semaphore": acquire({ ...claim, seen: semaphore }, now),
};
const finished = { status: "FINISHED", rememberMs: 5_000 } as const;
const finishes: Record<string, Write> = {
  "finish a free key": finishFree(claim, finished, now),
  "finish a free key with all": finishFree(
    { ...claim, fingerprint: "f" },
    { ...finished, result: "1", finalStatus: "s", data: "2" },
    now,
  ),
  "finish what was watched": finishFree(
    { ...claim, expiry: "observed", watched: { token: "t0", expiresAt: 1, leaseMs: 1 } },
    finished,
    now,
  ),
  "finish from a vacant semaphore": finishFree({ ...claim, seen: semaphore }, finished, now),
};
const permits: Record<string, Write> = {
  "take a permit": acquireSlot(claim, { slot: 3, permits: 5 }, now),
  "take a seen permit": acquireSlot(claim, { slot: 3, permits: 5, seen: { fencingToken: 1, setPermits: false } }, now),
};
const laterWrites: Record<string, Write> = {
  renew: renew("k", proof, { leaseMs: 1, expiresAt: now + 1 }, now),
  release: settle("k", proof, { status: "RELEASED", data: "1" }, now),
  finish: settle("k", proof, { status: "FINISHED", rememberMs: 1, result: "1" }, now),
  fail: settle("k", proof, { status: "FINISHED", rememberMs: 1, failure: "{}" }, now),
};
const laterWritesOfASlot: Record<string, Write> = {
  "renew a permit": renew("k", slot, { leaseMs: 1, expiresAt: now + 1 }, now),
  "release a permit": settle("k", slot, { status: "RELEASED" }, now),
};
const others: Record<string, Write> = {
  "the condition of a holder": holding("k", proof),
  "store a response": storeResponse("k#result", new Uint8Array(1), 1, now),
  remove: asSeen(seen),
  break: endSeen(seen, operation, { status: "RELEASED" }),
  "finish for another": endSeen(seen, operation, { status: "FINISHED", rememberMs: 1, result: "1" }),
  "break a permit": endHolder("k", holder, operation),
  "scan all": toFilter({}, undefined),
  "scan with every filter": toFilter(filter, undefined),
  "scan a table with a sort key": toFilter(filter, sortKey),
};
const all = { ...acquisitions, ...finishes, ...permits, ...laterWrites, ...laterWritesOfASlot, ...others };

const toRequest = createRequests({ ...layout, sortKey });
const expressionsOf = (write: Write) => {
  const { ConditionExpression = "", UpdateExpression = "" } = toRequest(write);
  return `${ConditionExpression} ${UpdateExpression}`;
};

describe.each(Object.entries(all))("The request to %s", (_name, write) => {
  const request = toRequest(write);
  const expressions = expressionsOf(write);

  it("names an attribute directly only where that is no reserved word", () => {
    const words = expressions.match(/(?<![#:\w])[a-z]\w*/g) ?? [];
    const safe = Object.values(FIELDS).flatMap(([attribute, , alias]) => (alias ? [] : [attribute]));
    const functions = ["attribute_not_exists", "if_not_exists", "begins_with"];
    const slots = words.filter((word) => /^slot_\d+(_fence|_note)?$/.test(word));
    expect(words.filter((word) => ![...safe, ...functions, ...slots].includes(word))).toEqual([]);
  });

  it("defines each name and value that it uses, and no other", () => {
    const used = (sigil: string) => [...new Set(expressions.match(new RegExp(`${sigil}\\w+`, "g")))].sort();
    expect(Object.keys(request.ExpressionAttributeNames ?? {}).sort()).toEqual(used("#"));
    expect(Object.keys(request.ExpressionAttributeValues ?? {}).sort()).toEqual(used(":"));
    expect(Object.values(request.ExpressionAttributeNames ?? {})).not.toContain(undefined);
    for (const value of Object.values(request.ExpressionAttributeValues ?? {})) {
      expect(Object.values(value)).not.toContain(undefined);
      expect(Object.values(value)).not.toContain("undefined");
    }
  });

  it("is the same when it is made again", () => {
    expect(toRequest(write)).toEqual(request);
  });
});

it("a name in one request can't be changed through another", () => {
  const names = toRequest(holding("k", proof)).ExpressionAttributeNames as Record<string, string>;
  for (const name of Object.keys(names)) names[name] = "changed";
  expect(Object.values(toRequest(holding("k", proof)).ExpressionAttributeNames ?? {})).not.toContain("changed");
});

it("every write after the acquisition needs the token and IN_PROGRESS", () => {
  const proofOf = (at: string) => `${at}#token = :mine AND ${at}#status = :held`;
  for (const [at, writes] of [
    ["", laterWrites],
    ["slot_3.", laterWritesOfASlot],
  ] as const) {
    for (const [name, { condition, values }] of Object.entries(writes)) {
      expect(condition).toBe(proofOf(at) + (name.startsWith("renew") ? ` AND ${at}#expiresAt < :expiresAt` : ""));
      expect(values).toMatchObject({ mine: "t1", held: "IN_PROGRESS" });
    }
  }
});

it("an acquisition drops what the run before it left, but its data", () => {
  const { set = {}, remove = [] } = acquisitions.acquire as Write;
  const fields = Object.keys(FIELDS).filter(
    (field) => field !== "intervention" && field !== "data" && field !== "permits",
  );
  expect([...Object.keys(set).filter((field) => set[field] !== undefined), ...remove].sort()).toEqual(fields.sort());
  expect(acquisitions["acquire from a vacant semaphore"]?.remove).toEqual(
    expect.arrayContaining(["permits", "slot_0", "slot_0_fence", "slot_12", "slot_12_fence"]),
  );
});

it("who finishes a free key needs what an acquisition needs, and leaves a record that it took and finished", () => {
  const plain = finishes["finish a free key"] as Write;
  const taken = acquisitions.acquire as Write;
  expect([plain.condition, plain.values]).toEqual([taken.condition, taken.values]);
  expect(plain.set).toMatchObject({ token: "t1", expiresAt: now + 5_000, fencingToken: taken.set?.fencingToken });
  const { UpdateExpression = "", ExpressionAttributeValues = {} } = toRequest(plain);
  const [, status = ""] = /#s=(:\w+)/.exec(UpdateExpression) ?? [];
  expect([plain.neededUntil, ExpressionAttributeValues[status]]).toEqual([now + 5_000, { S: "FINISHED" }]);
  for (const write of Object.values(finishes)) {
    const set = Object.keys(write.set ?? {}).filter((field) => write.set?.[field] !== undefined);
    const fields = Object.keys(FIELDS).filter((field) => !["data", "permits", "intervention"].includes(field));
    expect(write.remove?.filter((field) => set.includes(field))).toEqual([]);
    expect([...set, ...(write.remove ?? [])]).toEqual(expect.arrayContaining(fields));
  }
  expect(finishes["finish from a vacant semaphore"]?.remove).toContain("slot_12_fence");
});

it("a delete needs the record to be as it was seen", () => {
  expect(asSeen(seen)).toMatchObject({
    condition:
      "#token = :token AND #status = :status AND #expiresAt = :expiresAt AND #updatedAt = :updatedAt AND #fencingToken = :fencingToken",
  });
});

it("an operator ends the acquisition that was seen, and leaves a token that nobody knows", () => {
  expect(endSeen(seen, operation, { status: "RELEASED" })).toMatchObject({
    condition: "#token = :seenToken AND #status = :seenStatus",
    set: { status: "RELEASED", token: "t2", expiresAt: 0 },
    remove: ["result", "failure", "finalStatus"],
  });
  expect(endHolder("k", holder, operation)).toMatchObject({
    condition: "slot_12.#token = :seenToken AND slot_12.#status = :held",
    set: { "slot_12.status": "RELEASED", "slot_12.token": "t2", "slot_12.expiresAt": 0 },
  });
});

it("what an operator did stays when the key is taken again, and the holder's note says all of it", () => {
  expect(acquire(claim, now).remove).not.toContain("intervention");
  const { set } = endSeen(seen, operation, { status: "RELEASED" });
  const { token: _, ...note } = operation;
  expect(JSON.parse(set?.intervention as string)).toEqual(note);
});
