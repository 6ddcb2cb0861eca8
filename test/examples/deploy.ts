/** The handlers of examples/, as template.yaml deploys them, on a table of their own. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type {
  APIGatewayProxyEventV2,
  APIGatewayProxyStructuredResultV2,
  Context,
  KinesisStreamBatchResponse,
  KinesisStreamEvent,
  ScheduledEvent,
  SQSBatchResponse,
  SQSEvent,
} from "aws-lambda";
import { vi } from "vitest";
import { root, type SamFunction, samFunction } from "../../scripts/sam-template.ts";
import { type Lock, LockClient } from "../../src/index.ts";
import { localConfig, lockTable } from "../support/dynamodb.ts";
import { lambdaContext } from "../support/lambda.ts";
import { openWire } from "./wire.ts";

interface Events {
  ReportFunction: ScheduledEvent;
  OrderFunction: SQSEvent;
  StockFunction: SQSEvent;
  ReadingFunction: KinesisStreamEvent;
  PaymentFunction: APIGatewayProxyEventV2;
}

interface Responses {
  ReportFunction: { date: string; reportId: string; fencingToken: number };
  OrderFunction: SQSBatchResponse;
  StockFunction: SQSBatchResponse;
  ReadingFunction: KinesisStreamBatchResponse;
  PaymentFunction: APIGatewayProxyStructuredResultV2;
}

export const functionNames = [
  "ReportFunction",
  "OrderFunction",
  "StockFunction",
  "ReadingFunction",
  "PaymentFunction",
] as const;
export type FunctionName = (typeof functionNames)[number];

/** SAM makes new names for functions that are replaced: the keys must not change with them. */
const namespaces: Record<FunctionName, string> = {
  ReportFunction: "reports",
  OrderFunction: "orders",
  StockFunction: "stock",
  ReadingFunction: "readings",
  PaymentFunction: "payments",
};

/** The file in events/ for a function, as `sam local invoke -e` takes it. */
export const eventFile = <Name extends FunctionName>(name: Name): Events[Name] => {
  const file = join(root, "events", `${name.replace("Function", "").toLowerCase()}.json`);
  return JSON.parse(readFileSync(file, "utf8")) as Events[Name];
};

export const deploy = async () => {
  const { region, credentials } = localConfig();
  const wire = await openWire();
  const table = await lockTable();
  const load = async (fn: SamFunction) => {
    // A handler reads its environment when it is imported.
    for (const [name, value] of Object.entries({
      ...fn.environment,
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      AWS_ENDPOINT_URL_DYNAMODB: wire.endpoint,
      DYNAMO_LOCK_TABLE: table.tableName,
      POWERTOOLS_LOG_LEVEL: "SILENT",
      WORK_MS: "0",
    })) {
      vi.stubEnv(name, value);
    }
    const { handler } = (await import(fn.source)) as {
      handler: (event: unknown, context: Context) => Promise<unknown>;
    };
    return handler;
  };
  const locks = new LockClient({ client: table.client, tableName: table.tableName });
  const functions = new Map<string, Awaited<ReturnType<typeof load>>>();
  for (const name of functionNames) functions.set(name, await load(samFunction(name)));

  return {
    table,
    wire,
    /** A new invocation of a function, with all of its timeout left unless told otherwise. */
    invoke: async <Name extends FunctionName>(
      functionName: Name,
      event: Events[Name],
      { timeoutMs } = samFunction(functionName) as { timeoutMs: number },
    ): Promise<Responses[Name]> => {
      const context = lambdaContext({ functionName, timeoutMs, awsRequestId: randomUUID() });
      return (await functions.get(functionName)?.(structuredClone(event), context)) as Responses[Name];
    },
    /** Another invocation of a function has a key, and keeps it. */
    underWay: (functionName: FunctionName, key: string): Promise<Lock> =>
      locks.acquire(`${namespaces[functionName]}#${key}`, { leaseMs: 60_000, heartbeatMs: false }),
    close: () => {
      wire.close();
      table.client.destroy();
      vi.unstubAllEnvs();
    },
  };
};
