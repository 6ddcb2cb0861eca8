import { DynamoDBClient, type DynamoDBClientConfig } from "@aws-sdk/client-dynamodb";
import type { DynamoDBClientConfigLike } from "../common/aws.ts";
import { LockOptionsError, textOf } from "../common/errors.ts";

/** DynamoDB Local on the Docker host, for a function that `sam local invoke` runs in a container. */
const SAM_LOCAL_ENDPOINT = "http://host.docker.internal:8000";

/**
 * A client whose hung connection can't eat an invocation: at most about 5 s for a request. (The SDK's own defaults have no
 * timeouts: https://docs.aws.amazon.com/sdk-for-javascript/v3/developer-guide/node-configuring-maxsockets.html)
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
