import type { TestProject } from "vitest/node";
import { startEngine } from "../../scripts/engine.ts";

declare module "vitest" {
  export interface ProvidedContext {
    engine: string;
    endpoint: string;
  }
}

/** One engine for the whole run; every test file makes tables of its own in it. */
export default async function setup(project: TestProject) {
  const engine = await startEngine();
  const { DYNAMODB_TRANSPORT: transport = "sdk" } = process.env;
  if (!["sdk", "lean"].includes(transport)) throw new Error(`DYNAMODB_TRANSPORT must be sdk or lean, not ${transport}`);
  process.stdout.write(`DynamoDB engine: ${engine.name}, transport: ${transport}\n`);
  project.provide("engine", engine.name);
  project.provide("endpoint", engine.endpoint);
  return () => engine.stop();
}
