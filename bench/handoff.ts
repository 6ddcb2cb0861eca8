/**
 * How long a lock stays unused between two holders, and what waiting for it costs.
 *
 * The number of waiters is constant: each takes the lock, holds it a while, releases it, and comes back when another has it. Measured
 * is the time from the call of `release` until the next holder has the lock, so a request of each is part of it.
 * Every client has an SDK client and a connection of its own, as separate processes have. All run in this process, against
 * one engine: where many wait, its processor is part of the figures too.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { clientConfig, startEngine } from "../scripts/engine.ts";
import { type Contender, contenders } from "./contenders.ts";
import { fetchLibraries } from "./fetch.ts";
import { percentile, printTable } from "./figures.ts";
import type { Meter } from "./meter.ts";

/**
 * `keys`: locks that are contended for side by side, for more handoffs in the same time. `holdMs`: on average; long enough
 * for those who wait to have reached the longest interval at which they look.
 */
const crowds = [
  { waiters: 1, keys: 40, holdMs: 1_000 },
  { waiters: 10, keys: 6, holdMs: 300 },
  { waiters: 100, keys: 1, holdMs: 100 },
];
type Crowd = (typeof crowds)[number];

const measure = async (endpoint: string, contender: Contender, { waiters, keys, holdMs }: Crowd) => {
  const { library, settings, lookMs } = contender;
  const meter: Meter = { requests: 0, writes: 0, stopped: false };
  const handoffs: number[] = [];
  let acquisitions = 0;
  let measuring = false;
  let failure: unknown;

  /** Spread over one interval at which they look, as processes do that start at different times. */
  const arriveMs = Math.max(lookMs, 1_000);
  const joinCrowd = (key: string) => {
    let holders = 0;
    let released: { at: number; taken: () => void } | undefined;
    return async () => {
      const client = contender.connect(endpoint, meter);
      await sleep(Math.random() * arriveMs);
      for (;;) {
        const release = await client.acquire(key);
        const now = performance.now();
        if (++holders > 1) throw new Error(`${library}, ${settings}: two hold ${key}`);
        if (measuring) acquisitions++;
        if (measuring && released) handoffs.push(now - released.at);
        released?.taken();
        await sleep(holdMs * (0.5 + Math.random()));

        holders--;
        const { promise, resolve } = Promise.withResolvers<void>();
        released = { at: performance.now(), taken: resolve };
        await release();
        await promise; // so that a handoff is to another one
      }
    };
  };

  for (let k = 0; k < keys; k++) {
    const join = joinCrowd(`${waiters}-${k}`);
    for (let i = 0; i <= waiters; i++) {
      join().catch((error: unknown) => {
        if (!meter.stopped) failure ??= error;
      });
    }
  }
  await sleep(arriveMs);
  const { requests, writes } = meter;
  measuring = true;
  await sleep(isSlow(contender) ? 25_000 : 5_000);
  measuring = false;
  meter.stopped = true;
  if (failure) throw failure;
  return {
    library,
    settings,
    waiters,
    handoffs: handoffs.length,
    "p50, ms": percentile(handoffs, 0.5),
    "p99, ms": percentile(handoffs, 0.99),
    "requests per acquisition": (meter.requests - requests) / acquisitions,
    "of them writes": (meter.writes - writes) / acquisitions,
  };
};

/** Needs long to be measured, and hardly uses the processor meanwhile: these are measured at the same time. */
const isSlow = ({ lookMs }: Contender) => lookMs >= 1_000;

fetchLibraries();
const engine = await startEngine();
const admin = new DynamoDBClient(clientConfig(engine.endpoint));
for (const contender of contenders) await contender.createTable(admin);

const cells = crowds.flatMap((crowd) => contenders.map((contender) => ({ contender, crowd })));
const rows: Awaited<ReturnType<typeof measure>>[] = [];
const fill = async (chosen: typeof cells) => {
  const measured = chosen.map(async (cell) => {
    rows[cells.indexOf(cell)] = await measure(engine.endpoint, cell.contender, cell.crowd);
  });
  await Promise.all(measured);
};
for (const cell of cells) if (!isSlow(cell.contender)) await fill([cell]);
await fill(cells.filter(({ contender }) => isSlow(contender)));

console.log(`Engine: ${engine.name}, Node.js ${process.version}\n`);
printTable(rows);
await engine.stop();
process.exit(); // those who wait with other libraries can't be called off
