/**
 * A cold start with its first run, in a fresh process: from the import of a bundle that has everything in it, the AWS SDK too
 * where it is used, until the run is finished. A stub in another process answers each request at once.
 *
 * Lambda's own runtime has loaded parts of Node.js before the function: the last column leaves out `node:https` and
 * `node:crypto`. The fastest process of each is shown: whatever else the machine does only ever adds to it.
 */
import { execFile, fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { bundle } from "../scripts/build/bundle.ts";
import { cache } from "../scripts/fetch.ts";
import { printTable } from "./figures.ts";
import { FILES, POWERTOOLS_RUN } from "./one-run.ts";

const PROCESSES = 25;
const run = promisify(execFile);

const directory = join(cache, "cold-start");
mkdirSync(directory, { recursive: true });
const stub = fork(fileURLToPath(new URL("stub.ts", import.meta.url)), { execArgv: [] });
const [endpoint] = (await once(stub, "message")) as [string];

/** Modules that Lambda's runtime has loaded. There are more. */
const RUNTIME = `await import("node:https"); await import("node:crypto");`;

/** ms in a fresh process. Nothing but the function is timed, not the start of Node.js. */
const coldStart = async (file: string, before: string): Promise<number> => {
  const script = `
    ${before}
    const start = performance.now();
    const { prepare } = await import(${JSON.stringify(pathToFileURL(file).href)});
    await prepare(${JSON.stringify(endpoint)})();
    console.log(performance.now() - start);
    process.exit();`;
  const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", script]);
  return Number(stdout);
};

const runs = fileURLToPath(new URL("runs", import.meta.url));
const measured = [];
for (const [name, source] of Object.entries(FILES)) {
  const { code, gzip } = await bundle(`export { prepare } from "./${source}.ts";`, runs, []);
  const file = join(directory, `${source}.mjs`);
  writeFileSync(file, code);
  measured.push({ name, file, code, gzip, fresh: [] as number[], warm: [] as number[] });
}

// In turns, so that whatever else the machine does meets all of them.
for (let n = 0; n < PROCESSES; n++) {
  for (const { file, fresh, warm } of measured) {
    fresh.push(await coldStart(file, ""));
    warm.push(await coldStart(file, RUNTIME));
  }
}
stub.disconnect();

const theirs = measured.find(({ name }) => name === POWERTOOLS_RUN);
const over = (values: readonly number[], others: readonly number[] = []) =>
  (Math.min(...values) / Math.min(...others)).toFixed(2);
console.log(`Node.js ${process.version}, the fastest of ${PROCESSES} processes\n`);
printTable(
  measured.map(({ name, code, gzip, fresh, warm }) => ({
    "a bundle with": name,
    "minified, kB": code.length / 1_000,
    "gzip, kB": gzip / 1_000,
    "import and first run, ms": Math.min(...fresh),
    "over Powertools": over(fresh, theirs?.fresh),
    "after Node's own modules, ms": Math.min(...warm),
    "of that over Powertools": over(warm, theirs?.warm),
  })),
);
