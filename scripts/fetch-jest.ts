/** Fetches jest and ts-jest, under which the examples of docs/testing.md run, into .cache/jest. Does nothing when they are there. */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { cache, npmInstallAll, report } from "./fetch.ts";

const directory = join(cache, "jest");
// ts-jest compiles with the API of TypeScript 5.
const PACKAGES = { jest: "30.5.2", "ts-jest": "29.4.15", typescript: "5.9.3" };

report("jest", () => {
  if (existsSync(join(directory, "node_modules", "ts-jest", "package.json"))) return undefined;
  mkdirSync(directory, { recursive: true });
  return npmInstallAll(directory, PACKAGES);
});
