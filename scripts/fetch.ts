/** What the fetch scripts share. They put what only some tests need into .cache, so that `npm install` stays small. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { basename, delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const cache = fileURLToPath(new URL("../.cache", import.meta.url));

/** Runs a fetch, which returns the reason when it can't, and says how it went. */
export function report(what: string, fetch: () => string | undefined): void {
  const reason = fetch();
  if (reason) {
    console.error(`not run: ${what}: ${reason}`);
    process.exitCode = 1;
  } else {
    console.log(`${what} is in .cache`);
  }
}

/** Runs npm under this Node in a directory, and keeps what it prints in npm.log there. Returns why it failed. */
export function npm(directory: string, args: string[], env: NodeJS.ProcessEnv = {}): string | undefined {
  // Without a network, npm's default retries take minutes.
  const options = ["--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"];
  const { status, stdout, stderr } = spawnSync("npm", [...args, ...options], {
    cwd: directory,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, PATH: [dirname(process.execPath), process.env.PATH].join(delimiter), ...env },
  });
  writeFileSync(join(directory, "npm.log"), `${stdout}${stderr}`);
  if (status === 0) return undefined;
  return `npm ${args[0]} failed: ${stderr?.match(/^npm error code (\S+)/m)?.[1] ?? "npm did not run"}`;
}

/** Installs one package, with its install script, in a directory of its own. Returns why it failed. */
export function npmInstall(
  directory: string,
  name: string,
  version: string,
  env: NodeJS.ProcessEnv = {},
): string | undefined {
  return npmInstallAll(directory, { [name]: version }, { env, allowed: [name] });
}

/** Installs packages in a directory of their own. `allowed`: those whose install scripts may run. Returns why it failed. */
export function npmInstallAll(
  directory: string,
  dependencies: Readonly<Record<string, string>>,
  { env = {}, allowed = [] }: { readonly env?: NodeJS.ProcessEnv; readonly allowed?: readonly string[] } = {},
): string | undefined {
  // npm 12 runs no install script that isn't named here.
  const allowScripts = Object.fromEntries(allowed.map((name) => [name, true]));
  writeFileSync(join(directory, "package.json"), JSON.stringify({ private: true, dependencies, allowScripts }));
  const failure = npm(directory, ["install", "--prefix", directory, "--foreground-scripts"], env);
  return failure && `${failure}, see ${join(basename(cache), basename(directory), "npm.log")}`;
}
