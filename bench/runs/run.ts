import type { Context } from "aws-lambda";
import { lambdaContext } from "../../test/support/lambda.ts";

export interface ReportEvent {
  readonly date: string;
}

export const response = { total: 42 };
export const work = async (_event: ReportEvent, _context: Context) => response;

/** Makes what runs once at each call. `endpoint`: of a DynamoDB whose table `locks` has never seen the key. */
export type OneRun = (endpoint: string) => () => Promise<unknown>;

/** The configuration that a client needs. Nobody checks the credentials. */
export const clientConfig = (endpoint: string) => ({
  endpoint,
  region: "eu-west-1",
  credentials: { accessKeyId: "local", secretAccessKey: "local" },
});

/** The context has an `awsRequestId` of 36 characters, and the function's name `report`. */
export const invocation = (handler: (event: ReportEvent, context: Context) => Promise<unknown>) => () =>
  handler({ date: "2026-11-21" }, lambdaContext());
