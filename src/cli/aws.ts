/** The AWS SDK, as the command line uses it. */
import {
  BatchGetItemCommand,
  DeleteItemCommand,
  DescribeTableCommand,
  type DescribeTableOutput,
  DescribeTimeToLiveCommand,
  type DescribeTimeToLiveOutput,
  DynamoDBClient,
  GetItemCommand,
  ScanCommand,
  type TableDescription,
  TransactWriteItemsCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";

export type DynamoDB = DynamoDBClient;
export type { TableDescription };

export interface DynamoDBPlace {
  readonly region?: string;
  readonly profile?: string;
  readonly endpoint?: string;
}

/** A client that gives up soon enough for somebody who waits at a terminal. */
export const createDynamoDB = ({ region, profile, endpoint }: DynamoDBPlace): DynamoDBClient =>
  new DynamoDBClient({
    maxAttempts: 3,
    requestHandler: { connectionTimeout: 1_000, requestTimeout: 3_000, throwOnRequestTimeout: true },
    ...(region !== undefined && { region }),
    ...(profile !== undefined && { profile }),
    ...(endpoint !== undefined && { endpoint }),
  });

/** Notes how far our clock is from the `Date` of DynamoDB's replies, in ms. */
export const watchDate = (client: DynamoDBClient): (() => number | undefined) => {
  let aheadMs: number | undefined;
  client.middlewareStack.add(
    (next) => async (args) => {
      const sentAt = Date.now();
      const output = await next(args);
      const { headers } = Object((output as { response?: unknown }).response) as { headers?: Record<string, string> };
      const date = Date.parse(headers?.date ?? "");
      // The header has whole seconds, and is of some moment between our request and its reply.
      if (Number.isFinite(date)) aheadMs = (sentAt + Date.now()) / 2 - (date + 500);
      return output;
    },
    { step: "deserialize", priority: "low", name: "dynamoLockDate" },
  );
  return () => aheadMs;
};

// biome-ignore lint/suspicious/noExplicitAny: each has an input of its own
const COMMANDS: Readonly<Record<string, new (input: any) => any>> = {
  BatchGetItem: BatchGetItemCommand,
  DeleteItem: DeleteItemCommand,
  DescribeTable: DescribeTableCommand,
  DescribeTimeToLive: DescribeTimeToLiveCommand,
  GetItem: GetItemCommand,
  Scan: ScanCommand,
  TransactWriteItems: TransactWriteItemsCommand,
  UpdateItem: UpdateItemCommand,
};

/** Sends one request as it is: its errors are those of the SDK. */
export const request = (
  client: DynamoDBClient,
  operation: string,
  input: object,
): Promise<DescribeTableOutput & DescribeTimeToLiveOutput> => {
  const Operation = COMMANDS[operation] as new (input: object) => Parameters<DynamoDBClient["send"]>[0];
  return client.send(new Operation(input)) as Promise<object>;
};
