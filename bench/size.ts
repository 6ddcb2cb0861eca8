/**
 * What a middleware adds to a Lambda's bundle and to its cold start, beside Powertools' idempotency on DynamoDB.
 *
 * Bundled as for Lambda's nodejs24.x: minified, with the AWS SDK left out, which the runtime brings. Each import is timed
 * in a process of its own: once with the SDK already loaded, which leaves the code itself, and once with all that it imports.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { benchDirectory, fetchLibraries } from "./fetch.ts";
import { percentile, printTable } from "./figures.ts";

const PROCESSES = 15;

const entries = {
  "middy-dynamo-lock: `dynamoLock`": `export { dynamoLock } from "./src/index.ts";`,
  "middy-dynamo-lock: everything": `export * from "./src/index.ts";`,
  "Powertools idempotency 2.35.0: `makeHandlerIdempotent`, `DynamoDBPersistenceLayer`": `
    export { makeHandlerIdempotent } from "@aws-lambda-powertools/idempotency/middleware";
    export { DynamoDBPersistenceLayer } from "@aws-lambda-powertools/idempotency/dynamodb";`,
};

/** What the bundles leave to the runtime. Powertools uses the second one, too. */
const SDK = ["@aws-sdk/client-dynamodb", "@aws-sdk/util-dynamodb"];

const bundle = async (contents: string, name: string): Promise<string> => {
  // There, because a bundle finds the SDK in the directory it lies in.
  const outfile = join(benchDirectory, "size", `${name}.mjs`);
  mkdirSync(join(benchDirectory, "size"), { recursive: true });
  await build({
    stdin: { contents, resolveDir: fileURLToPath(new URL("..", import.meta.url)) },
    outfile,
    bundle: true,
    minify: true,
    platform: "node",
    target: "node24",
    format: "esm",
    external: ["@aws-sdk/*"],
    logLevel: "error",
  });
  return outfile;
};

/** How long the import takes in a fresh process, in ms. */
const importMs = (file: string, before: readonly string[]): number => {
  const script = `
    for (const name of ${JSON.stringify(before)}) await import(name);
    const start = performance.now();
    await import(${JSON.stringify(pathToFileURL(file).href)});
    console.log(performance.now() - start);`;
  const args = ["--input-type=module", "--eval", script];
  return Number(execFileSync(process.execPath, args, { cwd: benchDirectory, encoding: "utf8" }));
};

fetchLibraries();
const measured = [];
for (const [i, [name, contents]] of Object.entries(entries).entries()) {
  measured.push({ name, file: await bundle(contents, `${i}`), alone: [] as number[], withSdk: [] as number[] });
}
// In turns, so that whatever else the machine does meets all of them.
for (let i = 0; i < PROCESSES; i++) {
  for (const { file, alone, withSdk } of measured) {
    alone.push(importMs(file, SDK));
    withSdk.push(importMs(file, []));
  }
}
printTable(
  measured.map(({ name, file, alone, withSdk }) => {
    const code = readFileSync(file);
    return {
      bundle: name,
      "minified, kB": code.length / 1000,
      "gzip, kB": gzipSync(code, { level: 9 }).length / 1000,
      "import, ms": percentile(alone, 0.5),
      "import with the SDK, ms": percentile(withSdk, 0.5),
    };
  }),
);
