/** Any sequence of what a holder does, on any network: who is told that items were written, or were not, is told the truth. */
import type { TransactWriteItem } from "@aws-sdk/client-dynamodb";
import fc from "fast-check";
import { beforeAll, expect, it } from "vitest";
import { lockTable } from "../support/dynamodb.ts";
import { aProcess, lost } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
let counters: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  [table, counters] = await Promise.all([lockTable(), lockTable()]);
});

let count = 0;
const add = (id: string): TransactWriteItem => ({
  Update: {
    TableName: counters.tableName,
    Key: { lock_id: { S: id } },
    UpdateExpression: "ADD n :one",
    // So that another transaction may make it fail for a while.
    ConditionExpression: "attribute_not_exists(closed)",
    ExpressionAttributeValues: { ":one": { N: "1" } },
  },
});
const open = (id: string) => counters.put({ lock_id: { S: id } });
const close = (id: string) => counters.put({ lock_id: { S: id }, closed: { BOOL: true } });
const total = async (id: string) => Number((await counters.item(id))?.n?.N ?? 0);

/** What becomes of a request. `late` is delivered when the next operation has ended, `denied` never. */
const faults = [
  "none",
  "none",
  "none",
  "reply lost",
  "lost",
  "late",
  "conflict",
  "throttled",
  "denied",
  "expired",
] as const;
const operations = ["commit a", "commit a", "commit b", "commit a, closed", "finish", "release", "extend"] as const;

it("a commit that fulfils was written once; one that rejects was not, unless it says that it isn't known", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          operation: fc.constantFrom(...operations),
          network: fc.array(fc.constantFrom(...faults), { maxLength: 5 }),
        }),
        { minLength: 1, maxLength: 4 },
      ),
      fc.constantFrom(1, 3),
      async (steps, maxAttempts) => {
        const { locks, state } = aProcess(table.tableName, { random: () => 0.5, config: { maxAttempts } });
        const lock = await locks.acquire(`model-${++count}`);
        const ids = { a: `${lock.key}-a`, b: `${lock.key}-b` };
        let late: (() => Promise<unknown>)[] = [];
        const told: Record<"a" | "b", string[]> = { a: [], b: [] };
        for (const { operation, network } of steps) {
          const ahead = [...network];
          const due = late;
          late = [];
          state.wire = async ({ name, send }) => {
            const fault = ahead.shift() ?? "none";
            if (fault === "none") return send();
            if (fault === "reply lost") await send().catch(() => {});
            if (fault === "late") late.push(send);
            if (fault === "reply lost" || fault === "lost" || fault === "late") throw lost();
            if (fault === "denied") throw Object.assign(new Error(fault), { name: "CredentialsProviderError" });
            if (fault === "expired")
              throw Object.assign(new Error(fault), {
                name: "ExpiredTokenException",
                $metadata: { httpStatusCode: 400 },
              });
            const Code = fault === "conflict" ? "TransactionConflict" : "ThrottlingError";
            const CancellationReasons = [{ Code }, { Code: "None" }];
            if (name === "TransactWriteItems")
              throw Object.assign(new Error(fault), { name: "TransactionCanceledException", CancellationReasons });
            const inTheWay = fault === "conflict" ? "TransactionConflictException" : "ThrottlingException";
            throw Object.assign(new Error(fault), { name: inTheWay });
          };
          const [verb, id] = operation.split(/[ ,]+/) as [string, "a" | "b"];
          if (verb === "commit") {
            if (operation.endsWith("closed") && (await total(ids[id])) === 0) await close(ids[id]);
            const outcome = await lock.commit([add(ids[id])]).then(
              () => "written",
              (error: { code?: string }) => (error.code === "LOCK_REQUEST" ? "unknown" : "not written"),
            );
            told[id].push(outcome);
            if (operation.endsWith("closed") && (await total(ids[id])) === 0) await open(ids[id]);
          } else if (verb === "finish") await lock.finish().catch(() => {});
          else if (verb === "release") await lock.release().catch(() => {});
          else await lock.extend(10_000).catch(() => {});
          for (const send of due) await send().catch(() => {});
        }
        for (const send of late) await send().catch(() => {});
        const written = { a: await total(ids.a), b: await total(ids.b) };
        for (const id of ["a", "b"] as const) {
          const allowed = told[id].includes("written") ? [1] : told[id].includes("unknown") ? [0, 1] : [0];
          expect(allowed, JSON.stringify({ id, told, written })).toContain(written[id]);
        }
        expect(written.a + written.b).toBeLessThanOrEqual(1);
      },
    ),
    { numRuns: 150 },
  );
}, 300_000);
