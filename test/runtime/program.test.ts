import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from "vitest";
import { lockTable } from "../support/dynamodb.ts";
import { bundle } from "./bundle.ts";

/** A pooled connection or a lease would keep it for longer. */
const PROMPTLY_MS = 3_000;

let directory: string;
beforeAll(async () => {
  directory = await bundle("program.ts");
});
afterAll(() => rmSync(directory, { recursive: true }));

describe("a plain program", () => {
  test.each(["closing its client", "leaving its client open", "holding its lock"])(
    "ends by itself after %s",
    async (ending) => {
      const { tableName, client } = await lockTable();
      onTestFinished(() => client.destroy());
      const program = spawn(process.execPath, [join(directory, "index.mjs"), ending], {
        env: {
          AWS_REGION: "eu-west-1",
          AWS_ACCESS_KEY_ID: "local",
          AWS_SECRET_ACCESS_KEY: "local",
          AWS_ENDPOINT_URL_DYNAMODB: inject("endpoint"),
          DYNAMO_LOCK_TABLE: tableName,
        },
        timeout: 15_000,
      });
      const [stdout, stderr, [exitCode]] = await Promise.all([
        text(program.stdout),
        text(program.stderr),
        once(program, "exit"),
      ]);
      const endedAt = Date.now();
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
      expect(endedAt - Number(stdout)).toBeLessThan(PROMPTLY_MS);
    },
  );
});
