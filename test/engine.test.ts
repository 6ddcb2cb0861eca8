import { spawn } from "node:child_process";
import { once } from "node:events";
import { DynamoDBClient, ListTablesCommand } from "@aws-sdk/client-dynamodb";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { clientConfig, isInstalled, startEngine } from "../scripts/engine.ts";

// The suite itself may run on an engine that is already up.
beforeEach(() => void vi.stubEnv("DYNAMODB_ENDPOINT", ""));
afterEach(() => void vi.unstubAllEnvs());

const listTables = (endpoint: string) =>
  new DynamoDBClient({ ...clientConfig(endpoint), maxAttempts: 1 }).send(new ListTablesCommand());

const ENGINES = (["dynoxide", "dynamodb-local", "memory"] as const).filter(isInstalled);

test("the engine in memory is always there", () => {
  expect(ENGINES).toContain("memory");
});

test.each(ENGINES)("%s answers when it is started, and is gone after stop", async (name) => {
  const engine = await startEngine({ engine: name });
  expect(engine.name).toBe(name);
  expect(await listTables(engine.endpoint)).toMatchObject({ TableNames: [] });
  await engine.stop();
  await expect(listTables(engine.endpoint)).rejects.toThrow("ECONNREFUSED");
});

test("DYNAMODB_ENDPOINT is used as it is, and not stopped", async () => {
  const running = await startEngine();
  vi.stubEnv("DYNAMODB_ENDPOINT", running.endpoint);
  const engine = await startEngine();
  expect(engine.endpoint).toBe(running.endpoint);
  await engine.stop();
  expect(await listTables(running.endpoint)).toHaveProperty("TableNames");
  await running.stop();
});

test("an endpoint where nothing answers, and an unknown engine, are errors that say so", async () => {
  vi.stubEnv("DYNAMODB_ENGINE", "dynalite");
  await expect(startEngine()).rejects.toThrow(
    "DYNAMODB_ENGINE must be dynoxide, dynamodb-local or memory, not dynalite",
  );
  vi.stubEnv("DYNAMODB_ENDPOINT", "http://127.0.0.1:1");
  await expect(startEngine()).rejects.toThrow("no DynamoDB answers at http://127.0.0.1:1");
});

test.each(["exit", "SIGTERM"])("an engine ends with the process that started it: %s", async (how) => {
  const script = `
    import { startEngine } from ${JSON.stringify(new URL("../scripts/engine.ts", import.meta.url).href)};
    console.log((await startEngine()).endpoint);
    process.stdin.resume().on("end", () => process.exit());
  `;
  const parent = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [line] = await once(parent.stdout, "data");
  const endpoint = String(line).trim();
  expect(await listTables(endpoint)).toHaveProperty("TableNames");

  if (how === "exit") parent.stdin.end();
  else parent.kill("SIGTERM");
  await once(parent, "exit");
  await vi.waitFor(() => expect(listTables(endpoint)).rejects.toThrow("ECONNREFUSED"));
});
