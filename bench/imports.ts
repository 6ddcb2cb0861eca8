import { execFileSync } from "node:child_process";
import { pathToFileURL } from "node:url";

/** What a function has loaded before. Powertools uses the second one, too. */
export const SDK = ["@aws-sdk/client-dynamodb", "@aws-sdk/util-dynamodb"];

/** How long the import of a file takes in a fresh process, in ms, after that of the packages `before`. */
export const importMs = (file: string, before: readonly string[]): number => {
  const url = (name: string) => JSON.stringify(name);
  const script = `
    for (const name of [${before.map((name) => url(import.meta.resolve(name))).join(", ")}]) await import(name);
    const start = performance.now();
    await import(${url(pathToFileURL(file).href)});
    console.log(performance.now() - start);`;
  return Number(execFileSync(process.execPath, ["--input-type=module", "--eval", script], { encoding: "utf8" }));
};

/** Powertools' middleware with its store, which do what `dynamoLock` does. */
export const POWERTOOLS = `
  export { makeHandlerIdempotent } from "@aws-lambda-powertools/idempotency/middleware";
  export { DynamoDBPersistenceLayer } from "@aws-lambda-powertools/idempotency/dynamodb";`;
