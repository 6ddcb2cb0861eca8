/** The examples of a document: each is a module in a directory of its own, to the letter, and a test runs it. */
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, expect, vi } from "vitest";
import { localConfig, lockTable } from "./dynamodb.ts";

const root = new URL("../../", import.meta.url);

/** Expects the document's TypeScript blocks to be the modules in `test/<directory>/`, and no others. */
export const expectExamples = (document: string, directory: string): void => {
  const blocks = [...readFileSync(new URL(document, root), "utf8").matchAll(/```ts\n(.*?)```/gs)].map(
    ([, code]) => code,
  );
  const modules = new URL(`test/${directory}/`, root);
  const files = readdirSync(modules).filter((file) => !file.endsWith(".d.ts"));
  const code = files.map((file) => readFileSync(new URL(file, modules), "utf8"));
  expect(blocks.toSorted()).toEqual(code.toSorted());
};

/** For a test file: a table that the examples find as they would in a Lambda, and stand-ins for what is the user's own. */
export const runExamples = (domain: Record<string, unknown>): void => {
  const environment = { ...process.env };
  beforeAll(async () => {
    const { tableName } = await lockTable();
    const { endpoint, region } = localConfig();
    Object.assign(globalThis, domain);
    Object.assign(process.env, {
      DYNAMO_LOCK_TABLE: tableName,
      AWS_ENDPOINT_URL_DYNAMODB: endpoint,
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: "local",
      AWS_SECRET_ACCESS_KEY: "local",
    });
  });
  beforeEach(() => {
    vi.clearAllMocks();
  });
  afterAll(() => {
    process.env = environment;
  });
};
