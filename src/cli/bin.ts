#!/usr/bin/env node
/**
 * The command `dynamo-lock`. It is loaded by name, so that a missing AWS SDK can be told from a
 * broken installation.
 */
import { EXIT } from "./exit.ts";

// A reader of our data may have enough, as `head` has. But a reader of our talk must not end a command under a lock.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(EXIT.brokenPipe);
});
process.stderr.on("error", () => {});

try {
  const { main } = await import("./main.ts");
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
  console.error(`dynamo-lock: ${(error as Error).message}`);
  console.error("dynamo-lock needs the AWS SDK beside it: npm install @aws-sdk/client-dynamodb");
  process.exitCode = EXIT.unavailable;
}
