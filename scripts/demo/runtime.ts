/** What runs inside a sandbox of the demo: it loads a bundled handler and invokes it with a Lambda context. */
import { pathToFileURL } from "node:url";
import type { Context } from "aws-lambda";

export interface Invoke {
  requestId: string;
  event: unknown;
  timeoutMs: number;
}

export type Result = { startedAt: number; endedAt: number } & (
  | { type: "response"; response: unknown }
  | { type: "error"; name: string; message: string }
);

const { AWS_LAMBDA_FUNCTION_NAME: functionName = "", HANDLER_FILE = "" } = process.env;

// The demo can be killed too: nobody is left then to end this process.
process.on("disconnect", () => process.exit());
process.on("message", async (invoke: Invoke) => process.send?.(await run(invoke)));

const { handler } = await import(pathToFileURL(HANDLER_FILE).href);
process.send?.("ready");

async function run({ requestId, event, timeoutMs }: Invoke): Promise<Result> {
  const startedAt = Date.now();
  const context: Partial<Context> = {
    functionName,
    functionVersion: "$LATEST",
    invokedFunctionArn: `arn:aws:lambda:eu-west-1:123456789012:function:${functionName}`,
    memoryLimitInMB: "256",
    awsRequestId: requestId,
    getRemainingTimeInMillis: () => startedAt + timeoutMs - Date.now(),
  };
  try {
    const response: unknown = await handler(event, context);
    return { startedAt, endedAt: Date.now(), type: "response", response };
  } catch (error) {
    const { name, message } = error as Error;
    return { startedAt, endedAt: Date.now(), type: "error", name, message };
  }
}
