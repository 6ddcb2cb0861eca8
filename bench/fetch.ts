/** Fetches the libraries that the benchmarks compare with, and the SDKs they need, into .cache/bench. Does nothing when they are there. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cache, npm, report } from "../scripts/fetch.ts";

export const benchDirectory = join(cache, "bench");

const dependencies = {
  "@aws-sdk/client-dynamodb": "3.1162.0",
  "@aws-sdk/lib-dynamodb": "3.1162.0",
  "@deliveryhero/dynamodb-lock": "2.0.0",
  "aws-sdk": "2.1693.0", // dynamodb-lock-client takes a DocumentClient of version 2
  "dynamodb-lock-client": "0.7.3",
};

/** Ends the process when they can't be had. */
export function fetchLibraries(): void {
  report("What the benchmarks compare with", () => {
    const complete = join(benchDirectory, "complete.json");
    if (existsSync(complete)) return undefined;
    mkdirSync(benchDirectory, { recursive: true });
    writeFileSync(join(benchDirectory, "package.json"), JSON.stringify({ private: true, dependencies }));
    rmSync(join(benchDirectory, "package-lock.json"), { force: true });
    const failure = npm(benchDirectory, ["install", "--prefix", benchDirectory, "--ignore-scripts"]);
    if (!failure) writeFileSync(complete, JSON.stringify(dependencies));
    return failure && `${failure}, see .cache/bench/npm.log`;
  });
  if (process.exitCode) process.exit();
}
