/** Which errors leave it open whether a request applied. */
import { beforeAll, expect, it } from "vitest";
import { lockTable } from "../support/dynamodb.ts";
import { aProcess, lost } from "../support/process.ts";

let table: Awaited<ReturnType<typeof lockTable>>;
beforeAll(async () => {
  table = await lockTable();
});

it.each([
  ["the name server doesn't answer", () => Object.assign(new Error("getaddrinfo"), { code: "EAI_AGAIN" })],
  ["the reply is cut off", () => Object.assign(new Error("Premature close"), { code: "ERR_STREAM_PREMATURE_CLOSE" })],
])("an acquisition that applied, its reply lost, and then %s: the key is given back", async (name, fails) => {
  const ours = aProcess(table.tableName);
  const theirs = aProcess(table.tableName);
  let isLastTry = false;
  ours.state.wire = async ({ n, send }) => {
    if (isLastTry) return send();
    isLastTry = ours.clock.monotonic() >= 5_000; // so long it is tried
    if (n === 1) await send();
    throw n === 1 ? lost() : fails();
  };
  await expect(ours.locks.acquire(name)).rejects.toMatchObject({ code: "LOCK_REQUEST" });
  expect(await theirs.locks.tryAcquire(name)).toBeDefined();
});
