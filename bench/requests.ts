/**
 * What a run costs its own process: bytes of the two requests (their bodies), and processor time over that of the SDK's two
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
  measured.push({ name, bodies: counter.bodies.slice(before), run: prepare(endpoint), times: [] as number[] });
}
counter.stop();

for (let turn = -1; turn < TURNS; turn++) {
  for (const { run, times } of measured) {
    const before = process.cpuUsage();
    for (let n = 0; n < RUNS; n++) await run();
    const { user, system } = process.cpuUsage(before);
    if (turn >= 0) times.push((user + system) / RUNS); // the first turn opens connections, and compiles
  }
}
stub.disconnect();

const alone = measured[0]?.times ?? [];
console.log(`Node.js ${process.version}, ${TURNS} turns of ${RUNS} runs\n`);
printTable(
  measured.map(({ name, bodies, times }) => {
    const [acquire = 0, finish = 0] = bodies;
    const ratios = times.map((time, turn) => time / (alone[turn] as number));
    return {
      "a run by": name,
      "acquire, bytes": acquire,
      "finish, bytes": finish,
      "both, bytes": acquire + finish,
      "processor, µs": percentile(times, 0.5),
      "over the SDK alone": percentile(ratios, 0.5).toFixed(2),
    };
  }),
);
process.exit(); // the libraries' connections are kept alive
