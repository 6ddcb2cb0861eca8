/** The package as a consumer gets it: built, packed, unpacked beside its peers, imported and type-checked. */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { build } from "../../scripts/build.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
const tsc = join(root, "node_modules/typescript/bin/tsc");

let folder: string;
let app: string;
let packed: string[];

/** What a consumer has installed beside us; the SDK and `@middy/core` are optional peers. */
const peers = [
  "@aws-sdk",
  "@smithy",
  "@types",
  "@middy",
  "middy-core-6",
  "@aws",
  "@aws-lambda-powertools",
  "undici-types",
];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "middy-dynamo-lock-"));
  // Built and packed elsewhere, so that nobody's dist changes meanwhile.
  const source = join(folder, "package");
  await mkdir(source);
  for (const file of ["package.json", "LICENSE", "README.md", "CHANGELOG.md", "docs"]) {
    await cp(join(root, file), join(source, file), { recursive: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error; // some are written last
    });
  }
  await build(join(source, "dist"));
  const { stdout } = await run("npm", ["pack", "--ignore-scripts", "--json"], { cwd: source });
  const [{ filename, files }] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }];
  packed = files.map(({ path }) => path);

  app = join(folder, "app");
  const installed = join(app, "node_modules", "middy-dynamo-lock");
  await mkdir(installed, { recursive: true });
  await run("tar", ["-xzf", join(source, filename), "-C", installed, "--strip-components=1"]);
  for (const peer of peers) await symlink(join(root, "node_modules", peer), join(app, "node_modules", peer));
  await writeFile(join(app, "package.json"), JSON.stringify({ type: "module" }));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const resolutions = {
  NodeNext: ["--module", "NodeNext"],
  Node16: ["--module", "Node16"],
  Bundler: ["--module", "ESNext", "--moduleResolution", "Bundler"],
};

/** The complaints of tsc about a file of the consumer's, and about our own declarations; not about other packages'. */
const complaints = async (source: string, settings: string[] = resolutions.NodeNext, of = app): Promise<string[]> => {
  const directory = await mkdtemp(join(of, "check-"));
  await writeFile(join(directory, "consumer.ts"), source);
  const common = ["--ignoreConfig", "--noEmit", "--strict", "--skipLibCheck", "false", "--types", "node"];
  const libraries = ["--target", "ES2022", "--lib", "ES2022"];
  const { stdout } = await run(process.execPath, [tsc, ...common, ...libraries, ...settings, "consumer.ts"], {
    cwd: directory,
  }).catch((failure: { stdout: string }) => failure);
  return stdout.split("\n").filter((line) => /^\S*(consumer\.ts|node_modules\/middy-dynamo-lock\/\S+)\(\d/.test(line));
};

const consumer = `
import middy from "@middy/core";
import type { ScheduledEvent } from "aws-lambda";
import { createLockTable, dynamoLock, type Lock, LockClient, type LockEvent, LockHeldError, withLock } from "middy-dynamo-lock";

export const handler = middy<ScheduledEvent>()
  .use(dynamoLock({ key: (event) => event.detail.date, onEvent: (event: LockEvent) => console.log(event.type) }))
  .handler(async (event, context) => {
    // @ts-expect-error: types came through, and are not any
    const lock: number = context.lock;
    return [event.time, lock, context.lock.fencingToken.toFixed()];
  });
export const plain = withLock(async (event: { date: string }, context) => context.lock.token, { key: (event) => event.date });
export const work = async (locks: LockClient) => {
  await using lock: Lock = await locks.acquire("report");
  // @ts-expect-error: internal, and not in the declarations
  lock.abandon("timeout");
  // @ts-expect-error: internal, and not in the declarations
  await locks.attempt("report");
  // @ts-expect-error: a type only: there is no class to compare with
  lock instanceof Lock;
  return locks.once("report", () => 7).catch((error) => error instanceof LockHeldError && error.record.owner);
};
export { createLockTable };
`;

it("what is packed is meant to ship", () => {
  const meant =
    /^(dist\/[\w-]+\.(js|d\.ts)|dist\/bin\/[\w-]+\.js|docs\/[\w-]+\.md|package\.json|LICENSE|README\.md|CHANGELOG\.md)$/;
  expect(packed.filter((path) => !meant.test(path))).toEqual([]);
  expect(packed).toEqual(expect.arrayContaining(["dist/index.js", "dist/index.d.ts", "LICENSE", "package.json"]));
});

it("its command runs, and needs no package but the SDK", async () => {
  const command = join(app, "node_modules/middy-dynamo-lock/dist/bin/dynamo-lock.js");
  const { stdout } = await run(process.execPath, [command, "--help"]);
  expect(stdout).toContain("Usage: dynamo-lock");
  expect(await importsOf(".js", "dist/bin")).toEqual(expect.not.arrayContaining(["commander"]));
});

it("its documentation links to what is packed, and to headings that are there", async () => {
  const installed = join(app, "node_modules/middy-dynamo-lock");
  const documents = packed.filter((path) => path.endsWith(".md"));
  const texts = new Map<string, string>();
  for (const path of documents) texts.set(path, await readFile(join(installed, path), "utf8"));
  const headingsOf = (path: string): string[] =>
    [...(texts.get(path) ?? "").matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
      heading
        .toLowerCase()
        .replace(/[^\w\- ]/g, "")
        .replaceAll(" ", "-"),
    );
  const broken = documents.flatMap((path) =>
    [...(texts.get(path) ?? "").matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)/g)].flatMap(
      ([link, file, heading]) => {
        const target = file ? posix.join(posix.dirname(path), file) : path;
        const there = packed.includes(target) && (heading === undefined || headingsOf(target).includes(heading));
        return there ? [] : [`${path}: ${link}`];
      },
    ),
  );
  expect(texts.size).toBeGreaterThan(5);
  expect(broken).toEqual([]);
});

