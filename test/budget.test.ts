/**
 * Holds what the package costs a function: its bundle, its import, its requests. bench/size.ts and bench/requests.ts print
 * the same figures beside Powertools'.
 */
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { importMs, POWERTOOLS, SDK } from "../bench/imports.ts";
import { contenders, LEAN, OURS } from "../bench/one-run.ts";
import { startStub } from "../bench/stub.ts";
import { bundle } from "../scripts/build/bundle.ts";
import { build, entryPoints } from "../scripts/build.ts";
import { cache } from "../scripts/fetch.ts";

/** A limit is 3 % more than what was measured when it was last set. Who makes the figure smaller sets it anew. */
interface Budget {
  readonly limit: number;
  /** What it is to become. */
  readonly aim: number;
}

/** Bytes of a bundle of these exports, by `gzip -9`. */
const BUNDLES: Record<string, Budget> = {
  "{ dynamoLock }": { limit: 27_902, aim: 13_000 },
  "{ withLock }": { limit: 27_592, aim: 13_000 },
  "{ dynamoCommit }": { limit: 22_373, aim: 15_000 },
  "{ dynamoLockBatch }": { limit: 33_395, aim: 18_000 },
  "*": { limit: 51_390, aim: 27_000 },
};

/** The same of middy-dynamo-lock/lean, which has all in it that a function needs. */
const LEAN_BUNDLES: Record<string, Budget> = {
  "{ dynamoLock }": { limit: 32_550, aim: 20_000 },
  "*": { limit: 56_050, aim: 33_000 },
};

/** The entry point of each bundle. */
const bundles = Object.entries({ index: BUNDLES, lean: LEAN_BUNDLES }).flatMap(([entry, budgets]) =>
  Object.entries(budgets).map(([names, budget]) => ({ entry, names, ...budget })),
);

/** Bytes of the bodies of the two requests of a run. */
const REQUESTS: Budget = { limit: 1_487, aim: 1_100 };

/** The part that our import takes of the time of Powertools' middleware and persistence, with the SDK loaded. */
const IMPORT: Budget = { limit: 0.84, aim: 0.25 };
/** The same of middy-dynamo-lock/lean, each with all that it imports. */
const LEAN_IMPORT: Budget = { limit: 0.5, aim: 0.25 };
const IMPORTS = 5;

/** How many files of code hold what several entry points share. */
const CHUNKS = 2;

const source = fileURLToPath(new URL("../src/", import.meta.url));
let directory: string;

beforeAll(async () => {
  // Within the repository, so that the SDK is found.
  await mkdir(cache, { recursive: true });
  directory = await mkdtemp(join(cache, "budget-"));
  await build(join(directory, "dist"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

describe.each(bundles)("A bundle of $names from $entry", ({ entry, names, limit, aim }) => {
  const published = () => bundle(`export ${names} from "./dist/${entry}.js";`, directory);

  it(`has at most ${limit} bytes (aim: ${aim})`, async () => {
    expect((await published()).gzip).toBeLessThanOrEqual(limit);
  });

  it("is as small as from the source, where whole files are left out", async () => {
    const { gzip } = await bundle(`export ${names} from "./${entry}.ts";`, source);
    expect((await published()).gzip).toBeLessThanOrEqual(gzip * 1.01);
  });
});

describe("The published module", () => {
  it.each(["index", "lean"])(
    "%s.js has no statement that a bundler must keep where nothing is imported from it",
    async (entry) => {
      const { code } = await bundle(`import "./dist/${entry}.js";`, directory);
      const statements = new TextDecoder().decode(code).trim();
      expect(statements.replaceAll(/import"[^"]+";/g, "").slice(0, 500)).toBe("");
    },
  );

  it(`is one file for each entry point, and ${CHUNKS} more`, async () => {
    const files = await readdir(join(directory, "dist"));
    const code = files.filter((file) => file.endsWith(".js"));
    expect(code.length).toBeLessThanOrEqual(entryPoints().length + CHUNKS);
  });

  it.each([
    { entry: "index", before: SDK, ...IMPORT },
    { entry: "lean", before: [], ...LEAN_IMPORT },
  ])(
    "$entry is imported in at most $limit of the time of Powertools' (aim: $aim)",
    async ({ entry, before, limit }) => {
      const powertools = join(directory, "powertools.mjs");
      await writeFile(powertools, POWERTOOLS);
      const [ours, theirs]: [number[], number[]] = [[], []];
      for (let n = 0; n < IMPORTS; n++) {
        ours.push(importMs(join(directory, `dist/${entry}.js`), before));
        theirs.push(importMs(powertools, before));
      }
      // The fastest of each: whatever else the machine does only ever adds to it.
      expect(Math.min(...ours) / Math.min(...theirs)).toBeLessThanOrEqual(limit);
    },
  );
});

describe("A run", () => {
  it.each([OURS, LEAN] as const)(
    `of %s sends two requests, of at most ${REQUESTS.limit} bytes in all`,
    async (name) => {
      const stub = await startStub();
      try {
        await contenders[name](stub.endpoint)();
      } finally {
        stub.stop();
      }
      expect(stub.bodies.length).toBe(2);
      expect(stub.bodies.reduce((sum, bytes) => sum + bytes)).toBeLessThanOrEqual(REQUESTS.limit);
    },
  );
});
