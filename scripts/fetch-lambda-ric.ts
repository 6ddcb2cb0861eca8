/**
 * Builds Lambda's runtime client for Node, `aws-lambda-ric`, in .cache/aws-lambda-ric. Does nothing when it is there.
 *
 * It compiles curl and aws-lambda-cpp from the sources in its package, so it is no dependency of this project.
 * https://github.com/aws/aws-lambda-nodejs-runtime-interface-client
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { cache, npmInstall, report } from "./fetch.ts";

const directory = join(cache, "aws-lambda-ric");
// The package's install script puts it there when everything is compiled.
const addon = join(directory, "node_modules", "aws-lambda-ric", "rapid-client.node");

report("Lambda's runtime client", () => {
  if (process.platform !== "linux") return "it compiles on Linux only";
  if (existsSync(addon)) return undefined;
  const missing = ["cmake", "make", "g++", "python3", "xz"].filter((tool) => !runs(tool));
  if (missing.length > 0) return `compiling it needs ${missing.join(", ")}`;

  mkdirSync(directory, { recursive: true });
  return npmInstall(directory, "aws-lambda-ric", "4.0.2", headersOfThisNode());
});

/** Saves node-gyp the download of Node's headers where they are on disk: with the npm package `node`, or with Node. */
function headersOfThisNode(): NodeJS.ProcessEnv {
  const nodedir = [headersFromNpm(), dirname(dirname(process.execPath))].find(
    (path) => path && existsSync(join(path, "include", "node", "node_api.h")),
  );
  return nodedir ? { npm_config_nodedir: nodedir } : {};
}

function headersFromNpm(): string | undefined {
  const { resolve } = createRequire(import.meta.url);
  try {
    const node = dirname(resolve("node/package.json"));
    return dirname(resolve(`node-${process.platform}-${process.arch}/package.json`, { paths: [node] }));
  } catch {
    return undefined;
  }
}

function runs(tool: string): boolean {
  return spawnSync(tool, ["--version"], { stdio: "ignore" }).status === 0;
}