it("can be imported, also where Middy is not installed", async () => {
  const bare = join(folder, "bare");
  await mkdir(join(bare, "node_modules"), { recursive: true });
  await cp(join(app, "node_modules/middy-dynamo-lock"), join(bare, "node_modules/middy-dynamo-lock"), {
    recursive: true,
  });
  for (const peer of ["@aws-sdk", "@smithy"]) {
    await symlink(join(root, "node_modules", peer), join(bare, "node_modules", peer));
  }
  const script = "console.log(JSON.stringify(Object.keys(await import('middy-dynamo-lock')).sort()))";
  const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", script], { cwd: bare });
  expect(JSON.parse(stdout)).toEqual([
    "LockBatchError",
    "LockClient",
    "LockError",
    "LockHeldError",
    "LockKeyError",
    "LockLostError",
    "LockOptionsError",
    "LockTableError",
    "LockTimeoutError",
    "PayloadMismatchError",
    "ReplayedError",
    "breakLock",
    "createLockTable",
    "describeLock",
    "dynamoLock",
    "dynamoLockBatch",
    "dynamoSemaphore",
    "finishLock",
    "forgetLock",
    "listLocks",
    "purgeLocks",
    "semaphore",
    "withLock",
    "withLockBatch",
    "withSemaphore",
  ]);
});

/** What the files of `dist` import that end like this, other than each other. */
const importsOf = async (extension: string, folder = "dist"): Promise<string[]> => {
  const dist = join(app, "node_modules/middy-dynamo-lock", folder);
  const imported = new Set<string>();
  for (const file of await readdir(dist)) {
    if (!file.endsWith(extension)) continue;
    const text = await readFile(join(dist, file), "utf8");
    for (const [, specifier] of text.matchAll(/(?:^import\b[^"';]*|\bimport\()["']([^."'][^"']*)["']/gm))
      imported.add(String(specifier));
  }
  return [...imported].sort();
};

it("imports nothing but the DynamoDB client", async () => {
  expect(await importsOf(".js")).toEqual([
    "@aws-sdk/client-dynamodb",
    "node:crypto",
    "node:timers/promises",
    "node:util",
    "node:zlib",
  ]);
});

it("its declarations name Lambda's types, and nothing of the AWS SDK", async () => {
  expect(await importsOf(".d.ts")).toEqual(["aws-lambda"]);
});

describe("type-checked by a strict consumer, declarations included", () => {
  it.each(Object.entries(resolutions))("with the resolution of %s", async (_name, settings) => {
    expect(await complaints(consumer, settings)).toEqual([]);
  });

  it("with exactOptionalPropertyTypes and noUncheckedIndexedAccess", async () => {
    const settings = [...resolutions.NodeNext, "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess"];
    expect(await complaints(consumer, settings)).toEqual([]);
  });

  it("on the types of Middy 6", async () => {
    expect(await complaints(consumer.replace('from "@middy/core"', 'from "middy-core-6"'))).toEqual([]);
  });

  it("without the AWS SDK", async () => {
    const lean = join(folder, "lean");
    const installed = join(lean, "node_modules");
    await mkdir(installed, { recursive: true });
    for (const peer of ["@types", "undici-types", "@middy", "@aws"]) {
      await symlink(join(root, "node_modules", peer), join(installed, peer));
    }
    // A copy: a link would find what is installed where it leads.
    await cp(join(app, "node_modules/middy-dynamo-lock"), join(installed, "middy-dynamo-lock"), { recursive: true });
    await writeFile(join(lean, "package.json"), JSON.stringify({ type: "module" }));
    const own = `
      export const locks = new LockClient({ client: { send: async () => ({}) }, clientConfig: { region: "eu-west-1" } });
      export const pay = async (lock: Lock) =>
        lock.commit([{ Put: { TableName: "orders", Item: { id: { S: "42" } } } }, { ConditionCheck: lock.condition() }]);
      // @ts-expect-error: a value has a type
      export const wrong = async (lock: Lock) => lock.commit([{ Put: { TableName: "orders", Item: { id: "42" } } }]);
      // @ts-expect-error: it is not there
      export type Theirs = import("@aws-sdk/client-dynamodb").DynamoDBClient;`;
    expect(await complaints(`${consumer}${own}`, resolutions.NodeNext, lean)).toEqual([]);
  });

  it("a mistake is a complaint, so the silence above says something", async () => {
    const mistake = `import { dynamoLock } from "middy-dynamo-lock";\ndynamoLock({ key: () => ({}) });`;
    expect(await complaints(mistake)).toEqual([expect.stringContaining("TS2769")]);
  });

  it("an onMissingKey that is only known at run time makes the lock one that may be missing", async () => {
    const source = `
      import { type DynamoLockOptions, withLock } from "middy-dynamo-lock";
      export const anyOptions = (options: DynamoLockOptions<{ date: string }>) =>
        // @ts-expect-error: context.lock is possibly undefined
        withLock(async (_event: { date: string }, context) => context.lock.token, options);
      export const onMissingKey = process.env.LENIENT ? "run" : "throw";
      export const either = withLock(
        // @ts-expect-error: context.lock is possibly undefined
        async (_event: { date: string }, context) => context.lock.token,
        { key: (event) => event.date, onMissingKey },
      );`;
    expect(await complaints(source)).toEqual([]);
  });
});
