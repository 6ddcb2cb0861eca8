/** Fetches Node 22, the older of Lambda's two current runtimes, into .cache/node22. Does nothing when it is there. */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { cache, npmInstall, report } from "./fetch.ts";

const directory = join(cache, "node22");

report("Node 22", () => {
  if (existsSync(join(directory, "node_modules", ".bin", "node"))) return undefined;
  mkdirSync(directory, { recursive: true });
  return npmInstall(directory, "node", "22.23.3");
});
