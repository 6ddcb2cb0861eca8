/** The one file that knows the AWS SDK: a transport on its client. */
import {
  BatchExecuteStatementCommand,
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
import type { DynamoDBClientConfigLike, DynamoDBClientLike } from "../common/aws.ts";
import { LockOptionsError, textOf } from "../common/errors.ts";
import type { Connect, Output, Transport } from "./transport.ts";

// biome-ignore lint/suspicious/noExplicitAny: each has an input of its own
type Commands = Readonly<Record<string, new (input: any) => any>>;

/** The commands that a handler's lock sends. */
const HANDLER_COMMANDS: Commands = {
  GetItem: GetItemCommand,
  TransactWriteItems: TransactWriteItemsCommand,
  UpdateItem: UpdateItemCommand,
};

/** The commands that take and finish many keys at once. */
const BULK_COMMANDS: Commands = {
  BatchExecuteStatement: BatchExecuteStatementCommand,
  BatchGetItem: BatchGetItemCommand,
};

/**
 * The commands that programs and operators send beside them. A handler's bundle doesn't need these.
 */
const MORE_COMMANDS: Commands = {
  ...BULK_COMMANDS,
  CreateTable: CreateTableCommand,
  DeleteItem: DeleteItemCommand,
  DescribeTable: DescribeTableCommand,
  DescribeTimeToLive: DescribeTimeToLiveCommand,
  ListTagsOfResource: ListTagsOfResourceCommand,
  Scan: ScanCommand,
  UpdateTimeToLive: UpdateTimeToLiveCommand,
};

/** The bound of a request where the client has none of its own. */
const REQUEST_MS = 1_000;

/** The client's own `requestTimeout`, which its handler of requests keeps as a Promise. */
const timeoutOf = async (client: DynamoDBClientLike): Promise<number | undefined> => {
  try {
    const { configProvider } = (client as DynamoDBClient).config.requestHandler as { configProvider?: unknown };
    const { requestTimeout } = Object(await configProvider);
    return Number(requestTimeout) || undefined;
  } catch {
    return undefined; // a stand-in for a client
  }
};

/** A transport on a client of the user's, which stays open. */
const toTransport = (client: DynamoDBClientLike, more?: Commands): Transport => {
  if (typeof client.send !== "function") {
    throw new LockOptionsError("client: an engine without the method send needs middy-dynamo-lock/lean");
  }
  const commands = { ...HANDLER_COMMANDS, ...more };
  let requestMs = REQUEST_MS;
  void timeoutOf(client).then((ms) => {
    requestMs = ms || REQUEST_MS;
  });
  return {
    send: (operation, input, { signal, onFailure } = {}) => {
      const command = new (commands[operation] as Commands[string])(input);
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
    requestMs: () => requestMs,
    region: async () => (client as DynamoDBClient).config.region(),
    close: () => {},
  };
};

/**
 * DynamoDB Local on the Docker host, for a function that `sam local invoke` runs in a container.
 */
const SAM_LOCAL_ENDPOINT = "http://host.docker.internal:8000";

/**
 * A client whose hung connection can't eat an invocation: at most about 5 s for a request. (The
 * SDK's own defaults have no timeouts:
 * https://docs.aws.amazon.com/sdk-for-javascript/v3/developer-guide/node-configuring-maxsockets.html)
 */
export const createClient = (config: DynamoDBClientConfigLike = {}): DynamoDBClient => {
  const { AWS_SAM_LOCAL, AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_DYNAMODB } = process.env;
  const local = AWS_SAM_LOCAL && !AWS_ENDPOINT_URL && !AWS_ENDPOINT_URL_DYNAMODB;
  try {
    return new DynamoDBClient({
      maxAttempts: 3,
      requestHandler: { connectionTimeout: 500, requestTimeout: 1_000, throwOnRequestTimeout: true },
      ...(local && { endpoint: SAM_LOCAL_ENDPOINT }),
      ...(config as DynamoDBClientConfig),
    });
  } catch (error) {
    throw new LockOptionsError(`clientConfig: the AWS SDK can't make a client of it: ${textOf(error)}`);
  }
};

/** Either of the user's, or one that is made for it. */
interface SdkClient {
  readonly client?: DynamoDBClientLike | undefined;
  readonly clientConfig?: DynamoDBClientConfigLike | undefined;
}

const connectWith =
  (more?: Commands): Connect<SdkClient> =>
  ({ client, clientConfig }) => {
    if (client) return toTransport(client, more);
    const own = createClient(clientConfig);
    return { ...toTransport(own, more), close: () => own.destroy() };
  };

/** For handlers. */
export const connectHandler: Connect<SdkClient> = /* @__PURE__ */ connectWith();

/** For handlers of batches. */
export const connectBatch: Connect<SdkClient> = /* @__PURE__ */ connectWith(BULK_COMMANDS);

/** For programs and operators, and for the clients whose locks a handler of batches is given. */
export const connectProgram: Connect<SdkClient> = /* @__PURE__ */ connectWith(MORE_COMMANDS);
