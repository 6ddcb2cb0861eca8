/** The package as a consumer gets it: built, packed, unpacked beside its peers, imported and type-checked. */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { build } from "../../scripts/build.ts";
import { localConfig } from "../support/dynamodb.ts";

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

/** Middy itself is an ES module, which a CommonJS package can't import before Node.js 22. */
const withoutMiddy = (source: string) =>
  source.replace(/^import middy .*$/m, "").replace(/export const handler = middy.*?\n {2}\}\);\n/s, "");

it("what is packed is meant to ship", () => {
  const meant =
    /^(dist\/[\w-]+\.(js|d\.ts|cjs|d\.cts)|dist\/bin\/[\w-]+\.js|docs\/[\w-]+\.md|package\.json|LICENSE|README\.md|CHANGELOG\.md)$/;
  expect(packed.filter((path) => !meant.test(path))).toEqual([]);
  expect(packed).toEqual(
    expect.arrayContaining([
      "dist/index.js",
      "dist/lean.js",
      "dist/index.d.ts",
      "dist/lean.d.ts",
      "LICENSE",
      "package.json",
    ]),
  );
});

it("its command runs, and needs no package but the SDK", async () => {
  const command = join(app, "node_modules/middy-dynamo-lock/dist/bin/dynamo-lock.js");
  const { stdout } = await run(process.execPath, [command, "--help"]);
  expect(stdout).toContain("Usage: dynamo-lock");
  expect(await importsOf("bin/dynamo-lock.js")).toEqual(expect.not.arrayContaining(["commander"]));
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

const NAMES = [
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
  "dynamoCommit",
  "dynamoLock",
  "dynamoLockBatch",
  "dynamoSemaphore",
  "finishLock",
  "forgetLock",
  "listLocks",
  "purgeLocks",
  "semaphore",
  "withCommit",
  "withLock",
  "withLockBatch",
  "withSemaphore",
];

/** A folder where the package is installed, and these peers, and nothing else. Gives what a script there prints. */
const inBare = async (name: string, installed: readonly string[], script: string) => {
  const bare = join(folder, name);
  await mkdir(join(bare, "node_modules"), { recursive: true });
  await cp(join(app, "node_modules/middy-dynamo-lock"), join(bare, "node_modules/middy-dynamo-lock"), {
    recursive: true,
  });
  for (const peer of installed) await symlink(join(root, "node_modules", peer), join(bare, "node_modules", peer));
  const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", script], { cwd: bare });
  return JSON.parse(stdout);
};

it("can be imported, also where Middy is not installed", async () => {
  const script = "console.log(JSON.stringify(Object.keys(await import('middy-dynamo-lock')).sort()))";
  expect(await inBare("without-middy", ["@aws-sdk", "@smithy"], script)).toEqual(NAMES);
});

it("middy-dynamo-lock/lean has the same names, also where the AWS SDK is not installed", async () => {
  const script = "console.log(JSON.stringify(Object.keys(await import('middy-dynamo-lock/lean')).sort()))";
  expect(await inBare("without-sdk", [], script)).toEqual(NAMES);
});

it("is tested on the engine in memory, also where the AWS SDK is not installed", async () => {
  const script = `
    const { withLock } = await import("middy-dynamo-lock/lean");
    const { lambdaContext, memoryDynamoDB } = await import("middy-dynamo-lock/testing");
    const memory = memoryDynamoDB();
    const handler = withLock(async () => 42, { key: ({ id }) => id, namespace: "orders", client: memory });
    await memory.holdLock("held", { namespace: "orders" });
    const held = await handler({ id: "held" }, lambdaContext()).catch((error) => error.code);
    console.log(JSON.stringify([await handler({ id: "free" }, lambdaContext()), held, memory.sent]));`;
  expect(await inBare("tested-without-sdk", [], script)).toEqual([
    42,
    "LOCK_HELD",
    ["UpdateItem", "UpdateItem", "UpdateItem"],
  ]);
});

it("a run over middy-dynamo-lock/lean loads no module of the AWS SDK, though it is there", async () => {
  const script = `
    import { registerHooks } from "node:module";
    const loaded = [];
    registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) });
    const { withLock } = await import("middy-dynamo-lock/lean");
    const clientConfig = ${JSON.stringify(localConfig())};
    const handler = withLock(async () => 42, { key: () => "a", tableName: "missing", clientConfig });
    const error = await handler({}, { functionName: "f", awsRequestId: "1" }).catch((error) => error.message);
    console.log(JSON.stringify({ loaded, error }));`;
  const { loaded, error } = await inBare("with-sdk", ["@aws-sdk", "@smithy"], script);
  expect(error).toMatch("Table missing does not exist");
  expect(loaded).toContainEqual(expect.stringMatching(/dist\/lean\.js$/));
  expect(loaded.filter((url: string) => /aws-sdk|smithy/.test(url))).toEqual([]);
});

it("both entry points have one class of each error", async () => {
  const script = `
    const [main, lean] = [await import("middy-dynamo-lock"), await import("middy-dynamo-lock/lean")];
    console.log(JSON.stringify(Object.keys(main).filter((name) => main[name] === lean[name]).sort()));`;
  const shared = await inBare("both", ["@aws-sdk", "@smithy"], script);
  expect(shared).toEqual(NAMES.filter((name) => !/^(dynamo|with|create)|^LockClient$/.test(name)));
});

/** What a file of `dist` imports, with the other files that it imports, but for those that are left out. */
const importsOf = async (entry: string, leftOut: readonly string[] = []): Promise<string[]> => {
  const dist = join(app, "node_modules/middy-dynamo-lock/dist");
  const imported = new Set<string>();
  const seen = new Set(leftOut);
  const visit = async (file: string): Promise<void> => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = await readFile(join(dist, file), "utf8");
    const from = /(?:^(?:import|export)\b[^"';]*|\b(?:import|require)\()["']([^"'#\s]*)["']/gm;
    for (const [, specifier = ""] of text.matchAll(from)) {
      if (!specifier.startsWith(".")) imported.add(specifier);
      else
        await visit(
          posix.join(
            posix.dirname(file),
            /\.d\.c?ts$/.test(file) ? specifier.replace(/\.(c?)js$/, ".d.$1ts") : specifier,
          ),
        );
    }
  };
  await visit(entry);
  return [...imported].sort();
};

const NODE = ["node:crypto", "node:timers/promises", "node:util", "node:zlib"];

it.each([".js", ".cjs"])("imports nothing but the DynamoDB client: %s", async (extension) => {
  expect(await importsOf(`index${extension}`)).toEqual(["@aws-sdk/client-dynamodb", ...NODE]);
});

it.each([".js", ".cjs"])("imports nothing but Node.js as middy-dynamo-lock/lean: %s", async (extension) => {
  expect(await importsOf(`lean${extension}`)).toEqual([...NODE, "node:fs/promises", "node:http", "node:https"].sort());
});

it("the engine in memory imports nothing but Node.js and the entry point without the AWS SDK", async () => {
  const modules = ["node:crypto", "node:events", "node:http", "node:stream"];
  for (const extension of [".js", ".cjs"]) {
    expect(await importsOf(`testing${extension}`, [`lean${extension}`])).toEqual(modules);
  }
});

it("its declarations name Lambda's types, and nothing of the AWS SDK", async () => {
  for (const entry of ["index", "lean"]) {
    for (const extension of [".d.ts", ".d.cts"])
      expect(await importsOf(`${entry}${extension}`)).toEqual(["aws-lambda"]);
  }
});

describe("in CommonJS", () => {
  const inProgram = async (script: string, flags: string[] = []) => {
    const { stdout } = await run(process.execPath, [...flags, "--eval", script], { cwd: commonJs });
    return JSON.parse(stdout) as unknown;
  };
  let commonJs: string;
  beforeAll(async () => {
    commonJs = join(app, "commonjs");
    await mkdir(commonJs);
    await writeFile(join(commonJs, "package.json"), JSON.stringify({ type: "commonjs" }));
  });

  it("it can be required, also where Node.js can't require ES modules, as in Lambda's nodejs22.x", async () => {
    const script = `
      const { LockClient } = require("middy-dynamo-lock");
      const { memoryDynamoDB } = require("middy-dynamo-lock/testing");
      const locks = new LockClient({ client: memoryDynamoDB() });
      locks.once("report", () => [1, 2]).then((report) => console.log(JSON.stringify(report)));`;
    expect(await inProgram(script, ["--no-experimental-require-module"])).toEqual([1, 2]);
  });

  it("middy-dynamo-lock/lean can be required, too, and loads nothing of the AWS SDK", async () => {
    const script = `
      const { LockClient } = require("middy-dynamo-lock/lean");
      new LockClient({ client: { request: async () => ({}) } }).run("a", () => 7).then((result) => {
        const theirs = Object.keys(require.cache).filter((file) => /aws-sdk|smithy/.test(file));
        console.log(JSON.stringify([result, theirs]));
      });`;
    expect(await inProgram(script, ["--no-experimental-require-module"])).toEqual([7, []]);
  });

  it("both formats have the same names, and know each other's errors and clients", async () => {
    const script = `
      const commonJs = require("middy-dynamo-lock");
      const { memoryDynamoDB } = require("middy-dynamo-lock/testing");
      import("middy-dynamo-lock").then(async (esm) => {
        const locks = new esm.LockClient({ client: memoryDynamoDB() });
        await locks.acquire("held");
        const guarded = commonJs.withLock(async () => 1, { key: () => "held", namespace: false, locks });
        const error = await guarded({}, {}).catch((error) => error);
        const same = Object.keys(esm).sort().join() === Object.keys(commonJs).sort().join();
        console.log(JSON.stringify([same, error instanceof esm.LockHeldError, error instanceof commonJs.LockHeldError]));
      });`;
    expect(await inProgram(script)).toEqual([true, true, true]);
  });

  it.each(["Node16", "NodeNext"])("its types are found by a CommonJS package, as %s has it", async (module) => {
    expect(await complaints(withoutMiddy(consumer), ["--module", module], commonJs)).toEqual([]);
  });
});

it("a consumer's declarations name its entry points, and no other file of it", async () => {
  const source = `
    import middy from "@middy/core";
    import { dynamoLock, dynamoLockBatch, dynamoSemaphore, LockClient, withLock } from "middy-dynamo-lock";
    import { httpIdempotency, httpProblems } from "middy-dynamo-lock/http";
    export const lock = dynamoLock<{ date: string }>({ key: (event) => event.date });
    export const batch = dynamoLockBatch({ key: (record) => record.body });
    export const semaphore = dynamoSemaphore({ key: () => "a", permits: 2 });
    export const wrapped = withLock(async (event: { date: string }) => event.date, { key: (event) => event.date });
    export const locks = new LockClient({});
    export const acquire = () => locks.acquire("a", { leaseMs: 1_000 });
    export const options = (given: Parameters<typeof dynamoLock>[0]) => given;
    export const http = httpIdempotency<{ user: string }>({ scope: (event) => event.user });
    export const handler = middy<{ user: string }>()
      .use(httpProblems())
      .use(dynamoLock({ ...http }))
      .handler(async (_event, context) => context.lock?.key);`;
  const directory = await mkdtemp(join(app, "declare-"));
  await writeFile(join(directory, "consumer.ts"), source);
  const settings = ["--ignoreConfig", "--declaration", "--emitDeclarationOnly", "--strict", "--skipLibCheck"];
  const language = ["--types", "node", "--target", "ES2022", "--module", "NodeNext"];
  await run(process.execPath, [tsc, ...settings, ...language, "consumer.ts"], { cwd: directory });
  const declarations = await readFile(join(directory, "consumer.d.ts"), "utf8");
  expect(declarations).not.toContain(": any");
  const named = [...declarations.matchAll(/"(middy-dynamo-lock[^"]*)"/g)].map(([, name]) => name);
  expect([...new Set(named)].toSorted()).toEqual(["middy-dynamo-lock", "middy-dynamo-lock/http"]);
});

describe("type-checked by a strict consumer, declarations included", () => {
  it.each(Object.entries(resolutions))("with the resolution of %s", async (_name, settings) => {
    expect(await complaints(consumer, settings)).toEqual([]);
  });

  it("with exactOptionalPropertyTypes and noUncheckedIndexedAccess", async () => {
    const settings = [...resolutions.NodeNext, "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess"];
    expect(await complaints(consumer, settings)).toEqual([]);
  });

  it("as middy-dynamo-lock/lean, where there is no AWS SDK", async () => {
    const own = `
      export const locks = new LockClient({ clientConfig: { region: "eu-west-1", credentials: async () => ({ accessKeyId: "a", secretAccessKey: "b" }) } });
      await createLockTable({ region: "eu-west-1" }, { tableName: "locks" });
      await createLockTable({ request: async () => ({}) });
      dynamoLock({ key: () => "a", client: memoryDynamoDB() });
      withCommit(async (event: { id: string }, context) => context.commit([], { result: event.id }), { key: (event) => event.id });
      dynamoLock({ key: (event: { id: string }) => event.id, client: { request: async () => ({}) } });
      // @ts-expect-error: a client of the AWS SDK is for the other entry point
      new LockClient({ client: { send: async () => ({}) } });
      // @ts-expect-error: a setting that only the AWS SDK knows
      new LockClient({ clientConfig: { profile: "mine" } });`;
    const source = consumer
      .replace('"middy-dynamo-lock"', '"middy-dynamo-lock/lean"')
      .replace("export const handler", `import { withCommit } from "middy-dynamo-lock/lean";\n$&`)
      .replace("export const handler", `import { memoryDynamoDB } from "middy-dynamo-lock/testing";\n$&`);
    expect(await complaints(`${source}${own}`)).toEqual([]);
  });

  it("on the types of Middy 6", async () => {
    expect(await complaints(consumer.replace('from "@middy/core"', 'from "middy-core-6"'))).toEqual([]);
  });

  it("a Lock and a LockClient can be faked by their interfaces", async () => {
    const source = `
      import { listLocks, type Lock, LockClient, type LockClientInterface, type LockInterface, semaphore } from "middy-dynamo-lock";
      const lock: LockInterface = {
        key: "k", keys: ["k"], owner: "me", token: "t", fencingToken: 1, acquiredAt: 0, expiresAt: 1, remainingMs: 1,
        elapsedMs: 0, status: "held", signal: new AbortController().signal, previous: undefined, data: undefined,
        extend: async () => {}, finish: async () => {}, release: async () => {}, commit: async () => {},
        condition: () => { throw new Error("not played"); }, documentCondition: () => { throw new Error("not played"); },
        idempotencyKey: (part) => \`key-\${part}\`, [Symbol.asyncDispose]: async () => {},
      };
      export class FakeClient implements LockClientInterface {
        async acquire() { return lock; }
        async tryAcquire() { return undefined; }
        async run<T>(_key: unknown, work: (lock: LockInterface) => Promise<T> | T) { return work(lock); }
        async once(_key: unknown, work: (lock: LockInterface) => unknown): Promise<any> { return work(lock); }
        async commitOnce(): Promise<any> {}
        async get() { return undefined; }
        async count() { return 0; }
        async waitUntilFinished() { return []; }
        async warmUp() { return { writeMs: 1, readMs: 1, deleteMs: 1, totalMs: 3 } as any; }
        async close() {}
      }
      const report = (locks: LockClientInterface) => locks.run("report", (lock) => lock.fencingToken.toFixed());
      export const all = [report(new FakeClient()), report(new LockClient())];
      export const real = async (locks: LockClient): Promise<LockInterface> => locks.acquire("k");
      // @ts-expect-error: a fake has no records
      listLocks(new FakeClient());
      // @ts-expect-error: a fake has no permits
      semaphore(new FakeClient(), "k", { permits: 2 });
      // @ts-expect-error: the class has private members, which is why there is an interface
      export const wrong: Lock = lock;`;
    expect(await complaints(source, [...resolutions.NodeNext, "--lib", "ES2022,ESNext.Disposable"])).toEqual([]);
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
