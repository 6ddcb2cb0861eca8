/** The one file that knows the AWS SDK: a transport on its client. */
import {
  BatchGetItemCommand,
  CreateTableCommand,
  DeleteItemCommand,
  DescribeTableCommand,
  DescribeTimeToLiveCommand,
  DynamoDBClient,
  type DynamoDBClientConfig,
  GetItemCommand,
  ListTagsOfResourceCommand,
  ScanCommand,
  TransactWriteItemsCommand,
  UpdateItemCommand,
  UpdateTimeToLiveCommand,
} from "@aws-sdk/client-dynamodb";
import { LockOptionsError, textOf } from "../common/errors.ts";
import type { Output, Transport } from "./transport.ts";

// biome-ignore lint/suspicious/noExplicitAny: each has an input of its own
const COMMANDS: Readonly<Record<string, new (input: any) => any>> = {
  BatchGetItem: BatchGetItemCommand,
  CreateTable: CreateTableCommand,
  DeleteItem: DeleteItemCommand,
  DescribeTable: DescribeTableCommand,
  DescribeTimeToLive: DescribeTimeToLiveCommand,
  GetItem: GetItemCommand,
  ListTagsOfResource: ListTagsOfResourceCommand,
  Scan: ScanCommand,
  TransactWriteItems: TransactWriteItemsCommand,
  UpdateItem: UpdateItemCommand,
  UpdateTimeToLive: UpdateTimeToLiveCommand,
};

/** A transport on a client of the user's, which stays open. */
export const toTransport = (client: DynamoDBClient): Transport => ({
  send: (operation, input, { signal, onFailure } = {}) => {
    const command = new (COMMANDS[operation] as (typeof COMMANDS)[string])(input);
    if (onFailure) {
      const watch = (next: (args: unknown) => Promise<unknown>) => (args: unknown) =>
        next(args).catch((error: unknown) => {
          onFailure(error);
          throw error;
        });
      // Within the SDK's retries, which come first in this step.
      command.middlewareStack.add(watch, { step: "finalizeRequest", name: "middyDynamoLockAttempts" });
    }
    return client.send(command, signal && { abortSignal: signal }) as Output;
  },
  region: async () => client.config.region(),
  close: () => {},
});

/** DynamoDB Local on the Docker host, for a function that `sam local invoke` runs in a container. */
const SAM_LOCAL_ENDPOINT = "http://host.docker.internal:8000";

/**
 * A client whose hung connection can't eat an invocation: at most about 5 s for a request. (The SDK's own defaults have
 * no timeouts: https://docs.aws.amazon.com/sdk-for-javascript/v3/developer-guide/node-configuring-maxsockets.html)
 */
export const createClient = (config: DynamoDBClientConfig = {}): DynamoDBClient => {
  const { AWS_SAM_LOCAL, AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_DYNAMODB } = process.env;
  const local = AWS_SAM_LOCAL && !AWS_ENDPOINT_URL && !AWS_ENDPOINT_URL_DYNAMODB;
  try {
    return new DynamoDBClient({
      maxAttempts: 3,
      requestHandler: { connectionTimeout: 500, requestTimeout: 1_000, throwOnRequestTimeout: true },
      ...(local && { endpoint: SAM_LOCAL_ENDPOINT }),
      ...config,
    });
  } catch (error) {
    throw new LockOptionsError(`clientConfig: the AWS SDK can't make a client of it: ${textOf(error)}`);
  }
};

/** A transport on a client that is made for it. */
export const createTransport = (config?: DynamoDBClientConfig): Transport => {
  const client = createClient(config);
  return { ...toTransport(client), close: () => client.destroy() };
};
