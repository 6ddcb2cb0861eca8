import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

/** Imports flow down only: a file may import what stands above its line. */
const LAYERS = [
  ["batch-order", "clock", "context", "not-async", "record", "suggest", "write-queue"],
  ["errors", "holder", "parallel"],
  ["events", "under-way"],
  [
    "batch-outcome",
    "batch-source",
    "check",
    "dynamodb-client",
    "heartbeat",
    "key",
    "lease",
    "partial-batch",
    "patience",
    "wait",
  ],
  ["clean-up", "describe", "requests", "result"],
  [
    "admin-requests",
    "commit-items",
    "fingerprint",
    "finished-cache",
    "middy-request",
    "semaphore-requests",
    "settlement",
  ],
  ["aws-errors"],
  ["commit"],
  ["sender"],
  ["store"],
  ["always-free", "ensure-table", "internals", "lock", "semaphore"],
  ["acquire", "options", "read-many", "warm-up"],
  ["refused", "table-options", "wait-until-finished"],
  ["table"],
  ["lock-client"],
  ["admin", "execution", "invocation-options"],
  ["batch-options", "locks-of"],
  ["batch-wanted", "invocation"],
  ["batch-acquire"],
  ["batch-run"],
  ["batch", "middleware", "with-lock", "with-lock-batch"],
  ["index"],
];
/** Only these load code of the AWS SDK; the others know its types at most. */
const SENDERS = ["dynamodb-client", "ensure-table", "sender", "store", "table"];

const source = new URL("../../src/", import.meta.url);
const files = readdirSync(source).map((file) => file.replace(/\.ts$/, ""));
const importsOf = (file: string) =>
  [
    ...readFileSync(new URL(`${file}.ts`, source), "utf8").matchAll(
      /^(import|export|\} from|.*await import\()(.*?)"(.+?)"/gms,
    ),
  ].map(([statement, , , from]) => ({ from: from as string, statement }));
const layerOf = (file: string) => LAYERS.findIndex((layer) => layer.includes(file));

describe.each(files)("%s", (file) => {
  it("has a layer, and imports from lower ones only", () => {
    expect(layerOf(file)).toBeGreaterThanOrEqual(0);
    const upwards = importsOf(file)
      .flatMap(({ from }) => (from.startsWith("./") ? [from.slice(2).replace(/\.ts$/, "")] : []))
      .filter((imported) => layerOf(imported) >= layerOf(file));
    expect(upwards).toEqual([]);
  });

  it("leaves sending to the store", () => {
    const loads = importsOf(file).some(
      ({ from, statement }) => from.startsWith("@aws-sdk/") && !statement.startsWith("import type"),
    );
    expect(loads).toBe(SENDERS.includes(file));
  });
});
