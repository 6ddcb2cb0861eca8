/** The only file that knows the AWS SDK. */
import {
  CreateTableCommand,
  DescribeTableCommand,
  DescribeTimeToLiveCommand,
  type DynamoDBClient,
  ListTagsOfResourceCommand,
  UpdateTimeToLiveCommand,
} from "@aws-sdk/client-dynamodb";

export type { DynamoDBClient };

/** Sends one request, by the name of its operation, and gives the operation's output. */
export type Send = (
  operation: string,
  input: object,
  options?: { readonly signal?: AbortSignal | undefined },
  // biome-ignore lint/suspicious/noExplicitAny: each caller knows the output of its operation
) => Promise<any>;

const COMMANDS = {
  CreateTable: CreateTableCommand,
  DescribeTable: DescribeTableCommand,
  DescribeTimeToLive: DescribeTimeToLiveCommand,
  ListTagsOfResource: ListTagsOfResourceCommand,
  UpdateTimeToLive: UpdateTimeToLiveCommand,
};

export const toSend =
  (client: DynamoDBClient): Send =>
  (operation, input, { signal } = {}) => {
    const Command = COMMANDS[operation as keyof typeof COMMANDS] as new (input: object) => CreateTableCommand;
    return client.send(new Command(input), signal && { abortSignal: signal });
  };
