/**
 * What once-only costs per record of an SQS batch: `dynamoLockBatch` beside Powertools' idempotent record handler, when the
 * messages come for the first time, and when all of them come again.
 *
 * The handler does nothing, so that all is the libraries' own. Each library handles its batches in a process of its own, as in
 * a sandbox, against one engine, and they take turns. The engine's processor is part of the times.
 *
 * With `--memory=256` each process has the share of a core that a function of 256 MB has (Linux, as root), and with
 * `--latency=5` each request takes 5 ms more.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { clientConfig, startEngine } from "../scripts/engine.ts";
import { createLockTable } from "../src/index.ts";
import type { Library, Measured, Task } from "./batch-process.ts";
import { keyTable } from "./contenders.ts";
import { percentile, printTable } from "./figures.ts";
import { shareOf } from "./share.ts";

const { values: args } = parseArgs({ options: { memory: { type: "string" }, latency: { type: "string" } } });
const memoryMb = Number(args.memory ?? 0);
const latencyMs = Number(args.latency ?? 0);

const TURNS = 3;

/** `batches`: of each turn. */
const loads = memoryMb
  ? [
      { size: 10, batches: 10 },
      { size: 100, batches: 3 },
      { size: 1_000, batches: 1 },
    ]
  : [
      { size: 10, batches: 50 },
      { size: 100, batches: 10 },
      { size: 1_000, batches: 3 },
    ];

const libraries: readonly { readonly library: Library; readonly title: string; readonly tableName: string }[] = [
  { library: "middy-dynamo-lock", title: "middy-dynamo-lock: `dynamoLockBatch`", tableName: "locks" },
  {
    library: "middy-dynamo-lock, bulk",
    title: "middy-dynamo-lock: `dynamoLockBatch`, `bulk: true`",
    tableName: "locks-bulk",
  },
  {
    library: "Powertools",
    title: "Powertools 2.35.0: `makeIdempotent` in `processPartialResponse`",
    tableName: "idempotency",
  },
];

const child = fileURLToPath(new URL("batch-process.ts", import.meta.url));

const share = memoryMb ? shareOf(memoryMb) : undefined;

const perform = async (task: Task): Promise<Measured> => {
  const sandbox = fork(child, { execArgv: [] });
  await once(sandbox, "message"); // it has loaded its modules
  share?.join(sandbox.pid as number);
  sandbox.send(task);
  const ended = once(sandbox, "exit").then(([code]) => {
    throw new Error(`${task.library} ended with status ${code}: its error is above`);
  });
  const [measured] = await Promise.race([once(sandbox, "message"), ended]);
  await ended.catch(() => {});
  return measured as Measured;
};

const engine = await startEngine();
const admin = new DynamoDBClient(clientConfig(engine.endpoint));
await createLockTable(admin, { tableName: "locks" });
await createLockTable(admin, { tableName: "locks-bulk" });
await admin.send(keyTable("idempotency", "id"));

const rows: Record<string, string | number>[] = [];
for (const { size, batches } of loads) {
  const cells = libraries.flatMap((library) => [true, false].map((first) => ({ ...library, first })));
  const measured = cells.map((): Measured[] => []);
  for (let turn = 0; turn < TURNS; turn++) {
    for (const [index, { library, tableName, first }] of cells.entries()) {
      const { endpoint } = engine;
      const name = `${size}-${turn}`;
      measured[index]?.push(await perform({ library, endpoint, tableName, size, name, batches, first, latencyMs }));
    }
  }
  for (const [index, { title, first }] of cells.entries()) {
    const turns = measured[index] ?? [];
    const ms = turns.flatMap((turn) => turn.ms);
    const median = (of: (turn: Measured) => number) => percentile(turns.map(of), 0.5);
    rows.push({
      library: title,
      records: size,
      delivery: first ? "first" : "again",
      "requests per batch": median(({ requests }) => requests / batches),
      ...(share && { "ms per batch, p50": percentile(ms, 0.5) }),
      "µs per record, p50": (percentile(ms, 0.5) / size) * 1_000,
      "processor, µs per record": median(({ cpuMs }) => (cpuMs / batches / size) * 1_000),
      "peak memory, MB": median(({ peakMb }) => peakMb),
    });
  }
}

const part = share ? `, ${(share.part * 100).toFixed(1)} % of a core, as ${memoryMb} MB have` : "";
console.log(`Engine: ${engine.name}, Node.js ${process.version}${part}, ${latencyMs} ms of latency\n`);
printTable(rows);
admin.destroy();
share?.close();
await engine.stop();
