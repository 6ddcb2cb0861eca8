/**
 * A DynamoDB engine for tests and the demo: started on a free port, stopped by its handle.
 *
 * `DYNAMODB_ENDPOINT` names a running engine to use instead; `DYNAMODB_ENGINE` chooses which one to start.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { type AddressInfo, createServer } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { end, hasEnded, killWithParent } from "./child.ts";

export type EngineName = (typeof ENGINES)[number];

/** In the order of preference. `memory` is the one of `middy-dynamo-lock/testing`, which needs no installation. */
const ENGINES = ["dynoxide", "dynamodb-local", "memory"] as const;

export interface Engine {
  name: string;
  endpoint: string;
  stop(): Promise<void>;
}

const root = fileURLToPath(new URL("..", import.meta.url));
const START_ATTEMPTS = 3;
const START_TIMEOUT_MS = 30_000;
const STOP_GRACE_MS = 3_000;
const OUTPUT_KEPT = 2_000;

/** Where `scripts/fetch-dynamodb-local.ts` puts AWS's server. */
export const dynamodbLocalDir = join(root, ".cache", "dynamodb-local");
export const dynamodbLocalJar = join(dynamodbLocalDir, "DynamoDBLocal.jar");

/** What an AWS SDK client needs to talk to a local engine. The credentials are dummies; no engine checks them. */
export function clientConfig(endpoint: string) {
  return { endpoint, region: "eu-west-1", credentials: { accessKeyId: "local", secretAccessKey: "local" } };
}

export async function startEngine(options: { engine?: EngineName } = {}): Promise<Engine> {
  const endpoint = process.env.DYNAMODB_ENDPOINT;
  if (endpoint && !options.engine) {
    if (!(await answers(endpoint))) throw new Error(`DYNAMODB_ENDPOINT: no DynamoDB answers at ${endpoint}`);
    return { name: endpoint, endpoint, stop: async () => {} };
  }
  const name = options.engine ?? findEngine();
  if (name === "memory") return startMemory();
  const command = commandOf(name);
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnPort(name, command, await freePort(), deadline);
    } catch (error) {
      // Another process may have taken the port between our look and the engine's start.
      if (attempt === START_ATTEMPTS || Date.now() >= deadline) throw error;
    }
  }
}

/** The engine that `DYNAMODB_ENGINE` names, or the first one that is installed. */
export function findEngine(): EngineName {
  const wanted = process.env.DYNAMODB_ENGINE;
  if (wanted) {
    const engine = ENGINES.find((name) => name === wanted);
    if (engine) return engine;
    throw new Error(`DYNAMODB_ENGINE must be dynoxide, dynamodb-local or memory, not ${wanted}`);
  }
  return ENGINES.find(isInstalled) as EngineName;
}

/** Whether an engine can be started here. */
export function isInstalled(name: EngineName): boolean {
  if (name === "dynoxide") return dynoxideBinary() !== undefined;
  return name === "memory" || (existsSync(dynamodbLocalJar) && javaIsInstalled());
}

/** In this process, over HTTP. Unlike for users, tables of locks don't exist by themselves. */
async function startMemory(): Promise<Engine> {
  const { memoryDynamoDB } = await import("../src/testing.ts");
  const { endpoint, close } = await memoryDynamoDB({ lockTables: false }).listen({ keepsAlive: false });
  return { name: "memory", endpoint, stop: close };
}

export function javaIsInstalled(): boolean {
  // On macOS `java` is a stub that exists without a JDK and fails when run, so run it.
  return spawnSync("java", ["-version"], { stdio: "ignore" }).status === 0;
}

function dynoxideBinary(): string | undefined {
  const { resolve } = createRequire(import.meta.url);
  try {
    // The examples workspace lists it; npm may leave it there or hoist it.
    const manifest = resolve("@dynoxide/linux-x64/package.json", { paths: [root, join(root, "examples")] });
    return join(dirname(manifest), "dynoxide");
  } catch {
    return undefined;
  }
}

/** The command line of an engine; the port number goes behind it. */
function commandOf(name: Exclude<EngineName, "memory">): string[] {
  if (name === "dynoxide") {
    const binary = dynoxideBinary();
    if (!binary) throw new Error("dynoxide is not installed: `npm install` brings it on Linux x64");
    return [binary, "serve", "--host", "127.0.0.1", "--port"];
  }
  if (!javaIsInstalled()) throw new Error("DynamoDB Local needs Java: install a JRE, version 11 or later");
  if (!existsSync(dynamodbLocalJar)) {
    throw new Error("DynamoDB Local is not fetched: run `node scripts/fetch-dynamodb-local.ts`");
  }
  // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/DynamoDBLocal.UsageNotes.html
  // -sharedDb: one database whatever the client's region and credentials, as dynoxide has it.
  const libraries = `-Djava.library.path=${join(dynamodbLocalDir, "DynamoDBLocal_lib")}`;
  return ["java", libraries, "-jar", dynamodbLocalJar, "-inMemory", "-sharedDb", "-disableTelemetry", "-port"];
}

async function startOnPort(name: EngineName, command: string[], port: number, deadline: number): Promise<Engine> {
  const [program = "", ...args] = command;
  const child = spawn(program, [...args, `${port}`], {
    // DynamoDB Local writes a file into the directory it runs in.
    ...(name === "dynamodb-local" && { cwd: dynamodbLocalDir }),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const keep = (chunk: Buffer | Error) => {
    output = (output + chunk).slice(-OUTPUT_KEPT);
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  child.once("error", keep);
  const release = killWithParent(child);
  const stop = async () => {
    await end(child, { graceMs: STOP_GRACE_MS });
    release();
  };

  const endpoint = `http://127.0.0.1:${port}`;
  while (!hasEnded(child) && Date.now() < deadline) {
    // An answer counts only while our child lives: on a port clash it comes from someone else's engine.
    if ((await answers(endpoint)) && !hasEnded(child)) return { name, endpoint, stop };
    await sleep(20);
  }
  const why = hasEnded(child) ? "ended at once" : `did not answer within ${START_TIMEOUT_MS} ms`;
  await stop();
  throw new Error(`${name} on port ${port} ${why}: ${output.trim()}`);
}

/** One real request: an engine that listens but does not serve yet has not started. */
async function answers(endpoint: string): Promise<boolean> {
  try {
    const response = await fetch(endpoint, {
      method: "POST",
      headers: {
        "content-type": "application/x-amz-json-1.0",
        "x-amz-target": "DynamoDB_20120810.ListTables",
        authorization:
          "AWS4-HMAC-SHA256 Credential=local/20000101/eu-west-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
        "x-amz-date": "20000101T000000Z",
      },
      body: "{}",
      signal: AbortSignal.timeout(2_000),
    });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
