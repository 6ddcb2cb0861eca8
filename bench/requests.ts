/**
 * What a run costs its own process: bytes of the two requests (their bodies), and processor time and time over those of the SDK's two
 * conditional writes alone. Beside Powertools' idempotency.
 *
 * A stub in another process answers each request at once. The contenders take turns in this one, so that whatever else the
 * machine does meets all of them. The median of the turns' ratios is what is compared.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { percentile, printTable } from "./figures.ts";
import { contenders } from "./one-run.ts";
import { startStub } from "./stub.ts";

const TURNS = 40;
const RUNS = 100;

const counter = await startStub();
const measured = [];
const stub = fork(fileURLToPath(new URL("stub.ts", import.meta.url)), { execArgv: [] });
const [endpoint] = (await once(stub, "message")) as [string];
for (const [name, prepare] of Object.entries(contenders)) {
  const before = counter.bodies.length;
  await prepare(counter.endpoint)();
  measured.push({
    name,
    bodies: counter.bodies.slice(before),
    run: prepare(endpoint),
    processor: [] as number[],
    time: [] as number[],
  });
}
counter.stop();

for (let turn = -1; turn < TURNS; turn++) {
  for (const { run, processor, time } of measured) {
    const before = process.cpuUsage();
    const begunAt = performance.now();
    for (let n = 0; n < RUNS; n++) await run();
    const ms = performance.now() - begunAt;
    const { user, system } = process.cpuUsage(before);
    if (turn < 0) continue; // the first turn opens connections, and compiles
    processor.push((user + system) / RUNS);
    time.push((ms * 1_000) / RUNS);
  }
}
stub.disconnect();

const [alone] = measured;
/** The median of the turns' ratios to those of the SDK alone. */
const overAlone = (values: readonly number[], alones: readonly number[] = []) =>
  percentile(
    values.map((value, turn) => value / (alones[turn] as number)),
    0.5,
  ).toFixed(2);

console.log(`Node.js ${process.version}, ${TURNS} turns of ${RUNS} runs\n`);
printTable(
  measured.map(({ name, bodies, processor, time }) => {
    const [acquire = 0, finish = 0] = bodies;
    return {
      "a run by": name,
      "acquire, bytes": acquire,
      "finish, bytes": finish,
      "both, bytes": acquire + finish,
      "processor, µs": percentile(processor, 0.5),
      "processor over the SDK alone": overAlone(processor, alone?.processor),
      "time, µs": percentile(time, 0.5),
      "time over the SDK alone": overAlone(time, alone?.time),
    };
  }),
);
process.exit(); // the libraries' connections are kept alive
