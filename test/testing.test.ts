/**
 * Every example of docs/testing.md is a module in `testing/examples/`, to the letter. They run here on the package as it is
 * built, under vitest and jest with the document's own settings. `node scripts/fetch-jest.ts` fetches jest.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { DynamoDBClient, ListTablesCommand } from "@aws-sdk/client-dynamodb";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { build } from "../scripts/build.ts";
import { clientConfig } from "../scripts/engine.ts";
import { cache } from "../scripts/fetch.ts";
import { expectExamples } from "./support/examples.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
const examples = fileURLToPath(new URL("testing/examples/", import.meta.url));
const jest = join(cache, "jest", "node_modules");
const hasJest = existsSync(join(jest, "ts-jest", "package.json"));
if (!hasJest) process.stdout.write("not run: docs/testing.md under jest: node scripts/fetch-jest.ts fetches it\n");

let directory: string;
beforeAll(async () => {
  await mkdir(cache, { recursive: true });
  directory = await mkdtemp(join(cache, "testing-"));
  const installed = join(directory, "node_modules", "middy-dynamo-lock");
  await build(join(installed, "dist"));
  await copyFile(join(root, "package.json"), join(installed, "package.json"));
  for (const name of ["@middy", "@aws-sdk"]) {
    await symlink(join(root, "node_modules", name), join(directory, "node_modules", name));
  }
  if (!hasJest) return;
  for (const name of ["ts-jest", "typescript"]) await symlink(join(jest, name), join(directory, "node_modules", name));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

/** A test runner's settings, as the document has them. */
const settings = async (of: string): Promise<string> => {
  const document = await readFile(join(root, "docs/testing.md"), "utf8");
  const block = [...document.matchAll(/```js\n(.*?)```/gs)]
    .map(([, code = ""]) => code)
    .find((code) => code.startsWith(of));
  return block as string;
};

/** A project with the examples of these names, and with all if there are none. */
const project = async (name: string, type: string, of?: RegExp): Promise<string> => {
  const folder = join(directory, name);
  await mkdir(folder);
  await symlink(join(directory, "node_modules"), join(folder, "node_modules"));
  await writeFile(join(folder, "package.json"), JSON.stringify({ type }));
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: TSCONFIG[type] }));
  for (const file of await readdir(examples)) {
    if (of && !of.test(file)) continue;
    const code = await readFile(join(examples, file), "utf8");
    await writeFile(join(folder, file), name === "vitest" ? code : code.replace('"vitest"', '"@jest/globals"'));
  }
  return folder;
};
const common = { target: "ES2022", isolatedModules: true, esModuleInterop: true };
const TSCONFIG: Readonly<Record<string, object>> = {
  module: { ...common, module: "nodenext" },
  commonjs: { ...common, module: "node16" },
};

/** Without what the test run around it has set. */
const environment = (more: object = {}) => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(VITEST|NODE_|JEST|TEST$)/.test(name))),
  ...more,
});

it("has each example, and no other", () => expectExamples("docs/testing.md", "testing/examples"));

it("under vitest all pass", async () => {
  const folder = await project("vitest", "module");
  await writeFile(join(folder, "vitest.config.js"), await settings("// vitest.config.js"));
  const vitest = join(root, "node_modules/vitest/vitest.mjs");
  const { stdout } = await run(process.execPath, [vitest, "run", "--root", folder], {
    env: environment({ NO_COLOR: "1", GITHUB_ACTIONS: "" }),
  });
  expect(stdout).toMatch(/Test Files {2}4 passed \(4\)\n +Tests {2}9 passed \(9\)/);
});

describe.skipIf(!hasJest)("under jest all pass", () => {
  const runJest = async (folder: string, NODE_OPTIONS = "") => {
    const { stderr } = await run(process.execPath, [join(jest, "jest/bin/jest.js"), "--rootDir", folder], {
      cwd: folder,
      env: environment({ NODE_OPTIONS, NO_COLOR: "1" }),
    });
    return /Test Suites: (.+)\nTests: +(.+)/.exec(stderr)?.slice(1);
  };

  it("in CommonJS, without Middy", async () => {
    const folder = await project("commonjs", "commonjs", /^(payment|importer|denied)/);
    await writeFile(join(folder, "jest.config.js"), await settings("// jest.config.js of a CommonJS package\n"));
    expect(await runJest(folder)).toEqual(["3 passed, 3 total", "3 passed, 3 total"]);
  });

  it("in CommonJS, with Middy", async () => {
    const folder = await project("commonjs-middy", "commonjs");
    await writeFile(
      join(folder, "jest.config.js"),
      await settings("// jest.config.js of a CommonJS package with Middy\n"),
    );
    expect(await runJest(folder)).toEqual(["4 passed, 4 total", "9 passed, 9 total"]);
  });

  it("in ES modules", async () => {
    const folder = await project("esm", "module");
    await writeFile(join(folder, "jest.config.js"), await settings("// jest.config.js of an ES module package\n"));
    expect(await runJest(folder, "--experimental-vm-modules")).toEqual(["4 passed, 4 total", "9 passed, 9 total"]);
  });
});

it("over HTTP it serves another process, until that ends", async () => {
  const folder = await project("serve", "module", /^serve/);
  const server = spawn(process.execPath, [join(folder, "serve.ts")], { env: environment({ PORT: "0" }) });
  try {
    const [line] = await once(server.stdout, "data");
    const endpoint = /^export AWS_ENDPOINT_URL_DYNAMODB=(.+)\n$/.exec(String(line))?.[1] as string;
    const client = new DynamoDBClient(clientConfig(endpoint));
    expect(await client.send(new ListTablesCommand())).toMatchObject({ TableNames: ["dynamo-locks", "orders"] });
  } finally {
    server.kill();
  }
});
