/** The command `dynamo-lock` as it is published, as processes. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll } from "vitest";
import { buildCommand } from "../../scripts/build/command.ts";
import { cache } from "../../scripts/fetch.ts";
import { localConfig } from "./dynamodb.ts";

export interface Ended {
  /** The exit code, or the signal that ended the command. */
  readonly code: number | NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

const root = fileURLToPath(new URL("../../", import.meta.url));

/** For a test file: the command, built once, on a table of its own. */
export const theCommand = (tableName: string) => {
  let directory = "";
  beforeAll(async () => {
    await mkdir(cache, { recursive: true }); // within the repository, so that the SDK is found
    directory = await mkdtemp(join(cache, "command-"));
    const library = {
      entryPoints: [join(root, "src/index.ts")],
      outfile: join(directory, "dist/index.js"),
      external: ["@aws-sdk/*"],
    };
    await build({ ...library, bundle: true, platform: "node", format: "esm", logLevel: "error" });
    await copyFile(join(root, "package.json"), join(directory, "package.json"));
    await buildCommand(join(directory, "dist/bin"));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  const start = (args: readonly string[], env: NodeJS.ProcessEnv = {}): Started => {
    const { endpoint, region, credentials } = localConfig();
    const child = spawn(process.execPath, [join(directory, "dist/bin/dynamo-lock.js"), ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        PATH: process.env.PATH,
        HOME: directory, // no configuration of whoever runs the tests
        TZ: "UTC",
        DYNAMO_LOCK_TABLE: tableName,
        AWS_ENDPOINT_URL_DYNAMODB: endpoint,
        AWS_REGION: region,
        AWS_ACCESS_KEY_ID: credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
        ...env,
      },
    });
    const output = Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
    const ended = output.then(([stdout, stderr, [code, signal]]) => ({ code: code ?? signal, stdout, stderr }));
    return { child, ended };
  };

  return {
    start,
    run: (...args: string[]): Promise<Ended> => start(args).ended,
  };
};

/** Waits until a look gives something. */
export const until = async <T>(look: () => Promise<T | undefined | false> | T | undefined | false): Promise<T> => {
  for (const end = Date.now() + 20_000; ; ) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error("it did not happen within 20 s");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};
