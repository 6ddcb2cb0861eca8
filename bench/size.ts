/**
 * What a middleware adds to a function's bundle and to its cold start, beside Powertools' idempotency on DynamoDB: as a bundle
 * (see scripts/build/bundle.ts), and as the packages are published.
 *
 * Each import is timed in a process of its own: once with the SDK already loaded, which leaves the code itself, and once with
 * all that it imports.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bundle } from "../scripts/build/bundle.ts";
import { build } from "../scripts/build.ts";
import { cache } from "../scripts/fetch.ts";
import { percentile, printTable } from "./figures.ts";
import { importMs, POWERTOOLS, SDK } from "./imports.ts";

const PROCESSES = 15;

// Within the repository, so that the SDK is found.
const directory = join(cache, "size");
const dist = join(directory, "dist");
mkdirSync(directory, { recursive: true });
await build(dist);

const ours = {
  "`dynamoLock`": "{ dynamoLock }",
  "`withLock`": "{ withLock }",
  "`dynamoCommit`": "{ dynamoCommit }",
  "`dynamoLockBatch`": "{ dynamoLockBatch }",
};
const bundles = {
  ...Object.fromEntries(
    Object.entries({ ...ours, everything: "*" }).map(([what, names]) => [
      `middy-dynamo-lock: ${what}`,
      `export ${names} from "./dist/index.js";`,
    ]),
  ),
  "Powertools 2.35.0: `makeHandlerIdempotent`, `DynamoDBPersistenceLayer`": POWERTOOLS,
};

const written = (name: string, contents: string | Uint8Array): string => {
  const file = join(directory, name);
  writeFileSync(file, contents);
  return file;
};

interface Timed {
  readonly name: string;
  readonly file: string;
  readonly sizes: Readonly<Record<string, number>>;
  readonly alone: number[];
  readonly withSdk: number[];
}

const bundled: Timed[] = [];
for (const [index, [name, contents]] of Object.entries(bundles).entries()) {
  const { code, gzip } = await bundle(contents, directory);
  const sizes = { "minified, kB": code.length / 1_000, "gzip, kB": gzip / 1_000 };
  bundled.push({ name, file: written(`bundle-${index}.mjs`, code), sizes, alone: [], withSdk: [] });
}
const published: Timed[] = [];
for (const [name, file, contents] of [
  ["middy-dynamo-lock", join(dist, "index.js"), `export * from "./dist/index.js";`],
  ["Powertools 2.35.0: middleware and persistence", written("powertools.mjs", POWERTOOLS), POWERTOOLS],
] as const) {
  const { modules } = await bundle(contents, directory);
  published.push({ name, file, sizes: { modules }, alone: [], withSdk: [] });
}

// In turns, so that whatever else the machine does meets all of them.
for (let i = 0; i < PROCESSES; i++) {
  for (const { file, alone, withSdk } of [...bundled, ...published]) {
    alone.push(importMs(file, SDK));
    withSdk.push(importMs(file, []));
  }
}

console.log(`Node.js ${process.version}, median of ${PROCESSES} processes\n`);
for (const [what, timed] of [["bundle", bundled] as const, ["as published", published] as const]) {
  printTable(
    timed.map(({ name, sizes, alone, withSdk }) => ({
      [what]: name,
      ...sizes,
      "import, ms": percentile(alone, 0.5),
      "import with the SDK, ms": percentile(withSdk, 0.5),
    })),
  );
  console.log();
}
